"""Recordings of a Muse headband as ``muselsl record`` writes them: ``timestamps,TP9,AF7,...,Marker``."""

from __future__ import annotations

from bci.errors import SourceError
from bci.sources.formats.columns import coded_markers, numbers
from bci.sources.formats.raw import standard_places
from bci.types import Channel, RecordedStream, StreamSpec

SFREQ_HZ = 256.0  # of every Muse that muselsl reads; the file does not tell it
TOLERANCE = 0.02


def streams(lines: list[str], name: str) -> list[RecordedStream]:
    """The channels in microvolts, and each ``Marker`` column as a marker stream with the stamps of its rows.

    Stamps are as written: a step may be zero or negative. The rate is 256 Hz where the stamps agree to 2 %, else none.
    Samples are float64, all that is written.
    """
    labels = [label.strip() for label in lines[0].split(",")]
    table = numbers([line for line in lines[1:] if line.strip()], range(len(labels)))
    stamps_s = table[:, 0]
    kept = [i for i, label in enumerate(labels) if i and not label.startswith("Marker")]
    if not kept:
        raise SourceError("it has no channels")
    span_s = stamps_s[-1] - stamps_s[0] if len(stamps_s) else 0.0
    agrees = abs(len(stamps_s) - 1 - span_s * SFREQ_HZ) <= TOLERANCE * span_s * SFREQ_HZ
    spec = StreamSpec(
        name=name,
        sfreq_hz=SFREQ_HZ if agrees else 0.0,
        format="double64",
        channels=tuple(_channel(labels[i]) for i in kept),
    )
    markers = [
        coded_markers(f"{name}-markers" if label in ("Marker", "Marker0") else f"{name}-{label}", table[:, i], stamps_s)
        for i, label in enumerate(labels)
        if label.startswith("Marker")
    ]
    return [RecordedStream(spec, table[:, kept].copy(), stamps_s.copy()), *markers]


def _channel(label: str) -> Channel:
    """An electrode of the headband has its place; what is plugged into the auxiliary input is not known."""
    known, place_m = standard_places().get(label.casefold(), (label, None))
    return Channel(known, "EEG" if place_m else "MISC", "uV", place_m)
