"""Text recordings: which kind a ``.txt`` or ``.csv`` is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bci.errors import SourceError
from bci.sources.formats import muse, openbci
from bci.types import RecordedStream

_KINDS: dict[str, Callable[[list[str], str], list[RecordedStream]]] = {
    "%OpenBCI": openbci.streams,
    "timestamps,": muse.streams,
}


def read_text(path: Path, name: str) -> list[RecordedStream]:
    """An OpenBCI or a Muse recording, told by its first line."""
    text = path.read_text("utf-8-sig")
    read = next((read for start, read in _KINDS.items() if text.startswith(start)), None)
    if read is None:
        raise SourceError("neither a recording of the OpenBCI GUI ('%OpenBCI ...') nor of a Muse ('timestamps,...')")
    if not text.endswith("\n"):
        raise SourceError("cut off within its last line; copy the file again, or delete that line")
    return read(text.splitlines(), name)
