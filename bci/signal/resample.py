"""Causal change of rate by a rational factor, with carried state and a delay that is known."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from bci.errors import ModelError

signal: Any = scipy.signal  # its inferred types fit no use of it
MAX_FACTOR = 1024  # of either side of the fraction; more would cost memory and time for nothing
STOP_DB = 60.0


def rate_ratio(sfreq_in_hz: float, sfreq_out_hz: float) -> Fraction:
    """``sfreq_out_hz / sfreq_in_hz`` as a small fraction.

    Raises
    ------
    ModelError
        When no fraction of two numbers up to 1024 is that ratio; the message says which rates work.
    """
    if not (math.isfinite(sfreq_in_hz) and sfreq_in_hz > 0 and math.isfinite(sfreq_out_hz) and sfreq_out_hz > 0):
        raise ModelError(f"cannot resample {sfreq_in_hz:g} Hz to {sfreq_out_hz:g} Hz: both rates must be above 0")
    ratio = Fraction(sfreq_out_hz / sfreq_in_hz).limit_denominator(MAX_FACTOR)
    exact = ratio > 0 and abs(float(ratio) * sfreq_in_hz / sfreq_out_hz - 1) < 1e-9
    if not exact or ratio.numerator > MAX_FACTOR:
        near = Fraction(sfreq_out_hz / sfreq_in_hz).limit_denominator(16)
        works = f"{float(near * Fraction(sfreq_in_hz)):.10g} Hz" if near > 0 else "a higher rate"
        raise ModelError(
            f"cannot resample {sfreq_in_hz:.10g} Hz to {sfreq_out_hz:.10g} Hz: not a ratio of whole numbers up to "
            f"{MAX_FACTOR}; near it, {works} works, or {sfreq_in_hz:.10g} Hz itself"
        )
    return ratio


def lowpass_taps(ratio: Fraction, sfreq_in_hz: float, pass_hz: float) -> NDArray[np.float64]:
    """Linear-phase Kaiser low-pass at ``ratio.numerator * sfreq_in_hz`` that keeps ``0..pass_hz`` free of aliases.

    What folds back into the pass band lies above ``min(rate) - pass_hz``, so the transition may be that wide, and the
    filter, hence the delay, that short. Every polyphase branch has gain 1 at 0 Hz, so that a constant stays one.
    """
    up = ratio.numerator
    sfreq_up = sfreq_in_hz * up
    lowest = min(sfreq_in_hz, sfreq_in_hz * float(ratio))
    pass_hz = min(pass_hz, 0.8 * lowest / 2)
    width = (lowest - 2 * pass_hz) / (sfreq_up / 2)
    n_taps, beta = signal.kaiserord(STOP_DB, width)
    n_taps += 1 - n_taps % 2
    taps = (
        signal.firwin(n_taps, lowest / 2, window=("kaiser", beta), fs=sfreq_up) if up > 1 or ratio < 1 else np.ones(1)
    )
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    return taps


class Resampler:
    """Rational polyphase resampling of fixed blocks (Crochiere and Rabiner 1983), one matrix product a block.

    The last output sample of a block lies on the block's last input sample where the rates allow it. Which outputs a
    block gives depends only on how many blocks came before it since `start`.

    Parameters
    ----------
    ratio : Fraction
        Output rate over input rate, see `rate_ratio`.
    sfreq_in_hz : float
        Input rate.
    n_channels : int
        Number of signals.
    block : int
        Input samples in every call of `step`.
    pass_hz : float
        Up to here the output is free of aliases; lower gives less delay.

    Attributes
    ----------
    delay_s : float
        Delay of every frequency (the filter has linear phase).
    memory_s : float
        Time after which an input sample has no influence left.
    """

    def __init__(self, ratio: Fraction, sfreq_in_hz: float, n_channels: int, block: int, pass_hz: float) -> None:
        up, down = ratio.numerator, ratio.denominator
        self.taps = lowpass_taps(ratio, sfreq_in_hz, pass_hz)
        self.delay_s = (len(self.taps) - 1) / 2 / (up * sfreq_in_hz)
        self.memory_s = (len(self.taps) - 1) / (up * sfreq_in_hz)
        self._n_history = (len(self.taps) - 1) // up + 1
        self._block = block
        self._matrices = self._plan(up, down)
        self._extended = np.zeros((n_channels, self._n_history + block))
        self._at = 0

    def _plan(self, up: int, down: int) -> list[NDArray[np.float64]]:
        """One matrix (n_history + block, n_out) for every place in the cycle of blocks."""
        matrices: list[NDArray[np.float64]] = []
        first = t = down - up  # of the next output, in upsampled steps from the block's first input
        while True:
            columns = []
            while t <= (self._block - 1) * up:
                newest, phase = divmod(t, up)
                column = np.zeros(self._n_history + self._block)
                branch = self.taps[phase::up]
                at = self._n_history + newest
                column[at - len(branch) + 1 : at + 1] = branch[::-1]
                columns.append(column)
                t += down
            matrices.append(
                np.ascontiguousarray(np.array(columns).T) if columns else np.zeros((self._n_history + self._block, 0))
            )
            t -= self._block * up
            if t == first:
                return matrices

    def start(self, first: NDArray[np.float64]) -> None:
        """Begin as if ``first``, shape (n_channels,), had always been there."""
        self._extended[:] = np.asarray(first)[:, None]
        self._at = 0

    def step(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the next block (n_channels, block) and return what it completes, (n_channels, zero or more)."""
        extended, n = self._extended, self._n_history
        extended[:, :n] = extended[:, self._block :].copy()
        extended[:, n:] = x
        matrix = self._matrices[self._at]
        self._at = (self._at + 1) % len(self._matrices)
        return extended @ matrix


class Hopper:
    """Cuts samples again into whole hops, counted from `start`."""

    def __init__(self, n_channels: int, hop: int) -> None:
        self.hop = hop
        self._pending = np.empty((n_channels, 0))

    @property
    def n_pending(self) -> int:
        """Samples that wait for the rest of their hop."""
        return self._pending.shape[1]

    def start(self) -> None:
        """Forget what waits."""
        self._pending = self._pending[:, :0]

    def step(self, x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Add samples (n_channels, n) and return the hops (n_channels, hop) that they complete."""
        x = np.concatenate([self._pending, x], axis=1)
        n_hops = x.shape[1] // self.hop
        self._pending = x[:, n_hops * self.hop :].copy()
        return [x[:, i * self.hop : (i + 1) * self.hop] for i in range(n_hops)]
