"""From chunks and verdicts to blocks: what is computed, in which segment, and at which local time."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bci.errors import ContractError, SourceError
from bci.signal.stamps import ClockCorrection, StampFit
from bci.types import Chunk, ClockOffset, Gap

RING_S = 30.0
_N_RING = 8192  # at least: more than one pull or one part of a recording gives, also at a slow rate
_N_RUNS = 4096  # about so many blocks back markers can still be placed
_AHEAD_S = 30.0  # how far beyond the newest block a marker may lie


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The unit of computation: so many samples of one segment, in the stream's own dtype.

    ``stamp_s`` is the local time of the last sample, ``sample_index`` the raw index of the last one that really
    arrived, ``n_filled`` how many are held copies that stand for lost ones. ``reason`` says why the segment began and
    stands in its first block.
    """

    samples: NDArray  # (n_channels, block), C-contiguous, the receiver's own
    stamp_s: float
    sample_index: int
    segment: int
    is_first: bool
    reason: str
    n_filled: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Samples that arrived one after the other, with the local times of the first and the last."""

    first_s: float
    last_s: float
    first_index: int
    last_index: int


class Timeline:
    """Cuts one stream into blocks that no chunking can change.

    Blocks are counted from the start of their segment. Samples behind an open gap wait for its verdict. A loss of up to
    ``max_fill_s`` is filled by holding the last sample; a longer one, or an unknown one, begins a new segment, and the
    incomplete block before it is dropped (`n_dropped`).

    Parameters
    ----------
    stream : int
        Number of the stream whose chunks these are.
    n_channels : int
        Of the stream; the type of its samples is that of the first chunk.
    sfreq_hz : float
        Nominal rate.
    block : int
        Samples in a block.
    max_fill_s : float
        Longest loss that is filled.
    """

    def __init__(
        self,
        stream: int,
        n_channels: int,
        sfreq_hz: float,
        block: int,
        max_fill_s: float = 0.1,
    ) -> None:
        if not sfreq_hz > 0:
            raise SourceError(f"stream {stream} has no regular rate; only a regular one can be cut into blocks")
        self.stream, self.block = stream, block
        self._sfreq_hz, self._max_fill = sfreq_hz, max_fill_s * sfreq_hz
        self._capacity = max(int(RING_S * sfreq_hz), _N_RING) + block
        self._samples: NDArray = np.zeros((n_channels, self._capacity), dtype=np.float32)
        self._stamps_s = np.zeros(self._capacity)
        self._n_in = 0  # raw index behind the newest sample
        self._at = 0  # raw index of the next sample to go into a block
        self._gaps: deque[Gap] = deque()  # judged, in front of us
        self._open: int | None = None  # raw index of the gap that waits for its verdict
        self._fill = 0  # held copies still to be inserted
        self._last: NDArray = np.zeros(n_channels)  # the last sample that went into a block
        self._n_in_segment = 0  # samples of this segment in blocks, held ones included
        self._segment, self._reason = 0, "start"
        self._runs: deque[_Run] = deque(maxlen=_N_RUNS)  # for markers
        self._newest_s, self._is_begun = 0.0, False  # local time of the newest sample in a block
        self.fit = StampFit(sfreq_hz)
        self.correction = ClockCorrection()
        self.n_dropped = 0

    # --- in ----------------------------------------------------------------------------------------------------------

    def chunk(self, chunk: Chunk) -> None:
        """Take the next samples of the stream.

        Raises
        ------
        SourceError
            When more than 30 s, and more than 8192 samples, would wait.
        """
        n = chunk.n
        if chunk.stream != self.stream or chunk.first_index != self._n_in:
            raise ContractError(
                f"chunk of stream {chunk.stream} at {chunk.first_index}: stream {self.stream} goes on at {self._n_in}"
            )
        if self._n_in + n - self._at > self._capacity:
            full_s = self._capacity / self._sfreq_hz
            raise SourceError(
                f"stream {self.stream}: more than {full_s:.0f} s of samples wait to be computed; this machine is too "
                "slow for this model, or the verdict on a gap never came"
            )
        if self._n_in == 0 and chunk.samples.dtype != self._samples.dtype:
            self._samples = np.zeros(self._samples.shape, dtype=chunk.samples.dtype)
        at = self._n_in % self._capacity
        k = min(n, self._capacity - at)
        self._samples[:, at : at + k] = chunk.samples[:k].T
        self._stamps_s[at : at + k] = chunk.stamps_s[:k]
        if k < n:
            self._samples[:, : n - k] = chunk.samples[k:].T
            self._stamps_s[: n - k] = chunk.stamps_s[k:]
        self._n_in += n

    def gap(self, gap: Gap) -> None:
        """Take a verdict, or an open gap behind which samples have to wait."""
        if gap.stream != self.stream:
            raise ContractError(f"gap of stream {gap.stream} given to stream {self.stream}")
        if gap.first_index < self._at:
            raise ContractError(f"gap in front of sample {gap.first_index}: {self._at} samples are computed already")
        if self._open is not None and gap.first_index > self._open:  # the stream broke before the open one was judged
            self._gaps.append(Gap(self.stream, "unknown", self._open, reason="not judged"))
        self._open = None
        if gap.verdict == "open":
            self._open = gap.first_index
        elif gap.verdict != "late":
            self._gaps.append(gap)

    def clock_offset(self, offset: ClockOffset) -> None:
        """Take a measured clock offset of this stream."""
        if offset.stream == self.stream:
            self.correction.update(offset)

    # --- out ---------------------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Samples that have arrived and are in no block yet."""
        return self._n_in - self._at

    @property
    def n_ready(self) -> int:
        """Blocks that are complete and whose samples wait for no verdict."""
        if self._open is None and not self._gaps:
            return (self._fill + self._n_in - self._at) // self.block
        at, waiting, n_ready = self._at, self._fill, 0
        in_segment = self._n_in_segment + self._fill
        limit = self._limit()
        for gap in self._gaps:
            if gap.first_index > limit:
                break
            waiting += gap.first_index - at
            in_segment += gap.first_index - at
            at = gap.first_index
            if self._is_filled(gap):
                waiting += gap.n if in_segment else 0
            else:
                n_ready += waiting // self.block
                waiting = in_segment = 0
        return n_ready + (waiting + limit - at) // self.block

    def next_block(self) -> Block:
        """Take the oldest complete block; only when `n_ready` is above 0."""
        if self.n_ready < 1:
            raise ContractError(f"stream {self.stream}: no block is complete")
        samples = np.empty((len(self._samples), self.block), dtype=self._samples.dtype)
        stamps_s = np.empty(self.block)
        runs: list[tuple[int, int, int]] = []  # place in the block, raw index, number
        filled = n_filled = 0
        while filled < self.block:
            if self._fill:
                k = min(self._fill, self.block - filled)
                samples[:, filled : filled + k] = self._last[:, None]
                stamps_s[filled : filled + k] = self.fit.skip(k)
                self._fill -= k
                n_filled += k
            elif self._gaps and self._gaps[0].first_index == self._at:
                gap = self._gaps.popleft()
                if self._is_filled(gap):
                    self._fill = gap.n if self._n_in_segment else 0
                else:
                    self.n_dropped += filled - n_filled
                    self._start_segment(gap)
                    filled = n_filled = 0
                    runs.clear()
                continue
            else:
                at = self._at
                k = self._take(samples[:, filled:], stamps_s[filled:])
                runs.append((filled, at, k))
            filled += k
            self._n_in_segment += k
        return self._finish(samples, stamps_s, runs, n_filled)

    def _limit(self) -> int:
        return self._n_in if self._open is None else min(self._n_in, self._open)

    def _is_filled(self, gap: Gap) -> bool:
        return gap.verdict == "lost" and gap.n <= self._max_fill

    def _take(self, samples: NDArray, stamps_s: NDArray[np.float64]) -> int:
        """Copy what fits up to the next gap; returns how many."""
        stop = min(self._limit(), self._gaps[0].first_index if self._gaps else self._n_in)
        at = self._at % self._capacity
        k = min(samples.shape[1], stop - self._at, self._capacity - at)
        samples[:, :k] = self._samples[:, at : at + k]
        stamps_s[:k] = self.fit.step(self._stamps_s[at : at + k])
        self._last = samples[:, k - 1].copy()
        self._at += k
        return k

    def _start_segment(self, gap: Gap) -> None:
        self._n_in_segment, self._fill = 0, 0
        self._reason = gap.reason or f"{gap.verdict} {gap.duration_s:.3g} s"
        self.fit.start_segment(gap.n if gap.verdict == "lost" else 0)
        self.correction.restart()

    def _finish(
        self, samples: NDArray, stamps_s: NDArray[np.float64], runs: list[tuple[int, int, int]], n_filled: int
    ) -> Block:
        local_s = self.correction.apply(stamps_s)
        is_first = self._n_in_segment == self.block
        if is_first and self._is_begun:
            self._segment += 1
        self._is_begun = True
        self._newest_s = float(local_s[-1])
        for place, index, k in runs:
            self._runs.append(_Run(float(local_s[place]), float(local_s[place + k - 1]), index, index + k - 1))
        reason = self._reason if is_first else ""
        return Block(samples, self._newest_s, self._at - 1, self._segment, is_first, reason, n_filled)

    # --- markers -----------------------------------------------------------------------------------------------------

    def place(self, stamp_s: float) -> tuple[int, float] | None:
        """Raw index of the sample nearest to a local time, and how much later than that sample the time is, in seconds.

        A marker that comes before its samples is placed by the line so far. None before the first block, for what lies
        more than 30 s ahead, for what is older than about the last 4096 blocks, and for a time that is no number.
        """
        if not self._runs or not math.isfinite(stamp_s):
            return None
        if stamp_s >= self._newest_s:
            n_ahead = round((stamp_s - self._newest_s) / self.fit.period_s)
            if n_ahead * self.fit.period_s > _AHEAD_S:
                return None
            return self._at - 1 + n_ahead, stamp_s - self._newest_s - n_ahead * self.fit.period_s
        if len(self._runs) == _N_RUNS and stamp_s < self._runs[0].first_s:
            return None
        best = _nearest(self._runs[-1], stamp_s)
        for run in reversed(self._runs):
            found = _nearest(run, stamp_s)
            if abs(found[1]) < abs(best[1]):
                best = found
            elif stamp_s > run.last_s:  # older ones lie further away
                break
        return best


def _nearest(run: _Run, stamp_s: float) -> tuple[int, float]:
    """The sample of ``run`` nearest to a time, and the time from it to ``stamp_s``."""
    n_steps = run.last_index - run.first_index
    step_s = (run.last_s - run.first_s) / n_steps if n_steps else 1.0
    n = min(max(round((stamp_s - run.first_s) / max(step_s, 1e-9)), 0), n_steps)
    return run.first_index + n, stamp_s - (run.first_s + n * step_s)
