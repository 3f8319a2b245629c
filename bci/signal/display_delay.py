"""How long after its marker light is on the screen, from a photodiode that an amplifier records. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, SourceError

EARLY_S: Final = 0.1  # a marker may be late too
LATE_S: Final = 0.4
BASE_S: Final = 0.15  # of darkness, before all that
MIN_FLASHES: Final = 5
MIN_STEP: Final = 5.0  # of light against darkness, in deviations of the darkness


class DisplayDelay(msgspec.Struct, frozen=True, kw_only=True):
    """From a marker's stamp to the light, in ms. ``jitter_ms`` is the standard deviation; percentiles are 5 and 95."""

    n_flashes: int
    n_missed: int
    median_ms: float
    p5_ms: float
    p95_ms: float
    jitter_ms: float
    delays_ms: tuple[float, ...]


def display_delay(
    marker_stamps_s: Sequence[float], signal: NDArray[np.floating], stamps_s: NDArray[np.float64]
) -> DisplayDelay:
    """The time from each marker to the moment when the signal has gone half of its step.

    Each flash is compared with the darkness before it, so that neither offset nor drift matters, nor which way the
    sensor goes. A flash without a step of at least half the usual size is missed.

    Parameters
    ----------
    marker_stamps_s
        When a dark patch was made bright; at least 0.6 s apart, and dark for 0.4 s before.
    signal, stamps_s : shape (n,)
        The photodiode's channel, in any unit, and its samples' times on the markers' clock.

    Raises
    ------
    ConfigError
        Too few flashes.
    SourceError
        The signal does not follow them.
    """
    signal, stamps_s = np.asarray(signal, float), np.asarray(stamps_s, float)
    seen = [m for m in marker_stamps_s if len(stamps_s) and stamps_s[0] + 0.3 < m < stamps_s[-1] - LATE_S]
    if len(seen) < MIN_FLASHES:
        raise ConfigError(f"{len(seen)} flashes within the signal: at least {MIN_FLASHES} are needed to say anything")
    steps = [_step(marker_s, signal, stamps_s) for marker_s in seen]
    sizes = np.array([step for step, _, _ in steps])
    typical = float(np.median(sizes))
    noise = float(np.median([deviation for _, deviation, _ in steps]))
    if abs(typical) <= MIN_STEP * noise or abs(typical) == 0:
        raise SourceError(
            "the channel does not follow the flashes: put the photodiode on the patch, name its channel, and look "
            "whether the amplifier records it"
        )
    delays_ms = []
    for marker_s, (size, _, base) in zip(seen, steps, strict=True):
        if size / typical >= 0.5:
            at_s = _crossing(marker_s, signal, stamps_s, base + size / 2, np.sign(typical))
            if at_s is not None:
                delays_ms.append(1000 * (at_s - marker_s))
    if len(delays_ms) < MIN_FLASHES:
        raise SourceError(f"only {len(delays_ms)} of {len(seen)} flashes are seen: fasten the photodiode and try again")
    p5, median, p95 = np.percentile(delays_ms, (5, 50, 95))
    return DisplayDelay(
        n_flashes=len(seen), n_missed=len(seen) - len(delays_ms), median_ms=float(median), p5_ms=float(p5),
        p95_ms=float(p95), jitter_ms=float(np.std(delays_ms)), delays_ms=tuple(float(d) for d in delays_ms),
    )  # fmt: skip


def _step(marker_s: float, signal: NDArray, stamps_s: NDArray) -> tuple[float, float, float]:
    """How far the signal goes after a marker, its deviation in the darkness before, and its level there."""
    dark = signal[(stamps_s >= marker_s - EARLY_S - BASE_S) & (stamps_s < marker_s - EARLY_S)]
    after = signal[(stamps_s >= marker_s - EARLY_S) & (stamps_s < marker_s + LATE_S)]
    if not (len(dark) and len(after) and np.isfinite(dark).all() and np.isfinite(after).all()):
        return 0.0, 0.0, 0.0
    base = float(np.median(dark))
    return float(after[np.argmax(np.abs(after - base))]) - base, float(np.std(dark)), base


def _crossing(marker_s: float, signal: NDArray, stamps_s: NDArray, level: float, direction: float) -> float | None:
    """When the signal first goes through ``level`` that way, between samples by a straight line."""
    first, stop = np.searchsorted(stamps_s, (marker_s - EARLY_S, marker_s + LATE_S))
    y = direction * (signal[first:stop] - level)
    above = np.flatnonzero((y[1:] >= 0) & (y[:-1] < 0))
    if not len(above):
        return None
    i = int(above[0])
    part = -y[i] / (y[i + 1] - y[i])
    t = stamps_s[first:stop]
    return float(t[i] + part * (t[i + 1] - t[i]))
