"""`bci train --bipolar`: the montage is part of the model, and the model runs by it."""

import json

import pytest

from bci.__main__ import main
from bci.build import load
from bci.offline.evaluate import evaluate
from bci.sources.simulated import SimulatedPerson


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("bipolar") / "person.xdf"
    main(["simulate", "--skill", "1", "--trials", "24", "--out", str(path), "--quiet"])
    return path


def test_a_bipolar_montage_is_trained_and_runs(recording, tmp_path, capsys):
    pairs = ["FC3-CP3", "FC4-CP4", "C3-Cz", "C4-Cz"]
    options = ["--labels", "left=left", "right=right", "--bipolar", *pairs, "--out", str(tmp_path / "model")]
    main(["train", str(recording), *options, "--json", "-"])
    assert len(json.loads(capsys.readouterr().out)["channels"]) == 4
    model = load(tmp_path / "model")
    assert model.preprocessing["reference"] == "bipolar"
    other_session = SimulatedPerson(1, 1.0, session=3, n_trials=20).recording()
    assert evaluate(model, [other_session])["accuracy"] > 0.5


def test_what_is_no_pair_is_said(recording, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(
            ["train", str(recording), "--labels", "left=left", "right=right", "--bipolar", "C3", "--out", str(tmp_path)]
        )
    assert stop.value.code == 2
    assert "--bipolar C3: two electrodes with a hyphen between, such as C3-Cz" in capsys.readouterr().err
