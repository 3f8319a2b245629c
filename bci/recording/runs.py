"""What lies in a session's folder, taken apart for a report: runs of the program, each in one or more files.

A run is one `bci run`. Its recording has several parts when its recorder was restarted; a session has several runs when
it was resumed. A file that was cut counts as far as it is whole (replay is stricter), and samples are read piece by
piece when somebody asks for them, so that a day of 306 channels fits.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.control.host_table import HostState
from bci.errors import RecordingError
from bci.ports import Offset
from bci.recording.folder import SessionFolder, parts
from bci.recording.replay import HOP_LABELS
from bci.recording.scan import MAGIC, ChunkAt, Scan, StreamAt, Tag, read_varlen, scan
from bci.recording.xdf import metadata_of
from bci.types import (
    DTYPES,
    Acknowledged,
    ChunkRef,
    Command,
    GateChange,
    Health,
    JournalEvent,
    MarkerExpired,
    MarkerPlaced,
    Now,
    Numbered,
    Receipt,
    SegmentStarted,
    StreamSpec,
)

Said = Health | GateChange | SegmentStarted | MarkerPlaced | MarkerExpired | HostState
_STAMP, _AGE, _FLAGS, _MARKER = (HOP_LABELS.index(name) for name in ("stamp_s", "age_s", "flags", "marker"))
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One file, and where its whole chunks are."""

    path: Path
    n_bytes: int
    wall_time: str  # at its start, ISO 8601
    found: Scan

    @property
    def n_bytes_damaged(self) -> int:
        """Bytes that belong to no whole chunk."""
        return sum(end - start for start, end in self.found.damage)

    def samples(self, stream: int) -> Iterator[tuple[NDArray[np.float64], Any]]:
        """Chunk by chunk: stamps (n,) and values, (n, n_channels) or n strings."""
        yield from self._read(stream, self._chunks(stream))

    def stamps(self, stream: int) -> list[NDArray[np.float64]]:
        """Chunk by chunk, without reading the values; of a stream of numbers."""
        return [s for s, _ in self._read(stream, self._chunks(stream), only_stamps=True)]

    def ends(self, stream: int) -> list[Any]:
        """The first and the last value of a stream of strings; [] if it has none."""
        chunks = self._chunks(stream)
        values = [v for _, v in self._read(stream, [chunks[0], chunks[-1]] if chunks else [])]
        return [values[0][0], values[-1][-1]] if values else []

    def _chunks(self, stream: int) -> list[ChunkAt]:
        return [c for c in self.found.chunks if c.stream == stream and c.n_samples]

    def _read(
        self, stream: int, chunks: Sequence[ChunkAt], only_stamps: bool = False
    ) -> Iterator[tuple[NDArray[np.float64], Any]]:
        if chunks:
            with _mapped(self.path) as data:
                for chunk in chunks:
                    yield _read_samples(data, chunk, self.found.streams[stream], only_stamps)


