"""The signal of a session as the panels share it: ring, display filter, types, quality. No Qt, no LSL."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from bci.errors import RolandicError
from bci.gui.ring import SignalRing
from bci.signal.filters import CausalFilter, bandpass, notch
from bci.signal.montage import positions_m
from bci.types import StreamSpec
from bci.units import UNITS, canonical_unit, factor, flat_threshold, quantity

HELD_S = 180.0
BANDS_HZ = {"delta": (1, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 45)}
QUALITY_S = 2.0
# what a row shows at first, and the unit that it is said in
TYPICAL = {"V": (100.0, "uV"), "T": (2.0, "pT"), "T/m": (1e-11, "T/m"), "": (1.0, "")}


class SignalModel:
    """The signal in display units, raw and as filtered for display.

    Parameters
    ----------
    spec : StreamSpec
        Of the signal stream.

    Attributes
    ----------
    raw, shown : SignalRing
        The same samples, and those that traces show (filtered by `set_filter`).
    types : tuple of str
        Of the channels.
    units : tuple of str
        That each channel is shown in.
    bad : set of int
        Channels that a person marked as bad; for display.
    """

    def __init__(self, spec: StreamSpec):
        self.spec = spec
        self.labels, self.types = spec.labels, tuple(c.type for c in spec.channels)
        found = [canonical_unit(c.unit) for c in spec.channels]
        shown = [TYPICAL[quantity(u)][1] if quantity(u) else u for u in found]
        self.units = tuple(shown)
        self._factor = np.array(
            [factor(a, b) if quantity(a) and quantity(b) else 1.0 for a, b in zip(found, shown, strict=True)]
        )
        self.sfreq_hz = spec.sfreq_hz or 250.0
        n = len(spec.channels)
        self.raw = SignalRing(n, self.sfreq_hz, HELD_S)
        self.shown = self.raw
        self.bad: set[int] = set()
        self._filter: CausalFilter | None = None
        self._has_started = False
        self.positions: NDArray | None = None
        self.placed = [i for i, c in enumerate(spec.channels) if _has_place(c)]
        if self.placed:
            self.positions = positions_m([spec.channels[i] for i in self.placed])

    def receive(self, samples: NDArray, stamps_s: NDArray[np.float64]) -> None:
        """Take a chunk (n, channels) as it came."""
        samples = samples * self._factor
        self.raw.write(samples, stamps_s)
        if self._filter is not None:
            self.shown.write(self._filtered(samples), stamps_s)

    def set_filter(self, band_hz: tuple[float | None, float | None] | None, notch_hz: float | None) -> None:
        """Choose what traces show; what is held is filtered anew.

        Raises
        ------
        ConfigError
            The filter is impossible at this rate.
        """
        sections = []
        if notch_hz:
            sections.append(notch(notch_hz, self.sfreq_hz))
        if band_hz:
            sections.append(bandpass(band_hz, 2, self.sfreq_hz))
        self._filter = CausalFilter(np.vstack(sections), len(self.labels)) if sections else None
        self._has_started = False
        if self._filter is None:
            self.shown = self.raw
            return
        self.shown = SignalRing(len(self.labels), self.sfreq_hz, HELD_S)
        held = self.raw.read(self.raw.oldest, self.raw.n)
        if len(held):
            last_s = self.raw.end_s - 1 / self.sfreq_hz
            self.shown.write(self._filtered(held), last_s - np.arange(len(held) - 1, -1, -1) / self.sfreq_hz)

    def _filtered(self, samples: NDArray) -> NDArray:
        """NaN goes through as NaN, and leaves no trace in the filters."""
        assert self._filter is not None
        holes = np.isnan(samples)
        wide = np.where(holes, 0.0, samples).astype(np.float64)
        if not self._has_started and len(wide):
            self._filter.start(wide[0])
            self._has_started = True
        out = self._filter.step(wide.T).T
        out[holes] = np.nan
        return out

    # --- what panels ask ---------------------------------------------------------------------------------------------

    def scale_of(self, type_: str) -> float:
        """Units in the height of a row that suit what a type shows now: eight times its usual deviation, rounded."""
        rows = [i for i, t in enumerate(self.types) if t == type_]
        with np.errstate(all="ignore"):
            data = self.shown.last(3.0)[:, rows]
            typical = float(np.nanmedian(np.nanstd(data, axis=0))) if len(data) > 10 else math.nan
        if not typical > 0:
            return TYPICAL.get(quantity(self.units[rows[0]]), (1.0, ""))[0]
        return nice(8 * typical)

    def spectrum(self, rows: list[int], seconds: float = 4.0) -> tuple[NDArray, NDArray]:
        """Welch's estimate of the newest signal: Hz (f,), and unit²/Hz (f, rows)."""
        data = np.nan_to_num(self.raw.last(seconds)[:, rows])
        n = min(len(data), round(2 * self.sfreq_hz))
        if n < 16:
            return np.zeros(0), np.zeros((0, len(rows)))
        return welch(data, self.sfreq_hz, nperseg=n, axis=0, detrend="constant")

    def band_power(self, band: str, seconds: float = 2.0) -> NDArray[np.float64]:
        """Mean power of a band in each channel that has a place, in dB of unit²/Hz."""
        hz, power = self.spectrum(self.placed, seconds)
        low, high = BANDS_HZ[band]
        inside = (hz >= low) & (hz < high)
        if not inside.any():
            return np.full(len(self.placed), np.nan)
        return 10 * np.log10(np.maximum(power[inside].mean(axis=0), 1e-30))

    def quality(self, mains_hz: float) -> list[tuple[str, str]]:
        """Each channel's level (ok, warn, bad) and what is wrong with it, over the last seconds."""
        data = self.raw.last(QUALITY_S)
        if len(data) < 0.5 * self.sfreq_hz:
            return [("unknown", "")] * len(self.labels)
        with np.errstate(all="ignore"):
            missing = np.isnan(data).mean(axis=0)
            span = np.nanmax(data, axis=0) - np.nanmin(data, axis=0)
            top = (data == np.nanmax(data, axis=0)).mean(axis=0) + (data == np.nanmin(data, axis=0)).mean(axis=0)
        hz, power = self.spectrum(list(range(len(self.labels))), QUALITY_S)
        near = np.abs(hz - mains_hz) < 1.5
        broad = (hz > 1) & (hz < min(45.0, 0.45 * self.sfreq_hz)) & ~near
        mains = power[near].sum(axis=0) if near.any() else np.zeros(len(self.labels))
        rest = np.maximum(power[broad].sum(axis=0), 1e-30)
        loud = np.median(rest)
        found = []
        for i, unit in enumerate(self.units):
            flat = flat_threshold(unit) if unit in UNITS else 0.0
            if missing[i] > 0.5:
                found.append(("bad", "no samples"))
            elif span[i] <= flat:
                found.append(("bad", "flat: no signal"))
            elif top[i] > 0.2:
                found.append(("bad", "saturated: at its limit"))
            elif mains[i] > 4 * rest[i]:
                found.append(("warn", f"mains: {mains[i] / rest[i]:.0f} times the signal at {mains_hz:g} Hz"))
            elif rest[i] > 50 * loud:
                found.append(("warn", "much louder than the others"))
            elif missing[i] > 0:
                found.append(("warn", f"{missing[i]:.0%} of the samples are missing"))
            else:
                found.append(("ok", "good"))
        return found


def nice(value: float) -> float:
    """The nearest of 1, 2, 5 times a power of ten, upward."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= value * 0.999)


def _has_place(channel: object) -> bool:
    try:
        positions_m([channel])  # type: ignore[list-item]
    except RolandicError:
        return False
    return True
