"""A scriptable LSL outlet in a process of its own: it does one thing per command and says when it is done.

``with Outlet(spec) as outlet: outlet.push(100)``. Row k of a numeric stream is that of `rows`; k counts all
rows pushed, from ``first`` on. The stamp of row k is ``START_S + k / sfreq_hz`` unless it is given.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import msgspec
import numpy as np

from bci.types import DTYPES, Channel, StreamSpec

START_S = 1000.0


def numeric_spec(
    name: str,
    n_channels: int = 4,
    sfreq_hz: float = 250.0,
    format_: str = "float32",
    source_id: str | None = None,
    type_: str = "EEG",
    **other: Any,
) -> StreamSpec:
    channels = tuple(Channel(f"C{i}", "EEG", "uV") for i in range(n_channels))
    return StreamSpec(
        name=name, type=type_, sfreq_hz=sfreq_hz, format=format_, channels=channels,
        source_id=f"id-{name}" if source_id is None else source_id, **other,
    )  # fmt: skip


def marker_spec(name: str, **other: Any) -> StreamSpec:
    other.setdefault("source_id", f"id-{name}")
    return StreamSpec(name=name, type="Markers", format="string", channels=(Channel("marker", "Markers"),), **other)


def rows(first: int, n: int, n_channels: int, format_: str) -> np.ndarray:
    """Rows ``first`` to ``first + n``: their number in channel 0 (modulo 100 for int8), small numbers in the others."""
    k = np.arange(first, first + n)[:, None]
    values = np.where(np.arange(n_channels)[None, :] == 0, k, (k + np.arange(n_channels)[None, :]) % 100)
    return (values % 100 if format_ == "int8" else values).astype(DTYPES[format_])


class Outlet:
    """The test's side. Every call returns when the outlet has done it."""

    def __init__(self, spec: StreamSpec, first: int = 0):
        self.spec = spec
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.outlets"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.uid = self._ask(open=json.loads(msgspec.json.encode(spec)), first=first)

    def _ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the outlet process has died"
        return json.loads(answer)

    def wait_for_consumer(self) -> None:
        assert self._ask(consumers=20.0), "nobody subscribed"

    def push(self, n: int, stamps_s: list[float] | None = None) -> None:
        """Push n rows as one chunk."""
        self._ask(push=n, stamps_s=stamps_s)

    def push_values(self, values: np.ndarray, stamps_s: list[float]) -> None:
        """Push these very bytes."""
        self._ask(values=values.tobytes().hex(), stamps_s=stamps_s)

    def push_labels(self, labels: list[str], stamps_s: list[float]) -> None:
        self._ask(labels=labels, stamps_s=stamps_s)

    def stream(self, n: int, chunk: int) -> int:
        """Push n rows in chunks, each when its last row is due; returns at once (see ``wait``)."""
        return self._ask(stream=n, chunk=chunk)

    def wait(self) -> None:
        """Until ``stream`` has pushed its last row."""
        self._ask(join=True)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)

    def suspend(self) -> None:
        """Stop the process (not on Windows) and return when it stands still."""
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def end(self) -> None:
        """An orderly end: the outlet is destroyed."""
        self._ask(end=True)
        self.__exit__()

    def __enter__(self) -> Outlet:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(20)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class _Server:
    def __init__(self) -> None:
        self.outlet: Any = None
        self.thread: Any = None

    def answer(self, command: dict[str, Any]) -> Any:
        import pylsl

        from bci.lsl import info_from_spec

        if "open" in command:
            self.spec = msgspec.convert(command["open"], StreamSpec)
            self.k = command["first"]
            self.outlet = pylsl.StreamOutlet(info_from_spec(self.spec))
            return pylsl.resolve_byprop("name", self.spec.name, 1, 10) and self.outlet.get_info().uid()
        if "consumers" in command:
            return self.outlet.wait_for_consumers(command["consumers"])
        if "push" in command:
            self.push(command["push"], command["stamps_s"])
        elif "values" in command:
            data = np.frombuffer(bytes.fromhex(command["values"]), DTYPES[self.spec.format])
            self.outlet.push_chunk(data.reshape(-1, len(self.spec.channels)), command["stamps_s"])
        elif "labels" in command:
            for label, stamp_s in zip(command["labels"], command["stamps_s"], strict=True):
                self.outlet.push_sample([label], stamp_s)
        elif "stream" in command:
            import threading

            self.thread = threading.Thread(target=self.stream, args=(command["stream"], command["chunk"]))
            self.thread.start()
        elif "join" in command:
            self.thread.join()
        elif "end" in command:
            self.outlet = None
        return True

    def push(self, n: int, stamps_s: list[float] | None) -> None:
        stamps_s = stamps_s or [START_S + (self.k + i) / self.spec.sfreq_hz for i in range(n)]
        self.outlet.push_chunk(rows(self.k, n, len(self.spec.channels), self.spec.format), stamps_s)
        self.k += n

    def stream(self, n: int, chunk: int) -> None:
        import time

        import pylsl

        start_s, first = pylsl.local_clock(), self.k
        while (done := self.k - first) < n:
            time.sleep(max(0.0, start_s + (done + chunk) / self.spec.sfreq_hz - pylsl.local_clock()))
            self.push(chunk, [start_s + (done + 1 + i) / self.spec.sfreq_hz for i in range(chunk)])


if __name__ == "__main__":
    server = _Server()
    for line in sys.stdin:
        print(json.dumps(server.answer(json.loads(line))), flush=True)
