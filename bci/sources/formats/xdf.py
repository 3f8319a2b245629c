"""XDF (LabRecorder, and our own recordings) as streams."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from bci.types import RecordedStream


def read_xdf(path: Path, name: str) -> list[RecordedStream]:
    """Streams in their own format, with raw stamps: not de-jittered, not moved to one clock.

    A string stream with several channels becomes one label a sample, joined by tabs.
    """
    from bci.recording import xdf

    return [
        RecordedStream(replace(s.spec, channels=s.spec.channels[:1]), s.samples, s.stamps_s)
        if isinstance(s.samples, list)  # labels of several channels are joined, so one channel is left of them
        else s
        for s in xdf.read_xdf(path).streams
    ]
