"""BrainVision (Brain Products): a header ``.vhdr`` that names a data and a marker file beside it, through MNE."""

from __future__ import annotations

import re
from pathlib import Path

from bci.errors import SourceError
from bci.sources.formats import raw
from bci.types import RecordedStream

_SAMPLE_BYTES = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}
_SIEMENS = ("µS", "uS")  # which MNE turns into S


def read_brainvision(path: Path, name: str) -> list[RecordedStream]:
    """The recording that header ``path`` describes."""
    import mne

    _check_whole(path)
    data = mne.io.read_raw_brainvision(path, preload=False, verbose="ERROR")
    written = [str(data._orig_units.get(label, "")) for label in data.ch_names]
    kinds = [int(c["unit"]) for c in data.info["chs"]]
    units = [
        "V" if k == 107 else "S" if u in _SIEMENS else u.replace("n/a", "") for k, u in zip(kinds, written, strict=True)
    ]
    return [raw.signal(data, name, units), raw.markers(name, raw.notes(data))]


def companions(path: Path) -> list[Path]:
    """The data file and the marker file, which must be there: without its markers a recording is half a one."""
    files = [path.parent / found for key in ("DataFile", "MarkerFile") if (found := _setting(path, key))]
    for file in files:
        if not file.is_file():
            raise SourceError(f"it belongs together with {file.name}, which is not there; copy it into the same folder")
    return files


def _check_whole(path: Path) -> None:
    """As far as can be told: the header has no number of samples, except in vectorised files."""
    for file, section in zip((path, *companions(path)[1:]), (b"[Channel Infos]", b"[Marker Infos]"), strict=False):
        text = file.read_bytes()
        if section not in text or not (text.endswith(b"\n") or b"[Comment]" in text):
            raise SourceError(f"{file.name} is cut off; copy it again (or end its last line, if nothing is missing)")
    n, n_bytes = int(_setting(path, "NumberOfChannels") or 0), _SAMPLE_BYTES.get(_setting(path, "BinaryFormat"))
    data = _setting(path, "DataFile")
    if not (n and n_bytes and data):
        return  # text, or no header at all: MNE says what it is
    size = (path.parent / data).stat().st_size
    n_wanted = int(_setting(path, "DataPoints") or 0) * n * n_bytes
    if size % (n * n_bytes) or size < n_wanted:
        raise SourceError(f"{data} is cut off within a sample of {n} channels; copy the files again")


def _setting(path: Path, key: str) -> str:
    found = re.search(rf"(?m)^{key}=(.*?)\s*$", path.read_text("utf-8", "replace"))
    return found[1] if found else ""
