"""Thresholds from held-out streams: the counting, its limits, and the real gate under it."""

import math

import msgspec
import numpy as np
import pytest
from scipy.stats import poisson

from bci.build import build_session, gate_settings
from bci.config import SessionConfig, parse_config, with_chosen_gate
from bci.control.gate import GateSettings
from bci.errors import ConfigError
from bci.offline import gate_choice
from bci.offline.gate_choice import HeldOut, is_at_rest, run_gate, tally
from bci.offline.stream import play
from bci.offline.train import Design, TrainSettings, preprocess, train
from bci.pipeline import Pipeline
from bci.sources.simulated import SimulatedPerson
from bci.types import Prediction, Recording
from calibration.fit import fit_to
from calibration.thresholds import Setting, Tally, choose, report, total, upper_bound_per_min
from calibration.trials import Cue, HopRun
from decoders import load_class
from decoders.checkpoint import Model
from decoders.spec import FitError


def test_after_nothing_the_limit_is_the_rule_of_three():
    assert upper_bound_per_min(0, 10.0) == pytest.approx(-math.log(0.05) / 10)
    assert upper_bound_per_min(0, 10.0) <= 3 / 10


@pytest.mark.parametrize("n", [0, 1, 5, 40])
def test_the_limit_is_exact(n):
    limit = upper_bound_per_min(n, 7.0)
    assert poisson.cdf(n, limit * 7.0) == pytest.approx(0.05)


LOW, MID, HIGH = Setting(0.6, 0.5), Setting(0.8, 0.5), Setting(0.9, 0.5)


def test_the_choice_is_what_commands_most_among_what_is_allowed():
    tallies = {
        LOW: [Tally(8, 4.0, 20, 18, 15)],
        MID: [Tally(2, 4.0, 20, 14, 13)],
        HIGH: [Tally(0, 4.0, 20, 9, 9)],
    }
    assert choose(tallies, 2.0) == LOW
    assert choose(tallies, 0.5) == MID
    assert choose(tallies, 0.1) == HIGH
    tallies[HIGH] = [Tally(1, 4.0, 20, 9, 9)]
    assert choose(tallies, 0.1) is None


def test_what_is_reported_had_no_part_in_the_choice():
    """MID looks best on both runs together, but each run alone would have chosen otherwise for the other."""
    tallies = {
        MID: [Tally(0, 5.0, 10, 9, 9), Tally(4, 5.0, 10, 9, 9)],
        HIGH: [Tally(0, 5.0, 10, 4, 4), Tally(0, 5.0, 10, 4, 3)],
    }
    result = report(tallies, 0.4)
    assert (result["threshold"], result["dwell_s"]) == MID
    # run 0 by what run 1 allows (HIGH), run 1 by what run 0 allows (MID)
    assert result["n_false"] == 4
    assert result["rest_min"] == 10.0
    assert result["rate_per_min"] == pytest.approx(0.4)
    assert result["upper95_per_min"] == pytest.approx(upper_bound_per_min(4, 10.0))
    assert not result["is_shown"]
    assert (result["coverage"], result["risk"]) == (pytest.approx(13 / 20), 0.0)
    assert [(c["threshold"], c["coverage"]) for c in result["risk_coverage"]] == [(0.8, 0.9), (0.9, 0.4)]


def test_what_cannot_be_had_is_said():
    with pytest.raises(FitError, match=r"no threshold gives 0\.1 false commands a minute at rest; the fewest are 1"):
        report({MID: [Tally(5, 5.0), Tally(5, 5.0)]}, 0.1)
    with pytest.raises(FitError, match="there is no rest between the cues"):
        report({MID: [Tally(), Tally()]}, 0.1)


def test_total():
    assert total([Tally(1, 2.0, 3, 2, 1), Tally(0, 1.0, 1, 1, 1)]) == Tally(1, 3.0, 4, 3, 2)


# --- the gate over a stream ------------------------------------------------------------------------------------------


def held_out(p, cues=(), segment=None, is_good=None):
    """Hops of 0.1 s at 100 Hz."""
    n = len(p)
    run = HopRun(
        "s", "r", np.zeros((n, 1, 10), np.float32), 10 * np.arange(1, n + 1), np.zeros(n, int) if segment is None
        else segment, np.ones(n, bool), tuple(cues), 100.0,
    )  # fmt: skip
    return HeldOut(run, np.array(p, float), np.ones(n, bool) if is_good is None else is_good)


TWO = GateSettings(classes=("left", "right"), dwell_s=0.5)
SURE, UNSURE = (0.9, 0.1), (0.5, 0.5)


def test_it_is_the_real_gate_with_dwell_and_refractory_time():
    commands = run_gate(TWO, held_out([SURE] * 40))
    assert [k for k, _ in commands] == [6, 21, 36]  # armed after the first hop; then 1 s and a dwell
    assert {c.name for _, c in commands} == {"left"}


