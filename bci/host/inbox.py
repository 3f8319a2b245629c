"""The engine's inbox: many threads put, the decode thread takes all that waits.

A `queue.SimpleQueue`; a lock is touched only when the inbox is full. From put to the return of take, two threads,
two busy cores, µs p50 / p99 (``scripts/bench_inbox.py``): the bare queue 14 / 40, this one 24 / 49, a list with a lock
for a bell 20 / 57, a list under a condition 34 / 79. Beside a thread of pure Python all of them wait for its turn to
end: p95 12 ms with Python's own switch interval, 1.2 ms with that of `bci.host.realtime`.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from bci.ports import Pulled

MAX_CHUNKS = 128  # 32 MB when all of them are full pulls of 64 float32 channels


class Inbox:
    """Bounded for data, never closed to a word of control.

    ``put`` of an item that carries `Pulled` waits while ``max_chunks`` items wait already: liblsl keeps what comes
    meanwhile, and the order within a source stays. Everything else (controls, silence, offsets) goes in at once.
    """

    def __init__(self, max_chunks: int = MAX_CHUNKS):
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._max_chunks = max_chunks
        self._room = threading.Condition()
        self._n_blocked = 0
        self._is_closed = False

    def __len__(self) -> int:
        return self._queue.qsize()

    def put(self, item: Any) -> None:
        """Add one item: ``(stream number, SourceEvent)`` or anything else. After `close` it is dropped."""
        if self._queue.qsize() >= self._max_chunks and isinstance(item, tuple) and isinstance(item[-1], Pulled):
            self._wait_for_room()
        if not self._is_closed:
            self._queue.put(item)

    def _wait_for_room(self) -> None:
        with self._room:
            self._n_blocked += 1
            self._room.wait_for(lambda: self._queue.qsize() < self._max_chunks or self._is_closed)
            self._n_blocked -= 1

    def take(self, timeout_s: float) -> list[Any]:
        """All items that wait, in the order of their arrival; waits for the first at most ``timeout_s``.

        For one thread. Empty after the time-out, or at once when the inbox is closed and empty.
        """
        try:
            items = [self._queue.get(not self._is_closed, timeout_s)]
        except queue.Empty:
            return []
        for _ in range(self._queue.qsize()):
            items.append(self._queue.get_nowait())
        if self._n_blocked:
            with self._room:
                self._room.notify_all()
        return [item for item in items if item is not _CLOSED] if self._is_closed else items

    def close(self) -> None:
        """Let everybody go who waits; what is put from now on is dropped, what waits can still be taken."""
        self._is_closed = True
        self._queue.put(_CLOSED)
        with self._room:
            self._room.notify_all()


_CLOSED = object()
