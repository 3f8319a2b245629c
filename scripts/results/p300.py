"""P300 on a Muse across sessions: AUC of `xdawn`, by `bci train` and `bci evaluate` on the recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from muse_to_xdf import xdf_of
from numpy.typing import NDArray
from page import Row, Section, add, has

from bci.build import load
from bci.offline.evaluate import evaluate
from bci.offline.train import TrainSettings, train
from bci.sources.files import load_recording
from calibration.stats import auc, auc_band

SETTINGS = TrainSettings(
    labels={"1": "nontarget", "2": "target"}, decoder="xdawn", channels=("TP9", "AF7", "AF8", "TP10"),
    bandpass_hz=(1.0, 30.0), filter_order=2, epoch_s=(0.0, 0.8),
)  # fmt: skip
ROWS = {  # what is trained on, what is tested, and the reference of the data (causal filters)
    "s1: session 1 → 2": (["s1_ses1"], ["s1_ses2"], "0.708"),
    "s2: session 1 → 2, fifteen months later": (["s2_ses1"], ["s2_ses2"], "0.375"),
    "s1, both sessions → s2, session 1": (["s1_ses1", "s1_ses2"], ["s2_ses1"], "0.599"),
    "s1, both sessions → s3 (no usable response)": (["s1_ses1", "s1_ses2"], ["s3_ses3"], "0.498"),
    "s1, session 1: runs 1-4 → 5-6": ([f"s1_ses1_run{k}" for k in (1, 2, 3, 4)], ["s1_ses1_run5", "s1_ses1_run6"], ""),
    "s1, session 2: runs 1-3 → 4-5": ([f"s1_ses2_run{k}" for k in (1, 2, 3)], ["s1_ses2_run4", "s1_ses2_run5"], ""),
    "s2, session 1: runs 1-3 → 4-5": ([f"s2_ses1_run{k}" for k in (1, 2, 3)], ["s2_ses1_run4", "s2_ses1_run5"], ""),
    "s2, session 2: run 1 → 2-3": (["s2_ses2_run1"], ["s2_ses2_run2", "s2_ses2_run3"], ""),
    "s3: runs 1-2 → 3-4": (["s3_ses3_run1", "s3_ses3_run2"], ["s3_ses3_run3", "s3_ses3_run4"], ""),
}
N_DRAWS = 2000
SEED = 0


def compute(data: Path, work: Path, path: Path) -> None:
    """Each row once over all its runs, and run by run."""
    for name, (training, tested, _) in ROWS.items():
        if has(path, row=name):
            continue
        model = work / "muse" / "-".join([*training, "model"])
        if not model.exists():
            train([load_recording(str(p)) for p in recordings(data, work, training)], SETTINGS).save(str(model))
        trials = evaluate(load(model), [load_recording(str(p)) for p in recordings(data, work, tested)])["trials"]
        add(path, [score(name, trials, run) for run in ("all", *dict.fromkeys(t["run"] for t in trials))])
        print(name, has(path, row=name), flush=True)


def recordings(data: Path, work: Path, starts: list[str]) -> list[Path]:
    """Every run whose name begins so, as XDF."""
    return [
        xdf_of(p, work / "muse") for start in starts for p in sorted((data / "muse" / "p300").glob(f"{start}*.npz"))
    ]


def score(name: str, trials: list[dict], run: str) -> dict[str, object]:
    """AUC of the answered markers of one run, or of all."""
    mine = [t for t in trials if run in ("all", t["run"])]
    answered = [t for t in mine if t["p"]]
    is_target = np.array([t["label"] == "target" for t in answered])
    p = np.array([t["p"][1] for t in answered])
    low, high = interval(is_target, p)
    return {
        "row": name, "run": run, "n_markers": len(mine), "n_targets": int(is_target.sum()),
        "n_nontargets": int((~is_target).sum()), "auc": auc(is_target, p), "low": low, "high": high,
    }  # fmt: skip


def interval(is_target: NDArray[np.bool_], p: NDArray[np.float64]) -> tuple[float, float]:
    """Of an AUC, 95 %: targets and the others drawn again with replacement (percentile bootstrap)."""
    generator = np.random.default_rng(SEED)
    targets, others = p[is_target], p[~is_target]
    wins = (targets[:, None] > others) + 0.5 * (targets[:, None] == others)
    weight = [generator.multinomial(n, np.full(n, 1 / n), N_DRAWS) / n for n in wins.shape]  # how often each is drawn
    low, high = np.quantile(((weight[0] @ wins) * weight[1]).sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def tables(rows: list[Row]) -> str:
    """A line a row; the runs of each in the last column."""
    lines = []
    for name, (_, _, reference) in ROWS.items():
        mine = [row for row in rows if row["row"] == name]
        if not mine:
            continue
        whole, runs = mine[0], mine[1:]
        guess = auc_band(int(whole["n_targets"]), int(whole["n_nontargets"]))
        lines.append(
            f"| {name} | {whole['n_targets']} / {whole['n_nontargets']} | **{float(whole['auc']):.3f}** | "
            f"{float(whole['low']):.3f}–{float(whole['high']):.3f} | {guess[0]:.3f}–{guess[1]:.3f} | {reference} | "
            f"{' '.join(format(float(run['auc']), '.2f') for run in runs)} |"
        )
    return TEXT.format(lines="\n".join(lines))


TEXT = """## P300 across sessions: Muse

`xdawn` on four dry electrodes, 1–30 Hz (causal, order 2), 0 to .8 s after each marker, no trial rejected: `bci train`
on what stands left of the arrow, `bci evaluate` on the right. AUC over all markers of the tested runs; the interval
draws markers (95 %); chance is .5, and the next column says what guessing gives. Reference: the data's, causal filters.
Within a session the data's README has .717, .773, .628, .593, .446 (its filters are not said).

| | targets / others | AUC | 95 % | guessing | reference | by run |
|---|---|---|---|---|---|---|
{lines}

Session 2 of s2 is decoded below chance by what session 1 taught, and stays so: the response has the other sign there.
A model that inverts is what recalibration and the guard before a swap are for; nothing here is tuned on it."""

SECTION = Section("p300", "two minutes", compute, tables)
