"""FIF through MNE: EEG and MEG as Elekta, MEGIN and MNE itself write it."""

from __future__ import annotations

import struct
from pathlib import Path

from bci.errors import SourceError
from bci.sources.formats import raw
from bci.types import RecordedStream

_UNITS = {107: "V", 112: "T", 201: "T/m"}


def read_fif(path: Path, name: str) -> list[RecordedStream]:
    """A continuous recording; projections and compensation as in the file, none applied or removed."""
    import mne

    if path.suffix != ".gz":  # which tells itself when it was cut
        _check_whole(path)
    try:
        data = mne.io.read_raw_fif(path, preload=True, allow_maxshield=True, verbose="ERROR")
    except ValueError as error:
        if "No raw data" in str(error):
            raise SourceError("it holds averages or epochs, not a continuous recording (*_raw.fif)") from None
        raise
    kinds = data.get_channel_types()
    units = [
        "" if kind == "stim" else _UNITS.get(int(c["unit"]), "")
        for kind, c in zip(kinds, data.info["chs"], strict=True)
    ]
    return [raw.signal(data, name, units), raw.markers(name, raw.notes(data) + raw.triggers(data))]


def _check_whole(path: Path) -> None:
    """Follow the tags to the one that says it is the last; MNE is content with what there is."""
    at, n_bytes = 0, path.stat().st_size
    with path.open("rb") as file:
        while at + 16 <= n_bytes:
            file.seek(at)
            _, _, size, following = struct.unpack(">4i", file.read(16))
            end = at + 16 + size
            if following == -1 and end <= n_bytes:
                return
            if (following or end) <= at:
                break
            at = following or end
    raise SourceError("not a FIF file, or cut off; copy it again, or save what MNE still reads of it")
