"""Models of braindecode by name: a stand-in for torchaudio, and one line where the extra is not installed."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from decoders import contract as c
from decoders import load_class
from decoders.spec import DecoderError, SpecError
from tests.helpers.models import request


def test_without_the_extra_it_is_one_line(monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] in ("braindecode", "torchaudio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "braindecode", None)
    with pytest.raises(DecoderError) as error:
        load_class("braindecode:EEGNet").design(request())
    assert "pip install 'rolandic[braindecode]'" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_stand_in_can_be_named_and_not_used(monkeypatch):
    """As braindecode takes it at its import, where torchaudio's own library cannot be loaded."""
    from decoders.braindecode import load_braindecode

    for name in [n for n in sys.modules if n.partition(".")[0] in ("braindecode", "torchaudio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    monkeypatch.setitem(sys.modules, "braindecode", None)
    with pytest.raises(SpecError):
        load_braindecode()
    transforms = importlib.import_module("torchaudio.transforms")
    lfilter = importlib.import_module("torchaudio.functional").lfilter
    for absent in (transforms.Resample, lfilter):
        with pytest.raises(ImportError, match="needs a torchaudio that loads beside torch"):
            absent(1, 2)


# --- where the extra is installed ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made():
    pytest.importorskip("skorch", reason="the extra braindecode is not installed")
    family = load_class("braindecode:EEGNet")
    spec = family.design(request(n_channels=4, sfreq_hz=128.0, hop=16))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 4, spec.context)).astype(np.float32), np.arange(12) % 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoders.training.loop.MIN_EPOCHS", 1)
        patch.setattr("decoders.training.loop.MIN_STEPS", 1)
        return family, spec, family.fit(spec, x, y, seed=0)


@pytest.mark.parametrize("check", c.CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(made, check):
    family, spec, fitted = made
    check(lambda: (family.restore(spec, fitted.weights), dict(fitted.params)))


def test_what_cannot_be_made_is_one_line(made):
    with pytest.raises(SpecError, match=r"has no such model; there are .*EEGConformer"):
        load_class("braindecode:Oracle").design(request())
    with pytest.raises(SpecError, match="cannot be made for 4 channels and 8 samples") as error:
        load_class("braindecode:EEGConformer").design(request(n_channels=4, window_s=0.1))
    assert "\n" not in str(error.value)
