"""Causal filters: steady start, carried state, stated delay and settling, impossible bands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from bci.errors import ConfigError
from bci.signal.filters import CausalFilter, bandpass, group_delay_s, notch, settling_s

FS = 250.0


def chain():
    return np.vstack([notch(50, FS, 2), bandpass((8, 30), 4, FS)])


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_blocks_give_the_bits_of_one_pass(lengths):
    x = np.random.default_rng(0).standard_normal((3, sum(lengths))) * 20 + 30000
    whole, parts = CausalFilter(chain(), 3), CausalFilter(chain(), 3)
    whole.start(x[:, 0])
    parts.start(x[:, 0])
    ends = np.cumsum(lengths)
    out = [parts.step(np.ascontiguousarray(x[:, e - n : e])) for n, e in zip(lengths, ends, strict=True)]
    np.testing.assert_array_equal(np.hstack(out), whole.step(x))


def test_it_starts_in_the_steady_state_of_its_first_sample():
    offset = np.array([30000.0, -5000.0])  # µV, as electrodes have
    x = np.repeat(offset[:, None], 100, axis=1)
    high = CausalFilter(bandpass((8, 30), 4, FS), 2)
    np.testing.assert_allclose(high.start(offset), 0, atol=1e-6)
    assert np.abs(high.step(x)).max() < 1e-6
    low = CausalFilter(bandpass((None, 30), 4, FS), 2)
    np.testing.assert_allclose(low.start(offset), offset, rtol=1e-9)
    np.testing.assert_allclose(low.step(x), x, rtol=1e-9)


def test_it_is_the_filter_of_scipy():
    x = np.random.default_rng(1).standard_normal((2, 1000))
    mine = CausalFilter(bandpass((8, 30), 4, FS), 2)
    mine.start(np.zeros(2))
    np.testing.assert_array_equal(
        mine.step(x), signal.sosfilt(signal.butter(4, (8, 30), "bandpass", fs=FS, output="sos"), x)
    )


def test_edges_and_notches_lie_where_they_were_asked_for():
    _, gain = signal.freqz_sos(bandpass((8, 30), 4, FS), [8, 15, 30], fs=FS)
    np.testing.assert_allclose(np.abs(gain), [np.sqrt(0.5), 1, np.sqrt(0.5)], atol=1e-3)
    _, gain = signal.freqz_sos(notch(50, FS, 9), [0, 20, 50, 100], fs=FS)
    np.testing.assert_allclose(np.abs(gain), [1, 1, 0, 0], atol=0.01)
    assert len(notch(50, FS, 9)) == 2  # 150 Hz lies beyond the Nyquist rate


def test_a_silent_filter_comes_to_rest_instead_of_computing_with_denormals():
    quiet = CausalFilter(bandpass((8, 30), 4, FS), 1)
    quiet.start(np.zeros(1))
    quiet.step(np.ones((1, 10)))
    for _ in range(200):
        y = quiet.step(np.zeros((1, 250)))
    assert (y == 0).all()


def test_the_stated_delay_is_that_of_the_envelope():
    t = np.arange(2000) / FS
    envelope = np.exp(-(((t - 4) / 0.3) ** 2))
    sos = bandpass((8, 30), 4, FS)
    y = signal.sosfilt(sos, envelope * np.sin(2 * np.pi * 15.5 * t))
    power = np.abs(signal.hilbert(y)) ** 2
    measured_s = (power @ t) / power.sum() - (envelope**2 @ t) / (envelope**2).sum()
    assert group_delay_s(sos, 15.5, FS) == pytest.approx(measured_s, abs=0.004)


def test_after_the_settling_time_a_percent_of_the_transient_is_left():
    sos = chain()
    settled_s = settling_s(sos, FS, (50.0, 100.0))
    assert 0.2 < settled_s < 2
    step = signal.sosfilt(sos, np.ones(2000))
    assert np.abs(step[int(settled_s * FS) + 1 :]).max() <= 0.01 * np.abs(step).max()
    assert settling_s(bandpass((0.5, None), 2, FS), FS) > 0.5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bandpass((8, 130), 4, FS), ("bandpass_hz", "130", "125")),
        (lambda: bandpass((30, 8), 4, FS), ("bandpass_hz", "30")),
        (lambda: bandpass((None, None), 4, FS), ("bandpass_hz",)),
        (lambda: bandpass((8, 30), 0, FS), ("filter_order", "1 to 12")),
        (lambda: bandpass((float("nan"), 30), 4, FS), ("bandpass_hz",)),
        (lambda: notch(125, FS), ("notch_hz", "125")),
        (lambda: notch(50, FS, 0), ("notch_harmonics",)),
    ],
)
def test_an_impossible_band_is_named_with_what_is_allowed(make, words):
    with pytest.raises(ConfigError) as error:
        make()
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)
