"""Decoders that answer markers: their contract, each check beside a decoder that breaks it, and what they compute."""

from __future__ import annotations

import numpy as np
import pytest

from decoders import contract_epochs as c
from decoders import load_class
from decoders.classical.xdawn import oas_covariance
from decoders.contract import ContractError
from decoders.epochs import EpochRunner
from decoders.spec import DecoderSpec, FitError, Request, SpecError
from tests.helpers.decoders import AT_MARKERS

CHANNELS = ("a", "b", "c", "d")


def request(**other):
    what = {"channels": CHANNELS, "sfreq_hz": 128.0, "hop": 16, "classes": ("10Hz", "13Hz"), "epoch_s": (0.0, 1.0)}
    return Request(**(what | other))


def flickers(n=40, seed=0):
    """Epochs of 10 or 13 Hz in noise, and which."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    t_s = np.arange(128) / 128
    waves = np.sin(2 * np.pi * np.array([10.0, 13.0])[y][:, None] * t_s + rng.uniform(0, 6, (n, 1)))
    return (rng.normal(0, 1, (n, 4, 128)) + waves[:, None, :]).astype(np.float32), y


def responses(n=120, seed=0):
    """Epochs of which every fifth holds a bump."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 5 == 0).astype(int)
    x = rng.normal(0, 10, (n, 4, 128))
    x[y == 1] += 8 * np.array([1.0, 0.5, 0.0, -0.5])[:, None] * np.exp(-((np.arange(128) - 40) ** 2) / 100)
    return x.astype(np.float32), y


def trained(name):
    family = load_class(name)
    spec = family.design(request())
    fitted = family.fit(spec, *(responses() if name == "xdawn" else flickers()), seed=0)
    return lambda: (family.restore(spec, fitted.weights), dict(fitted.params))


@pytest.mark.parametrize("check", c.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", AT_MARKERS)
def test_the_contract_is_kept(name, check):
    check(trained(name))


class Honest:
    """The simplest that keeps the contract; each break below is one step from it."""

    spec = DecoderSpec(
        name="honest", channels=CHANNELS, sfreq_hz=128.0, hop=16, classes=("x", "y"), receptive_field=8, epoch=(0, 8)
    )

    def predict(self, epoch, params):
        mean = epoch.mean(axis=(1, 2))
        return np.stack((mean, -mean), axis=1)


class WithoutEpoch(Honest):
    spec = DecoderSpec(name="w", channels=CHANNELS, sfreq_hz=128.0, hop=8, classes=("x", "y"), receptive_field=8)


class OneColumn(Honest):
    def predict(self, epoch, params):
        return super().predict(epoch, params)[:, :1]


class Dividing(Honest):
    def predict(self, epoch, params):
        with np.errstate(all="ignore"):
            return super().predict(epoch, params) / epoch.std(axis=(1, 2))[:, None]


class Scribbling(Honest):
    def predict(self, epoch, params):
        epoch -= epoch.mean()
        return super().predict(epoch, params)


class Remembering(Honest):
    last = 0.0

    def predict(self, epoch, params):
        said = super().predict(epoch, params) + self.last
        self.last = float(epoch.mean())
        return said


class Dicing(Honest):
    def predict(self, epoch, params):
        return super().predict(epoch, params) + np.random.default_rng().normal()


class Gossiping(Honest):
    def predict(self, epoch, params):
        return super().predict(epoch - epoch.mean(axis=0), params)


class Hot(Honest):
    def predict(self, epoch, params):
        return super().predict(epoch, params) / params["temperature"]


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (WithoutEpoch, c.check_spec),
        (OneColumn, c.check_shapes),
        (Dividing, c.check_silence),
        (Scribbling, c.check_nothing_is_changed),
        (Remembering, c.check_no_memory),
        (Dicing, c.check_determinism),
        (Gossiping, c.check_batch),
        (Hot, c.check_params),
    ],
)
def test_each_check_rejects_a_decoder_that_breaks_it(broken, check):
    check(lambda: (Honest(), {"temperature": np.ones(1)}))
    with pytest.raises(ContractError):
        check(lambda: (broken(), {"temperature": np.ones(1)}))


def test_xdawn_is_that_of_pyriemann():
    from pyriemann.estimation import XdawnCovariances
    from pyriemann.tangentspace import TangentSpace
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    x, y = responses()
    decoder, params = trained("xdawn")()
    logits = decoder.predict(x, params)
    reference = make_pipeline(
        XdawnCovariances(nfilter=2, estimator="oas", xdawn_estimator="scm"),
        TangentSpace(),
        LogisticRegression(C=1, class_weight="balanced", max_iter=5000, tol=1e-6),
    ).fit(x.astype(float), y)
    assert np.allclose(logits[:, 1] - logits[:, 0], reference.decision_function(x.astype(float)), atol=1e-4)


