"""The resampler against scipy, its stated delay, and its hops."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from bci.errors import ModelError
from bci.signal.resample import Hopper, Resampler, lowpass_taps, rate_ratio

RATES = [(250, 160), (1000, 250), (128, 160), (256, 250), (1000, 160), (512, 160), (125, 250)]


def resample(x, rates, block, pass_hz=30.0, hold=False):
    resampler = Resampler(rate_ratio(*rates), rates[0], len(x), block, pass_hz)
    resampler.start(x[:, 0] if hold else np.zeros(len(x)))
    blocks = [x[:, i : i + block] for i in range(0, x.shape[1] - block + 1, block)]
    return resampler, [resampler.step(b) for b in blocks]


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("block", [1, 7, 20])
def test_it_computes_what_upfirdn_computes(rates, block):
    x = np.random.default_rng(0).standard_normal((2, 20 * block))
    ratio = rate_ratio(*rates)
    up, down = ratio.numerator, ratio.denominator
    _, parts = resample(x, rates, block)
    y = np.hstack(parts)
    fine = signal.upfirdn(lowpass_taps(ratio, rates[0], 30.0), x, up=up)  # at the common rate, nothing thrown away
    at = np.arange(down - up, (x.shape[1] - 1) * up + 1, down)
    expected = np.where(at >= 0, fine[:, np.maximum(at, 0)], 0)
    assert y.shape[1] == len(at)
    np.testing.assert_allclose(y, expected, atol=1e-12)


@pytest.mark.parametrize("rates", RATES)
def test_an_oscillation_comes_out_whole_and_as_late_as_stated(rates):
    fs_in, fs_out = rates
    block = rate_ratio(*rates).denominator
    n = fs_in * 4 // block * block
    t = np.arange(n) / fs_in
    resampler, parts = resample(np.sin(2 * np.pi * 11 * t)[None], rates, block)
    y = np.hstack(parts)[0]
    t_out = t[-1] - np.arange(len(y))[::-1] / fs_out  # the last output lies on the last input
    settled = t_out > resampler.memory_s + 0.1
    expected = np.sin(2 * np.pi * 11 * (t_out - resampler.delay_s))
    np.testing.assert_allclose(y[settled], expected[settled], atol=0.005)


def test_it_agrees_with_resample_poly_in_the_pass_band():
    t = np.arange(1000) / 250
    x = np.sin(2 * np.pi * 11 * t)
    resampler, parts = resample(x[None], (250, 160), 25)
    y, reference = np.hstack(parts)[0], signal.resample_poly(x, 16, 25)
    shift_s = resampler.delay_s - 9 / (16 * 250)  # outputs lie (down - up) / up inputs after those of resample_poly
    at = np.arange(100, 600)
    both = np.interp(at / 160 - shift_s, np.arange(len(reference)) / 160, reference)
    assert np.corrcoef(y[at], both)[0, 1] > 0.999


@pytest.mark.parametrize("rates", RATES)
def test_a_constant_stays_one_from_the_first_sample(rates):
    x = np.full((2, 200), 30000.0)
    _, parts = resample(x, rates, 10, hold=True)
    np.testing.assert_allclose(np.hstack(parts), 30000.0, rtol=1e-12)


def test_what_would_fold_into_the_pass_band_is_gone():
    t = np.arange(4000) / 1000
    resampler, parts = resample(np.sin(2 * np.pi * 140 * t)[None], (1000, 160), 25)  # would appear at 20 Hz
    assert np.abs(np.hstack(parts)[0][160:]).max() < 2e-3
    assert resampler.delay_s < 0.025


@given(st.integers(1, 30), st.sampled_from(RATES))
def test_block_by_block_gives_the_same_numbers_of_samples_every_time(block, rates):
    x = np.zeros((1, block * 50))
    counts = [p.shape[1] for p in resample(x, rates, block)[1]]
    assert counts == [p.shape[1] for p in resample(x, rates, block)[1]]
    assert abs(sum(counts) - block * 50 * rates[1] / rates[0]) <= max(2.0, rates[1] / rates[0])


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 8))
def test_hops_are_whole_and_in_order(lengths, hop):
    hopper, x = Hopper(1, hop), np.arange(sum(lengths), dtype=float)[None]
    ends = np.cumsum(lengths)
    hops = [h for n, e in zip(lengths, ends, strict=True) for h in hopper.step(x[:, e - n : e])]
    assert len(hops) == sum(lengths) // hop
    assert all(h.shape == (1, hop) for h in hops)
    if hops:
        np.testing.assert_array_equal(np.hstack(hops), x[:, : len(hops) * hop])
    assert hopper.n_pending == sum(lengths) % hop


def test_rates_that_cannot_be_reached_are_refused_with_what_works():
    assert rate_ratio(250, 160) == Fraction(16, 25)
    with pytest.raises(ModelError, match=r"600\.61499.* to 160 Hz.*works"):
        rate_ratio(600.614990234375, 160)
    for bad in [(0, 160), (250, 0), (250, float("nan")), (250, -1), (1e6, 1)]:
        with pytest.raises(ModelError):
            rate_ratio(*bad)
