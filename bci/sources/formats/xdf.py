"""XDF (LabRecorder, and our own recordings) as streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from msgspec.structs import replace

from bci.types import RecordedStream, marker_spec

TRIGGERS = ("stim", "trigger", "status")  # types of channels that carry codes


def read_xdf(path: Path, name: str) -> list[RecordedStream]:
    """Streams in their own format, with raw stamps: not de-jittered, not moved to one clock.

    A string stream with several channels becomes one label a sample, joined by tabs. Where no stream is one of markers,
    the codes of trigger channels make one, ``<stream>-markers``.
    """
    from bci.recording import xdf

    streams = [
        RecordedStream(replace(s.spec, channels=s.spec.channels[:1]), s.samples, s.stamps_s)
        if isinstance(s.samples, list)  # labels of several channels are joined, so one channel is left of them
        else s
        for s in xdf.read_xdf(path).streams
    ]
    if any(s.spec.is_marker_stream for s in streams):
        return streams
    return streams + [
        _triggers(s, i) for s in streams for i, c in enumerate(s.spec.channels) if c.type.lower() in TRIGGERS
    ]


def _triggers(stream: RecordedStream, channel: int) -> RecordedStream:
    """Each rise of a channel, by the code it rises to: as MNE finds them in other formats."""
    codes = np.asarray(stream.samples)[:, channel]
    at = np.flatnonzero(codes[1:] > codes[:-1]) + 1
    return RecordedStream(
        marker_spec(f"{stream.spec.name}-markers"), [str(int(code)) for code in codes[at]], stream.stamps_s[at]
    )
