"""Models on arrays. They know nothing of streams, files of signals, or people.

One dict names them all: ``name -> "module:attribute"``; what it names is a `decoders.spec.Family`. Models of
braindecode go by ``braindecode:MODEL``.
"""

from __future__ import annotations

import importlib

from decoders.spec import Family, SpecError

DECODERS: dict[str, str] = {
    "riemann": "decoders.classical.riemann:Riemann",
    "riemann_fb": "decoders.classical.riemann_fb:RiemannFB",
    "csp": "decoders.classical.csp:CSP",
    "bandpower": "decoders.classical.bandpower:BandPower",
    "xdawn": "decoders.classical.xdawn:Xdawn",
    "cca": "decoders.classical.cca:CCA",
    "trca": "decoders.classical.trca:TRCA",
    "ridge": "decoders.classical.ridge:Ridge",
    "kalman": "decoders.classical.kalman:Kalman",
    "mlp": "decoders.networks.mlp:mlp",
    "eegnet": "decoders.networks.eegnet:eegnet",
    "shallow": "decoders.networks.shallow:shallow",
    "fbnet": "decoders.networks.fbnet:fbnet",
    "tcn": "decoders.networks.tcn:tcn",
    "rnn": "decoders.networks.recurrent:rnn",
    "lstm": "decoders.networks.recurrent:lstm",
    "gru": "decoders.networks.recurrent:gru",
    "cnn_lstm": "decoders.networks.cnn_lstm:cnn_lstm",
    "transformer": "decoders.networks.transformer:transformer",
    "convlstm": "decoders.networks.convlstm:convlstm",
    "gnn": "decoders.networks.gnn:gnn",
    "cnn3d": "decoders.networks.cnn3d:cnn3d",
    "ensemble": "decoders.ensemble:ensemble",
}
BRAINDECODE = "braindecode:"  # then the name of any of its models


def load_class(name: str) -> Family:
    """The family of that name.

    Raises
    ------
    SpecError
        No such decoder; the message lists those there are.
    """
    if name.startswith(BRAINDECODE):
        from decoders.braindecode import Braindecode

        return Braindecode(name.removeprefix(BRAINDECODE))
    if name not in DECODERS:
        raise SpecError(f"no decoder {name!r}; there are {', '.join(sorted(DECODERS))}, {BRAINDECODE}MODEL")
    module, _, attribute = DECODERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
