"""From raw blocks to decoder hops: the one preprocessing object that live, replay, training and evaluation share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, ModelError
from bci.signal.filters import CausalFilter, bandpass, group_delay_s, notch, settling_s
from bci.signal.montage import Reference, pick, same_label, spatial_matrix
from bci.signal.quality import ChannelQuality
from bci.signal.resample import Hopper, Resampler, rate_ratio
from bci.types import Channel, Flag, StreamSpec
from bci.units import UNITS, factor, flat_threshold, quantity


class PreprocessingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides what a decoder sees; part of the model's folder.

    ``channels`` are the model's inputs in order. ``hop`` counts samples at ``sfreq_hz``, the decoder's rate. ``clip``
    limits the filtered signal to plus and minus so many ``unit``. ``interpolate`` names channels to rebuild from the
    others; the stream need not have them. ``bands_hz`` is a filter bank, instead of ``bandpass_hz``: a hop then holds
    all channels of the first band, then of the second, labelled ``LABEL LOW-HIGH``.
    """

    channels: tuple[str, ...]
    sfreq_hz: float
    hop: int
    unit: str = "uV"
    reference: Reference = "none"
    bipolar_pairs: tuple[tuple[str, str], ...] = ()
    bandpass_hz: tuple[float | None, float | None] | None = None
    bands_hz: tuple[tuple[float, float], ...] = ()
    filter_order: int = 4
    notch_hz: float | None = None
    notch_harmonics: int = 1
    clip: float | None = None
    interpolate: tuple[str, ...] = ()


