"""Calibration errors, grouped intervals and recordings in another order, against cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.reliability import ece, grouped_ci, reliability, risk_coverage, untempered
from calibration.resequence import resequence, segment_starts
from decoders.engine import softmax

# --- calibration -----------------------------------------------------------------------------------------------------


def test_calibration_error_as_counted_by_hand():
    p = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.65, 0.35]])
    y = np.array([0, 1, 1, 1])
    # two answers at .95, one right; two at .65, one right
    assert ece(p, y) == pytest.approx(0.5 * 0.45 + 0.5 * 0.15)
    assert [(edge, share) for edge, share, _, _ in reliability(p, y)] == [(0.6, 0.5), (0.9, 0.5)]


def test_probabilities_that_mean_what_they_say_have_almost_none():
    rng = np.random.default_rng(0)
    p = softmax(rng.normal(size=(20_000, 2)))
    y = (rng.random(20_000) < p[:, 1]).astype(int)
    assert ece(p, y) < 0.02
    sure = softmax(np.log(p) * 3)
    assert ece(sure, y) > 0.1


def test_a_temperature_can_be_taken_back():
    logits = np.random.default_rng(0).normal(size=(6, 3)) * 4
    assert untempered(softmax(logits / 2.5), 2.5) == pytest.approx(softmax(logits))
    each = np.array([1, 2, 3, 4, 5, 6.0])
    assert untempered(softmax(logits / each[:, None]), each) == pytest.approx(softmax(logits))


# --- intervals -------------------------------------------------------------------------------------------------------


def test_people_are_drawn_and_then_their_runs():
    people = np.repeat([f"S{i}" for i in range(20)], 30)
    runs = np.tile(np.repeat(["1", "2", "3"], 10), 20)
    skill = np.repeat(np.random.default_rng(0).normal(0.7, 0.1, 20), 30)
    low, high = grouped_ci(skill.tolist(), people.tolist(), runs.tolist(), seed=1)
    of_people = np.unique(skill)
    assert high - low == pytest.approx(2 * 1.96 * of_people.std() / 20**0.5, rel=0.15)
    assert (low, high) == grouped_ci(skill.tolist(), people.tolist(), runs.tolist(), seed=1)
    by_run = np.where(runs == "1", 1.0, 0.0)  # people alike, runs not: the interval must not be empty
    low, high = grouped_ci(by_run.tolist(), people.tolist(), runs.tolist(), seed=1)
    assert high - low > 0.1


def test_one_person_is_drawn_by_runs_or_else_by_trials():
    right = [1.0] * 10 + [0.0] * 10
    whole_runs = grouped_ci(right, ["S"] * 20, ["1"] * 10 + ["2"] * 10, seed=0)
    assert whole_runs == (0.0, 1.0)
    low, high = grouped_ci(right, ["S"] * 20, ["1"] * 20, seed=0)
    assert 0.2 < low < 0.4
    assert 0.6 < high < 0.8


# --- another order ---------------------------------------------------------------------------------------------------


def test_parts_begin_with_the_rest_before_their_cue():
    assert segment_starts([100, 300, 500], [10, 80, 200, 280, 400]).tolist() == [80, 280, 400]
    assert segment_starts([100, 300, 500], []).tolist() == [0, 200, 400]


def test_the_new_order_keeps_every_sample_and_has_no_jumps():
    rng = np.random.default_rng(0)
    samples = np.cumsum(rng.normal(size=(1000, 2)), axis=0) + 1e4 * np.arange(2)
    starts, order = [100, 300, 600], [2, 0, 1]
    after, moved = resequence(samples, starts, order)
    assert sorted(moved.tolist()) == list(range(1000))
    assert moved[[50, 100, 300, 600]].tolist() == [50, 500, 700, 100]
    for first, stop in ((0, 100), (100, 300), (300, 600), (600, 1000)):
        part = after[moved[first:stop]] - samples[first:stop]
        assert np.allclose(part, part[0])  # moved as a whole
    assert np.abs(np.diff(after, axis=0)).max() < 10
    assert np.array_equal(resequence(samples, starts, [0, 1, 2])[1], np.arange(1000))
    with pytest.raises(ValueError, match="names a part twice or one that is not among 3"):
        resequence(samples, starts, [0, 1, 1])


def test_risk_is_counted_from_the_surest_on_and_ties_come_together():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.6, 0.4]])
    coverage, risk = risk_coverage(p, np.array([0, 1, 1, 1]))
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert risk == pytest.approx([0.0, 1 / 3, 0.5])
