"""When to play which samples: recorded stamps in, pushes with their due times out. Pure: reads no clock.

Time here is the recording's own: seconds since its first sample was due. It follows the stamps, with their jitter,
bursts and gaps, except where they cannot be a passage of time (a clock that was reset): see `pace`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, SourceError
from bci.ports import END_MARKER
from bci.types import RecordedStream

MAX_STEP_S = 10.0  # a longer step forward is a reset of the clock, or a pause that nobody wants to wait for
JITTER_S = 0.1  # a shorter step backward is jitter: that sample goes out together with the one before


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """Samples that leave together, when the last of them is due. Stamps are the recording's, not yet shifted."""

    due_s: float
    stream: int
    samples: NDArray | list[str]
    stamps_s: NDArray[np.float64]


def playable(streams: Sequence[RecordedStream], name: str | None = None) -> tuple[list[RecordedStream], int]:
    """The streams to play, and which of them sets the pace: without the program's own (``bci-*``) and old end markers.

    The pace is set by the signal called ``name``, else by the one with most values, of those at a regular rate if there
    are any.

    Raises
    ------
    SourceError
        The recording holds no signal.
    ConfigError
        No signal, or more than one, is called ``name``.
    """
    streams = [_without_end(s) for s in streams if not s.spec.is_own]
    if name is not None:
        signals = [i for i, s in enumerate(streams) if not s.spec.is_marker_stream and len(s.stamps_s)]
        named = [i for i in signals if streams[i].spec.name == name]
        if len(named) != 1:
            listed = ", ".join(repr(streams[i].spec.name) for i in signals) or "none"
            raise ConfigError(f"{len(named)} signals with samples are called {name!r}; there are {listed}")
        return streams, named[0]
    sizes = [0 if s.spec.is_marker_stream else np.size(s.samples) * (1000 if s.spec.sfreq_hz else 1) for s in streams]
    if not sizes or max(sizes) == 0:
        raise SourceError("the recording holds no signal to play, only markers or nothing")
    return streams, int(np.argmax(sizes))


def _without_end(stream: RecordedStream) -> RecordedStream:
    if not isinstance(stream.samples, list) or END_MARKER not in stream.samples:
        return stream
    kept = [i for i, label in enumerate(stream.samples) if label != END_MARKER]
    return replace(stream, samples=[stream.samples[i] for i in kept], stamps_s=stream.stamps_s[kept])


def pace(streams: Sequence[RecordedStream], primary: int) -> list[NDArray[np.float64]]:
    """When each sample is due, per stream: shape (n,), never decreasing, 0 at the first sample of the primary stream.

    A step of the primary stream backward (beyond jitter) or forward by more than 10 s lasts one nominal period. The
    other streams follow the primary's stamps across such a step; where theirs fit none of its stretches (another
    clock), they are paced by themselves.
    """
    main = streams[primary]
    period = 1 / main.spec.sfreq_hz if main.spec.sfreq_hz else 0.0
    stretches: list[tuple[float, float, float]] = []  # first stamp, last stamp, due minus stamp
    due_main = np.empty(len(main.stamps_s))
    at = -period
    for a, b in _stretches(main.stamps_s):
        stamps_s = np.maximum.accumulate(main.stamps_s[a:b])
        stretches.append((stamps_s[0], stamps_s[-1], at + period - stamps_s[0]))
        due_main[a:b] = stamps_s + stretches[-1][2]
        at = due_main[b - 1]
    return [due_main if i == primary else _follow(stream, stretches) for i, stream in enumerate(streams)]


def _follow(stream: RecordedStream, main: list[tuple[float, float, float]]) -> NDArray[np.float64]:
    """When the samples of another stream are due beside the primary's stretches (first stamp, last stamp, shift)."""
    stamps_s, due = np.asarray(stream.stamps_s), np.empty(len(stream.stamps_s))
    starts = [after[0] for before, after in pairwise(main) if after[0] > before[1]]
    reached, last = 0, None
    for a, b in _stretches(stamps_s, starts):
        first = stamps_s[a]
        far = [max(start - first, first - end, 0.0) for start, end, _ in main[reached:]]
        nearest = int(np.argmin(far))
        latest = np.inf
        if far[nearest] <= MAX_STEP_S:
            reached += nearest
            shift = main[reached][2]
            if reached + 1 < len(main):  # what fell into the primary's pause does not outlast it
                latest = main[reached + 1][0] + main[reached + 1][2]
        elif last is None:
            shift = -first
        else:
            step = first - stamps_s[a - 1]
            if stream.spec.sfreq_hz or step < 0:
                step = 1 / stream.spec.sfreq_hz if stream.spec.sfreq_hz else 0.0
            shift = last + step - first
        due[a:b] = np.minimum(stamps_s[a:b] + shift, latest)
        last = due[b - 1]
    return np.maximum.accumulate(due)


