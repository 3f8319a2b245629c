"""Where the chunks of an XDF 1.0 file are, and where it is damaged.

An XDF file is the bytes ``XDF:`` and then chunks: a length (1, 4 or 8 bytes, preceded by that number), a tag, content.
There are no checksums; a chunk counts as whole when its content fits its own description to the last byte.
Format: https://github.com/sccn/xdf/wiki/Specifications
"""

from __future__ import annotations

import contextlib
import mmap
import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from bci.types import DTYPES

MAGIC = b"XDF:"
BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")  # so that a reader finds its way after damage


class Tag(IntEnum):
    """What a chunk holds."""

    FILE_HEADER = 1
    STREAM_HEADER = 2
    SAMPLES = 3
    CLOCK_OFFSET = 4
    BOUNDARY = 5
    STREAM_FOOTER = 6


@dataclass(frozen=True, slots=True)
class ChunkAt:
    """One whole chunk: bytes ``start`` to ``end`` of the file, its content from ``content`` on."""

    start: int
    end: int
    tag: Tag
    content: int
    stream: int = 0
    n_samples: int = 0


@dataclass(frozen=True, slots=True)
class StreamAt:
    """What the scanner must know of a stream to check its samples. ``xml`` is its header as it stands in the file."""

    name: str
    format: str
    n_channels: int
    xml: str


@dataclass(frozen=True, slots=True)
class Scan:
    """All whole chunks in order, the streams by number, and the (start, end) byte ranges that are no whole chunk."""

    chunks: list[ChunkAt]
    streams: dict[int, StreamAt]
    damage: list[tuple[int, int]]


class _DamagedError(Exception):
    """These bytes are not a whole chunk."""


def scan(data: bytes | mmap.mmap) -> Scan:
    """Find the whole chunks of ``data``, which starts with `MAGIC`.

    After damage the scan goes on at the next whole chunk that the lengths still lead to, else at the next boundary.
    """
    found = Scan([], {}, [])
    at, end = len(MAGIC), len(data)
    while at < end:
        try:
            chunk = _chunk_at(data, at, found.streams)
        except _DamagedError:
            resume = _resume(data, at, found.streams)
            found.damage.append((at, resume))
            at = resume
            continue
        if chunk.tag is Tag.STREAM_HEADER:
            found.streams[chunk.stream] = _read_header(data[chunk.content : chunk.end])
        found.chunks.append(chunk)
        at = chunk.end
    return found


def _chunk_at(data: bytes | mmap.mmap, at: int, streams: dict[int, StreamAt]) -> ChunkAt:
    n, body = read_varlen(data, at)
    end = body + n
    if n < 2 or end > len(data):
        raise _DamagedError
    (tag,) = struct.unpack_from("<H", data, body)
    if tag not in _TAGS:
        raise _DamagedError
    tag = Tag(tag)
    content, stream, n_samples = body + 2, 0, 0
    if tag not in (Tag.FILE_HEADER, Tag.BOUNDARY):
        if end - content < 4:
            raise _DamagedError
        (stream,) = struct.unpack_from("<I", data, content)
        content += 4
        if (stream in streams) == (tag is Tag.STREAM_HEADER):  # no header yet, or a second one
            raise _DamagedError
    if tag is Tag.SAMPLES:
        n_samples = _check_samples(data, content, end, streams[stream])
    elif tag is Tag.STREAM_HEADER:
        _read_header(data[content:end])
    elif tag is Tag.CLOCK_OFFSET:
        _demand(end - content == 16)
    elif tag is Tag.BOUNDARY:
        _demand(data[content:end] == BOUNDARY)
    else:
        try:
            ET.fromstring(data[content:end])
        except (ET.ParseError, ValueError):
            raise _DamagedError from None
    return ChunkAt(at, end, tag, content, stream, n_samples)


_TAGS = frozenset(Tag)
_BOUNDARY_HEAD = bytes([1, 2 + len(BOUNDARY), Tag.BOUNDARY, 0])  # as `bci.recording.xdf.boundary` writes it


def _demand(is_so: bool) -> None:
    if not is_so:
        raise _DamagedError


def read_varlen(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    size = data[at] if at < len(data) else 0
    if size not in (1, 4, 8) or at + 1 + size > len(data):
        raise _DamagedError
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def _read_header(xml: bytes) -> StreamAt:
    text = xml.decode("utf-8", "replace")
    try:
        info = ET.fromstring(text)
        stream = StreamAt(
            name=info.findtext("name") or "",
            format=info.findtext("channel_format") or "",
            n_channels=int(info.findtext("channel_count") or ""),
            xml=text,
        )
        float(info.findtext("nominal_srate") or "")
    except (ET.ParseError, ValueError):
        raise _DamagedError from None
    _demand(stream.format in DTYPES or stream.format == "string")
    return stream


def _check_samples(data: bytes | mmap.mmap, at: int, end: int, stream: StreamAt) -> int:
    """The number of samples, after making sure that they fill the chunk exactly."""
    n, at = read_varlen(data, at)
    if stream.format == "string":
        for _ in range(n):
            at = _after_stamp(data, at)
            for _ in range(stream.n_channels):
                length, at = read_varlen(data, at)
                at += length
                _demand(at <= end)
    else:
        size = stream.n_channels * np.dtype(DTYPES[stream.format]).itemsize
        if end - at == n * (9 + size):  # a stamp on every sample, as we write
            flags = np.frombuffer(data[at:end], np.uint8)[:: 9 + size]
            if (flags == 8).all():
                return n
        for _ in range(n):  # other writers leave stamps out
            at = _after_stamp(data, at) + size
            _demand(at <= end)
    _demand(at == end)
    return n


def _after_stamp(data: bytes | mmap.mmap, at: int) -> int:
    size = data[at] if at < len(data) else 1
    _demand(size in (0, 8))
    return at + 1 + size


def _resume(data: bytes | mmap.mmap, at: int, streams: dict[int, StreamAt]) -> int:
    """Where reading goes on after damage at ``at``; the end of the data when nowhere."""
    following = at
    with contextlib.suppress(_DamagedError):
        while following < len(data):
            n, body = read_varlen(data, following)
            following = body + n
            if _is_whole(data, following, streams):
                return following
    mark = data.find(BOUNDARY, at)
    if mark < 0:
        return len(data)
    chunk = mark - len(_BOUNDARY_HEAD)
    return chunk if chunk > at and data[chunk:mark] == _BOUNDARY_HEAD else mark + len(BOUNDARY)


def _is_whole(data: bytes | mmap.mmap, at: int, streams: dict[int, StreamAt]) -> bool:
    try:
        _chunk_at(data, at, streams)
    except _DamagedError:
        return False
    return True
