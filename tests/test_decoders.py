"""Specs, the registry, the classical decoders against the libraries they come from, and the runner."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import numpy as np
import pytest

from decoders import load_class
from decoders.classical import riemann
from decoders.engine import Runner
from decoders.spec import DecoderSpec, Request, SpecError
from tests.helpers.decoders import AT_HOPS


def request(n_channels=6, hop=8, **changes):
    channels = ("C3", "Cz", "C4", "FC1", "CP2", "Fz", "Pz")[:n_channels]
    return msgspec.structs.replace(
        Request(channels=channels, sfreq_hz=80.0, hop=hop, classes=("left", "right"), window_s=1.0), **changes
    )


def trials(spec, n=60, seed=0, gain=2.0):
    """Noise; the second class has more power on the first channel."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(spec.channels), spec.context)).astype(np.float32)
    y = np.arange(n) % 2
    x[y == 1, 0] *= gain
    return x, y


def run(decoder, params, x):
    """Probabilities at the end of each trial, hop by hop."""
    runner = Runner(decoder, params)
    results = []
    for trial in x:
        runner.reset()
        for at in range(0, trial.shape[1], runner.spec.hop):
            p = runner.step(trial[:, at : at + runner.spec.hop])
        results.append(p)
    return np.array(results)


# --- spec and registry -----------------------------------------------------------------------------------------------

GOOD = {"name": "x", "channels": ("a", "b"), "sfreq_hz": 100.0, "hop": 10, "classes": ("l", "r"), "receptive_field": 50}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"channels": ()}, "no channels"),
        ({"channels": ("a", "a")}, "a is named twice"),
        ({"classes": ("l",)}, "at least 2"),
        ({"classes": ("l", "l")}, "l is named twice"),
        ({"sfreq_hz": 0.0}, "must be above 0"),
        ({"sfreq_hz": float("nan")}, "not a rate"),
        ({"hop": 0}, "at least 1"),
        ({"warmup_hops": -1}, "negative"),
        ({"receptive_field": None}, "warmup_hops"),
        ({"receptive_field": 5}, "window of at least 0.1 s"),
    ],
)
def test_spec_refuses_what_cannot_be_and_says_what_would(change, says):
    with pytest.raises(SpecError, match=says):
        DecoderSpec(**(GOOD | change))


def test_spec_survives_json_and_counts_priming_hops():
    spec = DecoderSpec(**GOOD)
    assert msgspec.json.decode(msgspec.json.encode(spec), type=DecoderSpec) == spec
    assert (spec.n_priming_hops, spec.context, spec.hop_s) == (5, 50, 0.1)
    assert DecoderSpec(**(GOOD | {"receptive_field": 51})).n_priming_hops == 6
    assert DecoderSpec(**(GOOD | {"receptive_field": None, "warmup_hops": 7})).context == 70


def test_unknown_decoder_lists_those_there_are():
    with pytest.raises(SpecError, match=r"bandpower, cca, cnn3d, cnn_lstm.*riemann.*transformer"):
        load_class("svm")


@pytest.mark.parametrize("name", ["riemann", "eegnet"])
def test_too_short_a_window_is_refused_with_one_that_works(name):
    with pytest.raises(SpecError, match="use a window of") as error:
        load_class(name).design(request(window_s=0.1))
    works = float(str(error.value).split("use a window of ")[1].split(" s")[0])
    load_class(name).design(request(window_s=works))


def test_network_refuses_a_hop_that_is_not_a_multiple_of_its_stride():
    family = load_class("eegnet")
    spec = msgspec.structs.replace(family.design(request()), hop=12)
    with pytest.raises(SpecError, match=r"use a hop of (8|16) samples"):
        family.restore(spec, {})


@pytest.mark.parametrize("hop", [1, 5, 7, 16, 25, 50])
def test_network_finds_pools_for_any_hop(hop):
    spec = load_class("eegnet").design(request(hop=hop, sfreq_hz=250.0, window_s=2.0))
    assert spec.options["pool"] * spec.options["frame_pool"] == hop
    assert abs(spec.receptive_field - 500) <= hop


