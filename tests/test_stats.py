"""Scores against the libraries and against cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from calibration import stats


def test_an_abstention_is_wrong():
    assert stats.accuracy([0, 1, 1, 0], [0, 1, -1, -1]) == 0.5
    assert stats.kappa([0, 1, 0, 1], [-1, -1, -1, -1]) == 0


@given(st.integers(1, 400), st.floats(0.05, 0.95))
def test_chance_band_is_the_binomial_one(n, chance):
    low, high = stats.chance_band(n, chance)
    assert (round(low * n), round(high * n)) == (binom.ppf(0.025, n, chance), binom.ppf(0.975, n, chance))


def test_chance_band_at_the_edges():
    assert stats.chance_band(0, 0.5) == (0.0, 1.0)
    assert stats.chance_band(10, 1.0) == (1.0, 1.0)


def test_chance_is_what_the_best_constant_answer_reaches():
    assert stats.chance_level([0, 0, 0, 1]) == 0.75


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs):
    from sklearn.metrics import cohen_kappa_score

    cued, said = map(list, zip(*pairs, strict=True))
    if len(set(cued) | set(said)) > 1:
        assert stats.kappa(cued, said) == pytest.approx(cohen_kappa_score(cued, said), abs=1e-12)
    else:
        assert stats.kappa(cued, said) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auc_is_that_of_scikit_learn(pairs):
    from sklearn.metrics import roc_auc_score

    positive, score = map(list, zip(*pairs, strict=True))
    if len(set(positive)) == 2:
        assert stats.auc(positive, score) == pytest.approx(roc_auc_score(positive, score))
    else:
        assert stats.auc(positive, score) == 0.5


def test_information_transfer_rate_as_wolpaw_gives_it():
    assert stats.itr_bits_per_min(1.0, 2, 6.0) == pytest.approx(10)
    assert stats.itr_bits_per_min(0.9, 4, 60.0) == pytest.approx(1.37, abs=0.01)
    assert stats.itr_bits_per_min(0.5, 2, 1.0) == 0
    assert stats.itr_bits_per_min(0.2, 2, 1.0) == 0
    assert stats.itr_bits_per_min(0.8, 2, 1.0, chance=0.85) == 0  # saying the frequent class is as good


def test_bootstrap_is_seeded_and_covers_the_mean():
    values = np.random.default_rng(0).normal(0.7, 0.1, 30)
    low, high = stats.bootstrap_ci(values, seed=1)
    assert (low, high) == stats.bootstrap_ci(values, seed=1)
    assert low < values.mean() < high
    half = 1.96 * values.std() / 30**0.5
    assert high - low == pytest.approx(2 * half, rel=0.1)
    with pytest.raises(ValueError, match="at least 2"):
        stats.bootstrap_ci([0.5], seed=0)


def test_unequal_lists_are_refused():
    with pytest.raises(ValueError, match="2 cues and 1 answers"):
        stats.accuracy([0, 1], [0])
    with pytest.raises(ValueError, match="at least one"):
        stats.kappa([], [])


@pytest.mark.parametrize(("n_right", "n"), [(0, 10), (33, 40), (10, 10), (1, 3)])
def test_intervals_of_an_accuracy_are_those_of_wilson(n_right, n):
    expected = binomtest(n_right, n).proportion_ci(method="wilson")
    assert stats.accuracy_interval(n_right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert stats.accuracy_interval(0, 0) == (0.0, 1.0)
