"""Markers that stand in the signal itself: a trigger channel whose value changes with each event."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from bci.types import Chunk, number_label


class TriggerChannel:
    """Finds the samples at which a channel takes a new value other than 0; the label is the value.

    What stands there at the very first sample is no event. Raw samples are looked at as they came, so the index is
    exact whatever the stamps say, and no chunking changes it.

    Parameters
    ----------
    channel : int
        Number of the channel in the stream.
    """

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._value: float | None = None
        self._found: deque[tuple[int, str]] = deque()

    def chunk(self, chunk: Chunk) -> None:
        """Take the next samples."""
        if not chunk.n:
            return
        values = chunk.samples[:, self._channel].astype(np.float64)
        before = np.concatenate(([values[0] if self._value is None else self._value], values[:-1]))
        self._value = float(values[-1])
        for at in np.flatnonzero((values != before) & (values != 0) & np.isfinite(values)):
            self._found.append((chunk.first_index + int(at), number_label(values[at])))

    def up_to(self, last_index: int) -> Iterator[tuple[int, str]]:
        """Raw index and label of the events up to that sample, each once."""
        while self._found and self._found[0][0] <= last_index:
            yield self._found.popleft()
