"""Counting trials and commands."""

import pytest

from bci.scoring import Scorer
from bci.types import Command, Flag, MarkerPlaced, Prediction

SFREQ_HZ = 100.0
LEFT, RIGHT = (0.9, 0.1), (0.2, 0.8)


def scorer():
    return Scorer(("left", "right"), {"T1": "left", "T2": "right"}, 2.0, SFREQ_HZ)


def prediction(at, p, flags=0):
    return Prediction(at, at, at / SFREQ_HZ, p, flags, "hash")


def command(name, issued_s):
    return Command(1, name, 0.9, issued_s, 300.0, 1, 0)


def play(score, cues, predictions, commands=()):
    items = [(at, 0, MarkerPlaced(label, at, at / SFREQ_HZ, 0.0)) for at, label in cues]
    items += [(p.sample_index, 1, p) for p in predictions]
    items += [(c.issued_s * SFREQ_HZ, 2, c) for c in commands]
    for _, _, item in sorted(items, key=lambda i: i[:2]):
        score.receive(item)
    score.finish()
    return score.summary()


def test_a_trial_is_decided_by_the_newest_hop_at_the_declared_time():
    predictions = [prediction(at, LEFT if at <= 300 else RIGHT) for at in range(10, 600, 10)]
    result = play(scorer(), [(100, "T1")], predictions)  # due at 300: the hop at 300 counts, the one at 310 does not
    assert (result["n_trials"], result["accuracy"]) == (1, 1.0)
    assert play(scorer(), [(110, "T1")], predictions)["accuracy"] == 0.0


def test_an_abstention_is_wrong_and_counted_apart():
    predictions = [prediction(at, LEFT, int(Flag.PRIMING)) for at in range(10, 600, 10)]
    result = play(scorer(), [(100, "T1")], predictions)
    assert (result["n_abstained"], result["accuracy"]) == (1, 0.0)


def test_a_trial_that_the_end_cut_off_is_no_trial():
    predictions = [prediction(at, LEFT) for at in range(10, 250, 10)]
    assert play(scorer(), [(10, "T1"), (200, "T2")], predictions)["n_trials"] == 1


def test_a_command_is_false_unless_its_class_is_cued_then():
    predictions = [prediction(at, LEFT) for at in range(10, 1000, 10)]
    commands = [command("left", 1.5), command("right", 2.0), command("left", 5.0)]  # the rest begins at 4 s
    result = play(scorer(), [(100, "T1"), (400, "T0")], predictions, commands)
    assert (result["n_commands"], result["n_false_commands"]) == (3, 2)
    assert result["time_to_command_s"] == pytest.approx(0.5)


def test_without_a_cue_nobody_can_say_what_was_false():
    predictions = [prediction(at, LEFT) for at in range(10, 1000, 10)]
    result = play(scorer(), [], predictions, [command("left", 1.5)])
    assert (result["n_commands"], result["n_false_commands"], result["false_commands_per_min"]) == (1, None, None)
    assert result["accuracy"] is None


def test_a_command_of_an_epoch_model_is_judged_by_the_marker_that_it_answers():
    """The answer comes when the epoch is whole: other markers have fallen meanwhile."""
    score = Scorer(("nontarget", "target"), {"1": "nontarget", "2": "target"}, 0.8, SFREQ_HZ, is_epoch_model=True)
    for number, (at, label) in enumerate([(100, "2"), (120, "1"), (140, "1")]):
        score.receive(MarkerPlaced(label, at, at / SFREQ_HZ, 0.0, number))
    for number, (p, name) in enumerate([(RIGHT, "target"), (LEFT, "nontarget"), (RIGHT, "target")]):
        at = 180 + 20 * number
        score.receive(Prediction(at, at, at / SFREQ_HZ, p, 0, "hash", 0.0, number, 100 + 20 * number))
        assert score.cued == ("target", "nontarget", "nontarget")[number]
        score.receive(command(name, at / SFREQ_HZ))
    score.finish()
    result = score.summary()
    assert (result["n_commands"], result["n_false_commands"]) == (3, 1)
    assert result["time_to_command_s"] == pytest.approx(0.8)
    assert result["score"]["kind"] == "AUC"
    assert result["score"]["value"] == 0.75
