"""The times of samples: a causal, gap-aware line through jittered stamps, and the correction to the local clock.

liblsl's own smoothing counts samples, so a lost second moves its stamps by that second; this one is told of losses.
"""

from __future__ import annotations

import math
from operator import mul
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bci.types import ClockOffset

_BLOCK_S = 0.02  # the line moves once per so much signal
_MEMORY_S = 10.0  # exponential forgetting of the line
_SCALE_MEMORY_S = 5.0  # and of the size of the jitter
_PRIOR_S2 = 0.25  # pseudo-observations of the nominal rate: 5 ms of jitter against 1 % of rate
_LEARNT_S = 0.5  # of signal until the size of the jitter is known
_UNLEARNT_S = 0.06  # deviations up to here are believed before that
_OUTLIER = 6.0  # times the mean absolute residual: what is further off moves the line by no more
_PATIENCE_S = 3.0  # a line that no block has been near for so long begins anew
_CARRIED_S = 0.5  # after a long loss the old line counts like so much signal


class StampFit:
    """Smoothed stamps by weighted least squares over block means (exponential forgetting, slope drawn to nominal).

    The state moves once per fixed block of samples (20 ms), counted from the start, so the result does not depend on
    chunks, and a sample's smoothed stamp never depends on later ones. Stamps far off the line move it by a bounded
    amount only, whole blocks of them do not move it; when half a second stays off by the same, the line begins anew.
    A sample whose stamp is NaN or infinite takes the line's time and does not move it; before the segment's first
    finite stamp that line counts from 0 s (`is_blind`), a time so old that nothing is decided on it.

    Parameters
    ----------
    sfreq_hz : float
        Nominal rate, above 0.
    """

    def __init__(self, sfreq_hz: float) -> None:
        self._period_s = 1.0 / sfreq_hz
        self._block = max(1, round(_BLOCK_S * sfreq_hz))
        self._slope0, self._prior = 0.0, _PRIOR_S2  # of the line's deviation from the nominal rate
        self._mean_abs_s = self._mean_square_s2 = self._early_s = 0.0
        self._n_scale = 0.0
        self._begin()

    def _begin(self) -> None:
        self._anchor_s: float | None = None  # stamp from which the nominal line counts
        self._i = 0  # number of the next sample on that line, lost ones counted
        self._weight = self._mean_x = self._mean_y = self._cxx = self._cxy = 0.0
        self._slope = self._slope0  # deviation from the nominal line = mean_y + slope (x - mean_x)
        self._raw: list[float] = []  # of the block that is not full yet, and their numbers
        self._numbers: list[int] = []
        self._floor_s, self._floor_i, self._last_s = -math.inf, 0, -math.inf
        self._n_off = self._n_steady = 0  # samples in a row far off the line, and those equally far
        self._off_s = 0.0  # how far the last block was

    @property
    def sfreq_hz(self) -> float:
        """Estimated rate."""
        return 1.0 / self.period_s

    @property
    def period_s(self) -> float:
        """Estimated time between two samples."""
        self.settle()
        return self._period_s * (1.0 + self._slope)

    @property
    def residual_s(self) -> float:
        """Running root mean square of raw stamp minus line."""
        self.settle()
        return math.sqrt(self._mean_square_s2)

    @property
    def mean_abs_s(self) -> float:
        """Running mean absolute residual: the size of the jitter."""
        self.settle()
        return self._mean_abs_s

    @property
    def is_learnt(self) -> bool:
        """Whether half a second has been seen, so that the size of the jitter means something."""
        self.settle()
        return self._n_scale * self._period_s >= 0.9 * _LEARNT_S

    @property
    def is_blind(self) -> bool:
        """Whether samples of this segment have come, but no finite stamp."""
        return self._anchor_s is None and self._i > 0

    @property
    def uncertainty_s(self) -> float:
        """How far the smoothed stamps may be from the truth, for stamps that are late but never early.

        The line lies at the mean lateness, the truth at or before the earliest stamps: their distance below the line,
        plus two standard errors of the line. A delay that all samples share cannot be seen in stamps.
        """
        if self._weight == 0:
            return _UNLEARNT_S
        return self._early_s + 2 * self.residual_s * math.sqrt(4 * self._block / max(self._weight, self._block))

    def start_segment(self, n_lost: int = 0) -> None:
        """Begin a segment: keep the rate; the level begins with the next stamp.

        With ``n_lost`` the old level is carried over so many missing samples, but soon gives way to the new stamps.
        """
        if self._raw:
            self._update()
        self._keep_rate()
        if not n_lost or self._anchor_s is None:
            self._begin()
            return
        self._i += n_lost
        x_s = self._i * self._period_s
        self._mean_y, self._mean_x = self._mean_y + self._slope * (x_s - self._mean_x), x_s
        self._weight = min(self._weight, _CARRIED_S / self._period_s)
        self._cxx = self._cxy = 0.0

    def skip(self, n_lost: int) -> NDArray[np.float64]:
        """Count samples that never arrived; returns the times that they would have had, shape (n_lost,)."""
        stamps_s = self._smooth(n_lost)
        self._i += n_lost
        self._last_s = float(stamps_s[-1])
        return stamps_s

    def predict(self, n: int) -> NDArray[np.float64]:
        """Where the line expects the next ``n`` stamps, shape (n,), as far as it is known now; NaN before the first."""
        if self._anchor_s is None:
            return np.full(n, np.nan)
        return self._zero_s + np.arange(self._i, self._i + n, dtype=np.float64) * self.period_s

    @property
    def next_s(self) -> float:
        """Where the line expects the next stamp; NaN before the first. The ones after it follow by `period_s`."""
        if self._anchor_s is None:
            return math.nan
        return self._zero_s + self._i * self.period_s

    @property
    def _zero_s(self) -> float:
        """Where the line has sample 0; times from it depend on a sample's number only, never on how it came."""
        self.settle()
        return (self._anchor_s or 0.0) + (self._mean_y - self._slope * self._mean_x)

    @property
    def block(self) -> int:
        """Samples from one move of the line to the next."""
        return self._block

    @property
    def n_to_update(self) -> int:
        """How many more samples until the line moves."""
        self.settle()
        return self._block - len(self._raw)

    def follow(self, stamps_s: list[float]) -> None:
        """Move the line by at most `n_to_update` stamps, for whom their smoothed times are of no interest."""
        if not stamps_s:
            return
        self.settle()
        if self._anchor_s is None:
            self._anchor(stamps_s)
        self._raw += stamps_s
        self._numbers += range(self._i, self._i + len(stamps_s))
        self._i += len(stamps_s)

    def _anchor(self, stamps_s: list[float]) -> None:
        """Let the line begin at the first finite one of the next stamps."""
        for k, stamp_s in enumerate(stamps_s):
            if math.isfinite(stamp_s):
                self._anchor_s = stamp_s - (self._i + k) * self.period_s
                self._floor_s, self._floor_i = self._last_s, self._i - 1
                return

    def settle(self) -> None:
        """Move the line now if a block is full. Whoever asks for times does it too; done early, nobody waits for it."""
        if len(self._raw) == self._block:
            self._update()

    def step(self, raw_stamps_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Smooth the next stamps, shape (n,) to (n,), strictly increasing within a segment."""
        n, at = len(raw_stamps_s), 0
        smooth = np.empty(n)
        while at < n:
            k = min(n - at, self.n_to_update)
            if self._anchor_s is None:  # one by one: none may look ahead to the first that is finite
                k = 1
                self._anchor([float(raw_stamps_s[at])])
            smooth[at : at + k] = part = self._smooth(k)
            self._last_s = float(part[-1])
            self.follow(raw_stamps_s[at : at + k].tolist())
            at += k
        return smooth

    def _smooth(self, n: int) -> NDArray[np.float64]:
        """The line at the next ``n`` samples, but never back behind what was given before the line moved."""
        i = self._i + np.arange(n)
        line = self._zero_s + i * self.period_s
        return np.maximum(line, self._floor_s + 0.01 * self._period_s * (i - self._floor_i))

    def _keep_rate(self) -> None:
        """What is known of the rate becomes prior knowledge."""
        self._slope0, self._prior = self._slope, min(self._prior + self._cxx, _MEMORY_S**3 / self._period_s)

    def _update(self) -> None:
        """Move the line by the block that is full."""
        # lists, not arrays: a block is about twenty samples, and this runs twice in every hop's latency
        raw, numbers, n = self._raw, self._numbers, len(self._raw)
        self._raw, self._numbers = [], []
        self._floor_s, self._floor_i = self._last_s, self._i - 1
        if not math.isfinite(sum(raw)):
            numbers = [i for i, stamp_s in zip(numbers, raw, strict=True) if math.isfinite(stamp_s)]
            raw = [stamp_s for stamp_s in raw if math.isfinite(stamp_s)]
            if not (n := len(raw)):
                return
        level = self._mean_y - self._slope * self._mean_x  # the line is x + level + slope x behind the anchor
        zero_s, step_s = self._zero_s, self.period_s
        residual = [stamp_s - (zero_s + i * step_s) for stamp_s, i in zip(raw, numbers, strict=True)]
        limit = self._limit_s()
        lowest, highest = min(residual), max(residual)
        if self.is_learnt and (lowest > limit or highest < -limit):
            last_x_s = numbers[-1] * self._period_s
            self._stay_off(residual, last_x_s, level + self._slope * last_x_s + median(residual))
            return
        self._n_off = self._n_steady = 0
        bounded = residual
        if lowest < -limit or highest > limit:
            bounded = [min(max(r, -limit), limit) for r in residual]
        x_s = sum(numbers) / n * self._period_s
        forget = math.exp(-n * self._period_s / _MEMORY_S)
        old, self._weight = forget * self._weight, forget * self._weight + n
        dx, dy = x_s - self._mean_x, level + self._slope * x_s + sum(bounded) / n - self._mean_y
        gain = n / self._weight
        self._mean_x += gain * dx
        self._mean_y += gain * dy
        self._cxx = forget * self._cxx + old * gain * dx * dx
        self._cxy = forget * self._cxy + old * gain * dx * dy
        self._slope = (self._cxy + self._prior * self._slope0) / (self._cxx + self._prior)
        self._measure(bounded)

    def _limit_s(self) -> float:
        """Beyond this a residual is an outlier."""
        if not self.is_learnt:
            return max(_UNLEARNT_S, 2 * self._period_s)
        return max(_OUTLIER * self._mean_abs_s, 0.5 * self._period_s)

    def _stay_off(self, residual: list[float], x_s: float, deviation_s: float) -> None:
        """A block far off the line is left out; where half a second stays equally far off, the line begins anew.

        A burst after a stall comes nearer all the time; it may take 3 s.
        """
        n, off_s, before_s = len(residual), sum(residual) / len(residual), self._off_s
        self._off_s = off_s
        is_steady = abs(off_s - before_s) < 0.25 * n * self._period_s + self._mean_abs_s
        self._n_steady = self._n_steady + n if is_steady and self._n_off else n
        self._n_off += n
        if self._n_steady * self._period_s < _LEARNT_S and self._n_off * self._period_s < _PATIENCE_S:
            return
        self._keep_rate()
        self._mean_x, self._mean_y = x_s, deviation_s
        self._weight = self._cxx = self._cxy = 0.0
        self._n_off = self._n_steady = 0

    def _measure(self, residual: list[float]) -> None:
        """Keep the size of the jitter."""
        n = len(residual)
        forget = math.exp(-n * self._period_s / _SCALE_MEMORY_S)
        self._n_scale = forget * self._n_scale + n
        gain = n / self._n_scale
        self._mean_abs_s += gain * (sum(map(abs, residual)) / n - self._mean_abs_s)
        self._mean_square_s2 += gain * (sum(map(mul, residual, residual)) / n - self._mean_square_s2)
        self._early_s = max(forget * self._early_s, -min(residual))


_SETTLE_S = 0.25  # an offset counts from so long after it was measured, so that the order of arrival cannot matter
_RESET_S = 0.5  # a change beyond this is another clock, not drift
_DRIFT = 50e-6  # seconds per second that two clocks may part
_FLOOR_S = 50e-6  # no measurement is better


class ClockCorrection:
    """Local time from sender's stamps: causal, monotone, from the measured clock offsets.

    A scalar Kalman filter: each offset counts by its stated uncertainty against how far the clocks may have drifted
    since the last, so one slow measurement moves nothing. A new estimate holds for stamps from 0.25 s after it was
    measured. Before the first measurement the offset is 0.
    """

    def __init__(self) -> None:
        self.offset_s = 0.0
        self._variance = math.inf
        self._measured_s = 0.0
        self._due: list[tuple[float, float]] = []  # (local time from which, offset)
        self._estimate_s = 0.0
        self._last_s = -math.inf

    def update(self, offset: ClockOffset) -> None:
        """Take one measurement."""
        noise = offset.uncertainty_s**2 + _FLOOR_S**2
        drift_s = _DRIFT * max(0.0, offset.collected_s - self._measured_s)
        innovation = offset.offset_s - self._estimate_s
        variance = self._variance + drift_s**2
        self._measured_s = offset.collected_s
        if abs(innovation) > _RESET_S + offset.uncertainty_s or math.isinf(variance):
            self._estimate_s, self._variance = offset.offset_s, noise
            self.offset_s, self._last_s = offset.offset_s, -math.inf
            self._due.clear()
            return
        gain = variance / (variance + noise)
        self._estimate_s += gain * innovation
        self._variance = (1 - gain) * variance
        self._due.append((offset.collected_s + _SETTLE_S, self._estimate_s))
        if len(self._due) > 64:  # nothing has been applied for minutes: what comes now is newer than the oldest
            self.offset_s = self._due.pop(0)[1]

    def restart(self) -> None:
        """A new segment: times may go back."""
        self._last_s = -math.inf

    def at(self, stamp_s: float) -> float:
        """Local time of one stamp, of a stream whose stamps may go back (markers), by the offset that holds for it."""
        for since_s, offset_s in reversed(self._due):
            if stamp_s >= since_s - offset_s:
                return stamp_s + offset_s
        return stamp_s + self.offset_s

    def apply(self, stamps_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Local times of the next stamps, shape (n,): never going back."""
        out = np.empty(len(stamps_s))
        at = 0
        while at < len(stamps_s):
            end = len(stamps_s)
            if self._due:
                since_s, offset_s = self._due[0]
                end = at + int(np.searchsorted(stamps_s[at:], since_s - offset_s))
                if end == at:
                    self.offset_s = offset_s
                    del self._due[0]
                    continue
            out[at:end] = stamps_s[at:end] + self.offset_s
            at = end
        if len(out):
            np.maximum(out, self._last_s, out=out)
            np.maximum.accumulate(out, out=out)
            self._last_s = float(out[-1])
        return out
