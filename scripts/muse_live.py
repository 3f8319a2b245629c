"""P300 and SSVEP live over LSL on real Muse recordings, beside the offline numbers.

    python scripts/muse_live.py DATA/muse [--speed 1] [--jobs 2]

P300: `xdawn` trained on session 1 of a person, every run of session 2 streamed from another process over LSL, decoded
live by marker-locked epochs; AUC over all markers of the session, beside `bci evaluate` on the same files. The place
of every marker is compared with the sample that was recorded with it. SSVEP: `cca`, which learns only a temperature.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from muse_to_xdf import convert, xdf_name

from bci.offline.train import TrainSettings, train
from bci.recording.xdf import read_xdf
from bci.sources.files import load_recording
from calibration import stats

EEG = ("TP9", "AF7", "AF8", "TP10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="muse-") as folder:
        work = Path(folder)
        p300 = TrainSettings(
            labels={"1": "nontarget", "2": "target"}, decoder="xdawn", channels=EEG,
            bandpass_hz=(1.0, 30.0), filter_order=2, epoch_s=(0.0, 0.8),
        )  # fmt: skip
        print("| P300 | markers | answered | expired | AUC live | AUC offline | live marker - recorded, samples |")
        print("|---|---|---|---|---|---|---|")
        for person, first, second in (("s1", "ses1", "ses2"), ("s2", "ses1", "ses2")):
            training = sorted((arguments.data / "p300").glob(f"{person}_{first}_run*.npz"))
            test = sorted((arguments.data / "p300").glob(f"{person}_{second}_run*.npz"))
            row = measure(work, f"{person}-p300", p300, training, test, arguments)
            print(f"| {person} {first} -> {second} | {row}", flush=True)
        print("\n| SSVEP | markers | answered | expired | AUC live | AUC offline | live marker - recorded, samples |")
        print("|---|---|---|---|---|---|---|")
        for seconds in (1.0, 2.0, 3.0):
            flicker = TrainSettings(
                labels={"1": "30Hz", "2": "20Hz"}, decoder="cca", channels=("Right AUX",),
                bandpass_hz=(5.0, 50.0), notch_hz=60.0, epoch_s=(0.0, seconds),
            )  # fmt: skip
            runs = sorted((arguments.data / "ssvep").glob("s1_ses1_run*.npz"))
            row = measure(work, f"ssvep-{seconds:g}", flicker, runs[:2], runs[2:], arguments)
            print(f"| s1, AUX, {seconds:g} s | {row}", flush=True)


def measure(
    work: Path,
    name: str,
    settings: TrainSettings,
    training: list[Path],
    test: list[Path],
    arguments: argparse.Namespace,
) -> str:
    """Train, stream every test run live, and put live and offline side by side."""
    model = work / f"{name}-model"
    train([load_recording(xdf(work, path)) for path in training], settings).save(str(model))
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = list(pool.map(lambda path: live(work, model, path, settings, arguments.speed), test))
    offline = bci("evaluate", model, *(xdf(work, path) for path in test), "--json", "-")
    label, score, shift = (np.concatenate(column) for column in list(zip(*runs, strict=True))[:3])
    n_markers, n_expired = sum(run[3] for run in runs), sum(run[4] for run in runs)
    classes = list(dict.fromkeys(settings.labels.values()))
    auc = stats.auc(label == classes[1], score)
    said = np.where(score > 0.5, classes[1], classes[0])
    lived = f"{auc:.3f} (accuracy {np.mean(said == label):.3f})"
    moved = (
        f"{np.mean(shift == 0):.1%} equal, median {np.median(shift):+.0f}, from {shift.min():+d} to {shift.max():+d}"
    )
    return (
        f"{n_markers} | {len(label)} | {n_expired} | {lived} | {offline['auc']:.3f} "
        f"(accuracy {offline['accuracy']:.3f}) | {moved} |"
    )


def live(
    work: Path, model: Path, path: Path, settings: TrainSettings, speed: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """One run over LSL: class and score of each marker that was answered, and how far it was placed from its sample."""
    name, session = f"muse-{uuid.uuid4().hex[:8]}", work / f"session-{uuid.uuid4().hex[:8]}"
    recording = xdf(work, path)
    sender = subprocess.Popen(
        [sys.executable, "-m", "bci", "stream", recording, "--name", name, "--wait", "--speed", str(speed), "--quiet"]
    )
    try:
        report = bci("run", "--stream", name, "--model", model, "--session", session, "--json", "-", "--wait", "60")
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


def xdf(work: Path, path: Path) -> Path:
    """The run as XDF, made once."""
    out = work / f"{xdf_name(path)}.xdf"
    return out if out.exists() else convert(path, out)


def bci(*arguments: object) -> dict:
    """One verb and the object that it prints."""
    command = [sys.executable, "-m", "bci", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
