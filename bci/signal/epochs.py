"""Preprocessed signal kept for a while, so that an epoch can be cut at a marker, to the sample."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from bci.types import Flag

LATE_S = 1.0  # a marker may come so long after the end of its epoch


class EpochGoneError(Exception):
    """The epoch can never be cut; the text says why."""


class EpochRing:
    """The newest hops of a segment, addressed by sample.

    Parameters
    ----------
    n_samples : int
        Length of an epoch.
    hop : int
        Samples in a hop.
    n_late : int
        Samples that are kept beyond an epoch, for markers that come late.
    """

    def __init__(self, n_samples: int, hop: int, n_late: int) -> None:
        self.n_samples, self.hop = n_samples, hop
        self._n_kept = -(-(n_samples + n_late) // hop) + 1  # hops
        self._hops: deque[tuple[NDArray[np.float32], Flag]] = deque(maxlen=self._n_kept)
        self._n_hops = 0

    def start(self) -> None:
        """Begin a segment; the next sample is number 0."""
        self._hops.clear()
        self._n_hops = 0

    def push(self, data: NDArray[np.float32], flags: Flag) -> None:
        """Add the next hop, shape (n_channels, hop)."""
        self._hops.append((data, flags))
        self._n_hops += 1

    def cut(self, first: int) -> tuple[NDArray[np.float32], Flag] | None:
        """The epoch that begins at sample ``first``, shape (n_channels, n_samples), or None while it is not complete.

        Its flags are those of the hop that completed it and of all since: a flag about samples stands in every hop
        whose context they belong to, and held samples in front of the newest hop make ``first`` itself doubtful.

        Raises
        ------
        EpochGoneError
            It begins before the segment or before what is kept.
        """
        if first < 0:
            raise EpochGoneError("the signal begins, or began anew, within the epoch")
        oldest = self._n_hops - len(self._hops)
        from_hop, to_hop = first // self.hop, -(-(first + self.n_samples) // self.hop)
        if from_hop < oldest:
            raise EpochGoneError("the marker came too late: its signal is no longer kept")
        if to_hop > self._n_hops:
            return None
        hops = [self._hops[i - oldest][0] for i in range(from_hop, to_hop)]
        flags = Flag(0)
        for i in range(to_hop - 1, self._n_hops):
            flags |= self._hops[i - oldest][1]
        at = first - from_hop * self.hop
        return np.concatenate(hops, axis=1)[:, at : at + self.n_samples], flags
