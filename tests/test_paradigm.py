"""Paradigms as values: balanced, within their times, the same for the same seed; and what must not flicker."""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.flicker import FIELD_HEIGHT, FIELD_WIDTH, SIDE, FlickerError, brightness, check_flicker, grey
from calibration.paradigm import MIN_PHASE_S, ParadigmError, flicker, from_table, imagery

NAMES = ("left", "right", "hands", "feet", "tongue")
CASES = {
    "n_classes": st.integers(2, 5),
    "n_per_class": st.integers(1, 30),
    "seed": st.integers(0, 2**40),
    "block": st.integers(1, 12),
    "low_s": st.floats(MIN_PHASE_S, 5),
    "span_s": st.floats(0, 5),
}


@given(**CASES)
def test_it_is_balanced_in_every_block_and_within_its_times(n_classes, n_per_class, seed, block, low_s, span_s):
    labels = NAMES[:n_classes]
    rest_s = (low_s, low_s + span_s)
    paradigm = imagery(labels, n_per_class, seed, rest_s=rest_s, block_per_class=block)
    assert Counter(trial.label for trial in paradigm.trials) == dict.fromkeys(labels, n_per_class)
    for first in range(0, len(paradigm.trials), block * n_classes):
        counts = Counter(trial.label for trial in paradigm.trials[first : first + block * n_classes])
        assert len(set(counts.values())) == 1
    for _, phase in paradigm.phases:
        assert phase.duration_s >= MIN_PHASE_S - 1e-9
        if phase.kind == "rest":
            assert rest_s[0] - 1e-9 <= phase.duration_s <= rest_s[1] + 1e-9
    assert paradigm.duration_s == pytest.approx(paradigm.lead_s + sum(p.duration_s for _, p in paradigm.phases))
    assert paradigm == imagery(labels, n_per_class, seed, rest_s=rest_s, block_per_class=block)


def test_another_seed_is_another_order_and_the_rest_is_no_clock():
    one, other = (imagery(("left", "right"), 20, seed) for seed in (1, 2))
    assert [t.label for t in one.trials] != [t.label for t in other.trials]
    rests = np.array([p.duration_s for seed in range(30) for _, p in imagery(("a", "b"), 20, seed).phases
                      if p.kind == "rest"])  # fmt: skip
    assert len(set(rests)) == len(rests)
    # a flat hazard: of the trials that have waited so long, as many begin within the next half second
    shares = [np.mean(rests[rests >= t] < t + 0.5) for t in (1.5, 2.0)]
    assert shares[1] / shares[0] < 1.35
    assert rests.max() - rests.min() > 2.0


