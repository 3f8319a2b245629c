"""Text recordings of the OpenBCI GUI, in the three generations of their header.

Each begins with lines that start with ``%``, which tell the number of EXG channels and the rate. Before version 5 there
follow rows of ``index, EXG ..., accelerometer ..., clock, stamp``; in version 5 ``index, EXG ..., others ..., stamp,
clock``, the first of them zeros; from then on a line of column names comes first. No well-kept library reads them. What
the columns are: ``DataLogging.pde`` and ``DataWriterODF.pde`` of https://github.com/OpenBCI/OpenBCI_GUI.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from bci.errors import SourceError
from bci.sources.formats.columns import coded_markers, numbers
from bci.types import Channel, RecordedStream, StreamSpec

COUNTER = "Sample Index"  # counts packets of the radio, 0 to 255 on a Cyton
_STAMP, _MARKER, _CLOCK = "Timestamp", "Marker Channel", "Timestamp (Formatted)"


def streams(lines: list[str], name: str) -> list[RecordedStream]:
    """All columns of numbers in microvolts (EXG), g (accelerometer) and as they are; and markers, where there are any.

    Stamps are those of the computer that recorded, in seconds since 1970 and as they are: a batch of samples that came
    over USB together has one. Where the file has none, they are nominal from 0. Samples are float64, all that is
    written.
    """
    header = [line for line in lines if line.startswith("%")]
    rows = [line for line in lines if line.strip() and not line.startswith("%")]
    rate_hz = _setting(header, "Sample Rate")
    if rows and rows[0].startswith(COUNTER):
        names = [field.strip() for field in rows.pop(0).split(",")]
        names = [label if label not in names[:i] else f"{label} {i + 1}" for i, label in enumerate(names)]
    else:
        names = _names_by_place(rows, int(_setting(header, "Number of channels")))
    kept = [i for i, label in enumerate(names) if label != _CLOCK]
    table = numbers(rows, kept)
    labels = [names[i] for i in kept]
    stamps_s = np.arange(len(table)) / rate_hz
    if _STAMP in labels:
        at = labels.index(_STAMP)
        if len(table) and not table[0].any():  # as the GUI 5 begins
            table = table[1:]
        stamps_s = _seconds(table[:, at], rate_hz)
        table = np.delete(table, at, axis=1)
        labels.remove(_STAMP)
    codes = table[:, labels.index(_MARKER)] if _MARKER in labels else np.zeros(len(table))
    spec = StreamSpec(
        name=name, sfreq_hz=rate_hz, format="double64", channels=tuple(_channel(label) for label in labels)
    )
    return [RecordedStream(spec, table, stamps_s), coded_markers(f"{name}-markers", codes, stamps_s)]


def _setting(header: list[str], key: str) -> float:
    found = re.search(rf"%\s*{key}\s*=\s*([0-9.]+)", "\n".join(header))
    if found is None:
        raise SourceError(f"its header does not tell the {key.lower()}; add a line such as '%{key} = ...' at its top")
    return float(found[1])


def _names_by_place(rows: list[str], n_exg: int) -> list[str]:
    """Of the columns of a file that does not name them; the clock is told by its colons, the stamp stands beside it."""
    fields = next((row for row in rows if ":" in row), rows[0] if rows else "").split(",")
    names = [f"Column {i + 1}" for i in range(len(fields))]
    names[: n_exg + 1] = [COUNTER, *(f"EXG Channel {i}" for i in range(n_exg))]
    clock = next((i for i, field in enumerate(fields) if ":" in field), None)
    if clock is not None:
        names[clock] = _CLOCK
        names[clock - 1 if clock == len(names) - 1 else -1] = _STAMP
    return names


def _channel(label: str) -> Channel:
    if label.startswith("EXG"):
        return Channel(label, "EEG", "uV")
    if label == _MARKER:
        return Channel(label, "STIM")
    return Channel(label, "MISC", "g" if label.startswith("Accel") else "")


def _seconds(stamps: NDArray[np.float64], rate_hz: float) -> NDArray[np.float64]:
    """Versions differ in the unit of their stamps, s or ms, and do not tell; the rate does."""
    if not len(stamps):
        return stamps
    span = stamps[-1] - stamps[0]
    per_sample = span * rate_hz / max(len(stamps) - 1, 1)
    for per_s in (1.0, 1000.0):
        if 0.3 < per_sample / per_s < 3:
            return stamps / per_s
    raise SourceError(
        f"its {len(stamps)} stamps go from {stamps[0]:.10g} to {stamps[-1]:.10g}, which is no time in s or ms at "
        f"{rate_hz:g} Hz; correct the line '%Sample Rate', or give the recording whole"
    )