def test_hops_that_are_not_good_command_nothing():
    assert run_gate(TWO, held_out([SURE] * 40, is_good=np.zeros(40, bool))) == []


def test_a_hole_disarms_it_and_it_is_armed_again():
    one = held_out([SURE] * 40)
    one.run.sample_index[20:] += 1000
    assert [k for k, _ in run_gate(TWO, one)] == [6, 26]


def test_false_at_rest_right_and_wrong_at_cues():
    p = [SURE] * 10 + [UNSURE] * 90 + [SURE] * 30 + [UNSURE] * 70 + [SURE] * 30 + [UNSURE] * 70
    cues = (Cue("left", 1000), Cue("right", 2000))
    counted = tally(TWO, held_out(p, cues), trial_s=3.0)
    assert counted == Tally(1, pytest.approx((99 + 70 + 70) * 0.1 / 60, abs=0.01), 2, 2, 1)


def test_a_rest_class_has_cues_of_its_own():
    one = held_out([SURE] * 40, (Cue("rest", 100), Cue("left", 200)))
    assert is_at_rest(one.run, 3.0, "rest").tolist() == [True] * 19 + [False] * 21
    assert is_at_rest(one.run, 3.0, None).tolist() == [True] * 9 + [False] * 31


# --- from recordings to the live gate --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recordings():
    runs = [SimulatedPerson(3, 1.0, session=i, sfreq_hz=125.0, n_trials=10).recording() for i in range(2)]
    return [Recording(f"S003R{i:02d}.xdf", r.streams, sha256="0" * 64) for i, r in enumerate(runs)]


SETTINGS = TrainSettings(
    labels={"left": "left", "right": "right"}, channels=("C3", "Cz", "C4", "CP3", "CP4"), decoder="bandpower",
    false_commands_per_min=6.0,
)  # fmt: skip


def test_training_chooses_and_the_session_uses_it_unless_told_otherwise(recordings, monkeypatch):
    monkeypatch.setattr(gate_choice, "DWELLS_S", (0.5, 1.0))
    gate = train(recordings, SETTINGS).info["gate"]
    assert 0.5 < gate["threshold"] <= 0.99
    assert gate["dwell_s"] in (0.5, 1.0)
    assert gate["rest_min"] > 0.5
    assert gate["upper95_per_min"] >= max(gate["rate_per_min"], 2.9 / gate["rest_min"])
    coverage = [c["coverage"] for c in gate["risk_coverage"]]
    assert coverage[0] > coverage[-1]
    config = with_chosen_gate(parse_config(""), {"gate": gate})
    used = gate_settings(config, ("left", "right"), False)
    assert (used.threshold, used.dwell_s) == (gate["threshold"], gate["dwell_s"])
    assert used.release == pytest.approx(0.8 * gate["threshold"])
    told = with_chosen_gate(parse_config("[gate]\nthreshold = 0.7\ndwell_s = 0.1\n"), {"gate": gate})
    used = gate_settings(told, ("left", "right"), False)
    assert (used.threshold, used.dwell_s) == (0.7, 0.1)
    assert with_chosen_gate(parse_config(""), {}).gate.threshold == 0.8


def test_the_gate_is_chosen_by_what_a_session_would_say(recordings):
    """Also of a decoder that recentres: its alignment moves in the held-out run as it will live."""
    settings = msgspec.structs.replace(
        SETTINGS, decoder="riemann_fb", recentre="riemann", bands_hz=((8.0, 12.0), (11.0, 16.0)), bandpass_hz=None
    )
    design = Design.of(recordings[0], settings)
    spec = design.spec
    runs = [preprocess(one, design.preprocessing, settings, spec) for one in recordings]
    trials = design.cut(runs)
    fitted = fit_to(spec, trials, np.ones(len(trials.y), bool), seed=0)
    held_out = gate_choice.predict_held_out(spec, fitted, trials, runs, seed=0)[1]

    other = fit_to(spec, trials, trials.run != 1, seed=0)
    decoder = load_class(spec.name).restore(spec, other.weights)
    stream = recordings[1].signals[0]
    model = Model(decoder, other.params, msgspec.to_builtins(design.preprocessing), spec, "0" * 64, {})
    pipeline = Pipeline(model, stream.spec)
    session = build_session(SessionConfig(), stream.spec, {model.hash: pipeline}, model.hash)
    live = [o for o in play(session, stream, recordings[1]) if isinstance(o, Prediction)]
    trusted = np.array([not o.flags for o in live])
    assert trusted.sum() > 200
    assert np.array_equal(trusted, held_out.is_good)
    np.testing.assert_allclose(np.array([o.p for o in live])[trusted], held_out.p[trusted], rtol=1e-9)
    assert pipeline._recentring.n_windows > 10


def test_one_recording_cannot_be_held_out(recordings):
    with pytest.raises(ConfigError, match="two or more are needed"):
        train(recordings[:1], SETTINGS)
