"""The histogram against numpy's exact percentiles."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.host.latency import Histogram, LatencyLedger

DURATIONS = st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=200)


def filled(durations):
    histogram = Histogram()
    for seconds in durations:
        histogram.record(seconds)
    return histogram


@given(DURATIONS, st.floats(0, 100))
def test_percentiles_within_one_percent_of_numpy(durations, p):
    exact = np.percentile(durations, p, method="inverted_cdf")
    assert filled(durations).percentile(p) == pytest.approx(exact, rel=0.01)


@given(DURATIONS)
def test_max_and_count_are_exact(durations):
    histogram = filled(durations)
    assert histogram.n == len(durations)
    assert histogram.percentile(100) == histogram.max_s == max(durations)


def test_what_lies_outside_is_bounded_and_counted():
    histogram = filled([-0.001, 0.0, 1e-9])
    assert histogram.n == 3
    assert histogram.percentile(50) <= 1.02e-6
    assert filled([1e9, 1e9, 2e9]).max_s == 2e9
    assert Histogram().percentile(50) == 0.0


def test_what_is_no_duration_is_not_counted():
    histogram = filled([0.5, math.nan, math.inf, -math.inf])
    assert (histogram.n, histogram.max_s) == (1, 0.5)


def test_a_percentile_that_is_none():
    with pytest.raises(ValueError, match="between 0 and 100"):
        Histogram().percentile(101)


def test_ledger_reports_milliseconds_of_the_stages_that_ran():
    ledger = LatencyLedger(("filtered", "decoded"))
    for k in range(1, 101):
        ledger.record("filtered", k * 1e-3)
    report = ledger.report()
    assert list(report) == ["filtered"]
    assert report["filtered"] == pytest.approx({"p50": 50, "p95": 95, "p99": 99, "max": 100}, rel=0.01)
    with pytest.raises(KeyError):
        ledger.record("unknown", 1.0)
