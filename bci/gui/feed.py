"""Reads a session's streams over LSL for the window: found and opened by a thread, pulled by the event loop.

Whatever happens to a stream, `Feed.poll` returns: a stream that went silent is said to be silent, one that came back
is read again.
"""

from __future__ import annotations

import contextlib
import json
import math
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
        self._primary: dict[str, str] = {}  # the signal that the session names: its uid, name and source_id
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

    @property
    def quiet_s(self) -> float:
        """How long the session has said nothing of itself; infinite where there is none."""
        heard_s = [s.heard_s for s in self.streams.values() if s.spec.type == "rolandic"]
        return time.monotonic() - max(heard_s) if heard_s else math.inf

    def _judge(self) -> None:
        if math.isinf(quiet_s := self.quiet_s):
            self.trouble = "no session is visible: start one with `bci run --share`, or look at the network"
        elif quiet_s > SILENT_S:
            self.trouble = f"nothing from the session for {quiet_s:.0f} s: it has ended, hangs, or the network is down"
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
        if info.type() == "rolandic" or info.name() == "bci-raw":
            group = info.source_id().removeprefix(f"{info.name()}-")
            if not self.group and info.name() == "bci-events":
                self.group = group
            if group == self.group:
                self._open(info, is_raw=info.name() == "bci-raw")
        elif info.type() == "Cursor":  # a device says nothing of its session: whatever cursor moves here is shown
            self._open(info, is_raw=False)
        elif self._primary and info.name() == self._primary["name"]:
            told = self._primary["source_id"]  # a sender that was started again has another uid
            if info.uid() == self._primary["uid"] or (told and info.source_id() == told):
                self._open(info, is_raw=True)

    def _open(self, info: pylsl.StreamInfo, is_raw: bool) -> None:
        # stamps in this machine's time, so that signal and decisions stand beside each other also elsewhere
        flags = pylsl.proc_clocksync
        inlet = pylsl.StreamInlet(info, max_buflen=KEPT_S, recover=True, processing_flags=flags)
        full = inlet.info(timeout=5.0)
        spec = spec_from_xml(full.as_xml())
        metadata = full.desc().child("rolandic").child_value("metadata")
        inlet.open_stream(timeout=5.0)
        # measured here, where it may take its time: else the first pull waits for it, and with it the event loop
        inlet.time_correction(timeout=5.0)
        self._known.add(info.uid())
        if spec.name == "bci-events" and metadata:
            with contextlib.suppress(ValueError, KeyError):
                primary = json.loads(metadata)["primary"]
                self._primary = {key: primary.get(key, "") for key in ("uid", "name", "source_id")}
        self._opened.put(Stream(spec, metadata, inlet, is_raw))
