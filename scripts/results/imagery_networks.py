"""Networks on the imagery of other people, for a machine with a GPU: one file of packed trials in, answers out.

python scripts/results/imagery_networks.py PACKED/sixteen.npz --frontal PACKED/frontal.npz --out OUT --device cuda

A family is chosen on one split of the training people of the first fold; the three best then learn five folds with
three seeds each. Every answer is written as soon as it is there (OUT/answers.json; a second call goes on from it), the
weights of the folds into OUT/weights.npz.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import imagery_data as data
import numpy as np
import torch
from numpy.typing import NDArray

from calibration.align import Recentring, align_trials
from decoders import load_class
from decoders.networks.network import aligned
from decoders.spec import DecoderSpec, Request
from decoders.training.plan import Plan

WINDOW_S = 3.4  # of a network: more than the recentred 3 s, for kernels in time; fbnet, which has none, loses by it
RECIPE = {"n_filters": 24.0, "kernel": 20.0, "pool": 4.0, "frame_kernel": 8.0, "frame_pool": 2.0}
CANDIDATES: dict[str, tuple[str, dict[str, float], dict[str, Any]]] = {  # family, sizes, fields of `Plan`
    "eegnet": ("eegnet", RECIPE, {}),
    "eegnet, dropout .25": ("eegnet", {**RECIPE, "dropout": 0.25}, {}),
    "eegnet, rate .003": ("eegnet", RECIPE, {"rate": 3e-3}),
    "eegnet, rate .003, dropout .25": ("eegnet", {**RECIPE, "dropout": 0.25}, {"rate": 3e-3}),
    "eegnet, 48 filters": ("eegnet", {**RECIPE, "n_filters": 48.0}, {"rate": 3e-3}),
    "eegnet, 30 epochs": ("eegnet", RECIPE, {"n_epochs": 30}),
    "shallow": ("shallow", {}, {}),
    "shallow, rate .003": ("shallow", {}, {"rate": 3e-3}),
    "shallow, pool 1 s": ("shallow", {"pooled_hops": 10.0}, {"rate": 3e-3}),
    "shallow, 80 filters, pool 1 s": ("shallow", {"n_filters": 80.0, "pooled_hops": 10.0}, {"rate": 3e-3}),
    "shallow, 80 filters, 30 epochs": (
        "shallow",
        {"n_filters": 80.0, "pooled_hops": 10.0},
        {"rate": 3e-3, "n_epochs": 30},
    ),
    "fbnet, filters as they are": ("fbnet", {}, {"rate": 1e-9, "n_epochs": 1}),
    "fbnet, rate .0003": ("fbnet", {}, {"rate": 3e-4}),
    "fbnet, rate .001": ("fbnet", {}, {"rate": 1e-3}),
    "fbnet, rate .003": ("fbnet", {}, {"rate": 3e-3}),
    "fbnet, rate .001, shrinkage .3": ("fbnet", {"shrinkage": 0.3}, {"rate": 1e-3}),
    "tcn": ("tcn", {}, {}),
    "tcn, rate .003": ("tcn", {}, {"rate": 3e-3}),
    "transformer": ("transformer", {}, {"rate": 3e-3}),
    "cnn_lstm": ("cnn_lstm", {}, {"rate": 3e-3}),
    "mlp": ("mlp", {}, {"rate": 3e-3}),
    "gnn": ("gnn", {}, {"rate": 3e-3}),
    "lstm": ("lstm", {}, {"rate": 3e-3}),
    "gru": ("gru", {}, {"rate": 3e-3}),
    "rnn": ("rnn", {}, {"rate": 3e-3}),
    "convlstm": ("convlstm", {}, {"rate": 3e-3}),
    "cnn3d": ("cnn3d", {}, {"rate": 3e-3}),
}


def spec_of(name: str, cued: data.Cued) -> DecoderSpec:
    """The candidate's spec for these channels and bands."""
    family, sizes, _ = CANDIDATES[name]
    window_s = data.WINDOW_S if family == "fbnet" else WINDOW_S
    labels = tuple(f"{c} {low:g}-{high:g}" for low, high in cued.bands_hz for c in cued.labels)
    return load_class(family).design(
        Request(
            channels=labels, sfreq_hz=data.SFREQ_HZ, hop=data.HOP, classes=("left", "right"),
            n_bands=len(cued.bands_hz), window_s=window_s, options={**sizes, "mirror": 1.0},
            recentre_hops=round(data.WINDOW_S * data.SFREQ_HZ / data.HOP),
        )
    )  # fmt: skip


def log_odds_of(
    name: str, cued: data.Cued, weights: dict[str, NDArray], align: NDArray[np.float64], which: NDArray[np.integer],
    device: str = "cpu",
) -> NDArray[np.float64]:  # fmt: skip
    """Of right against left, of the trials ``which``, each by its own matrix of ``align`` (of all trials)."""
    spec = spec_of(name, cued)
    network: Any = load_class(CANDIDATES[name][0]).restore(spec, weights)
    network.to(device)
    c = len(cued.labels)
    params = {"align": torch.eye(c, device=device).expand(len(cued.bands_hz), c, c)}
    found = []
    with torch.inference_mode():
        for part in np.array_split(which, max(1, len(which) // 500)):
            x = aligned(cued.rows[part][:, :, -spec.context :], align[part])
            logits, _ = network.forward(torch.from_numpy(x).to(device), network.initial_state(len(x)), params)
            found.append((logits[:, -1, 1] - logits[:, -1, 0]).cpu().numpy())
    return np.concatenate(found).astype(float)


class Answers:
    """What has been computed, by name; on disk after every addition."""

    def __init__(self, out: Path):
        self.path, self.weights_path = out / "answers.json", out / "weights.npz"
        out.mkdir(parents=True, exist_ok=True)
        self.rows: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.weights = dict(np.load(self.weights_path)) if self.weights_path.exists() else {}

    def add(self, key: str, row: dict[str, Any], weights: dict[str, NDArray] | None = None) -> None:
        """Keep one more, and its weights."""
        self.rows[key] = row
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.rows))
        part.replace(self.path)
        if weights is not None:
            self.weights |= {f"{key}/{name}": value for name, value in weights.items()}
            np.savez(self.weights_path, **self.weights)


