"""Signal quality of a whole recording, looked at second by second: what a report says of each channel.

Pure, and in memory that grows by a few numbers a second and channel. `ChannelQuality` judges the same causally while a
session runs; `is_flat` and `is_stuck` here are its criteria on one second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bci.signal.quality import STUCK

MAINS_HZ = (50.0, 60.0)
_NEIGHBOURS_HZ = (-6.0, -5.0, -4.0, 4.0, 5.0, 6.0)  # where the level around the mains is measured
_IQR_TO_SD = 1.349


def is_flat(x: NDArray, flat: NDArray) -> NDArray[np.bool_]:
    """Channels of one second ``x`` (n_channels, n) whose range is below ``flat`` (n_channels,)."""
    return np.less(x.max(axis=1) - x.min(axis=1), flat)


def is_stuck(x: NDArray) -> NDArray[np.bool_]:
    """Channels of one second that rest on their highest or lowest value for a tenth of it, as on a rail."""
    rests = np.equal(x[:, 1:], x[:, :-1])
    ends = ((rests & (x[:, 1:] == end(axis=1)[:, None])).sum(axis=1) for end in (x.max, x.min))
    return np.greater_equal(np.maximum(*ends), STUCK * x.shape[1])


class Survey:
    """Takes a recording in any pieces and looks at every ``stride``-th whole second of it.

    Parameters
    ----------
    n_channels : int
    sfreq_hz : float
        At least 8.
    flat : array (n_channels,)
        Range over a second below which a channel is flat, in its unit; 0 where the unit is not known.
    stride : int
        1 looks at every second.
    """

    def __init__(self, n_channels: int, sfreq_hz: float, flat: NDArray[np.float32], stride: int = 1):
        self._n = max(8, round(sfreq_hz))
        self._flat, self._stride = np.asarray(flat, np.float32), stride
        self._second = np.zeros((n_channels, self._n), np.float64)
        self._filled = self._seconds = 0
        times_s = np.arange(self._n) / sfreq_hz
        window = np.hanning(self._n + 1)[:-1]
        self.mains_hz = tuple(f for f in MAINS_HZ if f + max(_NEIGHBOURS_HZ) < sfreq_hz / 2)
        freqs = np.array([f + d for f in self.mains_hz for d in (0.0, *_NEIGHBOURS_HZ)])
        # the part of a sine of 1 RMS that falls on its own frequency is 1
        self._waves = np.sqrt(2) / window.sum() * window * np.exp(-2j * np.pi * freqs[:, None] * times_s)
        self._amplitude: list[NDArray] = []
        self._line: list[NDArray] = []
        self._is_flat: list[NDArray] = []
        self._is_stuck: list[NDArray] = []
        self._is_missing: list[NDArray] = []

    def take(self, samples: NDArray) -> None:
        """The next samples, (n, n_channels) in any numeric type."""
        at = 0
        while at < len(samples):
            part = samples[at : at + self._n - self._filled]
            if self._seconds % self._stride == 0:
                self._second[:, self._filled : self._filled + len(part)] = part.T
            self._filled += len(part)
            at += len(part)
            if self._filled == self._n:
                self._filled = 0
                if self._seconds % self._stride == 0:
                    self._look(self._second)
                self._seconds += 1

    def _look(self, x: NDArray[np.float64]) -> None:
        missing = np.logical_not(np.isfinite(x).all(axis=1))
        x = np.where(missing[:, None], 0.0, x)
        low, high = np.percentile(x, [25, 75], axis=1)
        self._is_missing.append(missing)
        self._amplitude.append(np.where(missing, np.nan, (high - low) / _IQR_TO_SD))
        self._is_flat.append(is_flat(x, self._flat) & ~missing)
        self._is_stuck.append(is_stuck(x) & ~self._is_flat[-1] & ~missing)
        if self.mains_hz:
            power = np.abs((x - x.mean(axis=1, keepdims=True)) @ self._waves.T) ** 2
            power = power.reshape(len(x), len(self.mains_hz), -1)
            hum = np.maximum(power[:, :, 0] - np.median(power[:, :, 1:], axis=2), 0)
            self._line.append(np.where(missing[:, None], np.nan, hum))

    @property
    def n_seconds(self) -> int:
        """Seconds that were looked at."""
        return len(self._amplitude)

    def amplitude(self) -> NDArray[np.float64]:
        """Typical size of each channel: its robust standard deviation within a second (interquartile range / 1.349),
        the median over the seconds.
        """
        return _median(np.array(self._amplitude))

    def share_flat(self) -> NDArray[np.float64]:
        """Of the seconds, by channel."""
        return np.mean(self._is_flat, axis=0)

    def share_stuck(self) -> NDArray[np.float64]:
        """Of the seconds, by channel: saturated."""
        return np.mean(self._is_stuck, axis=0)

    def share_missing(self) -> NDArray[np.float64]:
        """Of the seconds, by channel: with values that are no numbers."""
        return np.mean(self._is_missing, axis=0)

    def line(self) -> tuple[float, NDArray[np.float64]] | None:
        """Frequency of the mains, and by channel the RMS of the hum there (median over the seconds).

        The stronger of 50 and 60 Hz over all channels; None when the rate is too low to see either.
        """
        if not self._line:
            return None
        power = _median(np.array(self._line))
        best = int(np.argmax(np.nan_to_num(_median(power))))
        return self.mains_hz[best], np.sqrt(power[:, best])


def _median(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the first axis without NaN; NaN where there is nothing else."""
    rows = np.sort(rows, axis=0)  # NaN comes last
    n = np.isfinite(rows).sum(axis=0)
    low, high = np.maximum(n - 1, 0) // 2, n // 2
    middle = [np.take_along_axis(rows, np.minimum(k, len(rows) - 1)[None], axis=0)[0] for k in (low, high)]
    return np.where(n > 0, (middle[0] + middle[1]) / 2, np.nan)
