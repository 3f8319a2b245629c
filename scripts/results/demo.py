"""The simulated person over 200 trials: no skill and shuffled cues at chance, skill above it."""

from __future__ import annotations

from pathlib import Path

from page import Row, Section, add, has
from verbs import bci

ROWS = {
    "`--skill 0`": ("--skill", 0),
    "`--skill 0.8 --shuffle-labels`": ("--skill", 0.8, "--shuffle-labels"),
    "`--skill 0.8`": ("--skill", 0.8),
    "`--skill 1` (the default)": (),
}


def compute(data: Path, work: Path, path: Path) -> None:
    """One run of `bci demo` each."""
    for name, options in ROWS.items():
        if not has(path, row=name):
            result = bci("demo", "--trials", 200, *options)
            low, high = result["chance_band"]
            add(path, [{"row": name, "n_trials": result["n_trials"], "accuracy": result["accuracy"], "low": low,
                        "high": high}])  # fmt: skip


def tables(rows: list[Row]) -> str:
    """A line a person."""
    lines = [
        f"| {r['row']} | {float(r['accuracy']):.3f} | {float(r['low']):.2f}-{float(r['high']):.2f} |" for r in rows
    ]
    return "\n".join(["| | accuracy | chance band (95 %) |", "|---|---|---|", *lines])


SECTION = Section("demo", "a minute", compute, tables)
