"""P300 and SSVEP live over LSL on real Muse recordings, beside the offline numbers.

P300: `xdawn` trained on session 1 of a person, every run of session 2 streamed from another process over LSL, decoded
live by marker-locked epochs; AUC over all markers of the session, beside `bci evaluate` on the same files. The place
of every marker is compared with the sample that was recorded with it. SSVEP: `cca`, which learns only a temperature.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from muse_to_xdf import xdf_of
from p300 import SETTINGS
from page import Row, Section, add, has
from verbs import bci

from bci.offline.train import TrainSettings, train
from bci.recording.xdf import read_xdf
from bci.sources.files import load_recording
from calibration import stats

SPEED, N_JOBS = 4.0, 2
ROWS: dict[str, tuple[TrainSettings, str, str, str, str]] = {  # folder, training, test, reference
    "P300 s1, session 1 -> 2": (SETTINGS, "p300", "s1_ses1_run*.npz", "s1_ses2_run*.npz", "0.708"),
    "P300 s2, session 1 -> 2": (SETTINGS, "p300", "s2_ses1_run*.npz", "s2_ses2_run*.npz", "0.375"),
}
for _seconds, _reference in ((1.0, "0.939"), (2.0, "0.961"), (3.0, "0.945")):
    _settings = TrainSettings(
        labels={"1": "30Hz", "2": "20Hz"}, decoder="cca", channels=("Right AUX",), bandpass_hz=(5.0, 50.0),
        notch_hz=60.0, epoch_s=(0.0, _seconds),
    )  # fmt: skip
    ROWS[f"flicker s1 (30 or 20 Hz), POz, {_seconds:g} s"] = (
        _settings, "ssvep", "s1_ses1_run[12].npz", "s1_ses1_run[34].npz", _reference,
    )  # fmt: skip


def compute(data: Path, work: Path, path: Path) -> None:
    """Each row: train, stream every test run live, and put live and offline side by side."""
    for name, (settings, folder, training, test, _) in ROWS.items():
        if not has(path, row=name):
            runs = [sorted((data / "muse" / folder).glob(pattern)) for pattern in (training, test)]
            add(path, [{"row": name, **measure(work / "muse", settings, *runs)}])


def measure(work: Path, settings: TrainSettings, training: list[Path], test: list[Path]) -> dict[str, object]:
    """Live and offline scores on the test runs, and where live markers stood."""
    model = work / f"live-{training[0].stem}-{settings.epoch_s[1]:g}"
    if not model.exists():
        train([load_recording(str(xdf_of(path, work))) for path in training], settings).save(str(model))
    with ThreadPoolExecutor(N_JOBS) as pool:
        runs = list(pool.map(lambda path: live(work, model, path, settings), test))
    offline = bci("evaluate", model, *(xdf_of(path, work) for path in test))
    label, score, shift = (np.concatenate(column) for column in list(zip(*runs, strict=True))[:3])
    classes = list(dict.fromkeys(settings.labels.values()))
    said = np.where(score > 0.5, classes[1], classes[0])
    return {
        "n_markers": sum(run[3] for run in runs), "n_answered": len(label), "n_expired": sum(run[4] for run in runs),
        "auc": stats.auc(label == classes[1], score), "accuracy": float(np.mean(said == label)),
        "offline_auc": offline["auc"], "offline_accuracy": offline["accuracy"],
        "share_equal": float(np.mean(shift == 0)), "least_shift": int(shift.min()), "most_shift": int(shift.max()),
    }  # fmt: skip


def live(
    work: Path, model: Path, path: Path, settings: TrainSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """One run over LSL: class and score of each marker that was answered, and how far it was placed from its sample."""
    name, session = f"muse-{uuid.uuid4().hex[:8]}", work / f"session-{uuid.uuid4().hex[:8]}"
    recording = xdf_of(path, work)
    sender = subprocess.Popen(
        [sys.executable, "-m", "bci", "stream", recording, "--name", name, "--wait", "--speed", str(SPEED), "--quiet"]
    )
    try:
        report = bci("run", "--stream", name, "--model", model, "--session", session, "--wait", "60")
    finally:
        sender.terminate()
        sender.wait(20)
    streams = {s.spec.name: s for s in read_xdf(session / "session.xdf").streams}
    placed = {m["number"]: m for m in map(json.loads, streams["bci-health"].samples) if m["kind"] == "marker_placed"}
    rows = np.asarray(streams["bci-hops"].samples)
    answers = rows[(rows[:, 5] >= 0) & (rows[:, 4] == 0)]
    with np.load(path) as z:
        recorded = np.flatnonzero(z["marker"])
    number, index = answers[:, 5].astype(int), answers[:, 6].astype(int)
    label = np.array([settings.labels[placed[n]["label"]] for n in number])
    shift = index - recorded[np.abs(index[:, None] - recorded).argmin(axis=1)]
    return label, answers[:, 8], shift, len(recorded), report["n_expired"]


def tables(rows: list[Row]) -> str:
    """A line a row."""
    lines = [
        "| | markers | answered | expired | live | offline | reference | live marker - recorded one, samples |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        of = "auc" if "P300" in r["row"] else "accuracy"
        reference = ROWS[r["row"]][-1]
        moved = f"{float(r['share_equal']):.0%} equal, from {int(r['least_shift']):+d} to {int(r['most_shift']):+d}"
        lines.append(
            f"| {r['row']} | {r['n_markers']} | {r['n_answered']} | {r['n_expired']} | {of.replace('auc', 'AUC')} "
            f"{float(r[of]):.3f} | {float(r[f'offline_{of}']):.3f} | {reference} | {moved} |"
        )
    return "\n".join(lines)


SECTION = Section("markers", "a quarter of an hour in real time times four, over LSL", compute, tables)