def test_shrinkage_is_that_of_scikit_learn():
    from sklearn.covariance import oas

    x = np.random.default_rng(0).normal(size=(3, 6, 40)) * np.arange(1, 7)[:, None]
    assert np.allclose(oas_covariance(x)[1], oas(x[1].T)[0])


def test_xdawn_finds_responses_and_cca_flickers_that_it_has_not_seen():
    for name, made, bar in (("xdawn", responses, 0.8), ("cca", flickers, 0.9)):
        decoder, params = trained(name)()
        x, y = made(seed=1)
        assert np.mean(decoder.predict(x, params).argmax(axis=1) == y) > bar


def test_cca_survives_an_average_reference():
    x, y = flickers(seed=2)
    decoder, params = trained("cca")()
    assert np.mean(decoder.predict(x - x.mean(axis=1, keepdims=True) + 1e-9, params).argmax(axis=1) == y) > 0.4


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("cca", {"classes": ("left", "20Hz")}, "class left names no frequency; call the classes by theirs"),
        ("cca", {"classes": ("10Hz", "40Hz")}, "40 Hz with 2 harmonics needs a rate above 160 Hz"),
        ("cca", {"epoch_s": (0.0, 0.2)}, "too short for 4 channels; make it longer by --epoch"),
        ("xdawn", {"epoch_s": (0.8, 0.1)}, "an epoch from 0.8 to 0.1 s; it must end after the marker"),
        ("xdawn", {"epoch_s": (-1.0, -0.5)}, "it must end after the marker"),
    ],
)
def test_what_cannot_be_served_is_refused(name, other, said):
    with pytest.raises(SpecError, match=said):
        load_class(name).design(request(**other))


def test_weights_of_another_shape_are_refused():
    family = load_class("xdawn")
    decoder, _ = trained("xdawn")()
    with pytest.raises(SpecError, match="weights have shapes"):
        family.restore(decoder.spec, {"filters": np.zeros((4, 9))})
    with pytest.raises(SpecError, match="no weights"):
        load_class("cca").restore(decoder.spec, {"filters": np.zeros((4, 9))})


def test_the_runner_gives_probabilities_and_refuses_another_epoch():
    decoder, params = trained("xdawn")()
    runner = EpochRunner(decoder, params)
    runner.warm_up()
    x, _ = responses()
    assert runner.predict(x[0]).sum() == pytest.approx(1)
    with pytest.raises(SpecError, match="it takes"):
        runner.predict(x[0, :, :5])


# --- trca ------------------------------------------------------------------------------------------------------------


def locked(n=30, seed=0, phases=(0.0, np.pi / 2)):
    """Epochs of 10 Hz, of one phase or the other since the marker, in noise that all channels share; and which."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    t_s = np.arange(128) / 128
    waves = np.sin(2 * np.pi * 10 * t_s + np.array(phases)[y][:, None])
    shared = rng.normal(0, 5, (n, 1, 128)) * np.array([1.0, 0.9, 1.1, 0.8])[:, None]
    mixed = waves[:, None, :] * np.array([1.0, 0.2, -0.3, 0.0])[:, None]
    return (shared + mixed + rng.normal(0, 0.3, (n, 4, 128))).astype(np.float32), y


def test_trca_tells_phases_apart_that_have_one_frequency():
    family = load_class("trca")
    spec = family.design(request(classes=("0", "90")))
    fitted = family.fit(spec, *locked(), seed=0)
    decoder = family.restore(spec, fitted.weights)
    x, y = locked(seed=1)
    assert (decoder.predict(x, fitted.params).argmax(axis=1) == y).mean() > 0.95
    nothing, _ = locked(seed=1, phases=(0.0, 0.0))
    assert abs((decoder.predict(nothing, fitted.params).argmax(axis=1) == y).mean() - 0.5) < 0.1


def test_trca_finds_the_direction_that_repeats():
    """The component equals that of the definition: the largest generalised eigenvector of S against Q."""
    from scipy.linalg import eigh

    x, y = locked(n=20)
    family = load_class("trca")
    spec = family.design(request(classes=("0", "90")))
    found = family.fit(spec, x, y, seed=0).weights["filters"][0]
    trials = x[y == 0].astype(float)
    trials -= trials.mean(axis=2, keepdims=True)
    q = sum(a @ a.T for a in trials)
    s = sum(a @ b.T for i, a in enumerate(trials) for j, b in enumerate(trials) if i != j)
    expected = eigh((s + s.T) / 2, q + 1e-3 * np.trace(q) / 4 * np.eye(4))[1][:, -1]
    cosine = abs(found @ expected) / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 1 - 1e-9


def test_trca_needs_two_trials_of_each_class():
    family = load_class("trca")
    spec = family.design(request(classes=("0", "90")))
    x, y = locked()
    with pytest.raises(FitError, match="class 90 has 1 trial"):
        family.fit(spec, np.concatenate((x[y == 0], x[y == 1][:1])), np.r_[np.zeros(15, int), 1], seed=0)
