"""How far the signal is from calibration: what is an artefact, what is drift, what is neither."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.drift import LEAST_SD, Watch, baseline

HOP_S, N_ROWS = 0.1, 6


def hops(n, gain=1.0, seed=0):
    """Noise whose loudness changes from moment to moment, as that of a head does."""
    generator = np.random.default_rng(seed)
    loudness = np.exp(0.3 * generator.normal(size=(n, N_ROWS, 1)))
    return (gain * loudness * generator.normal(0, 5, (n, N_ROWS, 25))).astype(np.float32)


def followed(watch, run, limit=8.0):
    scores = []
    for hop in run:
        watch.step(hop, limit)
        scores.append((watch.artefact, watch.drift))
    return np.array(scores)


def test_the_signal_of_calibration_is_neither():
    scores = followed(Watch(baseline([hops(1000)], HOP_S), HOP_S), hops(1000, seed=1))
    assert scores[:, 0].max() < 6
    assert scores[:, 1].max() < 0.8


@given(st.integers(0, N_ROWS - 1), st.integers(0, 1000))
@settings(max_examples=20)
def test_a_row_that_is_ten_times_louder_for_half_a_second_is_an_artefact_and_no_drift(row, seed):
    watch = Watch(baseline([hops(600)], HOP_S), HOP_S)
    run = hops(100, seed=seed)
    run[50:55, row] *= 10
    scores = followed(watch, run)
    assert scores[:50, 0].max() < 8 < scores[50:55, 0].max()
    assert scores[-1, 0] < 8
    assert scores[55, 1] - scores[49, 1] < 0.3


@pytest.mark.parametrize("gain", [0.3, 3.0])
def test_half_a_minute_of_another_loudness_is_drift_whichever_way(gain):
    scores = followed(Watch(baseline([hops(600)], HOP_S), HOP_S), hops(600, gain, seed=1))
    assert scores[10, 1] < 1
    assert scores[-1, 1] > 2


@given(st.floats(1e-13, 1e6))
def test_the_unit_does_not_matter(unit):
    run = hops(60, seed=2)
    a = followed(Watch(baseline([hops(200)], HOP_S), HOP_S), run)
    scaled = [hops(200).astype(np.float64) * unit]
    b = followed(Watch(baseline(scaled, HOP_S), HOP_S), run.astype(np.float64) * unit)
    assert np.allclose(a, b, atol=1e-6)


def test_a_new_segment_begins_a_moment_but_keeps_the_drift():
    watch = Watch(baseline([hops(600)], HOP_S), HOP_S)
    followed(watch, hops(300, 3.0))
    drift = watch.drift
    watch.begin_segment()
    assert (watch.artefact, watch.drift) == (0.0, drift)


def test_a_calibration_that_never_changed_does_not_make_every_breath_an_alarm():
    known = baseline([np.full((50, N_ROWS, 25), 2.0)], HOP_S)
    assert known.deviation == (LEAST_SD,) * N_ROWS
    assert baseline([np.zeros((0, N_ROWS, 25))], HOP_S) is None