class Task:
    """Trials, how each is aligned in each split, and how a network is trained and scored on them."""

    def __init__(self, path: Path, device: str):
        self.cued, self.device = data.unpack(path), device
        self.start = np.load(path)["starts"]
        self.splits = data.splits(int(self.cued.person.max()) + 1)
        self.covariance = data.last_covariances(self.cued)
        self._align: dict[str, NDArray[np.float64]] = {}

    def align(self, split: str, is_static: bool) -> NDArray[np.float64]:
        """Of every trial in this split."""
        start = self.start[list(self.splits).index(split)]
        if is_static:
            return np.broadcast_to(start, (len(self.cued.y), *start.shape))
        if split not in self._align:
            self._align[split] = align_trials(self.covariance, self.cued.person, start)
        return self._align[split]

    def train(
        self, name: str, train: NDArray[np.bool_], test: NDArray[np.bool_], align: NDArray[np.float64], seed: int
    ) -> tuple[dict[str, Any], dict[str, NDArray]]:
        """Fit to ``train``, answer ``test``: log odds of right, and the weights."""
        spec, family = spec_of(name, self.cued), load_class(CANDIDATES[name][0])
        began = time.monotonic()
        plan = Plan(device=self.device, **CANDIDATES[name][2])
        x = self.cued.rows[train][:, :, -spec.context :]
        fit: Any = family.fit
        fitted = fit(spec, x, self.cued.y[train], seed=seed, align=align[train], plan=plan)
        found = log_odds_of(name, self.cued, fitted.weights, align, np.flatnonzero(test), self.device)
        right = (found > 0) == self.cued.y[test]
        people = self.cued.person[test]
        row = {
            "name": name, "seed": seed, "trials": np.flatnonzero(test).tolist(), "log_odds": found.round(4).tolist(),
            "mean": float(np.mean([right[people == p].mean() for p in np.unique(people)])),
            "seconds": time.monotonic() - began,
        }  # fmt: skip
        return row, fitted.weights

    def within(self, name: str, person: int) -> dict[str, Any]:
        """The person's own R04 and R08, then R12; aligned to the mean of the former."""
        mine, tested = self.cued.person == person, self.cued.run == 12
        recentring = Recentring(self.start[0], 1)  # from the population's mean, as its own would need pyriemann
        for i in np.flatnonzero(mine & ~tested):
            recentring.move(self.covariance[i])
        align = np.broadcast_to(recentring.align, self.covariance.shape)
        return self.train(name, mine & ~tested, mine & tested, align, 0)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("--frontal", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--budget", type=float, default=1e9, metavar="S", help="Begin nothing after so many seconds.")
    parser.add_argument("--only", nargs="*", help="Candidates by name; all otherwise.")
    parser.add_argument("--n-best", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    a = parser.parse_args()
    began, answers, task = time.monotonic(), Answers(a.out), Task(a.packed, a.device)
    print(f"{len(task.cued.y)} trials on {a.device}, {time.monotonic() - began:.0f} s", flush=True)

    def do(key: str, on: Task, name: str, split: str, seed: int, *, is_static: bool = False) -> dict[str, Any] | None:
        if key in answers.rows:
            return answers.rows[key]
        if time.monotonic() - began > a.budget:
            print(f"no time left for {key}", flush=True)
            return None
        people = on.splits[split]
        train, test = (np.isin(on.cued.person, part) for part in people)
        row, weights = on.train(name, train, test, on.align(split, is_static), seed)
        answers.add(key, row, weights if split != "choose" and on is task else None)
        print(f"{key:60s} {row['mean']:.4f}  {row['seconds']:.1f} s  at {time.monotonic() - began:.0f} s", flush=True)
        return row

    chosen: dict[str, tuple[float, str]] = {}  # of each family its best candidate
    for name in a.only or CANDIDATES:
        try:
            row = do(f"choose/{name}", task, name, "choose", 0)
        except ModuleNotFoundError as error:  # places of electrodes need MNE; such a family can be chosen elsewhere
            print(f"choose/{name}: {error}", flush=True)
            continue
        family = CANDIDATES[name][0]
        if row is not None and row["mean"] > chosen.get(family, (0.0, ""))[0]:
            chosen[family] = (row["mean"], name)
    best = [name for _, name in sorted(chosen.values(), reverse=True)][: a.n_best]
    print("best:", best, flush=True)
    for name in best:
        for k in range(data.N_FOLDS):
            for seed in range(a.seeds):
                do(f"across/{name}/fold {k}/{seed}", task, name, f"fold {k}", seed)
    for k in range(data.N_FOLDS) if best else ():
        do(f"static/{best[0]}/fold {k}/0", task, best[0], f"fold {k}", 0, is_static=True)
    for person in np.unique(task.cued.person) if best else ():
        key = f"within/{best[0]}/{person}"
        if key not in answers.rows and time.monotonic() - began < a.budget:
            answers.add(key, task.within(best[0], person))
    if a.frontal and best:
        frontal = Task(a.frontal, a.device)
        for k in range(data.N_FOLDS):
            do(f"frontal/{best[0]}/fold {k}/0", frontal, best[0], f"fold {k}", 0)


if __name__ == "__main__":
    main()
