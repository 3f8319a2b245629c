"""The imagery rows that need no GPU as tables, from each person's score alone."""

from __future__ import annotations

import numpy as np
from imagery_data import SEED
from page import Row

from calibration.stats import bootstrap_ci, chance_band

AGAIN = {  # rows of the table above
    "`riemann`": "across16/riemann", "`riemann_fb`": "across16/riemann_fb", "`csp`": "across16/csp",
    "`riemann_fb`, recentred as live": "live16/riemann_fb",
    "`riemann`, static": "static16/riemann", "`riemann_fb`, static": "static16/riemann_fb",
    "`csp`, static": "static16/csp",
    "`riemann`, 21 channels": "across21/riemann", "`riemann_fb`, 21 channels": "across21/riemann_fb",
    "`csp`, 21 channels": "across21/csp",
    "`riemann`, own R04 + R08": "within16/riemann", "`riemann_fb`, own R04 + R08": "within16/riemann_fb",
    "`csp`, own R04 + R08": "within16/csp",
    "frontal: `riemann`": "frontal/riemann", "frontal: `riemann_fb`": "frontal/riemann_fb",
    "frontal: `csp`": "frontal/csp",
    "gaze": "gaze", "history": "history",
}  # fmt: skip
NETWORKS = ("gnn", "convlstm", "cnn3d")
SHUFFLED = ("riemann", "riemann_fb", "csp")
Scores = tuple[dict[str, float], int]  # of each person; trials in all


def tables(rows: list[Row]) -> str:
    """Markdown, of the rows that are there."""
    found = by_row(rows)
    reference = found["across16/riemann_fb"][0]
    networks, orders = [], []
    for name in NETWORKS:
        folds = [found[key] for key in sorted(found) if key.startswith(f"here16/{name}/")]
        if folds:
            scores = {person: value for people, _ in folds for person, value in people.items()}
            n_trials = sum(n for _, n in folds)
            label = f"`{name}`, {'one fold' if len(folds) == 1 else f'{len(folds)} folds'}"
            networks.append(f"| {label} | {_score(scores, n_trials)} | {_paired(scores, reference)} |")
    for name in SHUFFLED:
        if f"shuffle/{name}" in found:
            scores, n_trials = found[f"shuffle/{name}"]
            orders.append(
                f"| `{name}` | {_score(scores, n_trials)} | {_paired(scores, found[f'across16/{name}'][0])} |"
            )
    again = [f"| {label} | {_score(*found[key])} |" for label, key in AGAIN.items() if key in found]
    return TEXT.format(networks="\n".join(networks), orders="\n".join(orders), again="\n".join(again))


def by_row(rows: list[Row]) -> dict[str, Scores]:
    """Each row's people and its number of trials."""
    found: dict[str, Scores] = {}
    for row in rows:
        found.setdefault(row["row"], ({}, int(row["n_trials"])))[0][row["person"]] = float(row["accuracy"])
    return found


def _score(people: dict[str, float], n_trials: int) -> str:
    values = np.array(list(people.values()))
    low, high = bootstrap_ci(values, seed=SEED)
    guess = chance_band(n_trials, 0.5)
    return (
        f"{len(values)} | **{values.mean():.3f}** | {low:.3f}–{high:.3f} | {np.mean(values >= 0.7):.0%} | "
        f"{guess[0]:.3f}–{guess[1]:.3f}"
    )


def _paired(people: dict[str, float], other: dict[str, float]) -> str:
    """The other's mean over the same people, and the difference with its interval."""
    difference = np.array([people[p] - other[p] for p in people])
    low, high = bootstrap_ci(difference, seed=SEED)
    return f"{np.mean([other[p] for p in people]):.3f} | {difference.mean():+.3f} ({low:+.3f} to {high:+.3f})"


TEXT = """### Imagery, computed later on a CPU

The same trials, splits and scores as above, on one machine without a GPU; each person's score of each row stands in
[results/imagery_cpu.csv](results/imagery_cpu.csv).

Networks on the scalp's grid or its neighbourhoods, not tuned: features at 10 Hz (`gnn`, `convlstm`) and 40 Hz
(`cnn3d`), 15 epochs of batches of 64 trials, rate .003, one seed, recentred, 16 channels, exact trials. *One fold* is
the first fifth of the people, whom the pick above has not seen.

| | people | score | 95 % | people ≥ .70 | guessing | `riemann_fb` on them | difference, 95 % |
|---|---|---|---|---|---|---|---|
{networks}

Shuffle: (rest + cue) segments of the tested recordings in another order, mean of five; beside it the true order. The
data's README allows two points between them. Where the interval leaves out 0, shuffled is a little worse: the joints
cost something, or a little passes from trial to trial; this table cannot tell which.

| | people | shuffled | 95 % | people ≥ .70 | guessing | true order | difference, 95 % |
|---|---|---|---|---|---|---|---|
{orders}

Rows above that need no GPU, computed again from the recordings:

| | people | score | 95 % | people ≥ .70 | guessing |
|---|---|---|---|---|---|
{again}"""
