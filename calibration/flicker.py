"""Flicker: which may be shown on a screen at all, and what is shown when. Pure.

Light that flickers can cause a seizure in people who are sensitive to it, most of all between 3 and 30 flashes a second
(Harding & Jeavons 1994; Fisher et al. 2005, doi:10.1111/j.1528-1167.2005.31405.x: 15 to 25 Hz the worst). WCAG 2.2,
success criterion 2.3.1 (https://www.w3.org/WAI/WCAG22/Understanding/three-flashes-or-below-threshold), allows more than
three flashes a second only where they are small (a quarter of any 10 degrees of the field of view) and not saturated
red. ITU-R BT.1702 says the same of television, with other numbers. Being inside these limits does not make flicker safe
for everybody: a person is warned and asked first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

MAX_FLASHES_HZ: Final = 3.0  # WCAG 2.3.1: up to here anything may flash
MAX_HZ: Final = 60.0  # half the rate of a fast screen
MIN_STEP_HZ: Final = 0.2  # nearer frequencies are not told apart within a few seconds
# WCAG's estimate of 10 degrees: 341 x 256 pixels of a screen of 1024 x 768, that is, thirds of its height
FIELD_WIDTH: Final = 341 / 768
FIELD_HEIGHT: Final = 256 / 768
FIELD_SHARE: Final = 0.25
SIDE: Final = 0.19  # of a square target, in heights of the screen: 24 % of such a field

WARNING: Final = (
    "The next screen flickers.\n\n"
    "Flickering light can cause seizures in people with photosensitive epilepsy, also in people who have never had "
    "one. Do not go on if you, or somebody in your family, ever had a seizure, or if flicker makes you feel unwell.\n\n"
    "Sit at arm's length or farther, in a lit room, and do not go on alone. Look away, cover one eye with a hand, and "
    "press Esc at once if you feel dizzy, sick, or see things move."
)


class FlickerError(ValueError):
    """What must not, or cannot, be shown; one line."""


def check_flicker(
    frequencies_hz: Sequence[float], refresh_hz: float, *, side: float = SIDE, colour: str = "#ffffff"
) -> None:
    """Refuse what the screen cannot show, and what WCAG 2.3.1 forbids.

    Parameters
    ----------
    frequencies_hz
        Of the targets, which are squares and far enough apart that no two are within one field of 10 degrees.
    refresh_hz
        Of the screen.
    side
        Of a target, in heights of the screen.
    colour
        Of its brightest moment, ``#rrggbb``; the darkest is black.

    Raises
    ------
    FlickerError
        A frequency is out of range, too near another, or above half the refresh rate; a target is too large or red.
    """
    limit_hz = min(MAX_HZ, refresh_hz / 2)
    for hz in frequencies_hz:
        if not 0 < hz <= MAX_HZ:
            raise FlickerError(f"flicker at {hz:g} Hz: must be above 0 and at most {MAX_HZ:g} Hz")
        if hz > limit_hz:
            raise FlickerError(
                f"flicker at {hz:g} Hz: a screen of {refresh_hz:g} Hz shows at most {limit_hz:g} Hz, half its rate"
            )
    for low, high in zip(sorted(frequencies_hz), sorted(frequencies_hz)[1:], strict=False):
        if high - low < MIN_STEP_HZ:
            raise FlickerError(f"flicker at {low:g} and {high:g} Hz: take frequencies {MIN_STEP_HZ:g} Hz apart or more")
    if max(frequencies_hz, default=0.0) <= MAX_FLASHES_HZ:
        return
    if is_saturated_red(colour):
        raise FlickerError(
            f"flicker in {colour}: saturated red must not flash more than {MAX_FLASHES_HZ:g} times a second "
            "(WCAG 2.3.1); take white or grey"
        )
    share = side * side / (FIELD_WIDTH * FIELD_HEIGHT)
    if share > FIELD_SHARE:
        largest = math.sqrt(FIELD_SHARE * FIELD_WIDTH * FIELD_HEIGHT)
        raise FlickerError(
            f"flickering squares of {side:.2g} of the screen's height fill {share:.0%} of 10 degrees of view: at most "
            f"{FIELD_SHARE:.0%} (WCAG 2.3.1), that is {largest:.3f} of the height"
        )


def is_saturated_red(colour: str) -> bool:
    """As WCAG 2.2 defines it: R / (R + G + B) of the linear values is 0.8 or more."""
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return red + green + blue > 0 and red / (red + green + blue) >= 0.8


def brightness(hz: float, since_s: float) -> float:
    """Of a target, from 0 to 1, so long after the flicker began: a sampled sine, brightest at its beginning.

    A sine of any frequency up to half the refresh rate is shown by the frames that sample it, not only frequencies that
    divide the rate (Manyakov et al. 2013, doi:10.1088/1741-2560/10/3/036011; Chen et al. 2015,
    doi:10.1073/pnas.1508080112). A cosine, for at half the rate a sine would be sampled where it is 0.
    """
    return 0.5 * (1 + math.cos(2 * math.pi * hz * since_s))


def grey(luminance: float) -> int:
    """The level, 0 to 255, at which an sRGB screen gives this part of its luminance."""
    level = 12.92 * luminance if luminance <= 0.0031308 else 1.055 * luminance ** (1 / 2.4) - 0.055
    return round(255 * min(1.0, max(0.0, level)))


def _linear(level: float) -> float:
    return level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4
