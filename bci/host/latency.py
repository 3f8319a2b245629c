"""The latency ledger: percentiles of every stage, always on, in constant memory (design §5.8)."""

from __future__ import annotations

import math

MIN_S = 1e-6
MAX_S = 1e4
_GROWTH = 1.02  # of bucket to bucket: a bucket's middle is within 1 % of all that falls into it
_PER_LOG = 1 / math.log(_GROWTH)
_N_BUCKETS = int(math.log(MAX_S / MIN_S) * _PER_LOG) + 1


class Histogram:
    """Durations in buckets of constant relative width, after Tene's HdrHistogram.

    Percentiles are within 1 % for durations of 1 µs to 10⁴ s; shorter ones (clocks may run backward by a little) count
    as 1 µs, longer ones as 10⁴ s. ``max_s`` is exact.
    """

    __slots__ = ("_counts", "max_s", "n")

    def __init__(self) -> None:
        self._counts = [0] * _N_BUCKETS
        self.n = 0
        self.max_s = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration; well under 1 µs. What is NaN or infinite is none."""
        if not math.isfinite(seconds):
            return
        if seconds > self.max_s:
            self.max_s = seconds
        bounded_s = MIN_S if seconds < MIN_S else MAX_S if seconds > MAX_S else seconds
        self._counts[min(int(math.log(bounded_s / MIN_S) * _PER_LOG), _N_BUCKETS - 1)] += 1
        self.n += 1

    def percentile(self, p: float) -> float:
        """The smallest duration that at least ``p`` percent do not exceed (nearest rank), in s; 0 when empty."""
        if not 0 <= p <= 100:
            raise ValueError(f"a percentile lies between 0 and 100, not at {p}")
        rank = max(math.ceil(p / 100 * self.n), 1)
        if rank >= self.n:
            return self.max_s
        seen = 0
        for i, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(MIN_S * _GROWTH ** (i + 0.5), self.max_s)
        return self.max_s

    def buckets(self) -> list[tuple[float, int]]:
        """(middle in s, count) of every bucket that holds something, in order: for a figure."""
        return [(MIN_S * _GROWTH ** (i + 0.5), count) for i, count in enumerate(self._counts) if count]


class LatencyLedger:
    """One histogram a stage."""

    def __init__(self, stages: tuple[str, ...]):
        self.histograms = {stage: Histogram() for stage in stages}

    def record(self, stage: str, seconds: float) -> None:
        """Count a duration of a stage that was named at the start (else KeyError)."""
        self.histograms[stage].record(seconds)

    def report(self) -> dict[str, dict[str, float]]:
        """``{stage: {"p50", "p95", "p99", "max"}}`` in ms, without the stages that never ran."""
        return {
            stage: {
                **{f"p{p}": 1e3 * histogram.percentile(p) for p in (50, 95, 99)},
                "max": 1e3 * histogram.max_s,
            }
            for stage, histogram in self.histograms.items()
            if histogram.n
        }