def test_a_cue_says_its_class_and_a_block_ends_with_a_pause():
    paradigm = imagery(("left", "right"), 3, 0, markers={"left": "T1", "right": "T2"}, block_per_class=2,
                       feedback_s=1.0)  # fmt: skip
    assert Counter(paradigm.markers) == {"rest": 6, "T1": 3, "T2": 3, "pause": 1}
    kinds = [p.kind for p in paradigm.trials[3].phases]
    assert kinds == ["rest", "cue", "imagery", "feedback", "pause"]
    cue, held = paradigm.trials[0].phases[1:3]
    assert cue.duration_s + held.duration_s == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: imagery(("left",), 3, 0), "must be two or more"),
        (lambda: imagery(("left", "left"), 3, 0), "a name of its own"),
        (lambda: imagery(("left", "rest"), 3, 0), "class 'rest': that is sent between the cues already"),
        (lambda: imagery(("left", "right"), 0, 0), "from 1 to"),
        (lambda: imagery(("a", "b"), 9, 0, imagery_s=0.05), "imagery_s = 0.05: must be at least 0.2 s"),
        (lambda: imagery(("a", "b"), 9, 0, rest_s=(3.0, 2.0)), "the shortest and the longest"),
        (lambda: imagery(("a", "b"), 9, 0, rest_s="long"), "timing: Expected `array`"),
        (lambda: imagery(("a", "b"), 9, 0, colour=3), "unknown field `colour`"),
        (lambda: imagery(("a", "b"), 9, 0, markers={"c": "T1"}), "there is no such class"),
        (lambda: imagery(("a", "b"), 9, 0, markers={"a": "b"}), "needs one of its own"),
        (lambda: flicker((10, 12, 13, 14, 15), 3, 0, refresh_hz=60), "at most 4 targets"),
        (lambda: flicker((10, 40), 3, 0, refresh_hz=60), "a screen of 60 Hz shows at most 30 Hz"),
        (lambda: from_table({"labels": ["a", "b"]}, 60), "n_per_class is missing"),
        (lambda: from_table({"n_per_class": 2}, 60), "labels is missing"),
        (lambda: from_table({"labels": ["a", "b"], "n_per_class": 2.5}, 60), "must be whole numbers"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(make, said):
    with pytest.raises(ParadigmError) as caught:
        make()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_says_the_same_as_the_function():
    table = {"labels": ["left", "right"], "n_per_class": 4, "seed": 3, "imagery_s": 2.0, "rest_s": [1.0, 2.0]}
    assert from_table(table, 60) == imagery(("left", "right"), 4, 3, imagery_s=2.0, rest_s=(1.0, 2.0))
    table = {"frequencies_hz": [10, 12.5], "n_per_class": 4, "seed": 3}
    paradigm = from_table(table, 60)
    assert (paradigm.labels, paradigm.frequencies_hz, paradigm.flickers) == (("10Hz", "12.5Hz"), (10.0, 12.5), True)
    assert Counter(paradigm.markers)["12.5Hz"] == 4


def test_the_file_of_the_page_is_the_default():
    page = (Path(__file__).parents[1] / "docs" / "cues.md").read_text()
    (table,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert from_table(tomllib.loads(table), 60) == imagery(("left", "right"), 20, 1)
    marked = from_table(tomllib.loads(table.replace("# [markers] ", "[markers] ").replace("# left", "left")), 60)
    assert Counter(marked.markers)["T1"] == 20


# --- flicker ---------------------------------------------------------------------------------------------------------


@given(hz=st.floats(0.5, 30), refresh_hz=st.sampled_from((60.0, 75.0, 120.0, 144.0)))
def test_frames_sample_the_sine_that_was_asked_for(hz, refresh_hz):
    check_flicker([hz], refresh_hz)
    t_s = np.arange(round(20 * refresh_hz)) / refresh_hz
    shown = np.array([brightness(hz, t) for t in t_s])
    assert shown.min() >= 0
    assert shown.max() <= 1
    at = {f: abs(np.mean((shown - 0.5) * np.exp(-2j * np.pi * f * t_s))) for f in (hz, hz + 1.0)}
    assert at[hz] > 0.15  # half of the amplitude 0.5; near half the refresh rate its image takes a part
    assert at[hz] > 5 * at[hz + 1.0] or hz + 1.0 > refresh_hz / 2 - 1.0


def test_half_the_refresh_rate_still_flickers():
    shown = [brightness(30.0, k / 60) for k in range(6)]
    assert shown == pytest.approx([1, 0, 1, 0, 1, 0])
    assert [grey(0.0), grey(1.0)] == [0, 255]
    assert grey(0.5) == 188  # of sRGB: half the light is not half the level


@pytest.mark.parametrize(
    ("hz", "more", "said"),
    [
        ([0.0], {}, "must be above 0"),
        ([61.0], {}, "at most 60 Hz"),
        ([31.0], {}, "half its rate"),
        ([10.0, 10.1], {}, "0.2 Hz apart"),
        ([10.0], {"side": 0.3}, "at most 25% (WCAG 2.3.1)"),
        ([10.0], {"colour": "#ff2010"}, "saturated red"),
    ],
)
def test_what_must_not_flicker_is_refused(hz, more, said):
    with pytest.raises(FlickerError) as caught:
        check_flicker(hz, 60.0, **more)
    assert said in str(caught.value)


def test_up_to_three_flashes_a_second_anything_may_flash():
    check_flicker([3.0], 60.0, side=1.0, colour="#ff0000")
    with pytest.raises(FlickerError):
        check_flicker([3.1], 60.0, side=1.0)
    assert pytest.approx(0.25, abs=0.02) == SIDE**2 / (FIELD_WIDTH * FIELD_HEIGHT)
    assert math.isclose(FIELD_HEIGHT, 1 / 3)