# --- what they learn -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AT_HOPS)
def test_learns_a_difference_in_power_and_keeps_it_on_new_trials(name, monkeypatch):
    if name in ("cnn3d", "convlstm"):  # slow to train
        monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 60)
    family = load_class(name)
    spec = family.design(request())
    fitted = family.fit(spec, *trials(spec, gain=3.0), seed=0)
    x, y = trials(spec, seed=1, gain=3.0)
    p = run(family.restore(spec, fitted.weights), fitted.params, x)
    assert np.allclose(p.sum(axis=1), 1)
    assert np.mean(p.argmax(axis=1) == y) >= 0.9


@pytest.mark.parametrize("name", AT_HOPS)
def test_the_same_seed_gives_the_same_bits(name, monkeypatch):
    monkeypatch.setattr("decoders.training.loop.MIN_EPOCHS", 3)
    monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 3)
    family = load_class(name)
    spec = family.design(request())
    one, two = (family.fit(spec, *trials(spec), seed=3) for _ in range(2))
    for arrays, others in ((one.weights, two.weights), (one.params, two.params)):
        assert arrays.keys() == others.keys()
        assert all(np.array_equal(arrays[k], others[k]) for k in arrays)


@pytest.mark.parametrize("name", AT_HOPS)
def test_three_classes(name, monkeypatch):
    monkeypatch.setattr("decoders.training.loop.MIN_EPOCHS", 3)
    monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 3)
    family = load_class(name)
    spec = family.design(request(classes=("left", "right", "feet")))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 6, spec.context)).astype(np.float32)
    y = np.arange(30) % 3
    for k in (1, 2):
        x[y == k, k] *= 4
    fitted = family.fit(spec, x, y, seed=0)
    p = run(family.restore(spec, fitted.weights), fitted.params, x)
    assert p.shape == (30, 3)
    if name in ("riemann", "bandpower"):
        assert np.mean(p.argmax(axis=1) == y) >= 0.9


@pytest.mark.parametrize("name", AT_HOPS)
def test_weights_of_another_shape_are_refused(name, monkeypatch):
    monkeypatch.setattr("decoders.training.loop.MIN_EPOCHS", 1)
    monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 1)
    family = load_class(name)
    spec = family.design(request())
    fitted = family.fit(spec, *trials(spec), seed=0)
    with pytest.raises(SpecError, match=name):
        family.restore(family.design(request(n_channels=7)), fitted.weights)
    with pytest.raises(SpecError, match=name):
        family.restore(spec, {})


@pytest.mark.parametrize("name", ["riemann", "bandpower", "eegnet"])
def test_magnetometers_in_tesla_decode_like_microvolts(name):
    family = load_class(name)
    spec = family.design(request())
    x, y = trials(spec)
    fitted = family.fit(spec, x * np.float32(1e-13), y, seed=0)
    p = run(family.restore(spec, fitted.weights), fitted.params, x * np.float32(1e-13))
    assert np.mean(p.argmax(axis=1) == y) >= 0.9


@pytest.mark.parametrize("name", ["riemann", "bandpower", "eegnet"])
def test_an_average_reference_costs_rank_and_nothing_else(name):
    family = load_class(name)
    spec = family.design(request())
    x, y = trials(spec, gain=4.0)
    x -= x.mean(axis=1, keepdims=True)
    fitted = family.fit(spec, x, y, seed=0)
    new, y_new = trials(spec, seed=1, gain=4.0)
    new -= new.mean(axis=1, keepdims=True)
    p = run(family.restore(spec, fitted.weights), fitted.params, new)
    assert np.isfinite(p).all()
    assert np.mean(p.argmax(axis=1) == y_new) >= 0.85


# --- riemann against the libraries -----------------------------------------------------------------------------------


def test_shrinkage_is_that_of_ledoit_and_wolf():
    from sklearn.covariance import ledoit_wolf

    x = np.random.default_rng(0).normal(size=(3, 6, 50)) * np.arange(1, 7)[:, None] + 5
    for ours, window in zip(riemann.shrunk_covariance(x), x, strict=True):
        assert np.allclose(ours, ledoit_wolf(window.T)[0], rtol=1e-10)


def test_tangent_space_is_that_of_pyriemann():
    from pyriemann.tangentspace import TangentSpace

    spec = load_class("riemann").design(request())
    x, y = trials(spec)
    fitted = riemann.Riemann.fit(spec, x, y, seed=0)
    covariances = riemann.shrunk_covariance(fitted.weights["project"] @ x.astype(float))
    theirs = TangentSpace().fit(covariances)
    ours = riemann.log_matrix(fitted.params["whitening"] @ covariances @ fitted.params["whitening"])
    upper = np.triu_indices(ours.shape[1])
    scale = np.where(upper[0] == upper[1], 1, np.sqrt(2))
    assert np.allclose(ours[:, upper[0], upper[1]] * scale, theirs.transform(covariances), atol=1e-4)


