"""The recorder process: takes batches from the engine and appends them to one XDF file.

It outlives Ctrl-C and the engine: at the end of the pipe it finishes the file by itself. A full or failing disk never
ends it: the file stays cut at its last whole chunk, the engine is told, and every second it is tried again.
Imports numpy and msgspec only, to start fast.
"""

from __future__ import annotations

import contextlib
import datetime
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bci.errors import RecordingError, RolandicError
from bci.host.channel import Channel, ChannelClosed, connect_to_parent
from bci.host.recorder_messages import Batch, Clock, Finish, Item, Numbers, Open, Status, Strings, queue_bytes
from bci.recording.folder import fsync_folder, private
from bci.recording.xdf import XdfWriter
from bci.types import DTYPES

RETRY_S = 1.0
GIVE_UP_S = 10.0  # how long the last bytes are tried on a full disk once the engine has ended
STATUS_S = 0.25  # how long a receive waits, so that what is pending gets written when nothing comes


class Recording:
    """One file: encodes batches, writes when due, remembers what failed. Reads no clock."""

    def __init__(self, file: BinaryIO, queue_s: float, wall_time: str = ""):
        self.writer = XdfWriter(file, wall_time)
        self.error = ""
        self.n_lost: dict[int, int] = {}
        self._queue_s, self._bytes_per_s = queue_s, 0.0
        self._channels: dict[int, tuple[str, int]] = {}
        self._taken = self._on_disk = 0
        self._retry_s = -np.inf

    def take(self, batch: Batch, now_s: float) -> None:
        """Encode a batch. While the disk refuses, what exceeds the queue is counted as lost."""
        for item in batch.items:
            try:
                self._take(item, now_s)
            except (RolandicError, ValueError) as error:  # one bad item must not end the others' recording
                self.error = str(error)
                if isinstance(item, Numbers | Strings):
                    self._lose(item)
        self._taken = batch.number

    def _take(self, item: Item, now_s: float) -> None:
        writer = self.writer
        if not isinstance(item, Open) and item.stream not in self._channels:
            raise RecordingError(f"stream {item.stream}: its header was refused, or did not come")
        if isinstance(item, Open):
            writer.open_stream(item.stream, item.xml, item.format)
            self._channels[item.stream] = item.format, item.n_channels
            self._bytes_per_s += item.bytes_per_s
            self.write(now_s, even_if_early=True)  # headers are on disk before samples
        elif isinstance(item, Clock):
            writer.clock_offset(item.stream, item.collected_s, item.offset_s)
        else:
            stamps = np.frombuffer(item.stamps)
            limit = queue_bytes(self._bytes_per_s, self._queue_s)
            if writer.n_pending > limit:  # much came at once: no loss unless the disk refuses it
                self.write(now_s, even_if_early=True)
            if writer.n_pending > limit:
                self._lose(item)
            elif isinstance(item, Strings):
                writer.samples(item.stream, item.values, stamps)
            else:
                fmt, n_channels = self._channels[item.stream]
                values = np.frombuffer(item.values, DTYPES[fmt]).reshape(len(stamps), n_channels)
                writer.samples(item.stream, values, stamps)

    def _lose(self, item: Numbers | Strings) -> None:
        self.n_lost[item.stream] = self.n_lost.get(item.stream, 0) + len(item.stamps) // 8

    def write(self, now_s: float, *, even_if_early: bool = False) -> bool:
        """Write if it is due, or again if a second has passed since it failed; True when the status has changed."""
        if now_s < self._retry_s:
            return False
        try:
            if even_if_early:
                self.writer.write(now_s)
            elif not self.writer.write_if_due(now_s):
                return False
            self.error, self._on_disk = "", self._taken
        except OSError as error:
            self._failed(error, now_s)
        return True

    def finish(self, now_s: float) -> bool:
        """Write everything and the footers; False when the disk did not take it: try again later."""
        try:
            self.writer.finish(now_s)
            self.error, self._on_disk = "", self._taken
        except OSError as error:
            self._failed(error, now_s)
            return False
        return True

    def status(self) -> Status:
        """What the engine is told."""
        return Status(self._on_disk, self.writer.n_written, self.error, self.n_lost)

    def _failed(self, error: OSError, now_s: float) -> None:
        self.error = error.strerror or str(error)
        self._retry_s = now_s + RETRY_S


def create(path: Path) -> BinaryIO:
    """A new file that only its owner reads, its name durable in its folder.

    Raises
    ------
    OSError
        It exists, or cannot be created.
    """
    file = open(path, "xb", buffering=0, opener=private)  # noqa: SIM115 (the caller closes it)
    fsync_folder(path.parent)
    return file


def main() -> int:
    """Record until the engine says so or is gone."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # the engine's end is the only end
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    channel, config = connect_to_parent(Batch | Finish)
    try:
        file = create(Path(config["path"]))
    except OSError as error:
        channel.send(Status(-1, 0, error.strerror or str(error)))
        channel.flush_all(5.0)
        return 1
    with file:
        wall_time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        recording = Recording(file, config["queue_s"], wall_time)
        recording.write(time.monotonic(), even_if_early=True)
        _tell(channel, recording)
        _record(channel, recording)
        is_whole = _finish(recording)
        _tell(channel, recording)
        with contextlib.suppress(RolandicError):
            channel.flush_all(1.0)
        channel.close()
    return 0 if is_whole else 1


def _record(channel: Channel, recording: Recording) -> None:
    while True:
        try:
            frames = channel.receive(STATUS_S)
        except ChannelClosed:
            return
        now_s = time.monotonic()
        for frame in frames:
            if isinstance(frame, Finish):
                return
            recording.take(frame, now_s)
        if recording.write(now_s, even_if_early=bool(recording.error)):  # a refusal is told at once
            _tell(channel, recording)


def _finish(recording: Recording) -> bool:
    give_up_s = time.monotonic() + GIVE_UP_S
    while not recording.finish(now_s := time.monotonic()):
        if now_s >= give_up_s:
            return False
        time.sleep(RETRY_S)
    return True


def _tell(channel: Channel, recording: Recording) -> None:
    with contextlib.suppress(RolandicError):  # nobody listens: the file matters, not the report
        channel.send(recording.status())


if __name__ == "__main__":
    sys.exit(main())
