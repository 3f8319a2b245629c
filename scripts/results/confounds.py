"""A score and what the confounds score by themselves, by `bci evaluate` on six people."""

from __future__ import annotations

import lzma
from pathlib import Path

from page import Row, Section, add, has
from verbs import bci

CHANNELS = "FC3,FCz,FC4,C5,C3,C1,Cz,C2,C4,C6,CP3,CPz,CP4,Pz,O1,O2"
RUNS = ("R04", "R08", "R12")
ROWS = {  # protocol, control
    "`riemann`": ("across-runs", ""),
    "`--control shuffle` (five orders)": ("across-runs", "shuffle"),
    "`--control frontal`: `riemann` on Fp1 Fp2 F7 F8 Fz alone": ("across-runs", "frontal"),
    "`--control gaze`: Fp1-Fp2 and F7-F8, 0.5-8 Hz": ("across-runs", "gaze"),
    "`--control history`: the cue before, odd or even place": ("across-runs", "history"),
    "across people: `riemann`": ("across-people", ""),
    "across people: frontal": ("across-people", "frontal"),
    "across people: gaze": ("across-people", "gaze"),
}


def compute(data: Path, work: Path, path: Path) -> None:
    """One `bci evaluate` each."""
    folder = work / "imagery_64ch"
    folder.mkdir(parents=True, exist_ok=True)
    recordings = []
    for run in RUNS:
        for packed in sorted((data / "motor_imagery_64ch").glob(f"S*{run}.edf.xz")):
            recordings.append(folder / packed.stem)
            recordings[-1].write_bytes(lzma.decompress(packed.read_bytes()))
    people = {p.name[:4] for p in recordings if p.name[4:7] == "R12"}
    recordings = [p for p in recordings if p.name[:4] in people]
    for name, (protocol, control) in ROWS.items():
        if has(path, row=name):
            continue
        options = ("--control", control) if control else ()
        result = bci("evaluate", *recordings, "--protocol", protocol, "--labels", "T1=left", "T2=right", "--channels",
                     CHANNELS, *options)  # fmt: skip
        (ci_low, ci_high), (low, high) = result["ci95"], result["chance_band"]
        add(path, [{"row": name, "n_trials": result["n_trials"], "accuracy": result["mean"], "ci_low": ci_low,
                    "ci_high": ci_high, "low": low, "high": high}])  # fmt: skip
        print(f"{name}: {result['mean']:.3f}", flush=True)


def tables(rows: list[Row]) -> str:
    """A line a command."""
    lines = ["| | trials | accuracy | 95 % interval | chance band (95 %) |", "|---|---|---|---|---|"]
    for row in rows:
        score, ci_low, ci_high, low, high = (float(row[k]) for k in ("accuracy", "ci_low", "ci_high", "low", "high"))
        lines.append(
            f"| {row['row']} | {row['n_trials']} | {score:.3f} | {ci_low:.3f}-{ci_high:.3f} | {low:.2f}-{high:.2f} |"
        )
    return "\n".join(lines)


SECTION = Section("confounds", "ten minutes", compute, tables)
