"""Which channels carry no signal: flat, or stuck at the end of the amplifier's range, over the last second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_N_PARTS = 10  # a second, in tenths
STUCK = 0.1  # this part of the second


class ChannelQuality:
    """Flat and saturated channels, causally, over the last whole second.

    Flat: the range over the second is below ``flat``. Saturated: for a tenth of the second or more, the signal rests
    (two equal samples in a row) on the highest or lowest value of that second, as it does on an amplifier's rail. No
    range has to be configured. Judged ten times a second, at sample counts that do not depend on chunks.

    Parameters
    ----------
    n_channels : int
        Number of signals.
    sfreq_hz : float
        Their rate.
    block : int
        Samples in every call of `step`.
    flat : float
        Range in the unit of the signal below which a channel is flat.
    """

    def __init__(self, n_channels: int, sfreq_hz: float, block: int, flat: float) -> None:
        n_blocks = max(1, round(sfreq_hz / _N_PARTS / block))
        self._part = np.zeros((n_channels, n_blocks * block), dtype=np.float32)
        self._n_parts = max(1, round(sfreq_hz / (n_blocks * block)))
        self._flat = flat
        shape = (self._n_parts, n_channels)
        self._high, self._low = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        self._n_high, self._n_low = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self._n_stuck = STUCK * self._n_parts * self._part.shape[1]
        self.start()

    def start(self) -> None:
        """Forget everything; no channel is bad during the next second."""
        self._filled, self._n_seen = 0, 0
        self.is_bad = np.zeros(len(self._part), dtype=bool)
        self.any_bad = False

    def step(self, x: NDArray[np.float32]) -> bool:
        """Take the next block (n_channels, block); True while any channel is bad (`is_bad` says which)."""
        self._part[:, self._filled : self._filled + x.shape[1]] = x
        self._filled += x.shape[1]
        if self._filled == self._part.shape[1]:
            self._filled = 0
            self._judge()
        return self.any_bad

    def _judge(self) -> None:
        part, at = self._part, self._n_seen % self._n_parts
        high, low = part.max(axis=1), part.min(axis=1)
        rests = part[:, 1:] == part[:, :-1]
        self._high[at], self._low[at] = high, low
        self._n_high[at] = (rests & (part[:, 1:] == high[:, None])).sum(axis=1)
        self._n_low[at] = (rests & (part[:, 1:] == low[:, None])).sum(axis=1)
        self._n_seen += 1
        if self._n_seen < self._n_parts:
            return
        highest, lowest = self._high.max(axis=0), self._low.min(axis=0)
        n_high = np.where(self._high == highest, self._n_high, 0).sum(axis=0)
        n_low = np.where(self._low == lowest, self._n_low, 0).sum(axis=0)
        self.is_bad = (highest - lowest < self._flat) | (np.maximum(n_high, n_low) >= self._n_stuck)
        self.any_bad = bool(self.is_bad.any())
