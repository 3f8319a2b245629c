"""Left and right exchanged: which electrode lies across the midline from which, by the names of the 10-20 system."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decoders.spec import DecoderSpec, SpecError

_NAME = re.compile(r"(?P<row>[A-Za-z]+)(?P<place>\d+)(?P<rest>.*)")


def mirror_order(labels: Sequence[str]) -> NDArray[np.intp]:
    """For each row the one across the midline: C3 and C4, FC5 and FC6; Cz is its own. ``C3 8-12`` stays in its band.

    Raises
    ------
    SpecError
        A row has no partner.
    """
    at = {label.upper(): i for i, label in enumerate(labels)}
    order = []
    for label in labels:
        other = _across(label)
        if other.upper() not in at:
            raise SpecError(f"channel {label} has no partner {other} across the midline; add it or leave {label} out")
        order.append(at[other.upper()])
    return np.array(order, np.intp)


def check_mirror(spec: DecoderSpec) -> None:
    """Refuse ``options["mirror"]`` where there is no other side: SpecError."""
    if not spec.options.get("mirror"):
        return
    if len(spec.classes) != 2:
        raise SpecError(
            f"decoder {spec.name!r}: mirror exchanges 2 classes, here are {len(spec.classes)}; leave it out"
        )
    mirror_order(spec.channels)


def _across(label: str) -> str:
    electrode, space, band = label.partition(" ")
    if match := _NAME.fullmatch(electrode):
        place = int(match["place"])
        electrode = f"{match['row']}{place + 1 if place % 2 else place - 1}{match['rest']}"
    return electrode + space + band
