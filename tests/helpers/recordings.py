"""Small recordings of every format that is read, written byte by byte where no library writes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOTES = ((0.0, "T0"), (1.25, "T1"))


def edf(
    path: Path,
    labels: Sequence[str] = ("Fc5.", "C3..", "Xy-1"),
    units: Sequence[str] = ("uV", "uV", "degC"),
    n_per_record: Sequence[int] = (100, 100, 100),
    n_records: int = 3,
    *,
    notes: Sequence[tuple[float, str]] = NOTES,
    kind: str = "EDF+C",
    seed: int = 0,
) -> list[NDArray[Any]]:
    """Write an EDF+ file of whole numbers, one-second records; returns the samples of each signal, in its unit."""
    rng = np.random.default_rng(seed)
    data = [rng.integers(-3000, 3000, (n_records, n)).astype("<i2") for n in n_per_record]
    header = _edf_header(b"0       ", kind, labels, units, n_per_record, n_records, 3000, n_note=60)
    records = []
    for k in range(n_records):
        tal = f"+{k}\x14\x14\x00"
        if k == 0:
            tal += "".join(f"+{onset}\x150.5\x14{text}\x14\x00" for onset, text in notes)
        records.append(b"".join(d[k].tobytes() for d in data) + tal.encode().ljust(120, b"\0"))
    path.write_bytes(header + b"".join(records))
    return [d.reshape(-1).astype(float) for d in data]


def bdf(path: Path, codes: Sequence[int] = (0, 5, 5, 0, 0, 300, 0), n_records: int = 3) -> list[NDArray[Any]]:
    """Write a BDF file: C3 and EOG of 24 bits, and a Status channel with ``codes`` at the start and bits above them."""
    rng, n = np.random.default_rng(1), 100
    data = [rng.integers(-8_000_000, 8_000_000, (n_records, n)) for _ in range(2)]
    status = np.zeros(n_records * n, int)
    status[: len(codes)] = codes
    status |= 1 << 20  # CMS within range, as a BioSemi says it
    data.append(status.reshape(n_records, n))
    header = _edf_header(
        b"\xffBIOSEMI", "24BIT", ("C3", "EOG left", "Status"), ("uV",) * 3, (n,) * 3, n_records, 1 << 23
    )
    body = b"".join(
        d[k].astype("<i4").tobytes()[i : i + 3] for k in range(n_records) for d in data for i in range(0, 4 * n, 4)
    )
    path.write_bytes(header + body)
    return [d.reshape(-1).astype(float) for d in data]


def _edf_header(
    magic: bytes, kind: str, labels: Sequence[str], units: Sequence[str], n_per_record: Sequence[int], n_records: int,
    most: int, n_note: int = 0,
) -> bytes:  # fmt: skip
    n = len(labels)
    notes = ["EDF Annotations"] if n_note else []
    low, high = [-most] * n, [most - (most == 1 << 23)] * n
    columns = [
        (16, [*labels, *notes]),
        (80, [""] * (n + len(notes))),
        (8, [*units, *([""] if notes else [])]),
        (8, [*low, -1][: n + len(notes)]),
        (8, [*high, 1][: n + len(notes)]),
        (8, [*low, -32768][: n + len(notes)]),
        (8, [*high, 32767][: n + len(notes)]),
        (80, [""] * (n + len(notes))),
        (8, [*n_per_record, n_note][: n + len(notes)]),
        (32, [""] * (n + len(notes))),
    ]
    variable = "".join(f"{v:<{width}}" for width, values in columns for v in values)
    fixed = f"{'X X X X':<80}{'Startdate 01-JAN-2020 X X X':<80}01.01.2000.00.00"
    fixed += f"{256 * (n + len(notes) + 1):<8}{kind:<44}{n_records:<8}{1:<8}{n + len(notes):<4}"
    return magic + (fixed + variable).encode("ascii")


def gdf(
    path: Path,
    version: str = "2.20",
    unit: int | bytes = 4275,
    n_per_record: Sequence[int] = (100, 100),
    events: Sequence[tuple[int, int]] = ((150, 769), (250, 770)),
) -> list[NDArray[Any]]:
    """Write a GDF file of channels "EEG-C3", "EOG-left", ..., with events as (sample, code); samples in the unit."""
    rng, n_records, n = np.random.default_rng(2), 3, len(n_per_record)
    is_2 = version[0] == "2"
    data = [rng.integers(-3000, 3000, (n_records, k)).astype("<i2") for k in n_per_record]
    labels = [b"EEG-C3", b"EOG-left", b"EEG-C4"][:n]
    if is_2:
        fixed = f"GDF {version}".encode().ljust(184, b"\0") + struct.pack("<H", n + 1) + bytes(50)
        unit_column = bytes(6 * n) + struct.pack(f"<{n}H", *[unit] * n)
        limits = struct.pack(f"<{4 * n}d", *[-3000] * n, *[3000] * n, *[-3000] * n, *[3000] * n) + bytes(80 * n)
        table = b"\1" + len(events).to_bytes(3, "little") + struct.pack("<f", n_per_record[0])
        fixed += struct.pack("<qIIHH", n_records, 1, 1, n, 0)
    else:
        fixed = f"GDF {version}".encode().ljust(168, b" ") + b"2000010112000000" + struct.pack("<q", 256 * (n + 1))
        fixed += bytes(24) + bytes(20) + struct.pack("<qIII", n_records, 1, 1, n)
        unit_column = b"".join(bytes(unit).ljust(8) for _ in range(n))
        limits = struct.pack(f"<{2 * n}d{2 * n}q", *[-3000] * n, *[3000] * n, *[-3000] * n, *[3000] * n) + b" " * 80 * n
        table = b"\1" + n_per_record[0].to_bytes(3, "little") + struct.pack("<I", len(events))
    variable = b"".join(label.ljust(16) for label in labels) + bytes(80 * n) + unit_column + limits
    variable += struct.pack(f"<{2 * n}i", *n_per_record, *[3] * n) + bytes(32 * n)
    body = b"".join(d[k].tobytes() for k in range(n_records) for d in data)
    table += struct.pack(f"<{len(events)}I", *(at + 1 for at, _ in events))
    table += struct.pack(f"<{len(events)}H", *(code for _, code in events))
    path.write_bytes(fixed + variable + body + (table if events else b""))
    return [d.reshape(-1).astype(float) for d in data]


def brainvision(path: Path) -> NDArray[Any]:
    """Write header, data and markers of C3 in half microvolts and GSR in microsiemens; returns both, (n, 2)."""
    counts = np.random.default_rng(3).integers(-3000, 3000, (300, 2)).astype("<i2")
    data, marks = path.with_suffix(".eeg"), path.with_suffix(".vmrk")
    data.write_bytes(counts.tobytes())
    marks.write_text(
        f"Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile={data.name}\n[Marker Infos]\n"
        "Mk1=New Segment,,1,1,0,20000101120000000000\nMk2=Stimulus,S  7,101,1,0\nMk3=Response,R  1,201,1,0\n"
    )
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={data.name}\nMarkerFile={marks.name}\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        "NumberOfChannels=2\nSamplingInterval=10000\n[Binary Infos]\nBinaryFormat=INT_16\n"
        "[Channel Infos]\nCh1=C3,,0.5,µV\nCh2=GSR,,0.1,µS\n",
        encoding="utf-8",
    )
    return counts * np.array([0.5, 0.1])


def eeglab(path: Path, n_trials: int = 1, *, is_split: bool = False) -> NDArray[Any]:
    """Write a set of C3 and C4, with its samples in a ``.fdt`` file if it ``is_split``; returns them, (n, 2)."""
    from scipy.io import savemat

    values = np.random.default_rng(4).normal(0, 20, (2, 300 // n_trials, n_trials)).astype(np.float32)
    fdt = path.with_suffix(".fdt")
    if is_split:
        fdt.write_bytes(values.T.tobytes())
    places = np.array([("C3", "EEG"), ("C4", "EEG")], [("labels", "O"), ("type", "O")])
    events = np.array([("square", 101.0), ("rt", 201.0)], [("type", "O"), ("latency", "O")])
    savemat(
        path,
        {"EEG": {
            "setname": "test", "nbchan": 2.0, "trials": float(n_trials), "pnts": 300.0 / n_trials, "srate": 100.0,
            "xmin": 0.0, "xmax": 2.99, "data": fdt.name if is_split else values.squeeze(), "chanlocs": places,
            "event": events, "epoch": [], "icawinv": [], "icaweights": [], "icasphere": [], "icaact": [],
            "filename": path.name, "ref": "common",
        }},
        appendmat=False,
    )  # fmt: skip
    return values.reshape(2, -1, order="F").T


def fif(path: Path, seed: int = 0) -> Any:
    """Write EEG, MEG, triggers 5 and 7, and EOG, with an annotation; returns MNE's object."""
    import mne

    info = mne.create_info(["C3", "MEG0111", "STI 014", "EOG1"], 200.0, ["eeg", "mag", "stim", "eog"])
    data = np.random.default_rng(seed).normal(size=(4, 1000)) * np.array([[1e-5], [1e-12], [0], [1e-4]])
    data[2, 300:310], data[2, 700:710] = 5, 7
    raw = mne.io.RawArray(data, info, first_samp=100, verbose="ERROR")
    raw.set_annotations(mne.Annotations([1.0 + raw.first_time], [0.1], ["blink"]))
    raw.save(path, fmt="double", verbose="ERROR")
    return raw


