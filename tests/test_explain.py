"""Maps show what decides, and say so when they mean nothing; the card of a model is whole."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bci.__main__ import main
from bci.errors import ModelError
from bci.offline.explain import draw, explain
from bci.offline.train import TrainSettings, train
from decoders.checkpoint import load_model, load_weights
from decoders.training.plan import Plan
from tests.test_protocols import LABELS, recording

CHANNELS = ("Fp1", "Fp2", "F7", "F8", "C3", "C4")


def trained(folder, decoder, *, skill, plan=None):
    runs = [recording("S001", f"R{i}", i, skill=skill) for i in range(2)]
    settings = TrainSettings(
        labels=LABELS, decoder=decoder, window_s=2.0, hop_s=0.25, decide_at_s=2.5, plan=plan, channels=CHANNELS
    )
    train(runs, settings).save(str(folder))
    return load_model(folder), load_weights(folder)


@pytest.mark.parametrize(("decoder", "plan"), [("riemann", None), ("eegnet", Plan(n_epochs=40))])
def test_a_skilled_person_is_decoded_by_the_hands_channels(decoder, plan, tmp_path):
    model, weights = trained(tmp_path / "m", decoder, skill=1.0, plan=plan)
    test = [recording("S001", "R9", 9, skill=1.0)]
    result = explain(model, weights, test)
    strength = np.abs(result["map"]).sum(axis=1)
    assert {CHANNELS[i] for i in np.argsort(strength)[-3:]} >= {"C3", "C4"}
    assert result["accuracy"] > result["chance_band"][1]
    assert result["method"].startswith("Haufe" if decoder == "riemann" else "integrated gradients")
    assert (result["times_s"] is None) == (decoder == "riemann")
    if decoder == "riemann":  # more power over C4 says right, which the recording is made of
        assert result["map"][5][0] > 0 > result["map"][4][0]
    else:
        assert len(result["times_s"]) == len(result["map"][0])
        assert result["times_s"][-1] == pytest.approx(2.5 - 0.125)
    assert explain(model, weights, test) == result
    assert len(draw(result, "x").axes) >= len(result["map"][0])


@pytest.mark.parametrize("decoder", ["riemann_fb", "eegnet"])
def test_a_decoder_that_recentres_is_explained_as_it_decides(decoder, tmp_path):
    """The map is of trials as recentring had aligned them: ten times the signal makes the same answers."""
    runs = [recording("S001", f"R{i}", i, skill=1.0) for i in range(2)]
    settings = TrainSettings(
        labels=LABELS, decoder=decoder, window_s=2.0, hop_s=0.25, decide_at_s=2.5, channels=CHANNELS,
        recentre="riemann", plan=Plan(n_epochs=20) if decoder == "eegnet" else None,
    )  # fmt: skip
    train(runs, settings).save(str(tmp_path / "m"))
    model, weights = load_model(tmp_path / "m"), load_weights(tmp_path / "m")
    loud = recording("S001", "R9", 9, skill=1.0)
    loud.streams[0].samples[:] *= 10
    result = explain(model, weights, [loud])
    assert result["accuracy"] > result["chance_band"][1]
    assert np.isfinite(result["map"]).all()


def test_a_map_of_a_decoder_at_chance_or_of_any_weights_means_nothing(tmp_path, monkeypatch):
    model, weights = trained(tmp_path / "m", "riemann", skill=0.0)
    result = explain(model, weights, [recording("S001", "R9", 9)])
    assert not result["means_something"]
    assert "is within chance" in result["why"]
    model, weights = trained(tmp_path / "n", "riemann", skill=1.0)
    monkeypatch.setattr("bci.offline.explain._shuffled", lambda weights, rng: weights)
    result = explain(model, weights, [recording("S001", "R9", 9, skill=1.0)])
    assert not result["means_something"]
    assert result["why"] == "shuffled weights give a like map (rank correlation 1.00)"
    assert "MEANS NOTHING" in draw(result, "x").get_suptitle()


def test_recordings_that_do_not_fit_are_refused(tmp_path):
    model, weights = trained(tmp_path / "m", "riemann", skill=1.0)
    other = recording("S001", "R9", 9)
    other.markers[0].samples[:] = ["rest"] * len(other.markers[0].samples)
    with pytest.raises(ModelError, match="cannot be explained: no usable trial of left, right"):
        explain(model, weights, [other])


def test_pictures_and_cards_from_the_command_line(tmp_path, capsys, monkeypatch):
    trained(tmp_path / "m", "bandpower", skill=1.0)
    monkeypatch.setattr(
        "bci.sources.files.load_recording", lambda path, rate_hz=None: recording("S001", "R9", 9, skill=1.0)
    )
    for name in ("what.png", "what.html"):
        main(["explain", str(tmp_path / "m"), "S001R9.xdf", "--out", str(tmp_path / name), "--json", "-"])
        result = json.loads(capsys.readouterr().out)
        assert (tmp_path / name).stat().st_size > 5000
        assert {"map", "channels", "random_similarity", "means_something", "why"} <= result.keys()
    with pytest.raises(SystemExit) as stop:
        main(["explain", str(tmp_path / "m"), "S001R9.xdf", "--out", str(tmp_path / "what.gif")])
    assert stop.value.code == 2
    capsys.readouterr()
    main(["card", str(tmp_path / "m")])
    said = capsys.readouterr().out
    assert said.rstrip() == (tmp_path / "m" / "card.md").read_text().rstrip()
    for words in ("S001", "leave one run out", "spread", "calibration error", "Intended use", "Limits", "chance"):
        assert words in said
