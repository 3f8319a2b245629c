"""How far the signal is from that of calibration: artefacts within a moment, drift within minutes. No label is needed.

Both look at the log power of every row of a hop (each channel, in each band), in deviations from what calibration
held. An artefact (a clenched jaw, a pulled cable) is a row that is far louder for half a second than it ever is; drift
is a slow mean, over all rows, that has left the place where moments of calibration lay. Robust normalisation of channel
power against clean calibration data is how artefact subspace reconstruction (Mullen et al. 2015, IEEE TBME 62:2553)
finds its bad windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

MOMENT_S = 0.5  # over so long the power of a moment is averaged
DRIFT_S = 30.0  # time constant of the slow mean
LEAST_SD = 0.15  # of log power: a recording that is steadier than any head must not make an alarm of a breath
_TINY = 1e-300


class Baseline(msgspec.Struct, frozen=True):
    """Median and robust deviation of the log power of a moment, row by row."""

    centre: tuple[float, ...]
    deviation: tuple[float, ...]


def baseline(runs: Iterable[NDArray[np.floating]], hop_s: float) -> Baseline | None:
    """What calibration held; None where there is nothing to learn from.

    Parameters
    ----------
    runs : iterable of ndarray, shape (n_hops, n_rows, hop)
        Preprocessed hops that can be trusted, in order, run by run.
    hop_s : float
    """
    moments = [_moments(run, hop_s) for run in runs if len(run)]
    if not moments:
        return None
    all_of_them = np.concatenate(moments)
    centre = np.median(all_of_them, axis=0)
    deviation = 1.4826 * np.median(np.abs(all_of_them - centre), axis=0)
    return Baseline(tuple(centre.tolist()), tuple(np.maximum(deviation, LEAST_SD).tolist()))


class Watch:
    """Follows the signal hop by hop: `artefact` and `drift` are the scores of now. A pure fold over hops.

    Parameters
    ----------
    baseline : Baseline
    hop_s : float

    Attributes
    ----------
    artefact : float
        Deviations by which the loudest row of the last moment is above calibration.
    drift : float
        Deviations of the slow mean, the median of all rows: one that has died does not make it, nor a short artefact.
        It begins at 0 and outlives segments.
    """

    def __init__(self, baseline: Baseline, hop_s: float):
        self._centre, self._deviation = np.array(baseline.centre), np.array(baseline.deviation)
        self._fast, self._slow = -math.expm1(-hop_s / MOMENT_S), -math.expm1(-hop_s / DRIFT_S)
        self._moment = np.zeros(len(self._centre))
        self._mean = np.zeros(len(self._centre))
        self.artefact = self.drift = 0.0

    def begin_segment(self) -> None:
        """A moment does not span two segments; the slow mean stays."""
        self._moment[:] = 0.0
        self.artefact = 0.0

    def step(self, hop: NDArray[np.float32], limit: float) -> None:
        """Take one hop (n_rows, hop) that can be trusted; beyond ``limit`` nothing weighs more towards drift."""
        z = (_log_power(hop) - self._centre) / self._deviation
        self._moment += self._fast * (z - self._moment)
        self.artefact = float(self._moment.max())
        self._mean += self._slow * (np.clip(z, -limit, limit) - self._mean)
        self.drift = float(np.median(np.abs(self._mean)))


def _log_power(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of the last axis."""
    wide = x.astype(np.float64)
    return np.log(np.einsum("...i,...i->...", wide, wide) / x.shape[-1] + _TINY)


def _moments(run: NDArray[np.floating], hop_s: float) -> NDArray[np.float64]:
    """Log power of each hop, averaged as `Watch` does it: (n_hops, n_rows)."""
    power = _log_power(run)
    amount, at = -math.expm1(-hop_s / MOMENT_S), power[0]
    for k, row in enumerate(power):
        at = at + amount * (row - at)
        power[k] = at
    return power
