"""Models on arrays. They know nothing of streams, files of signals, or people.

One dict names them all: ``name -> "module:Class"``; the class is a `decoders.spec.Family`.
"""

from __future__ import annotations

import importlib

from decoders.spec import Family, SpecError

DECODERS: dict[str, str] = {
    "riemann": "decoders.classical.riemann:Riemann",
    "bandpower": "decoders.classical.bandpower:BandPower",
    "xdawn": "decoders.classical.xdawn:Xdawn",
    "cca": "decoders.classical.cca:CCA",
    "eegnet": "decoders.networks.eegnet:EEGNet",
}


def load_class(name: str) -> type[Family]:
    """The family of that name.

    Raises
    ------
    SpecError
        No such decoder; the message lists those there are.
    """
    if name not in DECODERS:
        raise SpecError(f"no decoder {name!r}; there are {', '.join(sorted(DECODERS))}")
    module, _, attribute = DECODERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
