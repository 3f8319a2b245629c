"""EDF(+), BDF(+) and GDF through MNE: one stream a sampling rate, and cut files are found out.

Specifications: https://www.edfplus.info (EDF+), https://www.biosemi.com/faq/file_format.htm (BDF), and Schlögl (2006),
*GDF - A general dataformat for biosignals*, arXiv:cs/0608052.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bci.errors import SourceError
from bci.sources.formats import raw
from bci.types import RecordedStream

_SCALED = ("uV", "µV", "μV", "\x83\xcaV", "mV")  # units of EDF and BDF that MNE turns into volts; others it leaves
_GDF_CODES = {4256: "V", 4274: "V", 4275: "V", 4276: "nV"}  # of GDF 2, as MNE leaves them: V, mV, uV, nV
_GDF_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 16: 4, 17: 8}  # bytes of a sample by its type
_BIOSEMI_CODES = 0xFFFF  # of the Status channel; the bits above tell of the amplifier


@dataclass(frozen=True, slots=True)
class _Header:
    """What MNE does not tell. ``units`` are those of MNE's numbers; ``n_bytes`` is what the file must at least hold."""

    labels: list[str]
    units: list[str]
    n_per_record: list[int]
    n_records: int
    n_record_bytes: int
    n_bytes: int


def read_edf(path: Path, name: str) -> list[RecordedStream]:
    """EDF and continuous EDF+."""
    return _read(path, name, "edf", _edf_header(path, b"0       ", "EDF", 2))


def read_bdf(path: Path, name: str) -> list[RecordedStream]:
    """BDF and continuous BDF+. Trigger codes are the lower 16 bits of the Status channel, which keeps 17."""
    return _read(path, name, "bdf", _edf_header(path, b"\xffBIOSEMI", "BDF", 3), _BIOSEMI_CODES)


def read_gdf(path: Path, name: str) -> list[RecordedStream]:
    """GDF 1 and 2; the events of its table are named by their codes."""
    return _read(path, name, "gdf", _gdf_header(path))


def _read(path: Path, name: str, kind: str, header: _Header, mask: int | None = None) -> list[RecordedStream]:
    import mne

    if kind == "gdf" and len(set(header.n_per_record)) > 1:  # MNE would interpolate, and include= does not help here
        raise SourceError("a GDF file with several sampling rates is not read here; convert it to EDF")
    signals = [i for i, label in enumerate(header.labels) if label != f"{kind.upper()} Annotations"]
    if not signals or not header.n_records:
        raise SourceError("the recording holds no samples")
    n_missing = header.n_bytes - path.stat().st_size
    if header.n_records > 0 and n_missing > 0:
        whole = max(0, header.n_records - -(-n_missing // header.n_record_bytes))
        raise SourceError(f"cut off: {whole} of {header.n_records} data records are whole; copy the file again")
    reader: Callable[..., Any] = getattr(mne.io, f"read_raw_{kind}")
    options: dict[str, Any] = {"preload": False, "verbose": "ERROR"}
    if kind != "gdf":
        options["infer_types"] = True
    whole_file = reader(path, **options)
    events = raw.notes(whole_file)
    streams = []
    rates = sorted({header.n_per_record[i] for i in signals}, reverse=True)
    for rate in rates:
        mine = [i for i in signals if header.n_per_record[i] == rate]
        part = whole_file
        if len(rates) > 1:  # read together, MNE would interpolate the slower ones
            part = reader(path, include=[header.labels[i] for i in mine], **options)
        called = name if rate == rates[0] else f"{name}-{part.info['sfreq']:g}Hz"
        kinds = part.get_channel_types()
        units = ["" if k == "stim" else header.units[i] for i, k in zip(mine, kinds, strict=True)]
        streams.append(raw.signal(part, called, units))
        events += raw.triggers(part, mask)
        part.close()
    return [*streams, raw.markers(name, events)]


def _edf_header(path: Path, magic: bytes, kind: str, n_sample_bytes: int) -> _Header:
    with path.open("rb") as file:
        fixed = file.read(256)
        if len(fixed) < 256 or fixed[:8] != magic:
            raise SourceError(f"not a {kind} file" if kind == "BDF" else f"not an {kind} file")
        n = int(fixed[252:256])
        rest = file.read(256 * n)
    if len(rest) < 256 * n:
        raise SourceError("cut off within its header")
    if fixed[192:197] == f"{kind}+D".encode():
        raise SourceError(f"discontinuous {kind}+D is not read here; convert it to continuous {kind}+ or FIF")

    def field(start: int, width: int) -> list[str]:
        at = [n * start + i * width for i in range(n)]
        return [rest[a : a + width].decode("latin-1").strip() for a in at]

    n_per_record = [int(v) for v in field(216, 8)]
    n_record_bytes, n_records = n_sample_bytes * sum(n_per_record), int(fixed[236:244])
    return _Header(
        labels=field(0, 16),
        units=["V" if unit in _SCALED else unit for unit in field(96, 8)],
        n_per_record=n_per_record,
        n_records=n_records,
        n_record_bytes=n_record_bytes,
        n_bytes=256 * (n + 1) + n_records * n_record_bytes,
    )


def _gdf_header(path: Path) -> _Header:
    data = path.read_bytes()
    if data[:4] != b"GDF " or len(data) < 256:
        raise SourceError("not a GDF file")
    is_2 = float(data[4:8]) >= 1.9
    n = struct.unpack_from("<H" if is_2 else "<I", data, 252)[0]
    start = 256 * struct.unpack_from("<H", data, 184)[0] if is_2 else struct.unpack_from("<q", data, 184)[0]
    n_records = struct.unpack_from("<q", data, 236)[0]
    if len(data) < max(start, 256 * (n + 1)):
        raise SourceError("cut off within its header")

    def column(offset: int, dtype: Any) -> list[Any]:
        return np.frombuffer(data, dtype, n, 256 + n * offset).tolist()

    if is_2:
        units = [_GDF_CODES.get(code, "") for code in np.frombuffer(data, "<u2", 4 * n, 256 + 96 * n)[3 * n :].tolist()]
    else:
        texts = [text.decode("latin-1").strip() for text in column(96, "S8")]
        units = ["V" if text[:2] == "uV" else text for text in texts]
    n_per_record = column(216, "<i4")
    sizes = [_GDF_SIZES.get(code, 1) for code in column(220, "<i4")]
    n_record_bytes = sum(n * size for n, size in zip(n_per_record, sizes, strict=True))
    n_bytes = start + n_records * n_record_bytes
    if n_records > 0:
        n_bytes += _gdf_events_bytes(data[n_bytes : n_bytes + 8], is_2)
    return _Header(
        labels=[label.decode("latin-1").strip() for label in column(0, "S16")],
        units=units,
        n_per_record=n_per_record,
        n_records=n_records,
        n_record_bytes=n_record_bytes,
        n_bytes=n_bytes,
    )


def _gdf_events_bytes(head: bytes, is_2: bool) -> int:
    """The size of the event table that begins with ``head``; 0 where there is none."""
    if not head:
        return 0
    if len(head) < 8:
        return 8
    n = int.from_bytes(head[1:4], "little") if is_2 else struct.unpack_from("<I", head, 4)[0]
    return 8 + n * (12 if head[0] == 3 else 6)
