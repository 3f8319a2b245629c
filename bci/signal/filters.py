"""Causal filters: cascades of second-order sections in float64 whose state is carried from block to block."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from bci.errors import ConfigError

signal: Any = scipy.signal  # its inferred types fit no use of it
NOTCH_WIDTH_HZ = 2.0  # of each notch, at -3 dB
_TINY = 1e-30  # smaller states are set to zero: denormal numbers make a filter a hundred times slower
_MAX_SETTLING_S = 600.0


def bandpass(bandpass_hz: tuple[float | None, float | None], order: int, sfreq_hz: float) -> NDArray[np.float64]:
    """Butterworth sections: band-pass, or high-pass or low-pass where the other edge is None.

    Parameters
    ----------
    bandpass_hz : tuple of (float or None)
        Lower and upper edge (-3 dB), in Hz.
    order : int
        Order of the prototype, as in `scipy.signal.butter`: a band-pass has twice as many poles.
    sfreq_hz : float
        Rate of the signal.

    Returns
    -------
    ndarray, shape (n_sections, 6)

    Raises
    ------
    ConfigError
        When the band is impossible at this rate.
    """
    low, high = bandpass_hz
    nyquist = sfreq_hz / 2
    if not 1 <= order <= 12:
        raise ConfigError(f"filter_order = {order}: allowed are 1 to 12")
    edges = [edge for edge in (low, high) if edge is not None]
    if not edges or not all(math.isfinite(e) and 0 < e < nyquist for e in edges) or (len(edges) == 2 and low >= high):  # type: ignore[operator]
        raise ConfigError(
            f"bandpass_hz = {[low, high]}: at {sfreq_hz:g} Hz the edges must satisfy 0 < low < high < {nyquist:g} "
            "(leave one out for a high-pass or low-pass)"
        )
    kind = "bandpass" if len(edges) == 2 else "highpass" if high is None else "lowpass"
    return signal.butter(order, edges if len(edges) == 2 else edges[0], kind, fs=sfreq_hz, output="sos")


def notch(notch_hz: float, sfreq_hz: float, n_harmonics: int = 1) -> NDArray[np.float64]:
    """Sections that remove ``notch_hz`` and its multiples up to ``n_harmonics`` times (those below the Nyquist rate).

    Every notch is 2 Hz wide (second order, `scipy.signal.iirnotch`).

    Raises
    ------
    ConfigError
        When the frequency is impossible at this rate.
    """
    nyquist = sfreq_hz / 2
    if not (math.isfinite(notch_hz) and NOTCH_WIDTH_HZ < notch_hz < nyquist):
        raise ConfigError(
            f"notch_hz = {notch_hz:g}: at {sfreq_hz:g} Hz it must lie between {NOTCH_WIDTH_HZ:g} and {nyquist:g}"
        )
    if n_harmonics < 1:
        raise ConfigError(f"notch_harmonics = {n_harmonics}: allowed are 1 (the frequency itself) and more")
    frequencies = [notch_hz * k for k in range(1, n_harmonics + 1) if notch_hz * k < nyquist]
    pairs = [signal.iirnotch(f, f / NOTCH_WIDTH_HZ, fs=sfreq_hz) for f in frequencies]
    return np.vstack([np.concatenate(pair) for pair in pairs])


def group_delay_s(sos: NDArray[np.float64], at_hz: float, sfreq_hz: float) -> float:
    """How much later than the input an oscillation's envelope at ``at_hz`` leaves the cascade, in seconds."""
    total = sum(signal.group_delay((section[:3], section[3:]), [at_hz], fs=sfreq_hz)[1][0] for section in sos)
    return float(total) / sfreq_hz


def settling_s(sos: NDArray[np.float64], sfreq_hz: float, tones_hz: tuple[float, ...] = ()) -> float:
    """Time until the cascade has forgotten how it began: until 1 % of the transient is left, in seconds.

    The slowest of: a pulse, a step, and the onset of each of ``tones_hz`` (mains that are already on at the start).
    """
    poles = np.concatenate([np.roots(section[3:]) for section in sos])
    radius = min(float(np.abs(poles).max(initial=0.0)), 1 - 1e-12)
    n = 8 if radius < 1e-6 else math.ceil(math.log(1e-5) / math.log(radius)) + 8
    n = min(n, round(_MAX_SETTLING_S * sfreq_hz))
    t_s = np.arange(n) / sfreq_hz
    pulse = np.zeros(n)
    pulse[0] = 1
    inputs = [pulse, np.ones(n), *(np.exp(2j * np.pi * f * t_s) for f in tones_hz)]
    finals = [0.0, *(signal.freqz_sos(sos, [f], fs=sfreq_hz)[1][0] for f in (0.0, *tones_hz))]
    last = 0
    for x, gain in zip(inputs, finals, strict=True):
        y = _sosfilt_complex(sos, x)
        transient = np.abs(y - gain * x)
        above = np.flatnonzero(transient > 0.01 * max(np.abs(y).max(), 1e-12))
        last = max(last, int(above[-1]) + 1 if len(above) else 0)
    return last / sfreq_hz


def _sosfilt_complex(sos: NDArray[np.float64], x: NDArray) -> NDArray:
    return signal.sosfilt(sos, np.real(x)) + 1j * signal.sosfilt(sos, np.imag(x))


class CausalFilter:
    """A cascade of second-order sections over ``n_channels`` signals.

    `start` puts it in the steady state of one sample, as if that value had been there for ever; a start from zero would
    leave the whole electrode offset ringing for seconds.
    """

    def __init__(self, sos: NDArray[np.float64], n_channels: int) -> None:
        self._sos = np.ascontiguousarray(sos, dtype=np.float64)
        self._zi = signal.sosfilt_zi(self._sos)  # (n_sections, 2)
        self._gain = float(signal.freqz_sos(self._sos, [0.0], fs=2.0)[1][0].real)
        self._state = np.zeros((n_channels, len(self._sos), 2))

    def start(self, first: NDArray[np.float64]) -> NDArray[np.float64]:
        """Begin as if ``first``, shape (n_channels,), had always been there; returns the steady output for it."""
        self._state = self._zi[None, :, :] * np.asarray(first, dtype=np.float64)[:, None, None]
        return self._gain * np.asarray(first, dtype=np.float64)

    def step(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Filter the next samples, shape (n_channels, n)."""
        y = np.array(x, dtype=np.float64, order="C")
        run_sections(self._sos, y, self._state)
        self._state[np.abs(self._state) < _TINY] = 0.0
        return y


def _run_sections(sos: NDArray[np.float64], x: NDArray[np.float64], state: NDArray[np.float64]) -> None:
    """Filter ``x`` (n_signals, n) in place, and ``state`` (n_signals, n_sections, 2) with it."""
    x[:], new = signal.sosfilt(sos, x, zi=state.swapaxes(0, 1))
    state[:] = new.swapaxes(0, 1)


try:  # the same compiled loop without the checks and copies around it: a third of the time of a 20-sample block
    from scipy.signal._sosfilt import _sosfilt as run_sections
except ImportError:
    run_sections = _run_sections
