"""`bci train --bipolar, --bands, --recentre, --bad, --clip`: all are part of the model, and it runs by them."""

import json

import numpy as np
import pytest

from bci.__main__ import main
from bci.build import check_expectations, load
from bci.config import parse_config, read_config
from bci.errors import ConfigError
from bci.offline.evaluate import evaluate
from bci.pipeline import Pipeline
from bci.sources.files import load_recording
from bci.sources.simulated import SimulatedPerson
from bci.types import RecordedStream
from tests.helpers.played import write_xdf


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


def test_a_session_toml_trains_the_model_that_it_then_expects(recording, tmp_path):
    path = tmp_path / "session.toml"
    path.write_text(
        '[model]\nbipolar_pairs = [["FC3", "CP3"], ["FC4", "CP4"]]\nbandpass_hz = [8.0, "-"]\nfilter_order = 2\n'
        "notch_hz = 50.0\nnotch_harmonics = 2\nwindow_s = 2.0"
    )
    labels = ["--labels", "left=left", "right=right"]
    main(["train", str(recording), *labels, "--config", str(path), "--out", str(tmp_path / "model"), "--quiet"])
    model = load(tmp_path / "model")
    pre = model.preprocessing
    assert (list(pre["bandpass_hz"]), pre["filter_order"], pre["notch_harmonics"]) == ([8.0, None], 2, 2)
    check_expectations(read_config(str(path)).model, model)
    for line, message in (
        ("bipolar_pairs = [['FC3', 'Cz']]", "model.bipolar_pairs = [('FC3', 'Cz')]: the model has [('FC3', 'CP3'), "),
        ("bandpass_hz = [8, 30]", "model.bandpass_hz = [8.0, 30.0]: the model has [8.0, None]; train one with"),
        ("filter_order = 4", "model.filter_order = 4: the model has 2"),
        ("notch_harmonics = 1", "model.notch_harmonics = 1: the model has 2"),
    ):
        with pytest.raises(ConfigError) as error:
            check_expectations(parse_config(f"[model]\n{line}").model, model)
        assert message in str(error.value)


def test_what_is_no_pair_is_said(recording, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(
            ["train", str(recording), "--labels", "left=left", "right=right", "--bipolar", "C3", "--out", str(tmp_path)]
        )
    assert stop.value.code == 2
    assert "--bipolar C3: two electrodes with a hyphen between, such as C3-Cz" in capsys.readouterr().err


def test_a_recentred_filter_bank_is_trained_and_runs(recording, tmp_path, capsys):
    labels = ["--labels", "left=left", "right=right"]
    bank = ["--bands", "8-12", "11-16", "--channels", "C3", "Cz", "C4", "--sfreq", "125", "--hop", "0.2"]
    how = ["--decoder", "riemann_fb", "--recentre", "riemann", "--mirror", "--out", str(tmp_path / "model")]
    main(["train", str(recording), *labels, *bank, *how, "--json", "-"])
    rows = [f"{label} {band}" for band in ("8-12", "11-16") for label in ("C3", "Cz", "C4")]
    assert json.loads(capsys.readouterr().out)["channels"] == rows
    model = load(tmp_path / "model")
    assert (model.spec.n_bands, model.spec.recentre_hops, model.spec.options["mirror"]) == (2, 15, 1.0)
    card = (tmp_path / "model" / "card.md").read_text("utf-8")
    assert "3 channels at 125 Hz in uV; 8–12, 11–16 Hz" in card
    assert "recentring | a step every 3 s" in card
    assert evaluate(model, [SimulatedPerson(1, 1.0, session=3, n_trials=4).recording()])["accuracy"] >= 0.5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--bands", "8to12"], "--bands 8to12: two frequencies with a hyphen between, such as 8-12"),
        (["--decoder", "bandpower", "--recentre", "riemann"], "takes neither --recentre nor --mirror"),
        (["--decoder", "riemann_fb", "--mirror", "--channels", "C3", "Cz"], "C3 has no partner C4"),
    ],
)
def test_what_cannot_be_recentred_or_mirrored_is_said(options, says, recording, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", str(recording), "--labels", "left=left", "right=right", *options, "--out", str(tmp_path / "m")])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def _with_flat(path, recording, label):
    """The same recording with an electrode that has come off."""
    signal = recording.signals[0]
    samples = signal.samples.copy()
    samples[:, signal.spec.labels.index(label)] = 0.0
    return write_xdf(path, RecordedStream(signal.spec, samples, signal.stamps_s), *recording.markers)


def test_a_channel_that_came_off_is_rebuilt_where_it_is_named(recording, tmp_path, capsys):
    main(["train", str(recording), "--labels", "left=left", "right=right", "--out", str(tmp_path / "model"), "--quiet"])
    flat = _with_flat(tmp_path / "flat.xdf", SimulatedPerson(1, 1.0, session=3, n_trials=12).recording(), "FC3")

    def trials(*options):
        main(["evaluate", str(tmp_path / "model"), str(flat), "--json", "-", *options])
        result = json.loads(capsys.readouterr().out)
        return result["n_trials"], result["n_abstained"]

    assert trials() == (12, 12)  # the model needs that channel: no decision is trusted
    assert trials("--bad", "FC3") == (12, 0)
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path / "model"), str(flat), "--bad", "FC33"])
    assert "FC33" in capsys.readouterr().err


def test_a_session_with_a_bad_channel_is_replayed_to_the_same_bits(recording, tmp_path, capsys):
    main(["train", str(recording), "--labels", "left=left", "right=right", "--out", str(tmp_path / "model"), "--quiet"])
    flat = _with_flat(tmp_path / "flat.xdf", SimulatedPerson(1, 1.0, session=3, n_trials=1).recording(), "FC3")
    options = ["--session", str(tmp_path / "session"), "--bad", "FC3", "--json", "-"]
    main(["run", "--recording", str(flat), "--model", str(tmp_path / "model"), *options])
    assert json.loads(capsys.readouterr().out)["n_trusted_predictions"] > 0
    main(["replay", str(tmp_path / "session"), "--verify", "--json", "-"])
    verified = json.loads(capsys.readouterr().out)
    assert verified["n_predictions"] > 0
    assert verified["n_differences"] == 0


def test_bad_channels_and_clipping_become_part_of_the_model(recording, tmp_path):
    options = [
        "--labels",
        "left=left",
        "right=right",
        "--bad",
        "FC3",
        "Cz",
        "--clip",
        "5",
        "--out",
        str(tmp_path / "m"),
    ]
    main(["train", str(recording), *options, "--quiet"])
    model = load(tmp_path / "m")
    assert model.preprocessing["interpolate"] == ["FC3", "Cz"]
    spec = load_recording(recording).signals[0].spec
    pipeline = Pipeline(model, spec)
    loud = np.random.default_rng(0).normal(0, 500, (len(spec.channels), pipeline.block)).astype(np.float32)
    pipeline.preprocessing.start(loud[:, 0])
    hops = [hop for _ in range(20) for hop, _ in pipeline.preprocessing.step(loud)]
    assert np.abs(hops).max() == 5.0
