"""Left against right fist imagery, across and within 86 people: every row of that part of docs/results.md.

python scripts/results/imagery.py DATA/motor_imagery_21ch --work WORK [--rows across16/riemann_fb ...] [--list]

Each row is a small file in WORK/rows, and is computed where it is not there yet. Most networks are trained on another
machine (imagery_networks.py): ``--export`` writes WORK/packed for it; what it gives back belongs into WORK/networks.
Without that, `python scripts/results` leaves their part of the page as it is and writes the part of this machine alone.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import imagery_controls as controls
import imagery_data as data
import numpy as np
from imagery_cpu import tables
from imagery_tables import pick_of, write_page
from numpy.typing import NDArray
from page import ROOT, Section, add, has

from calibration.align import Recentring, align_trials
from decoders import load_class
from decoders.classical.riemann_fb import mean_alignment
from decoders.networks.network import aligned
from decoders.spec import DecoderSpec, Request

DECODERS: dict[str, tuple[tuple[tuple[float, float], ...], dict[str, float]]] = {  # bands, options
    "riemann": ((data.WIDE_HZ,), {}),
    "riemann_fb": (data.BANDS_HZ, {"mirror": 1.0}),
    "csp": (data.BANDS_HZ, {"mirror": 1.0}),
}
MONTAGES = {"16": data.SIXTEEN, "21": data.LABELS, "frontal": data.FRONTAL}
N_SHUFFLES = 5
HERE = {"gnn": 5, "convlstm": 1, "cnn3d": 1}  # networks that this machine trains, and on how many folds


class Task:
    """Trials of a montage in the bands of a decoder, and where recentring starts in each split."""

    def __init__(self, work: Path, cued: data.Cued, decoder: str, montage: str):
        bands_hz, self.options = DECODERS[decoder]
        self.decoder, self.cued = decoder, cued.of(MONTAGES[montage], bands_hz)
        self.splits = data.splits(int(cued.person.max()) + 1)
        self.covariance = data.last_covariances(self.cued)
        self._kept = work / "starts" / f"{montage}_{len(bands_hz)}.npy"

    @cached_property
    def start(self) -> dict[str, NDArray[np.float64]]:
        """Of each split."""
        if not self._kept.exists():
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(self._kept, data.starts(self.cued))
        return dict(zip(self.splits, np.load(self._kept), strict=True))

    @property
    def spec(self) -> DecoderSpec:
        """Of the decoder, for these rows."""
        cued = self.cued
        labels = tuple(f"{c} {low:g}-{high:g}" for low, high in cued.bands_hz for c in cued.labels)
        return load_class(self.decoder).design(
            Request(
                channels=labels, sfreq_hz=data.SFREQ_HZ, hop=data.HOP, classes=("left", "right"),
                n_bands=len(cued.bands_hz), window_s=data.WINDOW_S, options=self.options,
                recentre_hops=0 if self.decoder == "riemann" else round(data.WINDOW_S * data.SFREQ_HZ / data.HOP),
            )
        )  # fmt: skip

    def align(self, start: NDArray[np.float64], is_static: bool) -> NDArray[np.float64]:
        """Of every trial."""
        if is_static:
            return np.broadcast_to(start, self.covariance.shape)
        return align_trials(self.covariance, self.cued.person, start)

    def fit(self, train: NDArray[np.bool_], align: NDArray[np.float64]) -> dict[str, Any]:
        """Weights and params learnt from these trials."""
        family: Any = load_class(self.decoder)
        x, y = self.cued.rows[train], self.cued.y[train]
        if self.decoder == "riemann":  # has no align of its own: it is given aligned trials
            fitted = family.fit(self.spec, aligned(x, align[train]), y, seed=0)
        else:
            fitted = family.fit(self.spec, x, y, seed=0, align=align[train])
        return {"weights": fitted.weights, "params": fitted.params}

    def log_odds(
        self, fitted: dict[str, Any], rows: NDArray[np.float32], align: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Of right against left, of each of these trials by its own matrix."""
        model: Any = load_class(self.decoder).restore(self.spec, fitted["weights"]).model
        rows = rows[:, :, -model_window(self.spec) :]
        if self.decoder == "riemann":
            logits = model.logits(aligned(rows, align), fitted["params"])
        else:
            logits = model.logits(rows, fitted["params"] | {"align": align})
        return logits[:, 1] - logits[:, 0]


