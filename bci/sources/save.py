"""Streams as an XDF file that `bci stream`, `train` and `evaluate` read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bci.errors import RecordingError
from bci.lsl import xml_from_spec
from bci.recording.xdf import XdfWriter
from bci.types import RecordedStream


def save_xdf(path: Path, streams: Sequence[RecordedStream]) -> Path:
    """Write the streams side by side, samples and stamps as they are.

    Raises
    ------
    RecordingError
        The file exists already or cannot be written.
    """
    try:
        with path.open("xb", buffering=0) as file:
            writer = XdfWriter(file)  # type: ignore[arg-type]
            for number, stream in enumerate(streams, 1):
                writer.open_stream(number, xml_from_spec(stream.spec), stream.spec.format)
                values = [[v] for v in stream.samples] if isinstance(stream.samples, list) else stream.samples
                writer.samples(number, values, stream.stamps_s)
            writer.finish(0.0)
    except FileExistsError:
        raise RecordingError(f"{path} exists already; choose another name") from None
    except OSError as error:
        raise RecordingError(f"cannot write {path} ({error.strerror})") from None
    return path
