"""How often the alarms of artefact and drift sound on real recordings, with reason and without.

Within a person: calibrated on R04 and R08, judged on R12, 8-30 Hz,
16 channels without the frontal ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from imagery_data import LABELS, RAW_HZ, SIXTEEN
from imagery_data import read as read_imagery
from numpy.typing import NDArray
from page import Row, Section, add, column, read

from bci.config import AlarmSection
from bci.offline.stream import primary_stream
from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
from bci.sources.files import load_recording
from bci.types import Channel, StreamSpec
from calibration.drift import Baseline, Watch, baseline

HOP_S = 0.1
SETTLING_S = 2.0
JAW = "streams/openbci/OpenBCI_GUI-v6-blinks-jawClench-alpha.txt.xz"
QUIET_S = (17.0, 28.0)
SEGMENTS = {"jaw clenched": ((9.0, 15.0), (82.0, 89.0)), "blinks, eyes closed": ((3.5, 7.0), (29.0, 76.0))}
OWN, LOUD = "own R12, as it is", "own R12, three times as loud"
OTHERS = "R12 of {n} others, calibrated on as many"


def hops_of(x: NDArray[np.floating], stream: StreamSpec, channels: Sequence[str]) -> NDArray[np.float32]:
    """(n_hops, channels, hop) of raw samples (channels, n), once the filter has settled."""
    spec = PreprocessingSpec(
        channels=tuple(channels), sfreq_hz=stream.sfreq_hz, hop=round(HOP_S * stream.sfreq_hz), bandpass_hz=(8.0, 30.0)
    )
    preprocessing = Preprocessing(spec, stream)
    n = preprocessing.block
    preprocessing.start(x[:, 0])
    hops = [hop for k in range(0, x.shape[1] - n + 1, n) for hop, _ in preprocessing.step(x[:, k : k + n])]
    return np.stack(hops)[round(SETTLING_S / HOP_S) :]


def scores(known: Baseline, hops: NDArray[np.float32]) -> NDArray[np.float64]:
    """Artefact and drift at every hop (n, 2)."""
    watch, limit = Watch(known, HOP_S), AlarmSection().artefact_sd
    found = []
    for hop in hops:
        watch.step(hop, limit)
        found.append((watch.artefact, watch.drift))
    return np.array(found)


def compute(data: Path, work: Path, path: Path) -> None:
    """All cases at once, a row a recording."""
    if read(path):
        return
    stream = StreamSpec(name="imagery", sfreq_hz=RAW_HZ, channels=tuple(Channel(c, "EEG", "uV") for c in LABELS))
    runs = {}
    for recording in sorted((data / "motor_imagery_21ch").glob("S*.npz")):
        raw, _ = read_imagery(recording)
        runs[recording.stem] = [hops_of(raw[r].astype(np.float64), stream, SIXTEEN) for r in (4, 8, 12)]
    half = len(runs) // 2
    pooled = baseline([run for person in list(runs.values())[:half] for run in person[:2]], HOP_S)
    rows: list[dict[str, object]] = []
    for i, (person, (*calibration, last)) in enumerate(runs.items()):
        own = baseline(calibration, HOP_S)
        rows += [counts(OWN, person, scores(own, last)), counts(LOUD, person, scores(own, 3 * last))]
        if i >= half:
            rows.append(counts(OTHERS, person, scores(pooled, last)))
    add(path, [*rows, *rough_segments(data)])


def rough_segments(data: Path) -> list[dict[str, object]]:
    """Of the OpenBCI recording: hops inside the segments, and how soon each segment is noticed."""
    recording = load_recording(str(data / JAW))
    signal = primary_stream(recording, None)
    channels = [c.label for c in signal.spec.channels if c.type.upper() == "EEG"]
    hops = hops_of(np.asarray(signal.samples, np.float64).T, signal.spec, channels)
    t_s = SETTLING_S + HOP_S * np.arange(1, len(hops) + 1)
    known = baseline([hops[(t_s > QUIET_S[0]) & (t_s < QUIET_S[1])]], HOP_S)
    found, rows = scores(known, hops), []
    for case, spans in SEGMENTS.items():
        for a, b in spans:
            inside = (t_s > a) & (t_s < b)
            first = t_s[inside & (found[:, 0] > AlarmSection().artefact_sd)][:1] - a
            row = counts(case, f"{a:g}-{b:g} s", found[inside])
            rows.append(row | {"drift": "", "first_s": float(first[0]) if len(first) else ""})
    return rows


def counts(case: str, recording: str, found: NDArray[np.float64]) -> dict[str, object]:
    """Hops above the limit of artefact, and the largest score of drift, of scores (n, 2)."""
    n_loud = int((found[:, 0] > AlarmSection().artefact_sd).sum())
    return {"case": case, "recording": recording, "n_hops": len(found), "n_loud": n_loud,
            "drift": float(found[:, 1].max()), "first_s": ""}  # fmt: skip


def tables(rows: list[Row]) -> str:
    """A line a case."""
    limits, lines = AlarmSection(), []
    for case in (OWN, LOUD, OTHERS):
        mine = [row for row in rows if row["case"] == case]
        n_hops, n_loud, worst = (np.array(column(mine, name)) for name in ("n_hops", "n_loud", "drift"))
        lines.append(
            f"| {case.format(n=len(mine))} | {n_loud.sum() / n_hops.sum():.2%} | {np.mean(n_loud > 0):.0%} | "
            f"{np.mean(worst > limits.drift_sd):.0%} (largest score: median {np.median(worst):.2f}, "
            f"95 % {np.quantile(worst, 0.95):.2f}) |"
        )
    for case in SEGMENTS:
        mine = [row for row in rows if row["case"] == case]
        after = ", ".join(f"{float(row['first_s']):.1f} s" for row in mine if row["first_s"]) or "never"
        share = sum(column(mine, "n_loud")) / sum(column(mine, "n_hops"))
        lines.append(f"| {case} (OpenBCI, 8 channels) | {share:.1%} | first after {after} | |")
    n_people = sum(row["case"] == OWN for row in rows)
    head = (
        f"| {n_people} people | hops above the limit of artefact ({limits.artefact_sd:g}) | sessions with one | "
        f"sessions above the limit of drift ({limits.drift_sd:g}) |\n|---|---|---|---|"
    )
    return "\n".join([head, *lines])


SECTION = Section("alarms", "two minutes", compute, tables)
