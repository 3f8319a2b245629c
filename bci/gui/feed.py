"""Reads a session's streams over LSL for the window: found and opened by a thread, pulled by the event loop.

Whatever happens to a stream, `Feed.poll` returns: a stream that went silent is said to be silent, one that came back
is read again.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci.lsl import dtype_of, spec_from_xml
from bci.types import StreamSpec

FIND_S = 1.0  # between looks for streams
SILENT_S = 1.0
MAX_SAMPLES = 4096
KEPT_S = 10


@dataclass
class Stream:
    """One open inlet."""

    spec: StreamSpec
    metadata: str
    inlet: pylsl.StreamInlet
    is_raw: bool
    heard_s: float = field(default_factory=time.monotonic)
    n: int = 0

    def pull(self) -> tuple[Any, NDArray[np.float64]]:
        """All that has come: rows (n, channels) or lists of strings, and stamps in local time."""
        rows, stamps = self.inlet.pull_chunk(timeout=0.0, max_samples=MAX_SAMPLES)
        stamps_s = np.asarray(stamps, float)
        if len(stamps_s):
            self.heard_s = time.monotonic()
            self.n += len(stamps_s)
            if self.spec.format != "string":
                rows = np.asarray(rows, dtype_of(self.spec))
        return rows, stamps_s


class Feed:
    """All streams of one session.

    Parameters
    ----------
    group : str
        Of the session's own streams; empty: the first session that is seen.
    """

    def __init__(self, group: str = ""):
        self.group = group
        self.streams: dict[str, Stream] = {}
        self.raw: Stream | None = None
        self.trouble = "looking for a session"
        self._opened: queue.SimpleQueue[Stream] = queue.SimpleQueue()
        self._known: set[str] = set()
        self._wanted_raw: dict[str, str] = {}
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._find, name="feed", daemon=True)
        self._thread.start()

    def poll(self) -> list[tuple[Stream, Any, NDArray[np.float64]]]:
        """What has come since the last call, by stream. Never waits."""
        with contextlib.suppress(queue.Empty):
            while True:
                stream = self._opened.get_nowait()
                if stream.is_raw:
                    self.raw = stream
                self.streams[stream.spec.name] = stream
        came = []
        for name, stream in list(self.streams.items()):
            try:
                rows, stamps_s = stream.pull()
            except Exception as error:
                self.trouble = f"stream {name!r} was lost ({error})"
                self.streams.pop(name)
                self._known.discard(stream.spec.uid)
                if stream is self.raw:
                    self.raw = None
                continue
            if len(stamps_s):
                came.append((stream, rows, stamps_s))
        self._judge()
        return came

    def close(self) -> None:
        """Stop looking; inlets end with the process."""
        self._is_closing.set()
        self._thread.join(3.0)

    def _judge(self) -> None:
        if not any(name.startswith("bci-") for name in self.streams):
            self.trouble = "no session is visible: start one with `bci run --share`, or look at the network"
        elif self.raw is None:
            self.trouble = "the session is here; its signal stream is not visible from this machine"
        elif (silent_s := time.monotonic() - self.raw.heard_s) > SILENT_S:
            self.trouble = f"the signal {self.raw.spec.name!r} has been silent for {silent_s:.0f} s"
        else:
            self.trouble = ""

    # --- the thread --------------------------------------------------------------------------------------------------

    def _find(self) -> None:
        resolver = pylsl.ContinuousResolver()
        while not self._is_closing.wait(FIND_S if self._known else 0.25):
            with contextlib.suppress(Exception):  # a stream that goes while it is looked at is none
                for info in resolver.results():
                    if info.uid() not in self._known:
                        self._consider(info)

    def _consider(self, info: pylsl.StreamInfo) -> None:
        if info.type() == "rolandic":
            group = info.source_id().removeprefix(f"{info.name()}-")
            if not self.group and info.name() == "bci-events":
                self.group = group
            if group == self.group:
                self._open(info, is_raw=info.name() == "bci-raw")
        elif (
            (info.name() == "bci-raw" and info.source_id().endswith(self.group) and self.group)
            or info.uid() in self._wanted_raw
            or (info.source_id() and info.source_id() in self._wanted_raw.values() and info.name() in self._wanted_raw)
        ):
            self._open(info, is_raw=True)

    def _open(self, info: pylsl.StreamInfo, is_raw: bool) -> None:
        # without a correction by liblsl: on this machine the clock is the same, elsewhere a window tolerates its offset
        inlet = pylsl.StreamInlet(
            info, max_buflen=KEPT_S, recover=True, processing_flags=pylsl.proc_clocksync if is_raw else 0
        )
        full = inlet.info(timeout=5.0)
        spec = spec_from_xml(full.as_xml())
        metadata = full.desc().child("rolandic").child_value("metadata")
        inlet.open_stream(timeout=5.0)
        self._known.add(info.uid())
        if spec.name == "bci-events" and metadata:
            self._expect_raw(metadata)
        self._opened.put(Stream(spec, metadata, inlet, is_raw))

    def _expect_raw(self, metadata: str) -> None:
        import json

        with contextlib.suppress(ValueError):
            primary = json.loads(metadata)["primary"]
            self._wanted_raw = {primary.get("uid", ""): "", primary["name"]: primary.get("source_id", "")}
