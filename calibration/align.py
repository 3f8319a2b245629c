"""Recentring: a running Riemannian mean of the signal's covariance, and the matrix that whitens by it.

What differs between people and drifts within one is mostly the mean covariance (Zanini et al. 2018, IEEE TBME 65:1107).
The mean of each band starts from the one that training stored and moves towards each new window along the geodesic, by
1 / (t + 2) at the t-th from 0: the start counts as one window. No label is looked at.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from decoders.classical.riemann import shrunk_covariance

_SMALLEST = 1e-12  # of the mean eigenvalue, and
_NOTHING = 1e-60  # far below a squared femtotesla: silence stays finite


class Recentring:
    """The running mean of each band, moved by every `period` good hops of a stream.

    A pure fold over hops: the same hops give the same matrices, live, in replay and in training.

    Parameters
    ----------
    align : ndarray, shape (n_bands, n_channels, n_channels)
        Inverse square root of the mean to start from, symmetric.
    period : int
        Hops in a window. Windows do not overlap; a hop that is not good begins a new one.
    """

    def __init__(self, align: NDArray[np.floating], period: int):
        self._start = np.array(align, np.float64)
        self._period = period
        self._hops: deque[NDArray[np.float32]] = deque(maxlen=period)
        self.reset()

    def reset(self) -> None:
        """Back to the mean of training."""
        self.align = self._start
        self._mean = power(self._start, -2.0)
        self.n_windows = 0
        self._hops.clear()

    def begin_segment(self) -> None:
        """No window spans two segments; the mean stays, it is the person's."""
        self._hops.clear()

    def step(self, hop: NDArray[np.float32], is_good: bool) -> bool:
        """Take one hop (bands·channels, n); whether ``align`` is another from this hop on."""
        if not is_good:
            self._hops.clear()
            return False
        self._hops.append(hop)
        if len(self._hops) < self._period:
            return False
        window = np.concatenate(self._hops, axis=1)
        self._hops.clear()
        self.move(covariances(window[None], len(self._mean))[0])
        return True

    def move(self, covariance: NDArray[np.float64]) -> None:
        """Move the mean towards one covariance of each band (n_bands, n_channels, n_channels)."""
        self._mean = toward(self._mean, self.align, covariance, 1 / (self.n_windows + 2))
        self.n_windows += 1
        self.align = power(self._mean, -0.5)


def covariances(x: NDArray[np.floating], n_bands: int) -> NDArray[np.float64]:
    """Shrunk covariance of each band: x (n, bands·channels, samples) -> (n, bands, channels, channels)."""
    rows = x.astype(np.float64).reshape(len(x) * n_bands, -1, x.shape[2])
    c = rows.shape[1]
    return shrunk_covariance(rows).reshape(len(x), n_bands, c, c)


def toward(
    mean: NDArray[np.float64], whitening: NDArray[np.float64], covariance: NDArray[np.float64], amount: float
) -> NDArray[np.float64]:
    """The point at ``amount`` (0 to 1) on the geodesic from mean to covariance, (…, n, n), given mean^(-1/2)."""
    root = mean @ whitening
    moved = root @ power(whitening @ covariance @ whitening, amount) @ root.swapaxes(-1, -2)
    return (moved + moved.swapaxes(-1, -2)) / 2


def power(matrices: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Power of symmetric positive matrices (…, n, n)."""
    values, vectors = np.linalg.eigh(matrices)
    values = np.maximum(values, np.maximum(_SMALLEST * values.mean(axis=-1, keepdims=True), _NOTHING))
    return (vectors * values[..., None, :] ** exponent) @ vectors.swapaxes(-1, -2)


def starting_alignment(covariance: NDArray[np.float64], mirror: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
    """Where recentring starts: inverse root of the Riemannian mean of the training windows, band by band.

    Parameters
    ----------
    covariance : ndarray, shape (n, n_bands, n_channels, n_channels)
    mirror : ndarray or None, shape (n_channels,)
        The channel across the midline from each: the mean is made symmetric by the mirrored windows.

    Returns
    -------
    ndarray, shape (n_bands, n_channels, n_channels)
    """
    from pyriemann.geometry.mean import mean_riemann

    if mirror is not None:
        covariance = np.concatenate((covariance, covariance[..., mirror, :][..., mirror]))
    means = [np.asarray(mean_riemann(band, tol=1e-5, maxiter=50)) for band in np.moveaxis(covariance, 1, 0)]
    return power(np.stack(means), -0.5)


def align_trials(covariance: NDArray[np.float64], groups: NDArray, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix of each trial where every trial moves the mean of its person, in order, before it is decided.

    The rule of cued experiments offline, where rest between cues is left out; `Recentring.step` is that of a stream.

    Parameters
    ----------
    covariance : ndarray, shape (n_trials, n_bands, n_channels, n_channels)
        In the order of time within each person.
    groups : ndarray, shape (n_trials,)
        Who each trial is of.
    start : ndarray, shape (n_bands, n_channels, n_channels)

    Returns
    -------
    ndarray, shape (n_trials, n_bands, n_channels, n_channels)
    """
    align = np.empty_like(covariance)
    for person in np.unique(groups):
        recentring = Recentring(start, 1)
        for i in np.flatnonzero(groups == person):
            recentring.move(covariance[i])
            align[i] = recentring.align
    return align
