"""Markers on the primary stream's samples: where each falls, and which still wait for the signal behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bci.signal.epochs import EpochGoneError
from bci.signal.stamps import ClockCorrection
from bci.signal.timeline import Block, Timeline
from bci.signal.triggers import TriggerChannel
from bci.types import Chunk, ClockOffset, Marker, MarkerExpired, MarkerPlaced


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A marker whose epoch is not whole yet; ``sample_index`` is known for sure where a trigger channel gave it."""

    number: int
    label: str
    stamp_s: float
    sample_index: int | None


class Markers:
    """All markers of a session, numbered in the order in which they could be placed.

    Parameters
    ----------
    timeline : Timeline
        Of the primary stream.
    trigger : int or None
        Number of the channel whose changes are the markers; those of marker streams count for nothing then, for readers
        of files make markers of that channel too, and every cue would come twice.
    """

    def __init__(self, timeline: Timeline, trigger: int | None) -> None:
        self._timeline = timeline
        self._trigger = None if trigger is None else TriggerChannel(trigger)
        self._clocks: dict[int, ClockCorrection] = {}
        self._n_placed = 0
        self._waiting: list[_Waiting] = []

    def chunk(self, chunk: Chunk) -> None:
        """Take the next samples of the primary stream."""
        if self._trigger is not None:
            self._trigger.chunk(chunk)

    def clock_offset(self, offset: ClockOffset) -> None:
        """Take a measured clock offset of a marker stream."""
        self._clocks.setdefault(offset.stream, ClockCorrection()).update(offset)

    def receive(self, marker: Marker) -> MarkerPlaced | MarkerExpired | None:
        """Place a marker of a marker stream; None where a trigger channel speaks instead."""
        if self._trigger is not None:
            return None
        clock = self._clocks.get(marker.stream)
        stamp_s = clock.at(marker.stamp_s) if clock else marker.stamp_s
        placed = self._timeline.place(stamp_s)
        if placed is None:
            return MarkerExpired(marker.label, -1, "the marker's time lies outside the signal")
        return self._number(marker.label, placed[0], stamp_s, placed[1])

    def of_channel(self, block: Block) -> Iterator[MarkerPlaced]:
        """The markers that the trigger channel gave up to the end of this block."""
        for index, label in self._trigger.up_to(block.sample_index) if self._trigger is not None else ():
            stamp_s = block.stamp_s - (block.sample_index - index) * self._timeline.fit.period_s
            yield self._number(label, index, stamp_s, 0.0)

    def _number(self, label: str, sample_index: int, stamp_s: float, residual_s: float) -> MarkerPlaced:
        self._n_placed += 1
        return MarkerPlaced(label, sample_index, stamp_s, residual_s, self._n_placed - 1)

    def wait(self, placed: MarkerPlaced) -> None:
        """Keep this one until its epoch is whole."""
        index = placed.sample_index if self._trigger is not None else None
        self._waiting.append(_Waiting(placed.number, placed.label, placed.stamp_s, index))

    def complete(self, decide: Callable[[int, int], bool]) -> Iterator[MarkerExpired]:
        """Ask ``decide(number, sample_index)`` for each marker that waits; it says whether the epoch was whole.

        Each is placed again, for the line of stamps has moved on since it came. Those that never will be whole are
        given back.
        """
        waiting, self._waiting = self._waiting, []
        for marker in waiting:
            try:
                if not decide(marker.number, self._index_of(marker)):
                    self._waiting.append(marker)
            except EpochGoneError as gone:
                yield MarkerExpired(marker.label, marker.number, str(gone))

    def _index_of(self, marker: _Waiting) -> int:
        if marker.sample_index is not None:
            return marker.sample_index
        placed = self._timeline.place(marker.stamp_s)
        if placed is None:
            raise EpochGoneError("the marker came too late: its time is no longer known")
        return placed[0]
