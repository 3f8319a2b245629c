"""What MNE has read, as streams: typed channels with their places, annotations and hardware triggers as markers."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from bci.types import Channel, RecordedStream, StreamSpec, marker_spec
from bci.units import canonical_unit, factor, quantity

_NOT_BRAIN = re.compile(r"(?i)[hv]?(?P<kind>eog|ecg|ekg|emg)")  # labels of channels whose type a file leaves out
_PREFIX = re.compile(r"(?i)eeg[ _-]+")  # as in "EEG-Fz"


def signal(raw: Any, name: str, units: Sequence[str]) -> RecordedStream:
    """All channels of ``raw``; ``units`` are those of MNE's numbers, "" where they are unknown or none.

    Voltages become microvolts, float32. Trigger channels keep their values, and make the stream float64 where float32
    cannot hold them. Positions are those of the file, else those of the label in the 10-05 system.
    """
    data = raw.get_data()
    kinds = raw.get_channel_types()
    channels = []
    for i, (info, kind, given) in enumerate(zip(raw.info["chs"], kinds, units, strict=True)):
        label, standard = _label_and_place(info["ch_name"])
        if kind == "eeg" and (other := _NOT_BRAIN.match(label)):
            kind = other["kind"].lower().replace("ekg", "ecg")
        unit = canonical_unit(given)
        if quantity(unit) == "V":
            data[i] *= factor(unit, "uV")
            unit = "uV"
        x, y, z = (float(v) for v in info["loc"][:3])
        placed = np.isfinite([x, y, z]).all() and any((x, y, z))
        position = (x, y, z) if placed else standard if kind == "eeg" else None
        channels.append(Channel(label, kind.upper(), "" if kind == "stim" else unit, position))
    stim = data[[kind == "stim" for kind in kinds]]
    wide = bool(np.any(stim != stim.astype(np.float32)))
    samples = np.ascontiguousarray(data.T, np.float64 if wide else np.float32)
    sfreq_hz = float(raw.info["sfreq"])
    found = {channel.type for channel in channels}
    type_ = "MEG" if {"MAG", "GRAD"} & found else "EEG" if "EEG" in found else channels[0].type
    spec = StreamSpec(
        name=name, type=type_, sfreq_hz=sfreq_hz, channels=tuple(channels), format="double64" if wide else "float32"
    )
    return RecordedStream(spec, samples, (raw.first_samp + np.arange(len(samples))) / sfreq_hz)


def _label_and_place(name: str) -> tuple[str, tuple[float, float, float] | None]:
    bare = name.strip().rstrip(".")  # old EDF files fill labels with dots: "Fc5."
    places = standard_places()
    return places.get(bare.casefold()) or places.get(_PREFIX.sub("", bare, count=1).casefold()) or (bare, None)


@functools.cache
def standard_places() -> dict[str, tuple[str, tuple[float, float, float]]]:
    """Casefolded label to label and position (metres, MNE's head frame) of the 10-05 system."""
    import mne

    montage = mne.channels.make_standard_montage("colin27_1005")
    info = mne.create_info(montage.ch_names, 1.0, "eeg")
    info.set_montage(montage)
    places = {}
    for channel in info["chs"]:
        x, y, z = (float(v) for v in channel["loc"][:3])
        places[channel["ch_name"].casefold()] = (channel["ch_name"], (x, y, z))
    return places


def notes(raw: Any) -> list[tuple[float, str]]:
    """Time in seconds, as the stamps of `signal` count it, and text of each annotation."""
    return [(float(a["onset"]), str(a["description"])) for a in raw.annotations]


def triggers(raw: Any, mask: int | None = None) -> list[tuple[float, str]]:
    """Time and code of each rise of the trigger channel, where there is one; ``mask`` are the bits that are codes."""
    import mne

    if "stim" not in raw.get_channel_types():
        return []
    found = mne.find_events(raw, shortest_event=1, mask=mask, mask_type="and", verbose="ERROR")
    return [(sample / raw.info["sfreq"], str(code)) for sample, _, code in found]


def markers(name: str, events: Sequence[tuple[float, str]]) -> RecordedStream:
    """Times and labels as the marker stream of recording ``name``."""
    ordered = sorted(events, key=lambda event: event[0])
    return RecordedStream(
        marker_spec(f"{name}-markers"), [label for _, label in ordered], np.array([t for t, _ in ordered])
    )
