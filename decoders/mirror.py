"""Left and right exchanged: electrodes by the names of the 10-20 system, classes by the words in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decoders.spec import DecoderSpec, SpecError

_ELECTRODE = re.compile(r"(?P<row>[A-Za-z]+?)(?P<place>z|\d+)(?P<half>h?)(?P<band> .*)?", re.IGNORECASE)
_ROWS = re.compile(
    r"N?FP|AFP?|F{1,2}[CT]{0,2}|F?T{1,2}P?|F?C{1,2}P?|T?P{1,2}|P{1,2}O|P?O{1,2}|O?I|[AMN]", re.IGNORECASE
)


def mirror_order(labels: Sequence[str]) -> NDArray[np.intp]:
    """For each row the one across the midline: C3 and C4, FC5 and FC6; Cz is its own. ``C3 8-12`` stays in its band.

    Raises
    ------
    SpecError
        A row is not named as in the 10-20 system, or has no partner.
    """
    at = {label.upper(): i for i, label in enumerate(labels)}
    order = []
    for label in labels:
        other = _across(label)
        if other.upper() not in at:
            raise SpecError(f"channel {label} has no partner {other} across the midline; add it or leave {label} out")
        order.append(at[other.upper()])
    return np.array(order, np.intp)


def mirror_classes(classes: Sequence[str]) -> NDArray[np.intp]:
    """For each class the one with left and right exchanged; one without a side is its own.

    Raises
    ------
    SpecError
        No two classes are each other's mirror image by name.
    """
    swap = {"left": "right", "right": "left"}
    at = {label.lower(): i for i, label in enumerate(classes)}
    others = [re.sub("left|right", lambda m: swap[m[0]], label.lower()) for label in classes]
    order = [at.get(other, -1) for other in others]
    if -1 in order or order == list(range(len(classes))):
        raise SpecError(f"classes {', '.join(classes)} are no mirror images by name; call them left and right")
    return np.array(order, np.intp)


def check_mirror(spec: DecoderSpec) -> None:
    """Refuse ``options["mirror"]`` where there is no other side: SpecError."""
    if not spec.options.get("mirror"):
        return
    if len(spec.classes) != 2:
        raise SpecError(
            f"decoder {spec.name!r}: mirror exchanges 2 classes, here are {len(spec.classes)}; leave it out"
        )
    mirror_classes(spec.classes)
    mirror_order(spec.channels)


def _across(label: str) -> str:
    match = _ELECTRODE.fullmatch(label)
    if match is None or not _ROWS.fullmatch(match["row"]):
        raise SpecError(f"channel {label} is not named as in the 10-20 system, so it has no side; leave it out")
    place = match["place"]
    if place.isdigit():
        place = str(int(place) + (1 if int(place) % 2 else -1))
    return f"{match['row']}{place}{match['half']}{match['band'] or ''}"
