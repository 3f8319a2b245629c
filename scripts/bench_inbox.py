"""From `put` in one thread to the return of `take` in another, in µs: three primitives, idle and beside pure Python.

``python scripts/bench_inbox.py``. The putter wakes up from a blocking call outside the GIL, as a pull does.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from typing import Any

import numpy as np

from bci.host.inbox import Inbox

N = 1500
PERIOD_S = 0.002


class ConditionInbox:
    """A list under a condition."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.condition = threading.Condition()

    def put(self, item: Any) -> None:  # noqa: D102
        with self.condition:
            self.items.append(item)
            self.condition.notify()

    def take(self, timeout_s: float) -> list[Any]:  # noqa: D102
        with self.condition:
            self.condition.wait_for(lambda: self.items, timeout_s)
            items = list(self.items)
            self.items.clear()
            return items


class LockInbox:
    """A list and a lock for a bell."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.bell = threading.Lock()
        self.bell.acquire()

    def put(self, item: Any) -> None:  # noqa: D102
        self.items.append(item)
        if self.bell.locked():
            self.bell.release()

    def take(self, timeout_s: float) -> list[Any]:  # noqa: D102
        self.bell.acquire(timeout=timeout_s)
        return [self.items.popleft() for _ in range(len(self.items))]


class BareQueue:
    """What `Inbox` adds its bound to."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.put = self.queue.put

    def take(self, timeout_s: float) -> list[Any]:  # noqa: D102
        return [self.queue.get(timeout=timeout_s)]


def measure(inbox: Any) -> np.ndarray:
    def putter() -> None:
        for _ in range(N):
            time.sleep(PERIOD_S)
            inbox.put(time.perf_counter())

    thread = threading.Thread(target=putter)
    thread.start()
    waits = []
    while len(waits) < N:
        waits += [time.perf_counter() - put_s for put_s in inbox.take(5.0)]
    thread.join()
    return 1e6 * np.array(waits)


def main() -> None:
    stop = False

    def busy() -> None:
        while not stop:
            pass

    print(f"{'':32}" + "".join(f"{p:>9}" for p in ("p50", "p95", "p99")) + "   µs")
    for beside, interval_s in (("nothing", 0.005), ("pure Python", 0.005), ("pure Python", 0.0005)):
        sys.setswitchinterval(interval_s)
        stop = beside == "nothing"
        thread = threading.Thread(target=busy)
        thread.start()
        for make in (Inbox, BareQueue, LockInbox, ConditionInbox):
            waits = measure(make())
            name = f"{make.__name__}, {beside}, {interval_s * 1e3:g} ms"
            print(f"{name:40}" + "".join(f"{np.percentile(waits, p):9.1f}" for p in (50, 95, 99)), flush=True)
        stop = True
        thread.join()


if __name__ == "__main__":
    main()
