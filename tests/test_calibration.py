"""Trials are cut where the live decision falls; folds never share a run; the temperature tells the truth."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.fit import calibrate, folds, temperature
from calibration.trials import Cue, HopRun, Trials, check_trials, cut_trials, decision_hop
from decoders import load_class
from decoders.engine import softmax
from decoders.spec import FitError, Request

HOP = 10


def hop_run(n_hops=50, cues=(), bad=(), segments=None):
    """Channel 0 counts samples, so that what was cut can be read off."""
    count = np.arange(n_hops * HOP, dtype=np.float32)
    hops = np.stack([count, -count]).reshape(2, n_hops, HOP).transpose(1, 0, 2)
    is_good = np.ones(n_hops, bool)
    is_good[list(bad)] = False
    return HopRun(
        subject="S",
        run="R",
        hops=hops,
        sample_index=np.arange(1, n_hops + 1) * HOP - 1,
        segment=np.zeros(n_hops, int) if segments is None else np.asarray(segments),
        is_good=is_good,
        cues=tuple(cues),
        sfreq_hz=100.0,
    )


# --- cutting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cue", "last_sample"), [(99, 199), (100, 199), (108, 199), (109, 209), (110, 209)])
def test_a_trial_ends_with_the_newest_hop_that_is_not_after_its_decision(cue, last_sample):
    trials = cut_trials([hop_run(cues=[Cue("l", cue)])], ("l", "r"), n_hops=5, decide_at_s=1.0)
    assert trials.x.shape == (1, 2, 50)
    assert trials.x[0, 0].tolist() == list(range(last_sample - 49, last_sample + 1))


def test_labels_and_runs_are_kept_and_other_markers_ignored():
    runs = [hop_run(cues=[Cue("r", 100), Cue("rest", 150)]), hop_run(cues=[Cue("l", 100)])]
    trials = cut_trials(runs, ("l", "r"), 5, 1.0)
    assert (trials.y.tolist(), trials.run.tolist(), trials.n_left_out) == ([1, 0], [0, 1], 0)


def test_a_trial_whose_signal_is_not_whole_is_left_out_and_counted():
    cues = [Cue("l", 0), Cue("l", 100), Cue("l", 200), Cue("r", 300), Cue("r", 450)]
    segments = np.repeat([0, 1], [28, 22])  # a new segment begins within the third trial
    run = hop_run(cues=cues, bad=[17], segments=segments)
    trials = cut_trials([run], ("l", "r"), 12, 1.0)
    # too early; a bad hop; two segments; whole; cut off by the end
    assert (trials.y.tolist(), trials.n_left_out) == ([1], 4)


def test_no_trial_at_all_says_which_cues_there_are():
    with pytest.raises(FitError, match=r"no usable trial of l, r .*cues found: feet"):
        cut_trials([hop_run(cues=[Cue("feet", 100)])], ("l", "r"), 5, 1.0)


def test_decision_after_the_end_is_none():
    index = np.arange(1, 11) * HOP - 1
    assert decision_hop(index, Cue("l", 0), 0.99, 100.0) == 9
    assert decision_hop(index, Cue("l", 5), 0.99, 100.0) == 9
    assert decision_hop(index, Cue("l", 50), 0.99, 100.0) is None


# --- what cannot be learnt -------------------------------------------------------------------------------------------


def some_trials(n=12, n_runs=2, n_channels=3, n_samples=200, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, n_channels, n_samples)).astype(np.float32)
    x[y == 1, 0] *= 3
    return Trials(x, y, np.arange(n) * n_runs // n, ("left", "right"))


def changed(trials, **changes):
    values = {name: getattr(trials, name) for name in ("x", "y", "run", "classes")} | changes
    return Trials(**values)


def with_value(trials, channel, value):
    x = trials.x.copy()
    x[(slice(None), channel) if value == 7.0 else (3, channel, 5)] = value
    return changed(trials, x=x)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda t: changed(t, x=t.x[:3], y=t.y[:3], run=t.run[:3]), "3 trials .*at least 4"),
        (lambda t: changed(t, y=np.zeros(12, int)), "class right has fewer than 2 trials"),
        (lambda t: changed(t, y=np.eye(12, dtype=int)[5]), "class right has fewer than 2 trials"),
        (lambda t: with_value(t, 1, np.nan), "NaN or inf in channel b; leave it out"),
        (lambda t: with_value(t, 2, np.inf), "NaN or inf in channel c; leave it out"),
        (lambda t: with_value(t, 0, 7.0), "channel a is constant; leave it out"),
    ],
)
def test_what_no_decoder_can_learn_from_is_refused(spoil, says):
    check_trials(some_trials(), ("a", "b", "c"))
    with pytest.raises(FitError, match=says):
        check_trials(spoil(some_trials()), ("a", "b", "c"))


# --- folds and temperature -------------------------------------------------------------------------------------------


def test_whole_runs_are_held_out_where_there_are_several():
    fold, words = folds(some_trials(n_runs=3))
    assert (fold.tolist(), words) == ([0] * 4 + [1] * 4 + [2] * 4, "leave one run out")


@pytest.mark.parametrize("run", [np.zeros(12, int), np.arange(12) % 2])
def test_one_run_or_runs_of_one_class_are_cut_into_parts_that_hold_each_class(run):
    trials = changed(some_trials(), run=run)
    fold, words = folds(trials)
    assert words == "5 consecutive parts of each class"
    for k in range(fold.max() + 1):
        assert set(trials.y[fold != k]) == {0, 1}
    for label in (0, 1):
        assert np.all(np.diff(fold[trials.y == label]) >= 0)


def test_temperature_recovers_the_scale_of_the_logits():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 2)) * 2
    y = (rng.random(4000) < softmax(logits)[:, 1]).astype(int)
    assert temperature(logits, y) == pytest.approx(1, rel=0.1)
    assert temperature(logits * 5, y) == pytest.approx(5, rel=0.1)


def test_a_few_trials_all_right_do_not_claim_certainty():
    logits = np.array([[1.0, -1.0], [-1.0, 1.0]] * 3)
    p = softmax(logits / temperature(logits, np.array([0, 1] * 3)))
    assert 0.8 < p.max() < 0.9


def spec_of(name):
    return load_class(name).design(
        Request(channels=("a", "b", "c"), sfreq_hz=100.0, hop=HOP, classes=("left", "right"), window_s=1.0)
    )


@pytest.mark.parametrize("name", ["riemann", "bandpower"])
def test_calibrated_scores_are_of_trials_that_were_not_seen(name):
    good = calibrate(spec_of(name), some_trials(40), seed=0)
    assert good.scores["accuracy"] > 0.9
    assert good.fitted.params["temperature"][0] == good.scores["temperature"]
    assert np.array_equal(
        good.held_out.argmax(1) == some_trials(40).y,
        good.held_out.max(1) == good.held_out[np.arange(40), some_trials(40).y],
    )
    rng = np.random.default_rng(1)
    noise = changed(some_trials(40), x=rng.normal(size=(40, 3, 200)).astype(np.float32))
    scores = calibrate(spec_of(name), noise, seed=0).scores
    low, high = scores["chance_band"]
    assert low <= scores["accuracy"] <= high


def test_progress_sees_each_fit():
    seen = []

    def each(fits):
        for fit in fits:
            seen.append(fit)
            yield fit

    calibrate(spec_of("bandpower"), some_trials(), seed=0, each=each)
    assert seen == [0, 1, None]
