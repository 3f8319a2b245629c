"""XDF 1.0: pure functions that give the bytes of each kind of chunk, the writer on top of them, and reading back.

Every sample carries its own 8-byte stamp, so a file that is cut anywhere loses only what was cut, and raw stamps come
back bit for bit. Format: https://github.com/sccn/xdf/wiki/Specifications; Kothe et al. (2025), *The lab streaming layer
for synchronized multimodal recording*, Imaging Neuroscience 3.

The writer half imports numpy only: it runs in the recorder process, which must start fast.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import mmap
import os
import re
import struct
import threading
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.errors import RecordingError
from bci.ports import Offset
from bci.recording.scan import BOUNDARY, MAGIC, Scan, Tag, scan
from bci.types import DTYPES, RecordedStream, Recording, StreamSpec

FLUSH_S = 0.5
FSYNC_S = 5.0
BOUNDARY_S = 10.0
_ONE_READER = threading.Lock()  # pyxdf reads lengths into one buffer of its module: two threads lose samples, silently
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# --- bytes -----------------------------------------------------------------------------------------------------------


def file_header(datetime: str = "") -> bytes:
    """The start of a file; ``datetime`` is the wall time in ISO 8601."""
    xml = f'<?xml version="1.0"?><info><version>1.0</version><datetime>{datetime}</datetime></info>'
    return MAGIC + _chunk(Tag.FILE_HEADER, xml.encode())


def stream_header(stream: int, xml: str) -> bytes:
    """What a stream is; stands before its samples. ``xml`` is its ``<info>`` element.

    Raises
    ------
    RecordingError
        ``xml`` is not well-formed: a file that holds it could not be read.
    """
    text = clean_xml(xml)
    try:
        ET.fromstring(text)
    except ET.ParseError as error:
        raise RecordingError(f"the header of stream {stream} is not XML ({error}); it would spoil the file") from None
    if not text.startswith("<?xml"):
        text = '<?xml version="1.0"?>' + text
    return _chunk(Tag.STREAM_HEADER, struct.pack("<I", stream) + text.encode("utf-8", "replace"))


def samples(stream: int, fmt: str, values: ArrayLike | Sequence[Sequence[str]], stamps_s: ArrayLike) -> bytes:
    """Samples of one stream, each with its own stamp.

    Parameters
    ----------
    stream : int
        Number of the stream in this file.
    fmt : str
        XDF channel format: a key of `bci.types.DTYPES`, or "string".
    values : array (n, n_channels), or n rows of n_channels str
        Numbers must have the dtype of ``fmt`` (an exact record is the point; nothing is cast).
    stamps_s : array (n,)
        Raw stamps in seconds.

    Raises
    ------
    RecordingError
        Shapes or dtype do not fit.
    """
    stamps = np.asarray(stamps_s, np.float64)
    n = len(stamps)
    if fmt == "string":
        rows: Sequence[Sequence[str]] = values  # type: ignore[assignment]
        if len(rows) != n:
            raise RecordingError(f"stream {stream}: {len(rows)} samples with {n} stamps")
        parts = []
        for row, stamp in zip(rows, stamps.tolist(), strict=True):
            parts.append(struct.pack("<Bd", 8, stamp))
            for value in row:
                text = value.encode("utf-8", "replace")
                parts += (_varlen(len(text)), text)
        body = b"".join(parts)
    else:
        array = np.asarray(values)
        dtype = np.dtype(DTYPES[fmt])
        if array.dtype != dtype or array.ndim != 2 or len(array) != n:
            raise RecordingError(
                f"stream {stream}: {array.dtype} samples of shape {array.shape} with {n} stamps; "
                f"expected {dtype} of shape ({n}, n_channels)"
            )
        packed = np.empty(
            n, [("n_bytes", "u1"), ("stamp", "<f8"), ("values", dtype.newbyteorder("<"), (array.shape[1],))]
        )
        packed["n_bytes"] = 8
        packed["stamp"] = stamps
        packed["values"] = array
        body = packed.tobytes()
    return _chunk(Tag.SAMPLES, struct.pack("<I", stream) + _varlen(n) + body)


def clock_offset(stream: int, collected_s: float, offset_s: float) -> bytes:
    """One measured clock offset: local time = raw stamp + ``offset_s``, measured at local time ``collected_s``.

    The file holds the time of measurement on the *sender's* clock, as LabRecorder writes it and readers fit it.
    """
    return _chunk(Tag.CLOCK_OFFSET, struct.pack("<Idd", stream, collected_s - offset_s, offset_s))


def boundary() -> bytes:
    """A mark that a reader can find after damage."""
    return _chunk(Tag.BOUNDARY, BOUNDARY)


def stream_footer(stream: int, n_samples: int, first_s: float, last_s: float) -> bytes:
    """What is known at the end. No reader needs it."""
    xml = (
        f'<?xml version="1.0"?><info><first_timestamp>{first_s!r}</first_timestamp>'
        f"<last_timestamp>{last_s!r}</last_timestamp><sample_count>{n_samples}</sample_count></info>"
    )
    return _chunk(Tag.STREAM_FOOTER, struct.pack("<I", stream) + xml.encode())


def clean_xml(text: str) -> str:
    """Replace what no XML document may hold (control characters, lone surrogates) by U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)


