"""Signal quality of each channel, from the raw samples as recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bci.recording.runs import RunRecord
from bci.signal.survey import Survey
from bci.types import Channel
from bci.units import UNITS, flat_threshold

MAX_SECONDS = 300  # so many seconds, spread evenly, tell as much as all of them
MIN_HZ = 8.0
TINY = 1e-30  # where the unit is not known, only what does not move at all is flat
SOME = 0.01  # of the time: more is worth a word
HUM = 0.5  # of the amplitude: then the mains is most of what is seen
APART = 5.0  # times larger or smaller than the median channel of its kind
_KINDS = ("EEG", "MEG", "MAG", "GRAD", "EOG", "EMG", "ECG", "ECOG", "SEEG", "")


def channels(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """What the report says of the primary stream's channels: ``n_seconds`` looked at, ``mains_hz``, ``channels``.

    Runs of another shape than the first are left out. The list is empty when there is not one whole second of signal.
    """
    first = runs[0].streams[0].spec if runs and runs[0].streams else None
    if first is None or first.is_marker_stream or first.sfreq_hz < MIN_HZ:
        return {"n_seconds": 0, "mains_hz": None, "channels": []}
    alike = [r for r in runs if r.streams and _shape(r) == (first.labels, first.sfreq_hz)]
    n_seconds = sum(len(r.streams[0].stamps_s) for r in alike) / first.sfreq_hz
    flat = np.array([flat_threshold(c.unit) if c.unit in UNITS else TINY for c in first.channels], np.float32)
    survey = Survey(len(first.channels), first.sfreq_hz, flat, stride=max(1, int(n_seconds // MAX_SECONDS)))
    for run in alike:
        for _, samples in run.samples(run.streams[0]):
            survey.take(samples)
    if not survey.n_seconds:
        return {"n_seconds": 0, "mains_hz": None, "channels": []}
    return _described(first.channels, survey)


def _shape(run: RunRecord) -> tuple[tuple[str, ...], float]:
    return run.streams[0].spec.labels, run.streams[0].spec.sfreq_hz


def _described(specs: Sequence[Channel], survey: Survey) -> dict[str, Any]:
    amplitude, is_flat, is_stuck, is_missing = (
        survey.amplitude(), survey.share_flat(), survey.share_stuck(), survey.share_missing()
    )  # fmt: skip
    line = survey.line()
    hum = np.full(len(specs), np.nan) if line is None else line[1]
    peers: dict[tuple[str, str], list[float]] = {}
    for channel, value, flat in zip(specs, amplitude, is_flat, strict=True):
        if np.isfinite(value) and flat < 0.5:
            peers.setdefault((channel.type.upper(), channel.unit), []).append(float(value))
    rows = []
    for i, channel in enumerate(specs):
        row: dict[str, Any] = {
            "label": channel.label,
            "type": channel.type,
            "unit": channel.unit,
            "position_m": None if channel.position_m is None else list(channel.position_m),
            "amplitude": float(amplitude[i]),
            "line_noise": float(hum[i]),
            "share_flat": float(is_flat[i]),
            "share_saturated": float(is_stuck[i]),
            "share_missing": float(is_missing[i]),
        }
        alike = peers.get((channel.type.upper(), channel.unit), [])
        row["problems"] = problems(row, float(np.median(alike)) if len(alike) > 2 else None)
        rows.append(row)
    return {"n_seconds": survey.n_seconds, "mains_hz": None if line is None else line[0], "channels": rows}


def problems(row: dict[str, Any], typical: float | None) -> list[str]:
    """What is wrong with a channel, in words; ``typical`` is the amplitude of its peers, None if it has too few."""
    if row["type"].upper() not in _KINDS:
        return []  # of a trigger or a counter nothing of this is true
    said = []
    for key, word in (("share_flat", "flat"), ("share_saturated", "saturated"), ("share_missing", "no numbers")):
        if row[key] > SOME:
            said.append(word)
    if said:
        return said
    if row["line_noise"] > HUM * row["amplitude"]:
        said.append("mains hum")
    if typical and row["amplitude"] > APART * typical:
        said.append("much larger than the others")
    elif typical and row["amplitude"] < typical / APART:
        said.append("much smaller than the others")
    return said
