"""FIF through MNE: EEG and MEG as Elekta, MEGIN and MNE itself write it."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

from bci.errors import SourceError
from bci.sources.formats import raw
from bci.types import Channel, RecordedStream

_UNITS = {107: "V", 112: "T", 201: "T/m"}
_KINDS = {1: "MEG", 2: "EEG", 3: "STIM", 202: "EOG", 301: "REF_MEG", 302: "EMG", 402: "ECG"}
_FILE_ID, _CH_INFO = 100, 203  # kinds of tags
_CH_INFO_FIELDS = "3i2fi12fii16s"


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


def channels_of_header(data: bytes) -> list[Channel]:
    """The channels of a FIF measurement header, in either byte order: acquisition writes its own, files are big-endian.

    MNE reads big-endian ones only. The places are those of the sensors, in metres, in the frame of the device.
    """
    order = next((o for o in "<>" if data[:4] == struct.pack(f"{o}i", _FILE_ID)), "")
    found, at = [], 0
    while order and at + 16 <= len(data):
        kind, _, size, _ = struct.unpack_from(f"{order}4i", data, at)  # tag after tag: where the next one lies in the
        end = at + 16 + size  # file that they come from, means nothing here
        if kind == _CH_INFO and size >= struct.calcsize(order + _CH_INFO_FIELDS) and end <= len(data):
            found.append(_channel(struct.unpack_from(order + _CH_INFO_FIELDS, data, at + 16)))
        if size < 0:
            break
        at = end
    return found


def _channel(fields: tuple[Any, ...]) -> Channel:
    """One FIF channel: number, logical number, kind, range, calibration, coil, 12 of its place, unit, power, name."""
    unit = "" if fields[2] == 3 or fields[19] else _UNITS.get(fields[18], "")
    kind = _KINDS.get(fields[2], "Misc")
    if kind == "MEG":
        kind = "GRAD" if unit == "T/m" else "MAG"
    x, y, z = fields[6:9]
    placed = kind in ("MAG", "GRAD", "EEG", "REF_MEG") and all(map(math.isfinite, (x, y, z))) and any((x, y, z))
    label = fields[20].split(b"\0")[0].decode("latin-1").strip()
    return Channel(label, kind, unit, (x, y, z) if placed else None)
