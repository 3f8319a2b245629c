"""Recordings put together anew from their (rest + cue) parts: to train on as streams, and to test on as a control."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.offline.stream import primary_stream
from bci.types import RecordedStream, Recording
from calibration.resequence import resequence, segment_starts
from calibration.trials import Cue, HopRun, Trials, decision_hop
from decoders.training.streams import Stream

N_ORDERS = 3  # of each run, so that neighbours differ; one is enough where there are
MANY_RUNS = 20


def spliced(
    stream: RecordedStream, starts: ArrayLike, order: ArrayLike, stamps_s: NDArray[np.float64]
) -> tuple[RecordedStream, NDArray[np.int64]]:
    """A stream with its parts in this order, unfiltered, at these stamps; and where each old sample is now.

    ``starts`` and ``order`` are those of `calibration.resequence.resequence`.
    """
    samples, moved = resequence(np.asarray(stream.samples), starts, order)
    spec = msgspec.structs.replace(stream.spec, format="double64")
    return RecordedStream(spec, samples, stamps_s[: len(samples)]), moved


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """A run in another order: its hops, and of each cue, as they come, where its part begins and where it falls."""

    run: HopRun
    starts: dict[int, int]
    cues: dict[int, int]


class TrainingStreams:
    """Streams of any of these trials (`Trials.streams`): each run in several random orders of its parts.

    What is no part of a trial that was asked for is left out before filters see it, so nothing of a trial that is held
    out is learnt from, and neither the order of cues nor their clock.

    Parameters
    ----------
    trials : Trials
        All of them.
    recordings, runs
        What they were cut from, in the same order.
    preprocess : callable
        From a recording without markers to its hops.
    n_context : int
        Hops that must lie before a decision.
    decide_at_s : float
    stream : str or None
        Name of the signal stream.
    seed : int
        Of the orders.
    """

    def __init__(
        self,
        trials: Trials,
        recordings: Sequence[Recording],
        runs: Sequence[HopRun],
        preprocess: Callable[[Recording], HopRun],
        *,
        n_context: int,
        decide_at_s: float,
        stream: str | None,
        seed: int,
    ):
        self._all, self._recordings, self._runs = trials, recordings, runs
        self._preprocess, self._n_context, self._decide_at_s = preprocess, n_context, decide_at_s
        self._stream, self._seed = stream, seed
        self._whole: dict[tuple[int, int], _Order] = {}  # runs that were wanted whole, by run and order

    def __call__(self, trials: Trials) -> list[Stream]:
        """In the order of the runs; `Stream.trial` counts in ``trials``."""
        wanted = np.unique(trials.run).tolist()
        n_orders = N_ORDERS if len(wanted) < MANY_RUNS else 1
        streams = []
        for run in wanted:
            place = {int(trials.index[i]): int(i) for i in np.flatnonzero(trials.run == run)}
            for k in range(n_orders):
                streams += self._streams(self._in_order(run, k, sorted(place)), place)
        return streams

    def _in_order(self, run: int, k: int, cues: list[int]) -> _Order:
        """The parts of these cues in the ``k``-th order."""
        is_whole = cues == sorted(self._all.index[self._all.run == run].tolist())
        if is_whole and (run, k) in self._whole:
            return self._whole[run, k]
        recording, cued = self._recordings[run], [cue.sample_index for cue in self._runs[run].cues]
        source = primary_stream(recording, self._stream)
        marked_s = np.concatenate([np.zeros(0), *(m.stamps_s for m in recording.markers)])
        marked = np.searchsorted(source.stamps_s, marked_s)
        others = marked[[int(np.abs(np.subtract(cued, at)).min()) > 1 for at in marked.tolist()]]
        starts = segment_starts(cued, others)
        order = np.random.default_rng([self._seed, run, k]).permutation(cues)
        # at even stamps, for a jump of the old ones would break the signal where no sample is missing any more
        signal, moved = spliced(source, starts, order, np.arange(len(source.samples)) / source.spec.sfreq_hz)
        hops = self._preprocess(Recording(recording.path, (signal,), recording.sha256))
        placed = [int(cue) for cue in order]
        found = _Order(hops, {c: int(moved[starts[c]]) for c in placed}, {c: int(moved[cued[c]]) for c in placed})
        if is_whole:
            self._whole[run, k] = found
        return found

    def _streams(self, order: _Order, place: dict[int, int]) -> Iterator[Stream]:
        """Stretches without a bad hop that hold a decision with its context."""
        run, trials = order.run, np.array([place[cue] for cue in order.starts])
        part = np.searchsorted(list(order.starts.values()), run.sample_index, side="right") - 1
        trial = trials[np.maximum(part, 0)]  # what comes before the first part belongs to it
        decided = [
            (hop, place[cue])
            for cue, at in order.cues.items()
            if (hop := decision_hop(run.sample_index, Cue("", at), self._decide_at_s, run.sfreq_hz)) is not None
        ]
        for first, stop in _stretches(run):
            mine = [(hop - first, i) for hop, i in decided if first + self._n_context <= hop + 1 <= stop]
            if mine:
                hops = run.hops[first:stop].transpose(1, 0, 2)
                signal = np.ascontiguousarray(hops).reshape(len(hops), -1)
                yield Stream(signal, trial[first:stop], np.array(mine))


def _stretches(run: HopRun) -> list[tuple[int, int]]:
    """First hop, and the one behind the last, of each stretch that is good and of one segment."""
    kind = np.where(run.is_good, run.segment, -1)
    edges = [0, *(np.flatnonzero(np.diff(kind)) + 1).tolist(), len(kind)]
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a and kind[a] >= 0]
