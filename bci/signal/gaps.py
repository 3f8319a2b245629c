"""The gap ledger's judge: which samples are late, which are lost, and where nobody can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bci.signal.stamps import StampFit
from bci.types import Chunk, Gap

WINDOW_S = 0.05  # so much stamp time after a jump decides about it
_MAX_WINDOW_S = 1.0  # while the samples still catch up, at most so much
_RESET_S = 10.0  # a longer jump is another clock
_JITTERS = 8.0  # a jump is further off the line than so many mean absolute residuals
_PERIODS = 0.6  # and than so much of a sample
_TOLERATED_S = 0.008  # a late jump up to this is the sender's manner: the like of it is no jump for a while,
_MANNERS_S = 60.0  # about so long; otherwise every hiccup of a sender would hold up the hops for 50 ms
_UNLEARNT_S = 0.06  # threshold until the jitter is known, and least step back that is a reset
_JUMPED, _FIRST = "the sender's clock jumped", "the first stamp that is a number"


class GapDetector:
    """Compares stamps with the stream's own line and judges each jump by what follows it.

    A stall and a loss look alike at first: the stamps jump ahead of the line. After a stall the samples that waited
    come in a burst and fall back to the line; after a loss they stay off it. Thresholds follow the measured rate and
    jitter. With a sample counter, the counter decides at once.

    A stamp that is NaN or infinite is no evidence. Where a segment begins with such stamps, a new one begins at the
    first that is a number.

    Parameters
    ----------
    stream : int
        Number of the stream, for the verdicts.
    sfreq_hz : float
        Nominal rate.
    counter_channel : int or None
        Channel that counts samples up by one.
    counter_modulo : int or None
        Where that counter wraps to 0.
    """

    def __init__(
        self, stream: int, sfreq_hz: float, counter_channel: int | None = None, counter_modulo: int | None = None
    ) -> None:
        self.stream = stream
        self.fit = StampFit(sfreq_hz)
        self._window_s = max(WINDOW_S, 4 / sfreq_hz)
        self._counter, self._modulo = counter_channel, counter_modulo
        self._count: int | None = None  # of the last sample
        self._tolerance_s = 0.0  # size of recent jumps that were merely late
        self._is_late = False  # stamps ahead of the line are known to be late (decided by the counter)
        self._first_index = -1  # of the jump that waits for its verdict
        self._waiting = np.empty(0)  # stamps from that jump on
        self._silent_s = 0.0  # how long nothing had come before the next chunk

    @property
    def is_open(self) -> bool:
        """Whether a jump waits for its verdict."""
        return self._first_index >= 0

    def receive(self, chunk: Chunk, first_count: int | None = None) -> list[Gap]:
        """Look at the next chunk; returns what must stand before this chunk in the sequence of events.

        ``first_count`` is the sender's number of its first sample, where the protocol counts them beside the channels.
        """
        silent_s, self._silent_s = self._silent_s, 0.0
        stamps_s = np.where(np.isfinite(chunk.stamps_s), chunk.stamps_s, np.nan)  # no comparison with NaN is true
        if self.is_open:
            self._waiting = np.concatenate([self._waiting, stamps_s])
            return self._judge()
        if first_count is not None:
            gaps = self._scan_counted(stamps_s, first_count + np.arange(chunk.n), chunk.first_index)
        elif self._counter is not None:
            counts = np.rint(np.nan_to_num(chunk.samples[:, self._counter].astype(np.float64))).astype(np.int64)
            gaps = self._scan_counted(stamps_s, counts, chunk.first_index)
        else:
            gaps = self._scan(stamps_s, chunk.first_index)
        if silent_s and chunk.first_index and not any(gap.first_index == chunk.first_index for gap in gaps):
            gaps.insert(0, Gap(self.stream, "late", chunk.first_index, 0, silent_s, "nothing arrived meanwhile"))
        return gaps

    def resumed(self, silent_s: float) -> None:
        """Nothing had come for ``silent_s``: what comes next is late, unless its stamps or its counter say otherwise.

        A sender that stamps samples when they are taken leaves no trace of its stall in the stamps.
        """
        self._silent_s = silent_s

    def finish(self) -> list[Gap]:
        """Judge what is still open with what there is: the stream has ended."""
        gaps: list[Gap] = []
        while self.is_open:
            gaps += [gap for gap in self._judge(must=True) if gap.verdict != "open"]
        return gaps

    def restart(self, reason: str, silent_s: float, first_index: int) -> Gap:
        """The sender is a new one: what was missed is unknown; the line begins anew at sample ``first_index``."""
        self.fit.start_segment()
        self._count, self._is_late, self._silent_s = None, False, 0.0
        self._first_index, self._waiting = -1, np.empty(0)
        return Gap(self.stream, "unknown", first_index, 0, silent_s, reason)

    def _threshold_s(self) -> float:
        threshold_s = max(_PERIODS * self.fit.period_s, _JITTERS * self.fit.mean_abs_s, 1.25 * self._tolerance_s)
        return threshold_s if self.fit.is_learnt else max(threshold_s, _UNLEARNT_S, 2 * self.fit.period_s)

    def _back_s(self) -> float:
        return max(2 * self._threshold_s(), _UNLEARNT_S)

    def _unknown(self, first_index: int, jump_s: float, reason: str) -> Gap:
        self.fit.start_segment()
        self._is_late = False
        return Gap(self.stream, "unknown", first_index, 0, jump_s if math.isfinite(jump_s) else 0.0, reason)

    def _end(self, stamps_s: Sequence[float] | NDArray[np.float64], at: int) -> int:
        """How far to take stamps from ``at`` at once: until the line moves, or up to the segment's first finite one."""
        end = min(len(stamps_s), at + self.fit.n_to_update)
        if math.isnan(self.fit.next_s) and math.isnan(stamps_s[at]):
            return next((k for k in range(at, end) if not math.isnan(stamps_s[k])), end)
        return end

    # --- by stamps ---------------------------------------------------------------------------------------------------

    def _scan(self, stamps_s: NDArray[np.float64], first_index: int) -> list[Gap]:
        """Follow the line until a sample leaves it."""
        fit, stamps, at = self.fit, stamps_s.tolist(), 0  # a chunk is short: lists are faster than small arrays
        gaps: list[Gap] = []
        while at < len(stamps):
            if fit.is_blind and not math.isnan(stamps[at]):
                gaps.append(self._unknown(first_index + at, 0.0, _FIRST))
            part = stamps[at : self._end(stamps, at)]
            expected_s, period_s = fit.next_s, fit.period_s
            threshold_s, back_s = self._threshold_s(), -self._back_s()
            for k, stamp_s in enumerate(part):
                off_s = stamp_s - (expected_s + k * period_s)
                if off_s > threshold_s or off_s < back_s:
                    fit.follow(part[:k])
                    self._first_index, self._waiting = first_index + at + k, stamps_s[at + k :].copy()
                    return gaps + self._judge(is_new=True)
            if len(part) == fit.n_to_update:  # the line moves: once a fixed number of samples, however cut
                self._tolerance_s *= 1 - fit.block * period_s / _MANNERS_S
            fit.follow(part)
            at += len(part)
        return gaps

    def _judge(self, must: bool = False, is_new: bool = False) -> list[Gap]:
        """Decide about the open jump if what follows it suffices, then go on with what came after."""
        stamps_s, first_index = self._waiting, self._first_index
        off_s = stamps_s - self.fit.predict(len(stamps_s))
        jump_s = float(off_s[0])
        if jump_s > _RESET_S or jump_s < -self._back_s():
            return [self._unknown(first_index, jump_s, _JUMPED), *self._go_on(0)]
        n_decisive = self._n_decisive(stamps_s, off_s, must)
        if n_decisive == 0:
            return [Gap(self.stream, "open", first_index, 0, jump_s)] if is_new else []
        decisive = slice(0, n_decisive)
        left_s = self._left_s(stamps_s[decisive], off_s[decisive])
        if left_s < -self._back_s():
            return [self._unknown(first_index, jump_s, _JUMPED), *self._go_on(0)]
        n_lost = round(left_s / self.fit.period_s) if left_s > self._threshold_s() else 0
        if n_lost > 0:
            gap = Gap(self.stream, "lost", first_index, n_lost, n_lost * self.fit.period_s)
            self.fit.start_segment(n_lost)
        else:
            gap = Gap(self.stream, "late", first_index, 0, jump_s)
            self._tolerance_s = max(self._tolerance_s, min(float(np.nanmax(off_s[decisive])), _TOLERATED_S))
        self.fit.step(stamps_s[decisive])
        return [gap, *self._go_on(n_decisive)]

    def _go_on(self, n_judged: int) -> list[Gap]:
        rest_s, first_index = self._waiting[n_judged:], self._first_index + n_judged
        self._first_index, self._waiting = -1, np.empty(0)
        return self._scan(rest_s, first_index)

    def _n_decisive(self, stamps_s: NDArray[np.float64], off_s: NDArray[np.float64], must: bool) -> int:
        """How many of the waiting samples decide; 0 while they do not."""
        since_s = stamps_s - stamps_s[0]
        window_s = self._window_s
        while True:
            passed = np.flatnonzero(since_s >= window_s)
            if not len(passed):
                enough = off_s[0] + 2 * _MAX_WINDOW_S  # stamps that stand still must not wait for ever
                return len(stamps_s) if must or len(stamps_s) * self.fit.period_s > enough else 0
            n = int(passed[0]) + 1
            tail = since_s[:n] >= since_s[n - 1] - self._window_s / 2
            fell_s = float(off_s[:n][tail][0] - off_s[n - 1])
            took_s = float(since_s[n - 1] - since_s[:n][tail][0])
            if fell_s <= 0.5 * took_s + 0.5 * self.fit.period_s or window_s >= _MAX_WINDOW_S:
                return n
            window_s += self._window_s / 2  # they still catch up

    def _left_s(self, stamps_s: NDArray[np.float64], off_s: NDArray[np.float64]) -> float:
        """How far off the line the samples stay: the mean of those that agree with the last half of the window."""
        is_known = np.isfinite(stamps_s)
        stamps_s, off_s = stamps_s[is_known], off_s[is_known]
        level_s = np.median(off_s[stamps_s >= stamps_s[-1] - self._window_s / 2])
        return float(off_s[np.abs(off_s - level_s) <= self._threshold_s()].mean())

    # --- by a sample counter -----------------------------------------------------------------------------------------

    def _scan_counted(self, stamps_s: NDArray[np.float64], counts: NDArray[np.int64], first_index: int) -> list[Gap]:
        """Where a counter decides, nothing has to wait."""
        gaps: list[Gap] = []
        at, n = 0, len(stamps_s)
        while at < n:
            if self.fit.is_blind and not math.isnan(stamps_s[at]):
                gaps.append(self._unknown(first_index + at, 0.0, _FIRST))
            part = stamps_s[at : self._end(stamps_s, at)]
            last = int(counts[at]) - 1 if self._count is None else self._count
            steps = np.diff(counts[at : at + len(part)], prepend=last)
            if self._modulo is not None:
                steps %= self._modulo
            off_s = part - self.fit.predict(len(part))
            jumps = (off_s < -self._back_s()) | (off_s > (_RESET_S if self._is_late else self._threshold_s()))
            jumps |= steps != 1
            k = int(np.flatnonzero(jumps)[0]) if jumps.any() else len(part)
            if self._is_late and (off_s[:k] <= self._threshold_s()).any():
                self._is_late = False
            self.fit.step(part[:k])
            at += k
            if k:
                self._count = int(counts[at - 1])
            if k < len(part):
                gaps.append(self._judge_counted(float(off_s[k]), int(steps[k]) - 1, first_index + at))
                self._count = int(counts[at]) - 1
        return gaps

    def _judge_counted(self, jump_s: float, n_lost: int, first_index: int) -> Gap:
        if self._modulo is not None and np.isfinite(jump_s):
            n_lost += self._modulo * round((jump_s / self.fit.period_s - n_lost) / self._modulo)
        if jump_s > _RESET_S or jump_s < -self._back_s() or n_lost < 0:
            return self._unknown(first_index, jump_s, "the sample counter went back" if n_lost < 0 else _JUMPED)
        self._is_late = True
        if n_lost == 0:
            return Gap(self.stream, "late", first_index, 0, jump_s)
        self.fit.start_segment(n_lost)
        return Gap(self.stream, "lost", first_index, n_lost, n_lost * self.fit.period_s)