class Preprocessing:
    """Causal preprocessing of one stream for one model.

    Pick by name → unit → float32 → non-finite samples held → spatial matrix → notch → band-pass, or several side by
    side → clip → rate → hops.
    Every call of `step` takes a block of the same length, so the same samples give the same bits however they arrived.

    Parameters
    ----------
    spec : PreprocessingSpec
        What the model needs.
    stream : StreamSpec
        What the stream gives.
    max_bad_share : float
        Part of the channels that may be flat or saturated before a hop is flagged.

    Attributes
    ----------
    block : int
        Raw samples in every call of `step`.
    labels : tuple of str
        Rows of a hop.
    delay_s : float
        Delay of the signal at the centre of the band, of several the slowest: filters and change of rate.
    settling_s : float
        Time after `start` until 1 % of the filters' transient is left; predictions are priming until then.

    Raises
    ------
    ModelError
        When the stream lacks a channel or has another unit, or its rate cannot be brought to the model's.
    ConfigError
        When a filter is impossible at this rate.
    """

    def __init__(self, spec: PreprocessingSpec, stream: StreamSpec, max_bad_share: float = 0.0) -> None:
        _check(spec)
        if stream.sfreq_hz <= 0:
            raise ModelError(f"stream {stream.name!r} has no regular rate; the model needs {spec.sfreq_hz:g} Hz")
        self.spec, self._stream = spec, stream
        bad = {same_label(label) for label in spec.interpolate}
        wanted = [label for label in spec.channels if same_label(label) not in bad]
        self._picks = _pick(stream, wanted)
        by_label = {same_label(c.label): c for c in (stream.channels[int(i)] for i in self._picks)}
        channels = [msgspec.structs.replace(by_label[key], label=label) if (key := same_label(label)) in by_label
                    else Channel(label) for label in spec.channels]  # fmt: skip
        self._scale = np.array([_unit_factor(stream, stream.channels[int(i)], spec.unit) for i in self._picks])[:, None]
        self._is_scaled = bool((self._scale != 1.0).any())
        self._matrix, labels = spatial_matrix(channels, spec.reference, spec.bipolar_pairs, spec.interpolate)
        self.labels = band_labels(labels, spec.bands_hz)

        sfreq_in_hz, n = stream.sfreq_hz, len(self.labels)
        ratio = rate_ratio(sfreq_in_hz, spec.sfreq_hz)
        span = spec.hop / ratio  # of a hop, in raw samples
        self._ratio = ratio
        self.block = int(span) if span.denominator == 1 else max(1, int(span / 4))

        bands = spec.bands_hz or (spec.bandpass_hz,)
        cascades = [_sections(spec, band_hz, sfreq_in_hz) for band_hz in bands]
        self._filters = [CausalFilter(sos, len(labels)) for sos, _ in cascades if len(sos)]
        self.delay_s = self.settling_s = 0.0
        if self._filters:
            centres_hz = [
                _centre_hz(band_hz, spec.sfreq_hz, tones) for band_hz, (_, tones) in zip(bands, cascades, strict=True)
            ]
            self.delay_s = max(
                group_delay_s(sos, at_hz, sfreq_in_hz) for (sos, _), at_hz in zip(cascades, centres_hz, strict=True)
            )
            self.settling_s = max(settling_s(sos, sfreq_in_hz, tones) for sos, tones in cascades)
        self._resampler = None
        if ratio != 1:
            pass_hz = max((band_hz[1] if band_hz else None) or math.inf for band_hz in bands)
            self._resampler = Resampler(ratio, sfreq_in_hz, n, self.block, pass_hz)
            self.delay_s += self._resampler.delay_s
            self.settling_s += self._resampler.memory_s
        self._hopper = Hopper(n, spec.hop)
        self.quality = ChannelQuality(len(self._picks), sfreq_in_hz, self.block, flat_threshold(spec.unit))
        self._max_bad = max_bad_share * len(self._picks)
        self._pending = Flag(0)
        self._held = np.zeros(len(self._picks), dtype=np.float32)

    def start(self, first_sample: NDArray) -> None:
        """Begin a segment in the steady state of its first raw sample, shape (n_channels of the stream,)."""
        first = self._convert(np.asarray(first_sample)[:, None])
        self._held[:] = np.where(np.isfinite(first[:, 0]), first[:, 0], 0.0)
        steady = self._held.astype(np.float64)
        if self._matrix is not None:
            steady = self._matrix @ steady
        if self._filters:
            steady = np.concatenate([each.start(steady) for each in self._filters])
        steady = self._clip(steady)
        if self._resampler is not None:
            self._resampler.start(steady)
        self._hopper.start()
        self.quality.start()
        self._pending = Flag(0)

    @property
    def bad_channels(self) -> tuple[str, ...]:
        """Labels of the stream's channels that the model needs and that were flat or saturated over the last second."""
        if not self.quality.any_bad:
            return ()
        return tuple(self._stream.channels[int(i)].label for i in self._picks[self.quality.is_bad])

    def sample_at(self, n: int) -> int:
        """Number of the output sample that lies nearest to raw sample ``n``; both count from `start`."""
        return round((n + 1) * self._ratio) - 1

    def step(self, block: NDArray) -> list[tuple[NDArray[np.float32], Flag]]:
        """Take the next raw block, shape (n_channels of the stream, block), in the stream's own dtype and unit.

        Returns
        -------
        list of (ndarray of float32, shape (n_labels, hop), Flag)
            The hops that this block completes, zero or more. Flags: NONFINITE when such a sample stands in the hop,
            BAD_CHANNEL when more channels than may be were flat or saturated over the last second.
        """
        if block.shape != (len(self._stream.channels), self.block):
            raise ValueError(f"a block has shape {(len(self._stream.channels), self.block)}, got {block.shape}")
        x32 = self._convert(block)
        flags = self._hold(x32)
        if self.quality.step(x32) and self.quality.is_bad.sum() > self._max_bad:
            flags |= Flag.BAD_CHANNEL
        x = x32.astype(np.float64)
        if self._matrix is not None:
            x = self._matrix @ x
        if self._filters:
            x = np.concatenate([each.step(x) for each in self._filters])
        x = self._clip(x)
        if self._resampler is None:
            return [(x.astype(np.float32), flags)]
        hops = self._hopper.step(self._resampler.step(x))
        due = self._pending | flags
        self._pending = due if not hops else flags if self._hopper.n_pending else Flag(0)
        return [(hop.astype(np.float32), due if i == 0 else flags) for i, hop in enumerate(hops)]

    def _convert(self, raw: NDArray) -> NDArray[np.float32]:
        """Picked channels as float32 in the model's unit: the one cast, always in float64 before."""
        picked = raw[self._picks]
        if self._is_scaled:
            picked = picked * self._scale
        elif picked.dtype == np.float32:
            return picked
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is inf, and held as such
            return picked.astype(np.float32)

    def _hold(self, x: NDArray[np.float32]) -> Flag:
        """Replace non-finite samples, in place, by the last finite one of their channel."""
        if np.isfinite(x).all():
            self._held[:] = x[:, -1]
            return Flag(0)
        for i in np.flatnonzero(~np.isfinite(x).all(axis=1)):
            row = np.concatenate([self._held[i : i + 1], x[i]])
            newest = np.maximum.accumulate(np.where(np.isfinite(row), np.arange(len(row)), 0))
            x[i] = row[newest][1:]
        self._held[:] = x[:, -1]
        return Flag.NONFINITE

    def _clip(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x if self.spec.clip is None else np.clip(x, -self.spec.clip, self.spec.clip)


def band_labels(labels: Sequence[str], bands_hz: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    """Names of the rows: the labels themselves, or for a filter bank ``LABEL LOW-HIGH``, band after band."""
    if not bands_hz:
        return tuple(labels)
    return tuple(f"{label} {low:g}-{high:g}" for low, high in bands_hz for label in labels)


def _sections(
    spec: PreprocessingSpec, band_hz: tuple[float | None, float | None] | None, sfreq_hz: float
) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    """Notch and band-pass in a row (n_sections, 6), none where nothing is filtered; and the tones that are removed."""
    sections, tones = [np.zeros((0, 6))], ()
    if spec.notch_hz is not None:
        sections.append(notch(spec.notch_hz, sfreq_hz, spec.notch_harmonics))
        tones = tuple(spec.notch_hz * k for k in range(1, len(sections[1]) + 1))
    if band_hz is not None:
        sections.append(bandpass(band_hz, spec.filter_order, sfreq_hz))
    return np.vstack(sections), tones


def _check(spec: PreprocessingSpec) -> None:
    """What is wrong with the specification by itself."""
    if not spec.channels:
        raise ConfigError("channels is empty: name at least one")
    if len({same_label(c) for c in spec.channels}) != len(spec.channels):
        raise ConfigError(f"channels = {list(spec.channels)}: a label stands there twice")
    if spec.unit not in UNITS:
        raise ConfigError(f"unit = {spec.unit!r}: allowed are {', '.join(UNITS)}")
    if spec.hop < 1:
        raise ConfigError(f"hop = {spec.hop}: allowed are 1 and more samples at the decoder's rate")
    if spec.clip is not None and not spec.clip > 0:
        raise ConfigError(f"clip = {spec.clip:g}: allowed are values above 0, in {spec.unit}")
    if spec.bands_hz and spec.bandpass_hz:
        raise ConfigError(f"bandpass_hz = {list(spec.bandpass_hz)} and bands_hz: give one of them")
    if len(set(spec.bands_hz)) != len(spec.bands_hz):
        raise ConfigError(f"bands_hz = {[list(band) for band in spec.bands_hz]}: a band stands there twice")
    name = "bands_hz" if spec.bands_hz else "bandpass_hz"
    for band_hz in spec.bands_hz or (spec.bandpass_hz or (),):
        high = band_hz[1] if band_hz else None
        if high is not None and high >= spec.sfreq_hz / 2:
            raise ConfigError(
                f"{name} = {list(band_hz)}: the upper edge must lie below half the decoder's rate, "
                f"{spec.sfreq_hz / 2:g} Hz"
            )


def _pick(stream: StreamSpec, wanted: Sequence[str]) -> NDArray[np.intp]:
    try:
        return pick(stream.labels, wanted)
    except ModelError as error:
        raise ModelError(f"stream {stream.name!r} does not fit the model: {error}") from None


def _unit_factor(stream: StreamSpec, channel: Channel, unit: str) -> float:
    """What turns the channel's unit into the model's."""
    if not channel.unit:
        raise ModelError(
            f"stream {stream.name!r} does not say in which unit channel {channel.label} is and the model needs {unit}: "
            f'set the stream\'s unit, for example unit = "{unit}" in session.toml or --unit {unit}'
        )
    if quantity(channel.unit) != quantity(unit):
        fitting = ", ".join(u for u in UNITS if quantity(u) == quantity(unit))
        raise ModelError(
            f"channel {channel.label} of stream {stream.name!r} is in {channel.unit} but the model needs {unit}; "
            f"convertible are {fitting}"
        )
    return factor(channel.unit, unit)


def _centre_hz(band_hz: tuple[float | None, float | None] | None, sfreq_hz: float, tones: tuple[float, ...]) -> float:
    """Where the delay is stated: the middle of the band on a logarithmic scale, within what the decoder can see.

    Beside the ``tones`` that a notch removes, for in the notch no delay is defined.
    """
    low, high = band_hz or (None, None)
    high = high or 0.8 * sfreq_hz / 2
    centre_hz = math.sqrt(low * high) if low else high / 2
    while any(abs(centre_hz / tone - 1) < 0.1 for tone in tones):
        centre_hz *= 0.8
    return centre_hz
