"""The last minutes of a signal, and what a screen needs of it: the smallest and largest value of every pixel column.

No Qt, no LSL. Rows are samples on a regular grid that stamps are mapped to; where nothing came, there is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class SignalRing:
    """Samples by time, in memory allocated once.

    Parameters
    ----------
    n_channels : int
    sfreq_hz : float
    seconds : float
        How far back it reaches.

    Attributes
    ----------
    first_s : float
        Stamp of grid point 0; NaN before the first sample.
    n : int
        Grid points so far: the newest sample is number ``n - 1``.
    """

    def __init__(self, n_channels: int, sfreq_hz: float, seconds: float = 180.0):
        self.sfreq_hz, self.size = float(sfreq_hz), max(2, round(seconds * sfreq_hz))
        self._data = np.full((self.size, n_channels), np.nan, np.float32)
        self.first_s, self.n = float("nan"), 0

    @property
    def n_channels(self) -> int:
        """Rows of a trace."""
        return self._data.shape[1]

    @property
    def end_s(self) -> float:
        """Stamp of the grid point behind the newest sample."""
        return self.first_s + self.n / self.sfreq_hz

    @property
    def oldest(self) -> int:
        """The first grid point that is still held."""
        return max(0, self.n - self.size)

    def write(self, samples: NDArray, stamps_s: NDArray[np.float64]) -> int:
        """Take a chunk (n, channels); returns the first grid point that changed.

        A loss leaves NaN. Jitter does not: samples of a chunk go one behind the other, as long as the last stamp is
        within half a dozen grid points of where they end. A stamp that jumps back is taken as the next sample.
        """
        n = len(samples)
        if n == 0:
            return self.n
        if self.n == 0:
            self.first_s = float(stamps_s[-1]) - (n - 1) / self.sfreq_hz
        due = round((float(stamps_s[-1]) - self.first_s) * self.sfreq_hz) + 1
        hole = due - (self.n + n)
        tolerance = max(6, round(0.06 * self.sfreq_hz))
        if hole > self.size:  # longer than what is held: begin anew
            self._data[:] = np.nan
            self.first_s, self.n, hole = float(stamps_s[-1]) - (n - 1) / self.sfreq_hz, 0, 0
        elif hole > tolerance:
            self._put(np.full((min(hole, self.size), self.n_channels), np.nan, np.float32))
        else:  # the grid follows a clock that runs a little faster or slower than the nominal rate
            self.first_s += 0.02 * hole / self.sfreq_hz if hole >= -tolerance else hole / self.sfreq_hz
        first = self.n
        self._put(samples)
        return max(first, self.oldest)

    def _put(self, samples: NDArray) -> None:
        samples = samples[-self.size :]
        at = self.n % self.size
        head = min(len(samples), self.size - at)
        self._data[at : at + head] = samples[:head]
        self._data[: len(samples) - head] = samples[head:]
        self.n += len(samples)

    def read(self, first: int, stop: int) -> NDArray[np.float32]:
        """Grid points from ``first`` to ``stop`` (points, channels); NaN where there is nothing."""
        if first >= self.oldest and stop <= self.n and first // self.size == (stop - 1) // self.size and stop > first:
            return self._data[first % self.size : (stop - 1) % self.size + 1]
        index = np.arange(first, stop)
        out = self._data[index % self.size]
        out[(index < self.oldest) | (index >= self.n)] = np.nan
        return out

    def last(self, seconds: float) -> NDArray[np.float32]:
        """The newest ``seconds`` (points, channels), fewer where there are fewer."""
        return self.read(max(self.oldest, self.n - round(seconds * self.sfreq_hz)), self.n)

    def columns(self, edges: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Smallest and largest value between neighbouring ``edges`` (k + 1 grid points): two arrays (k, channels).

        NaN where there is no sample at all. No spike is hidden, however many samples a column holds.
        """
        data = self.read(int(edges[0]), int(edges[-1]))
        starts = np.asarray(edges[:-1] - edges[0])
        with np.errstate(invalid="ignore"):
            low, high = np.fmin.reduceat(data, starts, axis=0), np.fmax.reduceat(data, starts, axis=0)
        empty = np.diff(edges) <= 0
        low[empty], high[empty] = np.nan, np.nan
        return low, high
