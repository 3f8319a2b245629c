"""The engine's side of the recorder process: a queue that never makes anyone wait, and the thread that empties it.

Calls append to a deque. The sender thread wakes by itself every 50 ms, so that a write costs the decode thread no
switch of threads; only a queue that fills fast wakes it early. What the recorder process does not take waits here for
about 30 s; after that it is dropped, counted and said.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.errors import RecordingError, one_line
from bci.host.channel import MAX_FRAME, Channel, ChannelClosed, ChannelFull, spawn_child
from bci.host.recorder_messages import BATCH_BYTES, Batch, Clock, Finish, Item, Open, Status, encode, queue_bytes
from bci.lsl import xml_from_spec
from bci.ports import Offset
from bci.recording.folder import next_part
from bci.recording.xdf import bytes_per_s, clean_xml, with_metadata
from bci.types import DTYPES, StreamSpec

SEND_S = 0.05
WAKE_BYTES = 2**20  # a queue this long is not left until the next wake-up
START_S = 20.0
WAIT_S = 0.25
STALL_S = 5.0  # what was sent and is not on disk after so long is trouble
HOLD_S = 2.0  # a loss is said for at least so long, or nobody might see it
RESTART_S = 1.0  # between attempts
FULL = "the queue to the recorder is full"


@dataclass(frozen=True, slots=True)
class RecorderReport:
    """What became of a recording. Counts are of samples, by stream name; streams with none are absent.

    ``n_lost`` never reached a file. ``n_unconfirmed`` were on their way to a recorder process that died: they may stand
    at the end of that part, or be missing.
    """

    parts: tuple[str, ...]
    n_bytes: int
    n_lost: dict[str, int]
    n_unconfirmed: dict[str, int]


class RecorderProcess:
    """Implements `bci.ports.Recorder` by a process of its own.

    Parameters
    ----------
    path : str or Path
        The new file. If it exists, the next free part: ``session.part2.xdf``.
    queue_s : float
        How long the disk may stand still before samples are lost.

    Raises
    ------
    RecordingError
        The file cannot be created.
    RolandicError
        The process does not start.
    """

    def __init__(self, path: str | Path, *, queue_s: float = 30.0):
        self._base, self._queue_s = Path(path), queue_s
        self._specs: list[StreamSpec] = []
        self._opens: list[Open] = []
        self._limit_bytes = queue_bytes(0.0, queue_s)
        # Callers count what they queue, the sender what it takes: neither waits for the other's lock.
        self._items: deque[tuple[int, object, NDArray[np.float64], int]] = deque()
        self._callers = threading.Lock()
        self._n_queued = self._n_taken = 0  # bytes
        self._n_lost: dict[int, int] = {}
        self._loss = ("", -np.inf)  # why samples were lost last, and when
        # What follows belongs to the sender thread.
        self._n_popped = 0  # bytes off the queue; they count as taken when they have left
        self._encoded: deque[tuple[Item, int, int]] = deque()  # item, samples, bytes
        # Not yet on disk: batch, samples by stream, when it was sent.
        self._sent: deque[tuple[int, dict[int, int], float]] = deque()
        self._unconfirmed: dict[int, int] = {}
        self._batch = 0
        self._parts: list[Path] = []
        self._n_bytes_before = 0
        self._lost_before: dict[int, int] = {}
        self._status = Status(0, 0)
        self._death = ""
        self._trouble, self._trouble_s = "", -np.inf
        self._child: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._wants_restart = self._is_closing = False
        self._deadline_s, self._next_start_s = np.inf, -np.inf
        self._wake = threading.Event()
        self._start_part()
        self._thread = threading.Thread(target=self._run, name="recorder-sender", daemon=True)
        self._thread.start()

    # --- called by the engine: nothing here waits ----------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The part that is being written."""
        return self._parts[-1]

    def open_stream(self, spec: StreamSpec, metadata: str = "") -> int:
        """Give a stream its header and number. ``metadata`` (any text) is kept inside the header."""
        if spec.format not in DTYPES and spec.format != "string":
            raise RecordingError(f"stream {spec.name!r}: XDF has no format {spec.format!r}")
        xml = with_metadata(clean_xml(xml_from_spec(spec)), metadata)
        if len(xml) > MAX_FRAME // 8:
            raise RecordingError(f"stream {spec.name!r}: a header of {len(xml)} characters; at most {MAX_FRAME // 8}")
        with self._callers:
            number = len(self._specs) + 1
            growth = bytes_per_s(spec)
            self._specs.append(spec)
            self._limit_bytes += growth * self._queue_s
            item = Open(number, xml, spec.format, len(spec.channels), growth)
            self._items.append((number, item, np.empty(0), 0))
        return number

    def write(
        self, stream: int, samples: NDArray | Sequence[Sequence[str]], stamps_s: Sequence[float] | NDArray
    ) -> None:
        """Queue samples (n, n_channels) and raw stamps (n,). Both are kept, not copied: never change them afterwards.

        Raises
        ------
        RecordingError
            Shape or dtype are not what the stream's spec says (numbers are recorded exactly, never cast).
        """
        stamps = np.asarray(stamps_s, np.float64)
        n, spec = len(stamps), self._specs[stream - 1]
        if isinstance(samples, np.ndarray):
            is_right = samples.shape == (n, len(spec.channels)) and samples.dtype == DTYPES.get(spec.format)
            n_bytes = samples.nbytes + 9 * n
        else:
            is_right = (
                spec.format == "string" and len(samples) == n and all(len(row) == len(spec.channels) for row in samples)
            )
            n_bytes = 9 * n + sum(len(value) for row in samples for value in row)
        if not is_right:
            what = f"{samples.dtype} {samples.shape}" if isinstance(samples, np.ndarray) else f"{len(samples)} rows"
            raise RecordingError(
                f"stream {spec.name!r}: {what} with {n} stamps; expected {spec.format} ({n}, {len(spec.channels)})"
            )
        if not n:
            return
        with self._callers:
            n_waiting = self._n_queued - self._n_taken
            if self._is_closing or n_waiting + n_bytes > self._limit_bytes:
                self._n_lost[stream] = self._n_lost.get(stream, 0) + n
                self._loss = (FULL, time.monotonic())
                return
            self._n_queued += n_bytes
            self._items.append((stream, samples, stamps, n_bytes))
        if n_waiting > WAKE_BYTES:
            self._wake.set()

    def offset(self, stream: int, offset: Offset) -> None:
        """Queue a measured clock offset."""
        clock = Clock(stream, float(offset.collected_s), float(offset.offset_s))
        self._items.append((stream, clock, np.empty(0), 0))

    def trouble(self) -> str:
        """What is wrong now, in a sentence that changes at most once a second; "" if nothing is."""
        return self._trouble

    @property
    def pid(self) -> int | None:
        """Of the recorder process; None once it has ended."""
        return None if self._child is None or self._child.returncode is not None else self._child.pid

    @property
    def n_waiting(self) -> int:
        """Bytes that have not left for the recorder process."""
        return self._n_queued - self._n_taken

    @property
    def has_died(self) -> bool:
        """Whether the recorder process has ended; `restart` starts another."""
        return bool(self._death)

    def restart(self) -> None:
        """If the recorder process has died, start another on a new part; headers are repeated, the queue is kept."""
        if self._death:
            self._wants_restart = True
            self._wake.set()

    def report(self) -> RecorderReport:
        """What became of the samples so far; final after `close`."""
        names = {i: spec.name for i, spec in enumerate(self._specs, 1)}
        lost = dict(self._n_lost)
        for counts in (self._lost_before, self._status.n_lost):
            _add(lost, dict(counts))  # a copy: the sender may be counting
        return RecorderReport(
            tuple(str(p) for p in self._parts),
            self._n_bytes_before + self._status.n_bytes,
            {names[s]: n for s, n in lost.items()},
            {names[s]: n for s, n in dict(self._unconfirmed).items()},
        )

    def close(self, timeout_s: float = 30.0) -> None:
        """Send what is queued, and wait until the file is finished, at most ``timeout_s``. May be called twice.

        A recorder process that needs longer is left to finish by itself.
        """
        self._deadline_s = time.monotonic() + timeout_s
        with self._callers:
            self._is_closing = True
        self._wake.set()
        self._thread.join(timeout_s + START_S)

    # --- the sender thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(SEND_S)
            self._wake.clear()
            self._pump()
        self._pump()
        self._end()

    def _pump(self) -> None:
        """Send what is queued, after a restart if one is wanted."""
        try:
            if self._death and self._wants_restart and time.monotonic() >= self._next_start_s:
                self._next_start_s = time.monotonic() + RESTART_S
                self._start_part()
            if not self._death:
                self._read_status(0.0)
                while (items := self._next_items()) and self._send(*items):
                    self._count_taken()
        except ChannelClosed:
            self._died("the recorder process ended")
        except Exception as error:  # whatever it is: this thread goes on, says it, and starts another process
            if self._death:  # the restart failed
                self._death = one_line(error)
            else:
                self._died(f"the recorder process was given up ({one_line(error)})")
        self._refresh()

    def _start_part(self) -> None:
        self._wants_restart = False
        path = next_part(self._base)
        config = {"path": str(path), "queue_s": self._queue_s}
        child, channel = spawn_child("bci.host.recorder_main", Status, config, timeout_s=START_S, max_pending=MAX_FRAME)
        try:
            first = channel.receive(START_S)
        except (ChannelClosed, msgspec.MsgspecError):
            first = []
        if not first or first[-1].batch < 0:
            child.kill()
            child.wait()
            channel.close()
            reason = first[-1].error if first else "the recorder process ended at once"
            raise RecordingError(f"cannot create {path}: {reason}; record to a folder that exists and is writable")
        self._n_bytes_before += self._status.n_bytes
        _add(self._lost_before, self._status.n_lost)
        self._child, self._channel, self._status, self._death = child, channel, first[-1], ""
        self._parts.append(path)
        if self._opens:
            self._send(list(self._opens), {})

    def _next_items(self) -> tuple[list[Item], dict[int, int]] | None:
        """The next batch, and how many samples of each stream are in it; None when the queue is empty."""
        items: list[Item] = []
        counts: dict[int, int] = {}
        n_bytes = 0
        while n_bytes < BATCH_BYTES:
            if not self._encoded:
                if not self._items:
                    break
                stream, what, stamps, n_item_bytes = self._items.popleft()
                self._n_popped += n_item_bytes
                try:
                    self._encoded.extend(encode(stream, what, stamps))
                except Exception as error:  # no memory, or not what it claimed to be: the others must not suffer
                    self._lose({stream: len(stamps)}, f"samples could not be sent to the recorder ({one_line(error)})")
                    continue
            item, n_samples, n_item_bytes = self._encoded.popleft()
            if isinstance(item, Open):
                self._opens.append(item)
            items.append(item)
            n_bytes += n_item_bytes
            if n_samples:
                counts[item.stream] = counts.get(item.stream, 0) + n_samples
        return (items, counts) if items else None

    def _send(self, items: list[Item], counts: dict[int, int]) -> bool:
        """Send one batch and wait until it has left; False when the time to close has run out."""
        assert self._channel is not None
        self._batch += 1
        self._sent.append((self._batch, counts, time.monotonic()))
        try:
            self._channel.send(Batch(self._batch, items))
        except ChannelFull:  # one sample of more than 64 MiB
            self._sent.pop()
            self._lose(counts, f"one batch may have {MAX_FRAME // 2**20} MiB at most")
            return True
        return self._flush()

    def _lose(self, counts: dict[int, int], why: str) -> None:
        _add(self._lost_before, counts)
        self._loss = (why, time.monotonic())

    def _flush(self) -> bool:
        assert self._channel is not None
        while not self._channel.flush_all(WAIT_S):
            self._read_status(0.0)
            self._refresh()
            if time.monotonic() > self._deadline_s:
                return False
        return True

    def _read_status(self, timeout_s: float) -> None:
        assert self._channel is not None
        for status in self._channel.receive(timeout_s):
            if status.n_lost != self._status.n_lost:
                self._loss = ("the recorder process did not take all samples", time.monotonic())
            self._status = status
            while self._sent and self._sent[0][0] <= status.batch:
                self._sent.popleft()

    def _died(self, why: str) -> None:
        """Say it, then see the process out: one that still lives finishes its file now, which may take its time."""
        assert self._child is not None
        assert self._channel is not None
        n = sum(sum(counts.values()) for _, counts, _ in self._sent)
        missing = f"up to {n} samples may be missing at the end of {self.path}"
        self._death = f"{why}; {missing}"
        self._forget_sent()
        self._count_taken()
        self._refresh(at_once=True)
        self._channel.close()
        try:
            code = self._child.wait(START_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        self._death = f"{why} (exit code {code}); {missing}"
        self._refresh(at_once=True)

    def _count_taken(self) -> None:
        if not self._encoded:  # else part of the last entry still waits
            self._n_taken = self._n_popped

    def _forget_sent(self) -> None:
        for _, counts, _ in self._sent:
            _add(self._unconfirmed, counts)
        self._sent.clear()

    def _end(self) -> None:
        """Everything is queued: have the file finished, and see the process out."""
        assert self._child is not None
        assert self._channel is not None
        if not self._death:
            try:
                self._channel.send(Finish())
                while self._flush() and time.monotonic() < self._deadline_s:
                    self._read_status(WAIT_S)
            except ChannelClosed:  # as it should be
                pass
            except Exception as error:
                self._death = f"the end of {self.path} could not be sent: {one_line(error)}"
            self._channel.close()
            try:
                code = self._child.wait(max(0.0, self._deadline_s - time.monotonic()))
                if code:
                    self._death = f"the end of {self.path} could not be written: {self._status.error or code}"
            except subprocess.TimeoutExpired:
                self._death = f"the recorder has not finished {self.path} in time; it goes on by itself"
        self._forget_sent()
        while (rest := self._next_items()) is not None:
            _add(self._lost_before, rest[1])
        self._refresh(at_once=True)

    def _refresh(self, at_once: bool = False) -> None:
        """Say what is wrong now; a sentence with a running count changes once a second."""
        said = [self._death] if self._death else []
        if not self._death and self._status.error:
            said.append(f"the disk does not take the recording ({self._status.error}); it is tried again every second")
        now_s = time.monotonic()
        if not said and self._sent and now_s - self._sent[0][2] > STALL_S:
            n_kib = self.n_waiting // 1024
            said.append(f"the recorder has written nothing for {STALL_S:g} s; {n_kib} KiB wait, nothing is lost yet")
        why, lost_s = self._loss
        if now_s - lost_s < HOLD_S or (said and self._status.n_lost):
            lost = ", ".join(f"{n} samples of {name!r}" for name, n in self.report().n_lost.items())
            said.append(f"{why}; lost so far: {lost}")
        text = "; ".join(said)
        if bool(text) != bool(self._trouble) or at_once or now_s - self._trouble_s >= 1.0:
            self._trouble, self._trouble_s = text, now_s


def _add(total: dict[int, int], counts: dict[int, int]) -> None:
    for stream, n in counts.items():
        total[stream] = total.get(stream, 0) + n