def with_metadata(xml: str, metadata: str) -> str:
    """A stream header with ``metadata`` (any text) inside as ``<desc><rolandic><metadata>``."""
    if not metadata:
        return xml
    info = ET.fromstring(clean_xml(xml))
    desc = _child(info, "desc")
    ET.SubElement(_child(desc, "rolandic"), "metadata").text = clean_xml(metadata)
    return ET.tostring(info, encoding="unicode").replace("\r", "&#13;")  # a bare one would be read back as \n


def metadata_of(xml: str) -> str:
    """The text that `with_metadata` put in; "" if none."""
    return ET.fromstring(xml).findtext("./desc/rolandic/metadata") or ""


def bytes_per_s(spec: StreamSpec) -> float:
    """About how fast a stream grows on disk; irregular streams are taken for 16 kB/s."""
    if spec.format == "string" or not spec.sfreq_hz:
        return 16e3
    return spec.sfreq_hz * (9 + len(spec.channels) * np.dtype(DTYPES[spec.format]).itemsize)


def _child(node: ET.Element, tag: str) -> ET.Element:
    found = node.find(tag)
    return ET.SubElement(node, tag) if found is None else found


def _chunk(tag: Tag, content: bytes) -> bytes:
    return _varlen(len(content) + 2) + struct.pack("<H", tag) + content


def _varlen(n: int) -> bytes:
    if n < 2**8:
        return struct.pack("<BB", 1, n)
    return struct.pack("<BI", 4, n) if n < 2**32 else struct.pack("<BQ", 8, n)


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    """What a footer says of a stream."""

    format: str
    n_samples: int = 0
    first_s: float = 0.0
    last_s: float = 0.0


