"""A recording as sources for a session, without LSL in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from bci.ports import Clock, Ended, Offset, Pulled, SourceEvent
from bci.sources.schedule import Push, schedule
from bci.types import RecordedStream, StreamSpec


class RecordingSource:
    """One stream of a recording as a `bci.ports.Source`; made by `play_together`.

    Numeric samples come as an array that the receiver owns, strings as a list of lists. Stamps are the recorded ones. A
    first `Offset` says how they lie on the clock: the primary stream's first sample is due at the start.
    """

    def __init__(self, spec: StreamSpec, group: _Group):
        self._spec, self._group = spec, group
        self.deliver: Callable[[SourceEvent], None] | None = None

    @property
    def spec(self) -> StreamSpec:
        """The stream as it was recorded."""
        return self._spec

    def start(self, deliver: Callable[[SourceEvent], None]) -> None:
        """Be ready; the recording plays as soon as all its sources are."""
        self.deliver = deliver
        self._group.start_if_ready()

    def finish(self) -> None:
        """Nothing to do: a recording ends by itself."""

    def close(self) -> None:
        """Stop the whole recording. Returns once the delivery in progress has returned."""
        self._group.close()


def play_together(
    streams: Sequence[RecordedStream], primary: int, *, speed: float, clock: Clock, chunk_s: float = 0.02
) -> list[RecordingSource]:
    """Sources for the streams of a recording, in their order.

    One thread delivers all of them in the order in which they are due, so that the order is the same each time.
    ``speed=0`` goes as fast as the receivers take it: ``deliver`` may block. At the end each source delivers `Ended`.
    """
    group = _Group(streams, primary, speed, clock, chunk_s)
    return group.sources


class _Group:
    def __init__(
        self, streams: Sequence[RecordedStream], primary: int, speed: float, clock: Clock, chunk_s: float
    ) -> None:
        self.sources = [RecordingSource(s.spec, self) for s in streams]
        self._first_stamp_s = float(streams[primary].stamps_s[0])
        self._pushes = schedule(streams, primary, chunk_s=chunk_s)
        self._speed, self._clock = speed, clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start_if_ready(self) -> None:
        with self._lock:
            if self._thread is None and all(s.deliver for s in self.sources):
                self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self._stop.set()
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._play()
        except Exception as caught:  # a thread has nobody else to tell
            error = caught
        for source in self.sources:
            assert source.deliver is not None
            source.deliver(Ended(error))

    def _play(self) -> None:
        zero_s = None
        for push in self._pushes:
            if zero_s is None:
                zero_s = self._clock() + (max(0.0, -push.due_s / self._speed) if self._speed else 0.0)
                for source in self.sources:
                    self._deliver(source, Offset(zero_s, zero_s - self._first_stamp_s, 0.0))
            while self._speed and not self._stop.is_set():
                early_s = zero_s + push.due_s / self._speed - self._clock()
                if early_s <= 0:
                    break
                self._stop.wait(early_s)
            if self._stop.is_set():
                return
            self._deliver(self.sources[push.stream], self._pulled(push))

    def _pulled(self, push: Push) -> Pulled:
        if isinstance(push.samples, list):
            samples = [[label] for label in push.samples]
        else:
            samples = np.array(push.samples, order="C")
        return Pulled(samples, np.array(push.stamps_s, np.float64), self._clock())

    def _deliver(self, source: RecordingSource, event: SourceEvent) -> None:
        assert source.deliver is not None
        source.deliver(event)