def _stretches(stamps_s: NDArray[np.float64], starts: Sequence[float] = ()) -> list[tuple[int, int]]:
    """First and past-the-last index of each run in which time passes; ``starts`` are times that begin a new one."""
    if not len(stamps_s):
        return []
    steps = np.diff(stamps_s)
    breaks = (steps < -JITTER_S) | (steps > MAX_STEP_S)
    for start in starts:
        breaks |= (stamps_s[:-1] < start) & (stamps_s[1:] >= start)
    return list(pairwise([0, *(np.flatnonzero(breaks) + 1).tolist(), len(stamps_s)]))


def even(streams: Sequence[RecordedStream], primary: int) -> list[RecordedStream]:
    """The same samples at nominal times; irregular streams (markers) keep their place among the primary's samples."""
    due = pace(streams, primary)
    main = streams[primary].spec
    if not main.sfreq_hz:
        raise ConfigError(f"--even: stream {main.name!r} has no nominal rate; play it with its own times")
    first_s = streams[primary].stamps_s[0]
    there = np.arange(len(due[primary])) / main.sfreq_hz

    def moved(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        here = due[primary]
        outside = np.minimum(times_s - here[0], 0) + np.maximum(times_s - here[-1], 0)
        return np.interp(times_s, here, there) + outside

    out = []
    for stream, due_s in zip(streams, due, strict=True):
        times_s = moved(due_s)
        if stream.spec.sfreq_hz and len(times_s):
            times_s = times_s[0] + np.arange(len(times_s)) / stream.spec.sfreq_hz
        out.append(replace(stream, stamps_s=first_s + times_s))
    return out


def cut(
    streams: Sequence[RecordedStream], primary: int, start_s: float = 0.0, stop_s: float | None = None
) -> list[RecordedStream]:
    """What is due from ``start_s`` until before ``stop_s``."""
    stop_s = np.inf if stop_s is None else stop_s
    due = pace(streams, primary)
    if start_s < 0 or not np.any((due[primary] >= start_s) & (due[primary] < stop_s)):
        until = "its end" if np.isinf(stop_s) else f"{stop_s:g} s"
        raise ConfigError(
            f"nothing to play from {start_s:g} s to {until}: the recording plays {due[primary][-1]:.3f} s; "
            "choose --start and --stop within it"
        )
    out = []
    for stream, due_s in zip(streams, due, strict=True):
        a, b = np.searchsorted(due_s, [start_s if start_s > 0 else -np.inf, stop_s])
        out.append(replace(stream, samples=stream.samples[a:b], stamps_s=stream.stamps_s[a:b]))
    return out


def schedule(
    streams: Sequence[RecordedStream], primary: int, *, chunk_s: float = 0.02, loop: bool = False
) -> Iterator[Push]:
    """The pushes in the order in which they are due; ``loop`` goes on for ever, stamps and due times running on.

    A chunk holds the samples that are due within one span of ``chunk_s``, so samples with equal stamps stay together,
    and leaves when its last one is due, as from an amplifier.
    """
    due = pace(streams, primary)
    chunks: list[tuple[float, int, int, int]] = []
    for i, due_s in enumerate(due):
        if len(due_s):
            edges = np.flatnonzero(np.diff(np.floor(due_s / chunk_s + 1e-6))) + 1
            starts, stops = [0, *edges.tolist()], [*edges.tolist(), len(due_s)]
            chunks += [(float(due_s[b - 1]), i, a, b) for a, b in zip(starts, stops, strict=True)]
    chunks.sort()
    begin = min(0.0, *(float(due_s[0]) for due_s in due if len(due_s)))
    period = 1 / streams[primary].spec.sfreq_hz if streams[primary].spec.sfreq_hz else chunk_s
    span_s = float(due[primary][-1]) + period
    for turn in count():
        ahead_s = turn * span_s
        for due_s, i, a, b in chunks:
            stamps_s = streams[i].stamps_s[a:b]
            yield Push(due_s - begin + ahead_s, i, streams[i].samples[a:b], stamps_s + ahead_s if turn else stamps_s)
        if not loop:
            return