OPENBCI_MS = (1557936053329, 1557936053336, 1557936053336, 1557936053343, 1557936053343)  # two batches
OPENBCI_UV = ((61379.36, -3284.86), (60973.46, -2887.53), (61433.45, -2916.12), (61788.96, 49917.57), (1.0, -187500.02))
_OPENBCI_HEAD = "%OpenBCI Raw E{}G Data\n%Number of channels = 2\n%Sample Rate = 250{} Hz\n"
_BOARD = "%Board = OpenBCI_GUI$BoardCytonSerial\n"
_COLUMNS = (
    "Sample Index, EXG Channel 0, EXG Channel 1, Accel Channel 0, Not Used, Not Used, Timestamp, Marker Channel, "
)


def openbci(path: Path, generation: str = "v6") -> None:
    """Write the five samples as a GUI of that generation did; "v6s" has its stamps in seconds, as later ones."""
    rows = []
    for i, (ms, (a, b)) in enumerate(zip(OPENBCI_MS, OPENBCI_UV, strict=True)):
        clock = f"12:00:53.{ms % 1000:03}"
        stamp = f"{ms // 1000}.{ms % 1000:03}000" if generation == "v6s" else str(ms)
        tail = {"pre-v5": f" {clock}, {stamp}", "v5": f"0.0,0.0, {stamp}, {clock}"}
        marker = "7.0" if i == 3 else "0.0"
        rows.append(f"{254 + i if i < 2 else i - 2}, {a}, {b}, 0.040,"
                    + tail.get(generation, f"0,0, {stamp},{marker}, 2019-05-15 {clock}"))  # fmt: skip
    if generation == "pre-v5":
        head = _OPENBCI_HEAD.format("E", ".0") + "%First Column = SampleIndex\n%Last Column = Timestamp \n"
    elif generation == "v5":
        head = _OPENBCI_HEAD.format("E", "") + _BOARD + ",".join(["0.0"] * 8) + "\n"
    else:
        head = _OPENBCI_HEAD.format("X", "") + _BOARD + _COLUMNS + "Timestamp (Formatted)\n"
    path.write_text(head + "\n".join(rows) + "\n")


def muse(path: Path, markers: Sequence[str] = ("Marker",), step_s: float = 1 / 256) -> NDArray[Any]:
    """Write a second of a Muse whose stamps stand still and go back once; returns them."""
    n = 256
    stamps_s = np.round(1486223115.483 + np.arange(n) * step_s, 3)
    stamps_s[100] = stamps_s[101]
    stamps_s[[200, 201]] = stamps_s[[201, 200]]
    lines = [f"timestamps,TP9,AF7,AF8,TP10,Right AUX,{','.join(markers)}"]
    for i, stamp_s in enumerate(stamps_s):
        code = {50: 1, 150: 2}.get(i, 0)
        lines.append(f"{stamp_s:.3f},{i}.125,-1000.000,999.512,0.488,{-i}.5," + ",".join([str(code)] * len(markers)))
    path.write_text("\n".join(lines) + "\n")
    return stamps_s


WRITERS = {".edf": edf, ".bdf": bdf, ".gdf": gdf, ".vhdr": brainvision, ".set": eeglab, "_raw.fif": fif,
           ".txt": openbci, ".csv": muse}  # fmt: skip