def test_directions_without_variance_are_dropped():
    x = np.random.default_rng(0).normal(size=(4, 6, 100)).astype(np.float32)
    x[:, 5] = x[:, 0] - x[:, 1]
    white = riemann.whitener(x)
    assert white.shape == (5, 6)
    y = white @ x
    pooled = np.mean([np.cov(t, bias=True) for t in y], axis=0)
    assert np.allclose(pooled, np.eye(5), atol=1e-4)


def test_network_evens_out_its_input():
    from decoders.networks.network import alignment

    x = np.random.default_rng(0).normal(size=(4, 5, 200)).astype(np.float32) * np.arange(1, 6)[:, None].astype("f")
    align = alignment(x)
    before, after = (np.mean([np.cov(t, bias=True) for t in y], axis=0) for y in (x, align @ x))
    assert np.allclose(align, align.T, atol=1e-5)
    assert np.trace(after) / 5 == pytest.approx(1, rel=1e-3)
    values = np.linalg.eigvalsh(before)
    evened = values / (values + values.mean())  # a ridge of the mean variance
    assert np.allclose(np.linalg.eigvalsh(after), evened / evened.mean(), rtol=0.02)
    assert np.allclose(alignment(x * np.float32(1e-13)) * 1e-13, align, rtol=1e-3, atol=1e-6)


# --- runner ----------------------------------------------------------------------------------------------------------


def fitted_bandpower():
    family = load_class("bandpower")
    spec = family.design(request())
    fitted = family.fit(spec, *trials(spec), seed=0)
    return family.restore(spec, fitted.weights), fitted.params


def test_runner_divides_logits_by_the_temperature():
    decoder, params = fitted_bandpower()
    x = np.random.default_rng(5).normal(size=(6, 8)).astype(np.float32)
    sharp = Runner(decoder, params | {"temperature": np.array([0.5])}).step(x)
    flat = Runner(decoder, params | {"temperature": np.array([2.0])}).step(x)
    assert np.allclose(np.log(sharp[1] / sharp[0]), 4 * np.log(flat[1] / flat[0]))


def test_runner_warms_up_without_a_trace_and_refuses_other_shapes():
    decoder, params = fitted_bandpower()
    cold, warm = Runner(decoder, params), Runner(decoder, params)
    warm.warm_up()
    x = np.random.default_rng(5).normal(size=(6, 8)).astype(np.float32)
    assert np.array_equal(cold.step(x), warm.step(x))
    with pytest.raises(SpecError, match=r"\(6, 9\), it takes \(6, 8\)"):
        warm.step(np.zeros((6, 9), np.float32))


def test_runner_refuses_a_temperature_that_is_none():
    decoder, params = fitted_bandpower()
    with pytest.raises(SpecError, match="temperature 0"):
        Runner(decoder, params | {"temperature": np.zeros(1)})


def test_runner_does_not_see_how_a_hop_lies_in_memory():
    decoder, params = fitted_bandpower()
    x = np.random.default_rng(5).normal(size=(6, 8)).astype(np.float32)
    assert np.array_equal(Runner(decoder, params).step(x), Runner(decoder, params).step(np.asfortranarray(x)))


def test_a_numpy_decoder_needs_neither_torch_nor_scikit_learn_to_run():
    code = (
        "import sys, numpy as np\n"
        "from decoders import load_class\n"
        "from decoders.engine import Runner\n"
        "from decoders.spec import Request\n"
        "family = load_class('riemann')\n"
        "spec = family.design(Request(channels=('a', 'b'), sfreq_hz=100.0, hop=10, classes=('l', 'r'), window_s=1.0))\n"
        "decoder = family.restore(spec, {'project': np.eye(2), 'coef': np.ones((2, 2, 2)), 'intercept': np.zeros(2)})\n"
        "Runner(decoder, {'whitening': np.eye(2), 'temperature': np.ones(1)}).warm_up()\n"
        "print([m for m in ('torch', 'sklearn', 'pyriemann', 'mne', 'bci') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
