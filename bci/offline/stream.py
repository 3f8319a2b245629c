"""A recording through the live data path, as fast as it goes: what training and evaluation stand on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

import msgspec
import numpy as np

from bci.errors import ConfigError, SourceError
from bci.preflight import names_channels
from bci.session import Session, advance
from bci.signal.gaps import GapDetector
from bci.types import Chunk, Marker, OutputEvent, RecordedStream, Recording, StreamSpec

CHUNK_S = 0.25


def primary_stream(recording: Recording, name: str | None = None) -> RecordedStream:
    """The signal stream to decode: the one called ``name``, else the only one of EEG or MEG, else the only one.

    Raises
    ------
    ConfigError
        There is none, or more than one (the message lists them); or it has no nominal rate.
    """
    signals = [s for s in recording.signals if not s.spec.is_own]
    listed = ", ".join(f"{s.spec.name!r} ({s.spec.type})" for s in signals) or "none"
    if name is not None:
        signals = [s for s in signals if s.spec.name == name]
    elif brain := [s for s in signals if s.spec.type.upper() in ("EEG", "MEG")]:
        signals = brain
    if len(signals) != 1:
        asked = f" called {name!r}" if name is not None else ""
        raise ConfigError(
            f"{recording.path}: {len(signals)} signal streams{asked} to decode; there are {listed}; "
            "name one by --stream"
        )
    if not signals[0].spec.sfreq_hz:
        raise ConfigError(
            f"{recording.path}: stream {signals[0].spec.name!r} does not tell its rate; give it by --rate HZ"
        )
    return signals[0]


def with_unit(spec: StreamSpec, unit: str | None) -> StreamSpec:
    """Give ``unit`` to the channels that say none."""
    if unit is None:
        return spec
    channels = tuple(c if c.unit else msgspec.structs.replace(c, unit=unit) for c in spec.channels)
    return msgspec.structs.replace(spec, channels=channels)


def with_labels(spec: StreamSpec, labels: Sequence[str]) -> StreamSpec:
    """Name the channels of a stream that does not name them, in order.

    Raises
    ------
    ConfigError
        They are not as many, or the stream names its channels itself.
    """
    if not labels:
        return spec
    if names_channels(spec):
        raise ConfigError(
            f"stream.labels: stream {spec.name!r} names its channels itself ({', '.join(spec.labels[:6])}); drop labels"
        )
    if len(labels) != len(spec.channels):
        raise ConfigError(f"stream.labels names {len(labels)} channels, stream {spec.name!r} has {len(spec.channels)}")
    named = [msgspec.structs.replace(c, label=label) for c, label in zip(spec.channels, labels, strict=True)]
    return msgspec.structs.replace(spec, channels=tuple(named))


def play(session: Session, stream: RecordedStream, recording: Recording) -> Iterator[OutputEvent]:
    """Feed one stream and all markers of the recording to ``session`` in the order of their stamps.

    Time is the stamp of the newest sample, so nothing is ever late. Signal and markers must share a clock, as they do
    in files of one machine.

    Raises
    ------
    SourceError
        The stream holds no samples.
    """
    if not len(stream.stamps_s):
        raise SourceError(f"{recording.path}: stream {stream.spec.name!r} holds no samples")
    markers = sorted(
        (float(t), label) for m in recording.markers for t, label in zip(m.stamps_s, m.marker_labels, strict=True)
    )
    detector = GapDetector(session.primary, stream.spec.sfreq_hz)
    samples = np.asarray(stream.samples)
    n_chunk = max(1, round(CHUNK_S * stream.spec.sfreq_hz))
    n_placed = 0
    for at in range(0, len(samples), n_chunk):
        stamps_s = stream.stamps_s[at : at + n_chunk]
        newest_s = float(stamps_s[-1])
        chunk = Chunk(session.primary, at, samples[at : at + n_chunk], stamps_s, newest_s)
        for gap in detector.receive(chunk):
            yield from session.receive(gap)
        yield from session.receive(chunk)
        if at + n_chunk >= len(samples):
            for gap in detector.finish():
                yield from session.receive(gap)
        for _, outputs in advance(session, lambda newest_s=newest_s: newest_s):
            yield from outputs
        while n_placed < len(markers) and markers[n_placed][0] <= newest_s:
            stamp_s, label = markers[n_placed]
            yield from session.receive(Marker(session.primary, label, stamp_s))
            n_placed += 1


_NAMES = re.compile(r"(?P<subject>S\d+|sub-[A-Za-z0-9]+)[_-]?(?P<run>R\d+|.*)", re.ASCII)


def subject_and_run(path: str) -> tuple[str, str]:
    """Who and which run, from the name: ``S001R04.edf``, ``sub-A_ses-2_run-1.fif``, ``sub-A/ses-2/session.xdf``.

    Where a name says nothing, the file itself is both.
    """
    pure = PurePath(path)
    stem = pure.name.split(".")[0]
    if match := _NAMES.fullmatch(stem):
        return match["subject"], match["run"] or stem
    if len(pure.parts) > 2 and pure.parts[-3].startswith("sub-"):
        return pure.parts[-3], pure.parts[-2]
    return stem, stem
