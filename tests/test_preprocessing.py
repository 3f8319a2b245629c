"""The one preprocessing object: what it computes, refuses, and that chunks cannot change a bit of it."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from bci.errors import ConfigError, ModelError
from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
from bci.types import Channel, Flag, StreamSpec

LABELS = ("C3", "Cz", "C4", "Pz", "Fz")


def stream(sfreq_hz=250.0, unit="uV", labels=LABELS, format_="float32"):
    channels = tuple(Channel(label, unit=unit) for label in labels)
    return StreamSpec(name="amp", sfreq_hz=sfreq_hz, channels=channels, format=format_)


def spec(**changes):
    base = {"channels": ("C4", "C3"), "sfreq_hz": 250.0, "hop": 10}
    return PreprocessingSpec(**(base | changes))


def signal_uv(n, n_channels=5, seed=0, dtype=np.float32):
    return (np.random.default_rng(seed).standard_normal((n_channels, n)) * 20 + 1000).astype(dtype)


def run(preprocessing, x):
    preprocessing.start(x[:, 0])
    out = []
    for i in range(0, x.shape[1] - preprocessing.block + 1, preprocessing.block):
        out += preprocessing.step(np.ascontiguousarray(x[:, i : i + preprocessing.block]))
    return out


def joined(hops):
    return np.hstack([data for data, _ in hops])


def test_it_picks_by_name_in_the_models_order():
    x = signal_uv(100)
    hops = run(Preprocessing(spec(), stream()), x)
    assert len(hops) == 10
    assert all(data.dtype == np.float32 and data.shape == (2, 10) for data, _ in hops)
    np.testing.assert_array_equal(joined(hops), x[[2, 0]])


def test_it_filters_like_scipy_from_a_steady_start():
    x = signal_uv(500)
    settings = spec(bandpass_hz=(8.0, 30.0), notch_hz=50.0, reference="average", channels=LABELS)
    hops = run(Preprocessing(settings, stream()), x)
    x64 = x.astype(np.float64)
    x64 -= x64.mean(axis=0)
    sos = np.vstack(
        [np.concatenate(signal.iirnotch(50, 25, fs=250)), signal.butter(4, (8, 30), "bandpass", fs=250, output="sos")]
    )
    zi = signal.sosfilt_zi(sos)[:, None, :] * x64[:, 0][None, :, None]
    expected, _ = signal.sosfilt(sos, x64, zi=zi)
    np.testing.assert_allclose(joined(hops), expected, atol=1e-3)
    assert np.abs(joined(hops)[:, :10]).max() < 30  # an offset of 1000 µV leaves no transient


@pytest.mark.parametrize(("unit", "factor"), [("uV", 1.0), ("mV", 1e-3), ("V", 1e-6), ("nV", 1e3)])
def test_voltages_are_converted(unit, factor):
    x = signal_uv(50, dtype=np.float64)
    hops = run(Preprocessing(spec(), stream(unit=unit, format_="double64")), x * factor)
    np.testing.assert_allclose(joined(hops), x[[2, 0]], rtol=1e-6)


def test_integers_and_teslas():
    counts = np.arange(250, dtype=np.int16).reshape(5, 50)
    np.testing.assert_array_equal(joined(run(Preprocessing(spec(), stream(format_="int16")), counts)), counts[[2, 0]])
    x = np.random.default_rng(0).standard_normal((5, 50)) * 100
    hops = run(Preprocessing(spec(unit="T"), stream(unit="fT", format_="double64")), x)
    np.testing.assert_allclose(joined(hops), x[[2, 0]] * 1e-15, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "of", "error", "words"),
    [
        (spec(channels=("C3", "C5")), stream(), ModelError, ("amp", "C5", "Pz")),
        (spec(), stream(unit=""), ModelError, ("amp", "C4", "uV", "unit")),
        (spec(), stream(unit="T"), ModelError, ("C4", "T", "uV", "mV")),
        (spec(unit="T"), stream(), ModelError, ("uV", "fT")),
        (spec(sfreq_hz=250.1234567), stream(), ModelError, ("250.1234567", "works")),
        (spec(), stream(sfreq_hz=0.0), ModelError, ("amp", "no regular rate")),
        (spec(bandpass_hz=(8.0, 125.0)), stream(), ConfigError, ("bandpass_hz", "125")),
        (spec(bandpass_hz=(8.0, 90.0), sfreq_hz=160.0), stream(), ConfigError, ("bandpass_hz", "80")),
        (spec(notch_hz=200.0), stream(), ConfigError, ("notch_hz", "200")),
        (spec(unit="furlong"), stream(), ConfigError, ("unit", "furlong", "uV")),
        (spec(hop=0), stream(), ConfigError, ("hop",)),
        (spec(channels=()), stream(), ConfigError, ("channels",)),
        (spec(channels=("C3", "c3.")), stream(), ConfigError, ("twice",)),
        (spec(clip=-1.0), stream(), ConfigError, ("clip",)),
        (spec(bands_hz=((8.0, 12.0), (11.0, 125.0))), stream(), ConfigError, ("bands_hz", "125")),
        (spec(bands_hz=((8.0, 12.0), (8.0, 12.0))), stream(), ConfigError, ("bands_hz", "twice")),
        (spec(bands_hz=((8.0, 12.0),), bandpass_hz=(8.0, 30.0)), stream(), ConfigError, ("bands_hz", "one of them")),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, of, error, words):
    with pytest.raises(error) as raised:
        Preprocessing(settings, of)
    assert "\n" not in str(raised.value)
    assert all(word in str(raised.value) for word in words), str(raised.value)


def test_interpolated_channels_need_not_be_in_the_stream():
    labels = ("C3", "Cz", "C4", "Pz", "Fz", "O1")
    settings = spec(channels=(*labels, "FCz"), interpolate=("FCz", "Pz"))
    hops = run(Preprocessing(settings, stream(labels=labels)), signal_uv(50, 6))
    assert joined(hops).shape == (7, 50)
    assert np.isfinite(joined(hops)).all()
    broken = signal_uv(50, 6)
    broken[3] = np.nan  # Pz is not even looked at
    assert all(flags == 0 for _, flags in run(Preprocessing(settings, stream(labels=labels)), broken))


def test_non_finite_samples_are_held_and_flagged():
    x = signal_uv(100)
    clean = x.copy()
    x[2, 33:36] = [np.nan, np.inf, -np.inf]
    clean[2, 33:36] = x[2, 32]
    x[4, 50] = np.nan  # Fz is not used
    settings = spec(bandpass_hz=(8.0, 30.0))
    hops, expected = run(Preprocessing(settings, stream()), x), run(Preprocessing(settings, stream()), clean)
    np.testing.assert_array_equal(joined(hops), joined(expected))
    assert [i for i, (_, flags) in enumerate(hops) if flags & Flag.NONFINITE] == [3]


def test_a_stream_that_begins_with_nan_stays_finite():
    x = signal_uv(100)
    x[:, :15] = np.nan
    hops = run(Preprocessing(spec(bandpass_hz=(8.0, 30.0)), stream()), x)
    assert np.isfinite(joined(hops)).all()
    assert hops[0][1] & Flag.NONFINITE


def test_what_is_too_large_for_float32_is_held_as_non_finite():
    x = signal_uv(20, dtype=np.float64)
    x[2, 5] = 1e300
    hops = run(Preprocessing(spec(), stream(format_="double64")), x)
    assert hops[0][1] == Flag.NONFINITE
    assert hops[0][0][0, 5] == hops[0][0][0, 4]


@pytest.mark.parametrize(
    ("unit", "quiet", "good"),
    [
        ("uV", 0.02, 1.0), ("mV", 2e-5, 1e-3), ("V", 2e-8, 1e-6), ("nV", 20, 1000),
        ("T", 2e-16, 1e-13), ("pT", 2e-4, 0.1), ("fT", 0.2, 100), ("T/m", 2e-15, 1e-12),
    ],
)  # fmt: skip
def test_a_channel_without_signal_is_flagged_in_every_unit(unit, quiet, good):
    noise = np.random.default_rng(0).uniform(-1, 1, (5, 500))
    for size, flag in ((quiet, Flag.BAD_CHANNEL), (good, Flag(0))):
        hops = run(Preprocessing(spec(unit=unit), stream(unit=unit, format_="double64")), noise * size)
        assert {flags for _, flags in hops[30:]} == {flag}


def test_a_flat_channel_of_the_model_is_flagged_after_a_second():
    x = signal_uv(500)
    x[4] = 0  # not a channel of the model
    assert all(flags == 0 for _, flags in run(Preprocessing(spec(), stream()), x))
    x[0, 100:] = 1000.0
    flagged = [i for i, (_, flags) in enumerate(run(Preprocessing(spec(), stream()), x)) if flags & Flag.BAD_CHANNEL]
    assert 33 <= flagged[0] <= 38
    assert flagged[-1] == 49


def test_clipping_bounds_the_output():
    hops = run(Preprocessing(spec(bandpass_hz=(8.0, 30.0), clip=5.0), stream()), signal_uv(300))
    assert np.abs(joined(hops)).max() == 5.0


@pytest.mark.parametrize(("rate", "hop"), [(160.0, 8), (160.0, 7), (125.0, 25), (500.0, 20)])
def test_the_rate_changes_and_hops_stay_whole(rate, hop):
    settings = spec(sfreq_hz=rate, hop=hop, bandpass_hz=(8.0, 30.0), channels=("C3",))
    t = np.arange(2500) / 250
    x = np.tile(100 * np.sin(2 * np.pi * 15.5 * t), (5, 1)).astype(np.float32)
    preprocessing = Preprocessing(settings, stream())
    hops = run(preprocessing, x)
    n_used = 2500 // preprocessing.block * preprocessing.block
    assert abs(len(hops) - n_used / 250 * rate / hop) <= 1
    y = joined(hops)[0].astype(np.float64)
    assert y[-int(rate) :].std() == pytest.approx(100 / np.sqrt(2), rel=0.02)


def test_the_stated_delay_is_measured():
    settings = spec(sfreq_hz=125.0, hop=10, bandpass_hz=(8.0, 30.0), channels=("C3",))
    preprocessing = Preprocessing(settings, stream())
    t = np.arange(2000) / 250
    envelope = np.exp(-(((t - 4) / 0.3) ** 2))
    x = np.tile(100 * envelope * np.sin(2 * np.pi * 15.5 * t), (5, 1)).astype(np.float32)
    y = joined(run(preprocessing, x))[0]
    t_out = t[-1] - np.arange(len(y))[::-1] / 125  # the last output lies on the last input
    power = np.abs(signal.hilbert(y)) ** 2
    measured_s = (power @ t_out) / power.sum() - 4.0
    assert preprocessing.delay_s == pytest.approx(measured_s, abs=0.005)


def test_flags_reach_every_hop_that_the_samples_enter():
    settings = spec(sfreq_hz=160.0, hop=16, channels=("C3",))
    preprocessing = Preprocessing(settings, stream())
    assert preprocessing.block == 25
    x = signal_uv(2500)
    x[0, 60] = np.nan
    assert [i for i, (_, f) in enumerate(run(preprocessing, x)) if f & Flag.NONFINITE] == [2]
    odd = Preprocessing(spec(sfreq_hz=160.0, hop=7, channels=("C3",)), stream())
    assert odd.block == 2
    flagged = [i for i, (_, f) in enumerate(run(odd, x)) if f & Flag.NONFINITE]
    assert flagged in ([5], [5, 6])  # 60 raw samples are 5.5 hops


BANDS = ((8.0, 12.0), (11.0, 16.0), (20.0, 30.0))


def test_a_filter_bank_is_its_bands_side_by_side():
    x = signal_uv(500)
    common = {"notch_hz": 50.0, "reference": "average", "channels": LABELS}
    bank = Preprocessing(spec(bands_hz=BANDS, **common), stream())
    single = [Preprocessing(spec(bandpass_hz=band, **common), stream()) for band in BANDS]
    assert bank.labels == tuple(f"{label} {band}" for band in ("8-12", "11-16", "20-30") for label in LABELS)
    np.testing.assert_array_equal(joined(run(bank, x)), np.vstack([joined(run(each, x)) for each in single]))
    assert bank.settling_s == max(each.settling_s for each in single)
    assert bank.delay_s == max(each.delay_s for each in single) > min(each.delay_s for each in single)


@given(st.integers(0, 3), st.integers(1, 4), st.booleans())
def test_a_second_object_and_a_second_start_give_the_same_bits(seed, n_restarts, is_bank):
    filters = {"bands_hz": BANDS} if is_bank else {"bandpass_hz": (8.0, 30.0)}
    settings = spec(sfreq_hz=160.0, hop=8, notch_hz=50.0, reference="average", channels=LABELS, **filters)
    x = signal_uv(200, seed=seed)
    first = Preprocessing(settings, stream())
    for _ in range(n_restarts):
        run(first, signal_uv(77, seed=seed + 10))  # whatever was before
    mine, fresh = run(first, x), run(Preprocessing(settings, stream()), x)
    np.testing.assert_array_equal(joined(mine), joined(fresh))
    assert [f for _, f in mine] == [f for _, f in fresh]


def test_a_notch_in_the_middle_of_the_band_has_a_delay_beside_it():
    only_notch = Preprocessing(spec(notch_hz=50.0), stream())  # half of what the decoder sees at 250 Hz is 50 Hz
    assert 0 < only_notch.delay_s < 0.02


def test_a_block_of_another_shape_is_refused():
    preprocessing = Preprocessing(spec(), stream())
    preprocessing.start(np.zeros(5))
    with pytest.raises(ValueError, match=r"\(5, 10\)"):
        preprocessing.step(np.zeros((5, 11), np.float32))


def test_the_input_is_not_changed():
    x = signal_uv(10)
    x[2, 3] = np.nan
    before = x.copy()
    run(Preprocessing(spec(bandpass_hz=(8.0, 30.0)), stream()), x)
    np.testing.assert_array_equal(x, before)


def test_the_specification_survives_json():
    for filters in ({"bandpass_hz": (None, 30.0)}, {"bands_hz": BANDS}):
        settings = spec(reference="bipolar", bipolar_pairs=(("C3", "C4"),), interpolate=("Cz",), **filters)
        assert msgspec.json.decode(msgspec.json.encode(settings), type=PreprocessingSpec) == settings
