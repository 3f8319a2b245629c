"""Pretraining without labels: it learns what is hidden, gives the same bits twice, and training begins with it."""

import json

import numpy as np
import pytest

from bci.__main__ import main
from bci.offline.pretrain import cut
from calibration.trials import HopRun
from decoders.checkpoint import load_model
from decoders.spec import FitError
from decoders.training.masked import pretrain
from tests.helpers.models import untrained


def mixed(n, seed):
    """Windows (n, 5, 160) of noise whose loudness swells in all channels alike: what is hidden can be told."""
    rng = np.random.default_rng(seed)
    swell = np.sin(2 * np.pi * 0.7 * np.arange(160) / 80.0 + rng.uniform(0, 6, (n, 1, 1)))
    return (np.exp(swell) * rng.normal(size=(n, 5, 160))).astype(np.float32)


@pytest.mark.parametrize("name", ["tcn", "eegnet"])
def test_what_is_hidden_is_told_better_than_by_saying_nothing(name):
    _, spec, _ = untrained(name)
    done = pretrain(spec, mixed(128, 1), mixed(32, 2), n_epochs=25, seed=0)
    assert done.losses[-1] < 0.8 < done.losses[0]
    again = pretrain(spec, mixed(128, 1), mixed(32, 2), n_epochs=25, seed=0)
    assert again.losses == done.losses


def test_noise_has_nothing_to_tell():
    _, spec, _ = untrained("tcn")
    noise = np.random.default_rng(0).normal(size=(160, 5, 160)).astype(np.float32)
    assert pretrain(spec, noise[:128], noise[128:], n_epochs=25, seed=0).losses[-1] > 0.9


def test_what_cannot_be_pretrained():
    from decoders import load_class
    from tests.helpers.models import request

    spec = load_class("riemann").design(request())
    with pytest.raises(FitError, match="decoder 'riemann' is no network"):
        pretrain(spec, mixed(4, 1), mixed(4, 2), n_epochs=1, seed=0)
    with pytest.raises(FitError, match="1 windows to learn from and 4 to test on are too few"):
        pretrain(untrained("tcn")[1], mixed(1, 1), mixed(4, 2), n_epochs=1, seed=0)


def test_windows_hold_no_bad_hop_and_no_break():
    n = 20
    good, segment = np.ones(n, bool), np.zeros(n, int)
    good[[0, 6]], segment[14:] = False, 1
    hops = np.arange(n, dtype=np.float32)[:, None, None] * np.ones((n, 2, 3), np.float32)
    run = HopRun("S1", "R1", hops, np.arange(n), segment, good, (), 100.0)
    assert [w[0, ::3].tolist() for w in cut(run, 4)] == [[1, 2, 3, 4], [7, 8, 9, 10], [14, 15, 16, 17]]


def bci(*arguments):
    """Exit code of a verb."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("pretrain") / "sub-P1_run-1.xdf"
    assert bci("simulate", "--trials", "8", "--seed", "3", "--out", path, "--quiet") == 0
    return str(path)


def test_training_begins_with_the_weights_and_a_session_refuses_them(recording, tmp_path, capsys):
    same = ["--decoder", "tcn", "--sfreq", "125", "--channels", "C3", "C4", "Cz"]
    assert bci("pretrain", recording, "--out", tmp_path / "p", *same, "--epochs", 2, "--json", "-") == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["losses"]) == 2
    weights = load_model(tmp_path / "p").weights
    train = ["train", recording, "--labels", "left", "right", *same, "--init", tmp_path / "p", "--epochs", 1]
    assert bci(*train, "--learning-rate", "1e-12", "--out", tmp_path / "m", "--quiet") == 0
    trained = load_model(tmp_path / "m").weights
    taken = {
        k for k, v in trained.items() if k in weights and v.shape == weights[k].shape and np.allclose(v, weights[k])
    }
    learnt = {k for k in trained if k.endswith("weight")} - taken
    assert len(taken) > 4
    assert {weights[k].shape[0] for k in learnt} == {1}  # nothing but the head is its own
    assert bci("run", "--recording", recording, "--model", tmp_path / "p", "--session", tmp_path / "s") == 1
    assert "holds pretrained weights and decides nothing" in capsys.readouterr().err
    assert bci("pretrain", recording, "--out", tmp_path / "q", "--augment", "noise") == 2
