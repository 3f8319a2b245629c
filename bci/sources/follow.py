"""The cues of a marker stream that comes and goes, for a simulated person who does what they say."""

from __future__ import annotations

import contextlib
import queue
import threading

import pylsl

from bci.lsl import quoted

LOOK_S = 0.2
WAIT_S = 2.0


class Cues:
    """Looks for the marker stream ``name``, and reads it while it is there, in a thread that ends with the process."""

    def __init__(self, name: str):
        self._predicate = f"name={quoted(name)}"
        self._labels: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.are_there = False
        threading.Thread(target=self._read, name="cues", daemon=True).start()

    def take(self) -> list[str]:
        """Labels that came since the last call."""
        labels = []
        with contextlib.suppress(queue.Empty):
            while True:
                labels.append(self._labels.get_nowait())
        return labels

    def _read(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # a stream that goes while it is looked at is none
                found = pylsl.resolve_bypred(self._predicate, 1, WAIT_S)
                if found:
                    inlet = pylsl.StreamInlet(found[0], recover=False)
                    inlet.open_stream(timeout=WAIT_S)
                    self.are_there = True
                    while True:  # until it is lost, which is an exception
                        sample, _ = inlet.pull_sample(timeout=LOOK_S)
                        if sample is not None:
                            self._labels.put(str(sample[0]))
            self.are_there = False