@dataclass(frozen=True, slots=True, eq=False)
class StreamRecord:
    """One stream that the session listened to: raw stamps as recorded, and its clock offsets."""

    number: int  # in the file
    spec: StreamSpec
    stamps_s: NDArray[np.float64]
    offsets: tuple[Offset, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RunRecord:
    """One run of the program.

    ``start_s`` and ``end_s`` are the first and last LSL time that it knows of (0 if it saw nothing); ``events`` and
    ``said`` (what the session and the device host said: ``bci-health``) stand with theirs.
    ``hops`` has shape (n_predictions, 7 + n_classes): `bci.recording.replay.HOP_LABELS`, then probabilities; -1 stands
    in columns that an older recording does not have. ``latency`` (n_hops, 8) is as recorded.
    ``told`` is what the program itself wrote when it ended; empty if it did not come so far. ``n_unread`` counts lines
    of the recording that another version wrote.
    """

    parts: tuple[Part, ...]
    metadata: dict[str, Any]
    streams: tuple[StreamRecord, ...]
    start_s: float
    end_s: float
    events: tuple[tuple[float, JournalEvent], ...]
    n_events_missing: int
    classes: tuple[str, ...]
    hops: NDArray[np.float64]
    latency: NDArray[np.float64]
    commands: tuple[Command, ...]
    receipts: tuple[Receipt, ...]
    said: tuple[tuple[float, Said], ...]
    told: dict[str, Any] = field(default_factory=dict)
    n_unread: int = 0

    @property
    def stamp_s(self) -> NDArray[np.float64]:
        """Of each prediction: that of its last sample."""
        return self.hops[:, _STAMP]

    @property
    def age_s(self) -> NDArray[np.float64]:
        """Of each prediction, when the gate saw it."""
        return self.hops[:, _AGE]

    @property
    def judged_s(self) -> NDArray[np.float64]:
        """When the gate saw each prediction."""
        return self.stamp_s + self.age_s

    @property
    def is_trusted(self) -> NDArray[np.bool_]:
        """Whether each prediction carries no flag."""
        return self.hops[:, _FLAGS] == 0

    @property
    def is_epoch(self) -> NDArray[np.bool_]:
        """Whether each prediction answers a marker."""
        return self.hops[:, _MARKER] >= 0

    @property
    def p(self) -> NDArray[np.float64]:
        """Probabilities (n_predictions, n_classes)."""
        return self.hops[:, len(HOP_LABELS) :]

    def samples(self, stream: StreamRecord) -> Iterator[tuple[NDArray[np.float64], Any]]:
        """Of one of ``streams``, piece by piece over all parts; see `Part.samples`."""
        for part in self.parts:
            yield from part.samples(stream.number)


def read_runs(folder: SessionFolder) -> tuple[RunRecord, ...]:
    """Every run of a session, in order.

    Raises
    ------
    RecordingError
        The folder holds no recording of `bci run`, or one that cannot be read.
    """
    files = [_open_part(path) for path in parts(folder.xdf)]
    if not files:
        raise RecordingError(f"{folder.path} holds no session.xdf; give the folder of a session (sub-ID/ses-N)")
    if not any(s.name == "bci-events" for part in files for s in part.found.streams.values()):
        what = (
            "no whole header of a session is left in it"
            if any(p.found.damage for p in files)
            else ("it was not made by `bci run`")
        )
        raise RecordingError(f"{files[0].path}: {what}; there is nothing to report")
    return tuple(_read_run(folder, group) for group in _grouped(files))


# --- files -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from None


def _open_part(path: Path) -> Part:
    n_bytes = path.stat().st_size
    if not n_bytes:  # the recorder died before its first write
        return Part(path, 0, "", Scan([], {}, []))
    with _mapped(path) as data:
        if data[: len(MAGIC)] != MAGIC[:n_bytes]:
            raise RecordingError(f"{path} is not an XDF file: it does not start with 'XDF:'")
        found = scan(data)
        head = next((c for c in found.chunks if c.tag is Tag.FILE_HEADER), None)
        wall_time = "" if head is None else ET.fromstring(data[head.content : head.end]).findtext("datetime") or ""
    return Part(path, n_bytes, wall_time, found)


def _read_samples(
    data: mmap.mmap, chunk: ChunkAt, about: StreamAt, only_stamps: bool
) -> tuple[NDArray[np.float64], Any]:
    n, at = read_varlen(data, chunk.content)
    if about.format == "string":
        return _read_strings(data, at, n, about.n_channels)
    dtype = np.dtype(DTYPES[about.format]).newbyteorder("<")
    row = np.dtype([("n_bytes", "u1"), ("stamp", "<f8"), ("values", dtype, (about.n_channels,))])
    if chunk.end - at != n * row.itemsize:
        raise RecordingError(
            f"stream {about.name!r} has samples without a stamp of their own, as no recording of `bci run` has"
        )
    rows = np.frombuffer(data, row, n, at)  # a view: nothing of it may outlive the map
    return rows["stamp"].astype(np.float64), None if only_stamps else rows["values"].copy()


def _read_strings(data: mmap.mmap, at: int, n: int, n_channels: int) -> tuple[NDArray[np.float64], list[str]]:
    stamps, values = np.full(n, np.nan), []
    for i in range(n):
        if data[at]:
            (stamps[i],) = struct.unpack_from("<d", data, at + 1)
        at += 1 + data[at]
        row = []
        for _ in range(n_channels):
            length, at = read_varlen(data, at)
            row.append(data[at : at + length].decode("utf-8", "replace"))
            at += length
        values.append("\t".join(row))
    return stamps, values


# --- runs ------------------------------------------------------------------------------------------------------------


def _own(part: Part, name: str) -> int | None:
    return next((n for n, s in part.found.streams.items() if s.name == name and "<type>rolandic</type>" in s.xml), None)


def _grouped(files: list[Part]) -> list[list[Part]]:
    """Parts that one run made stand together: a restarted recorder repeats the header and counts events on.

    A run that was resumed also wrote its own configuration beside its first part.
    """
    groups: list[list[Part]] = []
    header, last = "", -1
    for part in files:
        number = _own(part, "bci-events")
        text = header if number is None else metadata_of(part.found.streams[number].xml)
        seqs = [] if number is None else [line.seq for line in _decode(Numbered, part.ends(number))[0]]
        is_resumed = part.path.with_suffix(".toml").exists() or text != header or (seqs and seqs[0] <= last)
        if not groups or is_resumed:
            groups.append([])
        groups[-1].append(part)
        header, last = text, max(seqs, default=-1 if groups[-1] == [part] else last)
    return groups


def _read_run(folder: SessionFolder, group: list[Part]) -> RunRecord:
    from bci.lsl import spec_from_xml

    header = next((p for p in group if _own(p, "bci-events") is not None), group[0])
    number = _own(header, "bci-events")
    text = "" if number is None else metadata_of(header.found.streams[number].xml)
    hops_number = _own(header, "bci-hops")
    labels = () if hops_number is None else spec_from_xml(header.found.streams[hops_number].xml).labels
    numbered, n_unread_events = _decode(Numbered, _lines(group, "bci-events")[1])
    events = _with_times([line.event for line in numbered])
    answers, n_unread_answers = _decode(Command | Receipt | Acknowledged, _lines(group, "bci-commands")[1])
    said_s, said_lines = _lines(group, "bci-health")
    said, n_unread_said = _decode(Said, said_lines, said_s)
    name = group[0].path.stem.replace("session", "run", 1) + ".json"
    return RunRecord(
        parts=tuple(group),
        metadata=json.loads(text or "{}"),
        streams=tuple(_stream(group, n, spec_from_xml(about.xml)) for n, about in _foreign(header)),
        start_s=events[0][0] if events else 0.0,
        end_s=events[-1][0] if events else 0.0,
        events=events,
        n_events_missing=(numbered[-1].seq + 1 - len(numbered) - n_unread_events) if numbered else 0,
        classes=tuple(label.removeprefix("p_") for label in labels if label.startswith("p_")),
        hops=_hops(group, labels),
        latency=_numbers(group, "bci-latency", 8),
        commands=tuple(a for a in answers if isinstance(a, Command)),
        receipts=tuple(a for a in answers if isinstance(a, Receipt)),
        said=tuple(said),
        told=_told(folder.path / name),
        n_unread=n_unread_events + n_unread_answers + n_unread_said,
    )


def _foreign(part: Part) -> list[tuple[int, StreamAt]]:
    """The streams that the session listened to, in the order of its sources."""
    own = {_own(part, s.name) for s in part.found.streams.values()}
    return sorted((n, s) for n, s in part.found.streams.items() if n not in own)


def _stream(group: list[Part], number: int, spec: StreamSpec) -> StreamRecord:
    stamps, offsets = [np.empty(0)], []
    for part in group:
        stamps += part.stamps(number)
        with _mapped_if_any(part) as data:
            for chunk in part.found.chunks:
                if chunk.stream == number and chunk.tag is Tag.CLOCK_OFFSET:
                    sent_s, offset_s = struct.unpack_from("<dd", data, chunk.content)
                    offsets.append(Offset(sent_s + offset_s, offset_s, 0.0))
    return StreamRecord(number, spec, np.concatenate(stamps), tuple(offsets))


def _mapped_if_any(part: Part) -> contextlib.AbstractContextManager[Any]:
    return _mapped(part.path) if part.n_bytes else contextlib.nullcontext(b"")


def _lines(group: list[Part], name: str) -> tuple[list[float], list[str]]:
    stamps: list[float] = []
    lines: list[str] = []
    for part in group:
        if (number := _own(part, name)) is not None:
            for s, values in part.samples(number):
                stamps += s.tolist()
                lines += values
    return stamps, lines


def _numbers(group: list[Part], name: str, n_columns: int) -> NDArray[np.float64]:
    rows = [np.empty((0, n_columns))]
    for part in group:
        if (number := _own(part, name)) is not None:
            rows += [values for _, values in part.samples(number) if values.shape[1] == n_columns]
    return np.concatenate(rows)


def _hops(group: list[Part], labels: tuple[str, ...]) -> NDArray[np.float64]:
    rows = _numbers(group, "bci-hops", len(labels))
    absent = np.full(len(rows), -1.0)
    known = [rows[:, labels.index(name)] if name in labels else absent for name in HOP_LABELS]
    return np.column_stack([*known, *(rows[:, k] for k, label in enumerate(labels) if label.startswith("p_"))])


def _decode(kind: Any, lines: Sequence[str], times_s: Sequence[float] | None = None) -> tuple[list[Any], int]:
    """Records, with their times if given; and how many lines are not of this ``kind``."""
    decode = msgspec.json.Decoder(kind).decode
    records: list[Any] = []
    n_unread = 0
    for i, line in enumerate(lines):
        try:
            record = decode(line)
        except msgspec.MsgspecError:
            n_unread += 1
        else:
            records.append(record if times_s is None else (times_s[i], record))
    return records, n_unread


def _with_times(events: list[JournalEvent]) -> tuple[tuple[float, JournalEvent], ...]:
    """Each event with the newest time that was known when it entered the session; the first ones with the first."""
    times = (e.now_s if isinstance(e, Now) else e.arrival_s for e in events if isinstance(e, Now | ChunkRef))
    now_s = next(times, 0.0)
    timed = []
    for event in events:
        if isinstance(event, Now):
            now_s = max(now_s, event.now_s)
        elif isinstance(event, ChunkRef):
            now_s = max(now_s, event.arrival_s)
        timed.append((now_s, event))
    return tuple(timed)


def _told(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it is an extra: all else stands in the recording
        return {}
    return told if isinstance(told, dict) else {}