class XdfWriter:
    """Appends whole chunks to ``file``, gathered into one write at most every 0.5 s, and made durable every 5 s.

    ``file`` is binary and unbuffered (``open(path, "xb", buffering=0)``) or an ``io.BytesIO``. When a write fails, the
    file is cut back to its last whole chunk, what did not fit stays pending, ``OSError`` is raised, and the next
    `write` tries again. Times are arguments; nothing here reads a clock.
    """

    def __init__(self, file: BinaryIO, datetime: str = ""):
        self._file = file
        self._pending: list[bytes] = [file_header(datetime)]
        self._streams: dict[int, _Tally] = {}
        self._written_s = self._synced_s = self._boundary_s = -np.inf
        self.n_pending = len(self._pending[0])  # bytes
        self.n_written = 0  # bytes, always a whole number of chunks

    def open_stream(self, stream: int, xml: str, fmt: str) -> None:
        """Give a stream its number and header."""
        if fmt not in DTYPES and fmt != "string":
            raise RecordingError(f"stream {stream}: XDF has no format {fmt!r}; it has {', '.join(DTYPES)}, string")
        self._append(stream_header(stream, xml))
        self._streams[stream] = _Tally(fmt)

    def samples(self, stream: int, values: ArrayLike | Sequence[Sequence[str]], stamps_s: ArrayLike) -> None:
        """Samples as `bci.recording.xdf.samples` takes them."""
        tally, stamps = self._streams[stream], np.asarray(stamps_s, np.float64)
        if not len(stamps):
            return
        self._append(samples(stream, tally.format, values, stamps))
        if not tally.n_samples:
            tally.first_s = float(stamps[0])
        tally.last_s = float(stamps[-1])
        tally.n_samples += len(stamps)

    def clock_offset(self, stream: int, collected_s: float, offset_s: float) -> None:
        """One measured clock offset."""
        self._append(clock_offset(stream, collected_s, offset_s))

    def write_if_due(self, now_s: float) -> bool:
        """Write what is pending if 0.5 s have passed since the last write; True when that happened."""
        if now_s - self._written_s < FLUSH_S or not self._pending:
            return False
        self.write(now_s)
        return True

    def write(self, now_s: float) -> None:
        """Write all that is pending at once, and make it durable if 5 s have passed.

        Raises
        ------
        OSError
            Not all could be written; see the class.
        """
        self._written_s = now_s
        if now_s - self._boundary_s >= BOUNDARY_S:
            self._append(boundary())
            self._boundary_s = now_s
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        n, error = self._write_bytes(data)
        if error is None:
            self._pending.clear()
            self.n_pending = 0
            self.n_written += n
        else:
            self._keep_whole(n)
            raise error
        if now_s - self._synced_s >= FSYNC_S:
            self.sync()
            self._synced_s = now_s

    def sync(self) -> None:
        """Make what was written durable."""
        with contextlib.suppress(io.UnsupportedOperation):  # memory has no disk below it
            os.fsync(self._file.fileno())

    def finish(self, now_s: float) -> None:
        """Write what is pending and the footers, durably. The file stays open.

        Raises
        ------
        OSError
            Not all could be written; see the class. May be called again.
        """
        while self._streams:
            stream, tally = self._streams.popitem()
            self._append(stream_footer(stream, tally.n_samples, tally.first_s, tally.last_s))
        self.write(now_s)
        self.sync()

    def _append(self, chunk: bytes) -> None:
        self._pending.append(chunk)
        self.n_pending += len(chunk)

    def _write_bytes(self, data: bytes) -> tuple[int, OSError | None]:
        done, view = 0, memoryview(data)
        try:
            self._file.seek(self.n_written)
            while done < len(data):
                n = self._file.write(view[done:])
                if not n:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                done += n
        except OSError as error:
            return done, error
        return done, None

    def _keep_whole(self, n: int) -> None:
        """After a failed write of ``n`` bytes: keep the chunks that fit whole, cut the rest off the file."""
        while self._pending and len(self._pending[0]) <= n:
            chunk = self._pending.pop(0)
            n -= len(chunk)
            self.n_pending -= len(chunk)
            self.n_written += len(chunk)
        with contextlib.suppress(OSError):  # the next write starts at n_written in any case
            self._file.truncate(self.n_written)


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class XdfFile:
    """A file as read: per stream of ``recording.streams`` its clock offsets and its header's XML."""

    recording: Recording
    clock_offsets: tuple[tuple[Offset, ...], ...]
    header_xml: tuple[str, ...]


def read_xdf(path: str | Path) -> Recording:
    """The streams of a file with samples and raw stamps as recorded: nothing smoothed, nothing synchronised.

    Raises
    ------
    RecordingError
        No such file, not XDF, or cut or damaged.
    """
    return read_xdf_file(path).recording


def read_xdf_file(path: str | Path) -> XdfFile:
    """As `read_xdf`, with the clock offsets and headers too."""
    import pyxdf

    from bci.lsl import spec_from_xml

    found, sha256 = scan_file(path)
    if found.damage:
        start, _ = found.damage[0]
        raise RecordingError(
            f"{path} is cut or damaged at byte {start}; make a readable copy: bci repair {path} --out FIXED.xdf"
        )
    with _ONE_READER, np.errstate(all="ignore"):  # pyxdf divides by the duration, which may be 0
        loaded, _ = pyxdf.load_xdf(path, dejitter_timestamps=False, synchronize_clocks=False, verbose=False)
    streams, offsets, headers = [], [], []
    for stream in loaded:
        xml = found.streams[stream["info"]["stream_id"]].xml
        spec = spec_from_xml(xml)
        stamps: NDArray[np.float64] = np.asarray(stream["time_stamps"], np.float64)
        values = stream["time_series"]
        if spec.format == "string":
            values = [row[0] if len(row) == 1 else "\t".join(row) for row in values]
        else:
            values = np.asarray(values, DTYPES[spec.format])
        streams.append(RecordedStream(spec, values, stamps))
        offsets.append(
            tuple(
                Offset(collected_s=time_s + value_s, offset_s=value_s, uncertainty_s=0.0)
                for time_s, value_s in zip(stream["clock_times"], stream["clock_values"], strict=True)
            )
        )
        headers.append(xml)
    return XdfFile(Recording(str(path), tuple(streams), sha256), tuple(offsets), tuple(headers))


def scan_file(path: str | Path) -> tuple[Scan, str]:
    """The chunks of a file, and the SHA-256 of its bytes.

    Raises
    ------
    RecordingError
        It cannot be read, or is not XDF.
    """
    try:
        with Path(path).open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise RecordingError(f"{path} is not an XDF file: it does not start with 'XDF:'")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return scan(data), hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from None
