"""`bci evaluate --protocol`: decoders fitted as `bci train` would, scored on trials that they have not seen.

The unit is the cued trial. Runs and people are kept whole by scikit-learn's splitters for groups; parts of a run are
consecutive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, ModelError
from bci.offline.augment import Synthetic
from bci.offline.evaluate import CURVE_STEP_S
from bci.offline.score import Rows, score
from bci.offline.train import Design, TrainSettings, check_labels, preprocess, training_plan
from bci.types import Recording
from calibration.fit import N_FOLDS, calibrate, consecutive_parts, decide_of, fit_to, group_folds
from calibration.trials import HopRun, Trials, decision_hop
from decoders.engine import softmax
from decoders.spec import DecoderError, Fitted

Protocol: TypeAlias = Literal["within-run", "across-runs", "across-people"]
Split: TypeAlias = tuple[str, NDArray[np.bool_], NDArray[np.bool_]]  # what is tested; trials to learn from and to test
Each: TypeAlias = Callable[[list[Any]], Iterable[Any]]


def cross_validate(
    recordings: Sequence[Recording],
    settings: TrainSettings,
    protocol: Protocol,
    *,
    orders: Sequence[Sequence[tuple[Recording, Any]]] = (),
    each: Each = iter,
    synthetic: Synthetic | None = None,
) -> list[dict[str, Any]]:
    """Fit a decoder on every split of the protocol, and score it.

    Parameters
    ----------
    recordings : sequence of Recording
    settings : TrainSettings
    protocol : {"within-run", "across-runs", "across-people"}
        Consecutive fifths of each run; the last run of each person after those before it; people, in five folds.
    orders : sequence of sequence of (Recording, sequence of int)
        Test on these instead, one after the other: the same recordings with their cues in another order, and of each
        cue its number in the recording of the same place.
    each : callable
        Wraps the list of splits, for a progress bar.
    synthetic : Synthetic or None
        Trials to learn from beside the real ones; the temperature is that of the real ones alone.

    Returns
    -------
    list of dict
        One result, or one of each order; each as `bci.offline.evaluate.evaluate` gives it.

    Raises
    ------
    ConfigError
        The recordings cannot serve the protocol.
    ModelError
        A training part cannot give a decoder.
    """
    check_labels(recordings, settings)
    design = Design.of(recordings[0], settings)

    def preprocessed(some: Iterable[Recording]) -> list[HopRun]:
        return [preprocess(one, design.preprocessing, settings, design.spec) for one in some]

    runs = preprocessed(recordings)
    where = f"{settings.decoder}, {protocol}"
    try:
        plan = training_plan(settings, design.spec)
        trials = design.trials(recordings, runs)
        tested = [_Tested(design, preprocessed(r for r, _ in order), [n for _, n in order]) for order in orders]
        tested = tested or [_Tested(design, runs, [np.arange(len(run.cues)) for run in runs])]
        for name, train, test in each(splits(trials, protocol, [run.run for run in runs])):
            where = name
            fitted = calibrate(design.spec, trials.of(train), seed=settings.seed, plan=plan).fitted
            if synthetic is not None:
                more = synthetic.added_to(
                    trials.of(train), design, [recordings[r] for r in set(trials.run[test].tolist())]
                )
                other = fit_to(design.spec, more, np.ones(len(more.y), bool), seed=settings.seed, plan=plan)
                fitted = Fitted(other.weights, {**other.params, "temperature": fitted.params["temperature"]})
            keys = set(zip(trials.run[test].tolist(), trials.index[test].tolist(), strict=True))
            for one in tested:
                one.test(fitted, keys)
    except DecoderError as error:
        raise ModelError(f"cannot evaluate {where}: {error}") from None
    about = {"protocol": protocol, "decoder": settings.decoder, "seed": settings.seed}
    return [about | one.result() for one in tested]


class _Tested:
    """Recordings to test on, and what was said about their cues. A cue is known by its run and its number in it."""

    def __init__(self, design: Design, runs: Sequence[HopRun], numbers: Sequence[Any]):
        self._design, self._runs, self._numbers = design, runs, numbers
        self._said: dict[tuple[int, int], tuple[list[float], float]] = {}  # probabilities, temperature
        self._right_at: dict[float, dict[int, list[float]]] = {}  # by time and run

    def test(self, fitted: Fitted, keys: set[tuple[int, int]]) -> None:
        """Decide these cues, at the declared time and at those of the curve."""
        wanted = {run for run, _ in keys}
        runs = [run if k in wanted else replace(run, cues=(), epochs={}) for k, run in enumerate(self._runs)]
        settings, spec = self._design.settings, self._design.spec
        warm = float(fitted.params["temperature"][0])
        at_s = settings.decide_at_s
        for time_s in (at_s, *curve_times(at_s)) if spec.epoch is None else (at_s,):
            try:
                trials = self._design.cut(runs, time_s)
            except DecoderError:
                continue  # no cue has a whole trial so early
            number = [int(self._numbers[r][i]) for r, i in zip(trials.run, trials.index, strict=True)]
            seen = np.array([(int(r), i) in keys for r, i in zip(trials.run, number, strict=True)], bool)
            if not seen.any():
                continue
            p = softmax(decide_of(spec, fitted, trials, seen) / warm)
            for at, one in zip(np.flatnonzero(seen), p, strict=True):
                run = int(trials.run[at])
                if time_s == at_s:
                    self._said[run, number[at]] = (one.tolist(), warm)
                right = float(one.argmax() == trials.y[at])
                self._right_at.setdefault(time_s, {}).setdefault(run, []).append(right)

    def result(self) -> dict[str, Any]:
        """Scores, curve and trials."""
        settings, classes = self._design.settings, tuple(self._design.spec.classes)
        rows, temperature = self._rows()
        curve = [
            {"time_s": time_s, "mean": float(np.mean([np.mean(right) for right in by_run.values()]))}
            for time_s, by_run in sorted(self._right_at.items())
        ]
        return {
            "classes": list(classes),
            **score(rows, classes, settings.decide_at_s, seed=settings.seed, temperature=temperature),
            "curve": curve,
            "trials": rows,
        }

    def _rows(self) -> tuple[Rows, list[float]]:
        """A row for each cue of the runs that were tested: an abstention where its signal was not whole."""
        rows, temperature = [], []
        for r in sorted({run for run, _ in self._said}):
            run, number = self._runs[r], self._numbers[r]
            for k in np.argsort(number, kind="stable").tolist():
                p, warm = self._said.get((r, int(number[k])), (None, 1.0))
                if p is None and self._is_cut_off(run, k):
                    continue
                row = {
                    "subject": run.subject,
                    "run": run.run,
                    "index": int(number[k]),
                    "label": run.cues[k].label,
                    "p": p,
                }
                rows.append(row)
                temperature.append(warm)
        return rows, temperature

    def _is_cut_off(self, run: HopRun, k: int) -> bool:
        """Whether the recording ends before the decision of cue number k."""
        if self._design.spec.epoch is not None:
            return k not in run.epochs
        at_s = self._design.settings.decide_at_s
        return decision_hop(run.sample_index, run.cues[k], at_s, run.sfreq_hz) is None


def splits(trials: Trials, protocol: Protocol, run_names: Sequence[str]) -> list[Split]:
    """What is learnt from and what is tested, one after the other; ConfigError where the recordings are too few."""
    person = trials.groups("person")
    n_people = int(person.max()) + 1
    if protocol == "across-people":
        if n_people < 2:
            raise ConfigError(f"--protocol across-people: these recordings are of one person ({trials.people[0]})")
        n_folds = min(N_FOLDS, n_people)
        fold = group_folds(person, n_folds)
        return [(f"people, fold {k + 1}", fold != k, fold == k) for k in range(n_folds)]
    return list(_within_person(trials, protocol, person, run_names))


def _within_person(trials: Trials, protocol: str, person: NDArray, run_names: Sequence[str]) -> Iterator[Split]:
    for who in range(int(person.max()) + 1):
        mine = np.unique(trials.run[person == who])
        name = trials.people[mine[0]]
        if protocol == "within-run":
            for run in mine:
                at = np.flatnonzero(trials.run == run)
                fold = np.full(len(trials.y), -1)
                fold[at] = consecutive_parts(trials.of(trials.run == run))[0]
                for k in range(fold.max() + 1):
                    yield f"{name} {run_names[run]}, part {k + 1}", (fold >= 0) & (fold != k), fold == k
            continue
        if len(mine) < 2:
            raise ConfigError(f"--protocol across-runs: {name} has 1 run with trials; at least 2 are needed")
        yield f"{name} {run_names[mine[-1]]}", np.isin(trials.run, mine[:-1]), trials.run == mine[-1]


def curve_times(decide_at_s: float) -> list[float]:
    """When the hop-level curve has its points before the decision, in seconds after the cue."""
    return np.arange(CURVE_STEP_S, decide_at_s - 1e-9, CURVE_STEP_S).round(3).tolist()
