"""How numbers are said: with their unit on one line, never more exact or more certain than they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.report.words import NBSP, clock, count, listed, milliseconds, number, percent, seconds, times, when


def plain(text):
    return text.replace(NBSP, " ")


@pytest.mark.parametrize(
    ("value_s", "words"),
    [
        (None, "–"), (float("nan"), "–"), (0, "0 ms"), (1e-9, "< 0.01 ms"), (0.00012, "0.12 ms"), (0.0031, "3.1 ms"),
        (0.0123, "12 ms"), (0.3, "300 ms"), (0.9997, "1.0 s"), (59.9, "59.9 s"), (59.96, "1 min"), (62, "1 min 2 s"),
        (3599.9, "1 h"), (7500, "2 h 5 min"), (-2.5, "−2.5 s"),
    ],
)  # fmt: skip
def test_durations(value_s, words):
    assert plain(seconds(value_s)) == words
    assert milliseconds(None if value_s is None else 1000 * value_s) == seconds(value_s)


@pytest.mark.parametrize(
    ("share", "digits", "words"),
    [
        (0, 0, "0 %"), (1, 2, "100.00 %"), (0.9312, 0, "93 %"), (0.0001, 0, "< 1 %"), (0.99999, 0, "> 99 %"),
        (0.99999, 2, "> 99.99 %"), (0.00683, 2, "0.68 %"), (None, 0, "–"),
    ],
)  # fmt: skip
def test_shares(share, digits, words):
    assert plain(percent(share, digits)) == words


@given(st.floats(0, 1), st.integers(0, 2))
def test_all_is_said_only_of_all_and_nothing_only_of_nothing(share, digits):
    text = percent(share, digits)
    assert (text == percent(1, digits)) == (share == 1)
    assert (text == percent(0, digits)) == (share == 0)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.6, "0.6"), (0.6691, "0.669"), (32.14, "32.1"), (160.0, "160"), (19680, "19,680"), (-0.12, "−0.12"), (0, "0")],
)
def test_figures(value, words):
    assert number(value) == words


def test_columns_keep_their_zeros():
    assert [number(v, trim=False) for v in (0.6, 33.0, 1.25)] == ["0.600", "33.0", "1.25"]


def test_counts_lists_and_times():
    assert [plain(count(n, "gap")) for n in (0, 1, 1234)] == ["0 gaps", "1 gap", "1,234 gaps"]
    assert [times(n) for n in (1, 2)] == ["once", "twice"]
    assert [listed(list("abcdef")[:n], 3) for n in (0, 1, 2, 4, 6)] == [
        "",
        "a",
        "a and b",
        "a, b, c and d",
        "a, b, c and 3 more",
    ]
    assert [clock(t) for t in (0, 9.96, 61.25, 3725.04, -1.5)] == ["0:00.0", "0:10.0", "1:01.2", "1:02:05.0", "−0:01.5"]
    assert [plain(when(t)) for t in ("2026-03-04T10:20:30+00:00", "")] == ["2026-03-04 10:20 UTC", ""]
