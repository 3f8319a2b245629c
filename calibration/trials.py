"""Labelled trials, cut from preprocessed hops exactly where the live decision would fall."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoders.spec import FitError
from decoders.training.plan import Unit
from decoders.training.streams import Stream

MIN_TRIALS = 4
_CONSTANT = 1e-6  # of the median channel's deviation


@dataclass(frozen=True, slots=True)
class Cue:
    """A cue: its class, and the raw sample that it fell on."""

    label: str
    sample_index: int


@dataclass(frozen=True, slots=True, eq=False)
class HopRun:
    """One run after preprocessing.

    Attributes
    ----------
    subject, run : str
    hops : ndarray of float32, shape (n_hops, n_channels, hop)
    sample_index : ndarray of int, shape (n_hops,)
        Raw index of the last sample that entered each hop; rises.
    segment : ndarray of int, shape (n_hops,)
        Hops of different segments never share a trial.
    is_good : ndarray of bool, shape (n_hops,)
        False where filters settle, or samples were not finite or were filled in.
    cues : tuple of Cue
    sfreq_hz : float
        Rate of the raw samples.
    epochs : dict of int to (ndarray of float32, shape (n_channels, n_samples), or None)
        For a decoder that answers markers: the epoch of cue number so and so; None where the signal was not good.
    """

    subject: str
    run: str
    hops: NDArray[np.float32]
    sample_index: NDArray[np.integer]
    segment: NDArray[np.integer]
    is_good: NDArray[np.bool_]
    cues: tuple[Cue, ...]
    sfreq_hz: float
    epochs: Mapping[int, NDArray[np.float32] | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Trials ready for training.

    Attributes
    ----------
    x : ndarray of float32, shape (n_trials, n_channels, n_samples)
        The last sample is the last one before the decision.
    y : ndarray of int, shape (n_trials,)
        Index into ``classes``.
    run : ndarray of int, shape (n_trials,)
        Number of the run that each came from, in order of time.
    classes : tuple of str
    n_left_out : int
        Cues whose signal was not whole: too early, cut off at the end, or with bad samples.
    people, sessions : tuple of str
        Who each run is of, and of which session, by its number; () where all are of one.
    index : ndarray of int, shape (n_trials,)
        Number of each trial's cue among the cues of its run; empty where it is not known.
    streams : callable or None
        From some of these trials to streams of them and no others, by their places in what it was given; for decoders
        that learn from streams.
    """

    x: NDArray[np.float32]
    y: NDArray[np.integer]
    run: NDArray[np.integer]
    classes: tuple[str, ...]
    n_left_out: int = 0
    people: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    index: NDArray[np.integer] = field(default_factory=lambda: np.zeros(0, int))
    streams: Callable[[Trials], Sequence[Stream]] | None = None

    def groups(self, unit: Unit) -> NDArray[np.integer]:
        """Number of the run, session or person that each trial is of, in order of their first runs."""
        if unit == "run":
            return np.unique(self.run, return_inverse=True)[1]
        n_runs = int(self.run.max()) + 1
        people, sessions = self.people or ("",) * n_runs, self.sessions or ("",) * n_runs
        names = list(people) if unit == "person" else list(zip(people, sessions, strict=True))
        order = list(dict.fromkeys(names[i] for i in sorted(set(self.run.tolist()))))
        return np.array([order.index(names[i]) for i in self.run])

    def of(self, which: NDArray[np.bool_]) -> Trials:
        """Those trials alone."""
        index = self.index[which] if len(self.index) else self.index
        x, y, run = self.x[which], self.y[which], self.run[which]
        return Trials(x, y, run, self.classes, 0, self.people, self.sessions, index, self.streams)


def decision_hop(sample_index: NDArray[np.integer], cue: Cue, decide_at_s: float, sfreq_hz: float) -> int | None:
    """The newest hop whose last sample is at most ``decide_at_s`` after the cue; None if the run ended before.

    This is the rule by which live trials are scored too.
    """
    due = cue.sample_index + decide_at_s * sfreq_hz
    k = int(np.searchsorted(sample_index, due, side="right")) - 1
    if k < 0:
        return None
    hop = sample_index[1] - sample_index[0] if len(sample_index) > 1 else 1
    return k if k + 1 < len(sample_index) or due - sample_index[k] < hop else None


