"""Synthetic trials: they have what the classes have, come again, and never stand where they would leak."""

import json

import numpy as np
import pytest

from bci.__main__ import main
from bci.offline.augment import read_synthetic
from decoders.spec import FitError
from decoders.training.wgan import synthesise

OPTIONS = ("--decoder", "csp", "--channels", "C3", "C4", "Cz", "--sfreq", "50", "--bandpass", "8", "20")


def bci(*arguments):
    """Exit code of a verb."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as end:
        return end.code or 0
    return 0


def loud(n, seed):
    """Trials (n, 2, 48) µV: of class 0 the first channel is three times louder, of class 1 the second."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 2, 48))
    x[np.arange(n), y] *= 3
    return (10 * x).astype(np.float32), y


def test_each_class_has_the_power_of_its_own_trials_and_the_same_seed_the_same_bits():
    x, y = loud(128, 0)
    made, label = synthesise(x, y, 64, n_steps=200, seed=1)
    assert (made.shape, label.tolist()) == ((128, 2, 48), [0] * 64 + [1] * 64)
    power = np.array([made[label == c].std(axis=(0, 2)) for c in (0, 1)])
    assert power[0, 0] > 1.3 * power[0, 1]
    assert power[1, 1] > 1.3 * power[1, 0]
    assert 0.3 < made.std() / x.std() < 2
    few = synthesise(x, y, 2, n_steps=3, seed=5)[0]
    assert np.array_equal(few, synthesise(x, y, 2, n_steps=3, seed=5)[0])
    assert not np.array_equal(few, synthesise(x, y, 2, n_steps=3, seed=6)[0])


def test_too_few_trials():
    x, y = loud(3, 0)
    with pytest.raises(FitError, match="3 trials are too few"):
        synthesise(x, y, 2, n_steps=1, seed=0)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    paths = [folder / f"sub-P1_run-{k}.xdf" for k in (1, 2)]
    for k, path in enumerate(paths):
        assert bci("simulate", "--trials", "10", "--seed", k, "--out", path, "--quiet") == 0
    return paths


def test_a_decoder_is_scored_with_and_without_them_and_never_on_what_they_were_made_from(recordings, tmp_path, capsys):
    out = tmp_path / "made.npz"
    labels = ("--labels", "left", "right", *OPTIONS)
    assert bci("augment", recordings[0], *labels, "--out", out, "--steps", 3, "--trials", 6, "--json", "-") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n_trials"] == {"left": 6, "right": 6}
    kept = read_synthetic(str(out))
    assert kept.about["made_from"][0]["file"] == recordings[0].name
    evaluate = ("evaluate", *recordings, "--protocol", "across-runs", *labels, "--json", "-")
    assert bci(*evaluate, "--synthetic", out) == 0
    with_them = json.loads(capsys.readouterr().out)
    assert bci(*evaluate) == 0
    without = json.loads(capsys.readouterr().out)
    assert with_them["trials"] == without["trials"]
    s = with_them["synthetic"]
    assert s["n_synthetic"] == 12
    assert s["difference"] == pytest.approx(s["mean"] - without["mean"])

    assert bci("augment", recordings[1], *labels, "--out", out, "--steps", 1, "--quiet") == 0
    assert bci(*evaluate, "--synthetic", out) == 2
    assert f"made from {recordings[1].name}, which is tested here" in capsys.readouterr().err
    assert bci("augment", recordings[0], *labels, "--sfreq", "125", "--out", out, "--steps", 1, "--quiet") == 0
    assert bci(*evaluate, "--synthetic", out) == 2
    assert "its trials are of another signal" in capsys.readouterr().err
    (tmp_path / "no.npz").write_bytes(b"nothing")
    assert bci(*evaluate, "--synthetic", tmp_path / "no.npz") == 2
    assert "no file of bci augment" in capsys.readouterr().err