def model_window(spec: DecoderSpec) -> int:
    """Samples that the decoder looks at."""
    return spec.receptive_field or 0


class Results:
    """All rows, each a function without arguments that gives what its file holds."""

    def __init__(self, folder: Path, work: Path):
        self.folder, self.work = folder, work
        self.rows: dict[str, Callable[[], dict[str, Any]]] = {"choose/riemann_fb": partial(self.choose, "riemann_fb")}
        for montage in ("16", "21"):
            for decoder in DECODERS:
                self.rows[f"across{montage}/{decoder}"] = partial(self.across, decoder, montage)
        for decoder in DECODERS:
            self.rows[f"static16/{decoder}"] = partial(self.across, decoder, "16", is_static=True)
            self.rows[f"within16/{decoder}"] = partial(self.within, decoder, is_static=True)
            self.rows[f"within16 recentred/{decoder}"] = partial(self.within, decoder, is_static=False)
            self.rows[f"frontal/{decoder}"] = partial(self.across, decoder, "frontal")
        self.rows["gaze"] = lambda: controls.gaze(self.folder, self.cued)
        self.rows["history"] = lambda: controls.history(self.cued)
        self.rows["live16/riemann_fb"] = self.live
        for decoder in DECODERS:
            self.rows[f"shuffle/{decoder}"] = partial(self.shuffle, decoder)
        for name, n_folds in HERE.items():
            for k in range(n_folds):
                self.rows[f"here16/{name}/fold {k}"] = partial(self.network_here, name, k)
        if self.networks:
            self.rows["shuffle/network"] = partial(self.shuffle, "")

    @cached_property
    def networks(self) -> dict[str, Any]:
        """What the other machine gave back."""
        path = self.work / "networks" / "answers.json"
        return json.loads(path.read_text()) if path.exists() else {}

    @cached_property
    def cued(self) -> data.Cued:
        """All trials."""
        return data.load(self.folder, self.work)

    def path(self, key: str) -> Path:
        """Where a row is kept."""
        return self.work / "rows" / f"{key.replace('/', '__')}.json"

    def get(self, key: str) -> dict[str, Any]:
        """A row from its file, or computed and written."""
        path = self.path(key)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            row = self.rows[key]()
            part = path.with_suffix(".part")
            part.write_text(json.dumps(row))
            part.replace(path)
            people = list(row["accuracy"].values())
            print(f"{key:40s} {np.mean(people):.4f}  ({len(people)} people)", flush=True)
        return json.loads(path.read_text())

    # --- rows ---------------------------------------------------------------------------------------------------------

    def choose(self, decoder: str) -> dict[str, Any]:
        """The split on which networks are chosen."""
        task = Task(self.work, self.cued, decoder, "16")
        train, test = (np.isin(self.cued.person, part) for part in task.splits["choose"])
        align = task.align(task.start["choose"], False)
        fitted = task.fit(train, align)
        return answers(self.cued, task.log_odds(fitted, task.cued.rows[test], align[test]), test)

    def across(self, decoder: str, montage: str, *, is_static: bool = False) -> dict[str, Any]:
        """Other people only, five folds of people."""
        task = Task(self.work, self.cued, decoder, montage)
        found = np.zeros(len(self.cued.y))
        for k in range(data.N_FOLDS):
            train, test = (np.isin(self.cued.person, part) for part in task.splits[f"fold {k}"])
            align = task.align(task.start[f"fold {k}"], is_static)
            fitted = task.fit(train, align)
            if montage == "16" and not is_static:
                self._keep(decoder, k, fitted)
            found[test] = task.log_odds(fitted, task.cued.rows[test], align[test])
        return answers(self.cued, found)

    def within(self, decoder: str, *, is_static: bool) -> dict[str, Any]:
        """The person's own R04 and R08, 30 cues, then R12."""
        task = Task(self.work, self.cued, decoder, "16")
        found, tested = np.zeros(len(self.cued.y)), self.cued.run == 12
        for person in np.unique(self.cued.person):
            mine = self.cued.person == person
            start = mean_alignment(task.covariance[mine & ~tested])
            align = np.broadcast_to(start, task.covariance.shape).copy()
            if not is_static:
                align[mine] = align_trials(task.covariance[mine], self.cued.person[mine], start)
            fitted = task.fit(mine & ~tested, align)
            test = mine & tested
            found[test] = task.log_odds(fitted, task.cued.rows[test], align[test])
        return answers(self.cued, found[tested], tested)

    def live(self) -> dict[str, Any]:
        """`riemann_fb` across people, recentred as a stream is: every 3 s of it, cued or not."""
        task = Task(self.work, self.cued, "riemann_fb", "16")
        spec, found = task.spec, np.zeros(len(self.cued.y))
        rows = [b * len(data.LABELS) + data.LABELS.index(c) for b in range(len(data.BANDS_HZ)) for c in data.SIXTEEN]
        n_settling, n_window = 10, model_window(spec) // data.HOP
        paths = sorted(self.folder.glob("S*.npz"))
        for k in range(data.N_FOLDS):
            fitted = self._kept("riemann_fb", k)
            for person in task.splits[f"fold {k}"][1]:
                recentring = Recentring(task.start[f"fold {k}"], spec.recentre_hops)
                runs, events = data.read(paths[person])
                for run, raw in runs.items():
                    hops = data.hops_of(raw)[:, rows]
                    last_sample = (np.arange(len(hops)) + 1) * int(data.HOP * data.RAW_HZ / data.SFREQ_HZ) - 1
                    onsets = [int(on) for r, on, _, code in events if r == run and code]
                    due = {int(np.searchsorted(last_sample, on + data.DECIDE_AT_S * data.RAW_HZ, side="right")) - 1: i
                           for i, on in enumerate(onsets)}  # fmt: skip
                    recentring.begin_segment()
                    for at, hop in enumerate(hops):
                        recentring.step(hop, at >= n_settling)
                        here = (self.cued.person == person) & (self.cued.run == run)
                        here &= self.cued.place == due.get(at, -1)
                        if here.any():
                            window = hops[at + 1 - n_window : at + 1].transpose(1, 0, 2).reshape(1, len(rows), -1)
                            found[here] = task.log_odds(fitted, window, recentring.align[None])
        return answers(self.cued, found)

    def shuffle(self, decoder: str) -> dict[str, Any]:
        """The same decoder, or the picked network, where (rest + cue) segments stand in another order: mean of five."""
        rows = []
        for seed in range(1, N_SHUFFLES + 1):
            cued = data.load(self.folder, self.work, seed)
            task = Task(self.work, cued, decoder or "riemann_fb", "16")
            found = np.zeros(len(cued.y))
            for k in range(data.N_FOLDS):
                test = np.isin(cued.person, task.splits[f"fold {k}"][1])
                align = np.zeros_like(task.covariance)
                align[test] = align_trials(task.covariance[test], cued.person[test], task.start[f"fold {k}"])
                if decoder:
                    found[test] = task.log_odds(self._kept(decoder, k), task.cued.rows[test], align[test])
                else:
                    found[test] = self._network(task.cued, k, align, np.flatnonzero(test))
            rows.append(answers(cued, found))
        mean = {p: float(np.mean([row["accuracy"][p] for row in rows])) for p in rows[0]["accuracy"]}
        return {"accuracy": mean, "n_trials": rows[0]["n_trials"]}

    def network_here(self, name: str, fold: int) -> dict[str, Any]:
        """A network that this machine trains, on a CPU: one fold of other people, one seed, recentred."""
        from imagery_networks import CANDIDATES, log_odds_of, spec_of

        from decoders.training.plan import Plan

        task = Task(self.work, self.cued, "riemann_fb", "16")  # its bands and recentring
        train, test = (np.isin(self.cued.person, part) for part in task.splits[f"fold {fold}"])
        align, spec = task.align(task.start[f"fold {fold}"], False), spec_of(name, task.cued)
        family: Any = load_class(CANDIDATES[name][0])
        x, plan = task.cued.rows[train][:, :, -spec.context :], Plan(**CANDIDATES[name][2])
        fitted = family.fit(spec, x, self.cued.y[train], seed=0, align=align[train], plan=plan)
        return answers(self.cued, log_odds_of(name, task.cued, fitted.weights, align, np.flatnonzero(test)), test)

    # --- weights of folds, for what needs them again ------------------------------------------------------------------

    def _keep(self, decoder: str, fold: int, fitted: dict[str, Any]) -> None:
        path = self.work / "weights" / f"{decoder}_{fold}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{f"{kind}.{name}": v for kind, arrays in fitted.items() for name, v in arrays.items()})

    def _network(
        self, cued: data.Cued, fold: int, align: NDArray[np.float64], which: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        from imagery_networks import log_odds_of

        name = pick_of(self.networks)
        arrays, head = np.load(self.work / "networks" / "weights.npz"), f"across/{name}/fold {fold}/0/"
        weights = {key.removeprefix(head): arrays[key] for key in arrays if key.startswith(head)}
        return log_odds_of(name, cued, weights, align, which)

    def _kept(self, decoder: str, fold: int) -> dict[str, Any]:
        self.get(f"across16/{decoder}")
        arrays = np.load(self.work / "weights" / f"{decoder}_{fold}.npz")
        return {kind: {name.partition(".")[2]: arrays[name] for name in arrays if name.startswith(kind)}
                for kind in ("weights", "params")}  # fmt: skip


def answers(cued: data.Cued, log_odds: NDArray[np.float64], among: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """What a row's file holds, of the trials ``among`` all."""
    among = np.ones(len(cued.y), bool) if among is None else among
    right, people = (log_odds > 0) == cued.y[among], cued.person[among]
    return {
        "accuracy": {str(p): float(right[people == p].mean()) for p in np.unique(people)},
        "n_trials": int(among.sum()),
        "trials": np.flatnonzero(among).tolist(),
        "log_odds": np.round(log_odds, 5).tolist(),
    }


def compute(folder: Path, work: Path, path: Path) -> None:
    """All rows, with each person's score into the CSV file; with networks' answers, their part of the page."""
    folder = folder / "motor_imagery_21ch"
    results, people = Results(folder, work), [path.stem for path in sorted(folder.glob("S*.npz"))]
    for key in results.rows:
        row = results.get(key)
        if not has(path, row=key):
            add(path, ({"row": key, "n_trials": row["n_trials"], "person": people[int(p)], "accuracy": value}
                       for p, value in row["accuracy"].items()))  # fmt: skip
    if results.networks:
        write_page(
            ROOT / "docs" / "results.md", {k: results.get(k) for k in results.rows}, results.cued, results.networks
        )
    else:
        print(f"no {work / 'networks' / 'answers.json'}: the part of the GPU's networks stays as it is")


SECTION = Section("imagery_cpu", "an hour, 4 GB of WORK; its networks' part a GPU", compute, tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DATA", help="motor_imagery_21ch")
    parser.add_argument("--work", type=Path, required=True, help="A folder outside the repository, about 4 GB.")
    parser.add_argument("--rows", nargs="*", help="Only these, by how they begin; the page is not written.")
    parser.add_argument("--kept", action="store_true", help="Write the page of what is computed already.")
    parser.add_argument("--list", action="store_true", help="Name the rows and end.")
    parser.add_argument("--export", action="store_true", help="Write WORK/packed for the networks' machine and end.")
    a = parser.parse_args()
    results = Results(a.folder, a.work)
    if a.list:
        print("\n".join(results.rows))
    elif a.export:
        (a.work / "packed").mkdir(parents=True, exist_ok=True)
        for name, labels in (("sixteen", data.SIXTEEN), ("frontal", data.FRONTAL)):
            path = a.work / "packed" / f"{name}.npz"
            deviation = data.pack(results.cued.of(labels), path)
            print(f"{path} {path.stat().st_size / 1e6:.1f} MB, {deviation:.3f} off the signal")
    elif a.rows:
        for key in results.rows:
            if any(key.startswith(word) for word in a.rows):
                results.get(key)
    else:
        rows = {key: results.get(key) for key in results.rows if not a.kept or results.path(key).exists()}
        write_page(ROOT / "docs" / "results.md", rows, results.cued, results.networks)


if __name__ == "__main__":
    main()
