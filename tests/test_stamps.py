"""Smoothed stamps on a known truth, their bits under any cut, and the correction to the local clock."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.signal.stamps import ClockCorrection, StampFit
from bci.types import ClockOffset
from scripts.compare_dejitter import bursts, compare
from tests.helpers.rechunk import cuts

FS = 250.0


def jittered(n, sigma_s=0.002, seed=0, sfreq_hz=FS):
    true_s = 1000.0 + np.arange(n) / sfreq_hz
    return true_s, true_s + np.abs(np.random.default_rng(seed).normal(0, sigma_s, n))


@pytest.mark.parametrize("seed", range(2))
def test_losses_of_a_tenth_one_and_five_seconds_leave_the_stamps_within_limits(seed):
    raw, ours = compare(seed, with_liblsl=False)
    assert [v for v in ours["verdicts"] if v != "late 0"] == ["lost 25", "lost 250", "lost 1250"]
    assert ours["max_ms"] < 5
    assert max(ours["first_100ms_ms"]) < 10
    assert max(map(abs, ours["minute_later_ms"])) < 5
    assert raw["max_ms"] > ours["max_ms"]


def test_the_truth_of_burst_stamps_lies_within_the_stated_uncertainty():
    for row in bursts(seed=1):
        assert row["part_within"] > 0.98, row
        assert row["uncertainty_ms"] < 1000 / FS * row["batch"] + 3
        assert row["verdicts"] == []


@given(cuts(300))
def test_any_cut_gives_the_same_bits(at):
    _, raw_s = jittered(300)
    whole, parts = StampFit(FS), StampFit(FS)
    out = np.concatenate([parts.step(raw_s[a:b]) for a, b in itertools.pairwise(at)])
    np.testing.assert_array_equal(out, whole.step(raw_s))
    assert parts.sfreq_hz == whole.sfreq_hz
    assert parts.uncertainty_s == whole.uncertainty_s


@given(
    st.lists(st.tuples(st.floats(-0.1, 0.3), st.integers(0, 30)), min_size=1, max_size=40),
    st.sampled_from([10.0, 250.0, 1000.0]),
)
def test_whatever_the_stamps_time_never_goes_back(noise, sfreq_hz):
    fit, last_s, n = StampFit(sfreq_hz), -np.inf, 0
    for late_s, n_lost in noise:
        smooth_s = fit.step(5.0 + np.arange(n, n + 7) / sfreq_hz + late_s * np.arange(7))
        n += 7 + n_lost
        if n_lost:
            smooth_s = np.concatenate([smooth_s, fit.skip(n_lost)])
        assert (np.diff(np.concatenate([[last_s], smooth_s])) > 0).all()
        last_s = smooth_s[-1]


def test_the_past_does_not_depend_on_the_future():
    _, raw_s = jittered(500)
    other = raw_s.copy()
    other[250:] += 0.02
    np.testing.assert_array_equal(StampFit(FS).step(raw_s)[:250], StampFit(FS).step(other)[:250])


def test_a_rate_that_is_not_the_nominal_one_is_learnt():
    true_s, raw_s = jittered(2000, sfreq_hz=92.9)
    fit = StampFit(100.0)
    smooth_s = fit.step(raw_s)
    assert fit.sfreq_hz == pytest.approx(92.9, rel=2e-4)
    assert np.abs(smooth_s - true_s)[200:].max() < 0.005


@pytest.mark.parametrize("n_late", [75, 500])
def test_a_stall_barely_moves_the_line(n_late):
    true_s, raw_s = jittered(5000)
    raw_s[2500 : 2500 + n_late] = raw_s[2500 + n_late]  # 0.3 or 2 s late, all at once
    assert np.abs(StampFit(FS).step(raw_s) - true_s).max() < 0.005


def test_a_lasting_step_that_nobody_judged_is_followed_within_a_second():
    _, raw_s = jittered(5000, sigma_s=1e-5)
    raw_s[2500:] -= 0.02
    assert np.abs(StampFit(FS).step(raw_s) - raw_s)[2500 + 250 :].max() < 0.001


def test_a_segment_keeps_the_rate_and_begins_at_the_next_stamp():
    _, raw_s = jittered(2000, sfreq_hz=251.0, sigma_s=1e-5)
    fit = StampFit(FS)
    fit.step(raw_s)
    fit.start_segment()
    assert fit.sfreq_hz == pytest.approx(251.0, rel=1e-4)
    np.testing.assert_allclose(fit.step(-5000.0 + np.arange(500) / 251.0), -5000.0 + np.arange(500) / 251.0, atol=1e-4)


def broken(stamps_s, places, value=np.nan):
    stamps_s = stamps_s.copy()
    stamps_s[places] = value
    return stamps_s


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("places", [[700], slice(700, 740), slice(3, 300)])
def test_samples_whose_stamp_is_no_number_take_the_lines_time(value, places):
    true_s, raw_s = jittered(2000)
    fit, other = StampFit(FS), StampFit(FS)
    smooth_s = fit.step(broken(raw_s, places, value))
    assert np.abs(smooth_s - true_s).max() < 0.02
    assert (np.diff(smooth_s) > 0).all()
    other.step(raw_s)
    assert fit.next_s == pytest.approx(other.next_s, abs=1e-3)
    assert fit.mean_abs_s == pytest.approx(other.mean_abs_s, rel=0.15)  # what is no stamp has no jitter either


def test_times_count_from_zero_until_the_first_stamp_that_is_a_number():
    _, raw_s = jittered(100)
    fit = StampFit(FS)
    smooth_s = fit.step(broken(raw_s, slice(0, 30)))
    np.testing.assert_allclose(smooth_s[:30], np.arange(30) / FS)
    assert np.abs(smooth_s[30:] - raw_s[30:]).max() < 0.01
    fit.start_segment()
    assert not fit.is_blind
    fit.step(np.full(3, np.nan))
    assert fit.is_blind
    assert np.isnan(fit.next_s)


@given(cuts(300), st.lists(st.integers(0, 299), max_size=150), st.integers(0, 40))
def test_any_cut_gives_the_same_bits_also_without_some_stamps(at, places, n_blind):
    _, raw_s = jittered(300)
    raw_s = broken(broken(raw_s, places), slice(0, n_blind))
    whole, parts = StampFit(FS), StampFit(FS)
    out = np.concatenate([parts.step(raw_s[a:b]) for a, b in itertools.pairwise(at)])
    np.testing.assert_array_equal(out, whole.step(raw_s))
    assert np.isfinite(out).all()
    assert (np.diff(out) > 0).all()


def test_residual_and_uncertainty_are_those_of_the_jitter():
    _, raw_s = jittered(20000)
    fit = StampFit(FS)
    assert not fit.is_learnt
    fit.step(raw_s)
    assert fit.is_learnt
    assert fit.residual_s == pytest.approx(0.002 * np.sqrt(1 - 2 / np.pi), rel=0.1)
    assert 0.0016 < fit.uncertainty_s < 0.003


def offset(collected_s, offset_s, uncertainty_s=1e-4):
    return ClockOffset(0, collected_s, offset_s, uncertainty_s)


def test_the_first_offset_counts_at_once_and_later_ones_smoothly():
    clock = ClockCorrection()
    clock.update(offset(100.0, 5000.0))
    np.testing.assert_allclose(clock.apply(np.array([-4900.0])), [100.0])
    for k in range(1, 20):
        clock.update(offset(100.0 + 5 * k, 5000.0 + 0.001))
    stamps_s = -4900.0 + np.arange(0, 200, 0.5)
    local_s = clock.apply(stamps_s)
    assert (np.diff(local_s) >= 0).all()
    assert local_s[-1] - stamps_s[-1] == pytest.approx(5000.001, abs=1e-5)


def test_one_slow_measurement_moves_little():
    clock = ClockCorrection()
    for k in range(10):
        clock.update(offset(5.0 * k, 0.010))
    clock.update(offset(50.0, 0.060, uncertainty_s=0.05))
    assert clock.apply(np.array([80.0]))[0] - 80.0 == pytest.approx(0.010, abs=1e-5)


def test_another_clock_counts_at_once():
    clock = ClockCorrection()
    clock.update(offset(10.0, 0.0))
    clock.apply(np.array([11.0]))
    clock.update(offset(15.0, 653187.0))
    assert clock.apply(np.array([-653171.0]))[0] == pytest.approx(16.0)


def test_when_an_offset_arrives_among_the_samples_does_not_matter():
    stamps_s = np.arange(0.0, 3.0, 0.004)
    results = []
    for place in (250, 252, 280, 300):  # measured at 1.0 s, and heard of a little later
        clock = ClockCorrection()
        clock.update(offset(0.0, 0.0))
        early = clock.apply(stamps_s[:place])
        clock.update(offset(1.0, 0.002))
        results.append(np.concatenate([early, clock.apply(stamps_s[place:])]))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    assert results[0][-1] > stamps_s[-1]


def test_a_marker_that_is_stamped_back_stays_where_it_was_stamped():
    clock = ClockCorrection()
    assert clock.at(7.0) == 7.0
    clock.update(offset(100.0, 5.0))
    assert [clock.at(100.0), clock.at(94.0)] == [105.0, 99.0]
    assert clock.apply(np.array([94.0]))[0] == 99.0  # asking for a time moves nothing


def test_a_time_has_the_offset_that_held_then():
    clock, samples = ClockCorrection(), ClockCorrection()
    for k in range(200):  # far more than are kept
        for c in (clock, samples):
            c.update(offset(5.0 * k, 5e-5 * k))
        if k >= 150:
            samples.apply(np.array([5.0 * k]))
    stamps_s = np.arange(900.0, 995.0, 0.5)
    assert [clock.at(t) for t in stamps_s] == [clock.at(t) for t in stamps_s]
    assert [clock.at(t) - t for t in stamps_s] == pytest.approx([1e-5 * t for t in stamps_s], abs=5e-4)
    assert clock.at(996.0) == samples.apply(np.array([996.0]))[0]
    assert clock.at(901.0) - 901.0 < clock.at(994.0) - 994.0