def cut_trials(runs: Sequence[HopRun], classes: Sequence[str], n_hops: int, decide_at_s: float) -> Trials:
    """One trial per cue of ``classes``: the ``n_hops`` hops that end at its decision.

    A cue is left out, and counted, where they are not all there, good, and of one segment.

    Raises
    ------
    FitError
        No run has a cue of these classes.
    """
    place = {label: i for i, label in enumerate(classes)}
    x, y, groups, index, n_left_out = [], [], [], [], 0
    for number, run in enumerate(runs):
        for at, cue in enumerate(cue for cue in run.cues if cue.label in place):
            last = decision_hop(run.sample_index, cue, decide_at_s, run.sfreq_hz)
            if last is None or last + 1 < n_hops or not _is_whole(run, last + 1 - n_hops, last):
                n_left_out += 1
                continue
            stretch = run.hops[last + 1 - n_hops : last + 1]
            x.append(stretch.transpose(1, 0, 2).reshape(stretch.shape[1], -1))
            y.append(place[cue.label])
            groups.append(number)
            index.append(at)
    return _trials(runs, x, y, groups, index, classes, n_left_out)


def collect_epochs(runs: Sequence[HopRun], classes: Sequence[str]) -> Trials:
    """One trial per cue whose epoch is whole and good; the others are counted.

    Raises
    ------
    FitError
        No run has a cue of these classes.
    """
    x, y, groups, index, n_left_out = [], [], [], [], 0
    for number, run in enumerate(runs):
        for at, cue in enumerate(run.cues):
            epoch = run.epochs.get(at)
            if epoch is None:
                n_left_out += 1
                continue
            x.append(epoch)
            y.append(list(classes).index(cue.label))
            groups.append(number)
            index.append(at)
    return _trials(runs, x, y, groups, index, classes, n_left_out)


def _trials(
    runs: Sequence[HopRun],
    x: list[NDArray[np.float32]],
    y: list[int],
    groups: list[int],
    index: list[int],
    classes: Sequence[str],
    n_left_out: int,
) -> Trials:
    if not x:
        found = sorted({cue.label for run in runs for cue in run.cues})
        raise FitError(
            f"no usable trial of {', '.join(classes)} in {len(runs)} runs ({n_left_out} cues left out, "
            f"whose signal has NaN or a gap or is cut off; cues found: {', '.join(found) or 'none'})"
        )
    return Trials(
        np.stack(x),
        np.array(y),
        np.array(groups),
        tuple(classes),
        n_left_out,
        tuple(run.subject for run in runs),
        tuple(_session(run.run) for run in runs),
        np.array(index),
    )


def _session(run: str) -> str:
    """``ses-2`` of ``ses-2_run-1``; a name without it is of the person's only session."""
    found = re.search(r"ses-[A-Za-z0-9]+", run)
    return found[0] if found else ""


def _is_whole(run: HopRun, first: int, last: int) -> bool:
    return bool(run.is_good[first : last + 1].all()) and run.segment[first] == run.segment[last]


def check_trials(trials: Trials, channels: Sequence[str]) -> None:
    """Refuse what no decoder can learn from.

    Raises
    ------
    FitError
        Fewer than four trials, a class with fewer than two, numbers that are not finite, or a channel that never
        changes.
    """
    counts = Counter(trials.classes[i] for i in trials.y)
    listed = ", ".join(f"{label} {counts[label]}" for label in trials.classes)
    if len(trials.y) < MIN_TRIALS:
        raise FitError(f"{len(trials.y)} trials ({listed}); at least {MIN_TRIALS} are needed, 30 are a good start")
    if scarce := [label for label in trials.classes if counts[label] < 2]:
        raise FitError(f"class {', '.join(scarce)} has fewer than 2 trials ({listed}); record more or leave it out")
    finite = np.isfinite(trials.x).all(axis=(0, 2))
    if not finite.all():
        raise FitError(f"NaN or inf in channel {_named(channels, ~finite)}; leave it out with --channels")
    deviation: NDArray[np.float64] = trials.x.std(axis=2, dtype=np.float64).mean(axis=0)
    constant = np.less_equal(deviation, _CONSTANT * np.median(deviation))
    if constant.any():
        raise FitError(f"channel {_named(channels, constant)} is constant; leave it out with --channels")


def _named(channels: Sequence[str], which: Any) -> str:
    return ", ".join(np.asarray(channels)[which].tolist())
