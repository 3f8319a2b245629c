"""What the network families share: sizes, bands, regression, restoring, electrodes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from decoders import load_class
from decoders.engine import Runner
from decoders.networks.layers.scalp import N_COLUMNS, N_ROWS, flat_positions, grid_weights, neighbourhood
from decoders.networks.network import alignment
from decoders.spec import DecoderSpec, Request, SpecError
from decoders.training.regression import correlation, r_squared
from tests.helpers.decoders import NETWORKS

CHANNELS = ("C3", "Cz", "C4", "FC1", "CP2")


@pytest.fixture
def few_epochs(monkeypatch):
    monkeypatch.setattr("decoders.training.loop.MIN_EPOCHS", 1)
    monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 2)


def request(**changes):
    plain = Request(channels=CHANNELS, sfreq_hz=80.0, hop=8, classes=("left", "right"), window_s=1.0)
    return msgspec.structs.replace(plain, **changes)


def noise(spec, n=12, seed=0):
    shape = (n, len(spec.channels), spec.context)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("window_s", [1.0, 3.0])
def test_a_network_uses_about_the_window_that_was_asked_for(name, window_s):
    spec = load_class(name).design(request(window_s=window_s))
    if spec.receptive_field is None:
        assert spec.warmup_hops == window_s * 10
    else:
        assert abs(spec.receptive_field - 80 * window_s) <= 12


def test_sizes_can_be_replaced_and_unknown_ones_are_named():
    family = load_class("eegnet")
    spec = family.design(request(window_s=3.0, options={"n_filters": 24, "pool": 4, "frame_pool": 2}))
    assert [layer.decimation for layer in family.build(spec).layers if hasattr(layer, "decimation")] == [4, 2]
    assert spec.options["n_filters"] == 24
    assert abs(spec.receptive_field - 240) <= 8
    assert family.design(request(options={"n_tokens": 5})).options["n_tokens"] == 5
    with pytest.raises(SpecError, match=r"no size filters; there are n_filters, kernel"):
        family.design(request(options={"filters": 24}))


def test_hop_must_fit_pools_that_were_asked_for():
    with pytest.raises(SpecError, match="use a hop of 32 samples"):
        load_class("eegnet").design(request(window_s=3.0, options={"pool": 4, "frame_pool": 8}))


# --- bands -----------------------------------------------------------------------------------------------------------


def banded(n_bands=4):
    return request(channels=tuple(f"{label} {band}" for band in range(n_bands) for label in CHANNELS), n_bands=n_bands)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_several_bands(name, few_epochs):
    family = load_class(name)
    spec = family.design(banded())
    x = noise(spec)
    fitted = family.fit(spec, x, np.arange(12) % 2, seed=0)
    assert fitted.params["align"].shape == (4, 5, 5)
    runner = Runner(family.restore(spec, fitted.weights), fitted.params)
    assert np.isfinite(runner.step(x[0, :, :8])).all()


def test_bands_have_spatial_filters_and_alignments_of_their_own():
    family = load_class("eegnet")
    spec = family.design(banded(2))
    network = family.build(spec).eval().requires_grad_(False)
    params = {"align": torch.stack([torch.eye(5), torch.zeros(5, 5)])}
    x = torch.from_numpy(noise(spec, 1))
    other = x.clone()
    other[:, 5:] += 1  # the second band, which its alignment silences
    same, _ = network(x, network.initial_state(1), params)
    also, _ = network(other, network.initial_state(1), params)
    assert torch.equal(same, also)
    assert network.layers[0].weight.shape == (16, 5, 1)
    with pytest.raises(SpecError, match="n_filters 15 is not a multiple of 2 bands; use 16"):
        family.design(msgspec.structs.replace(banded(2), options={"n_filters": 15}))
    x = noise(spec) * np.repeat([1, 9], 5)[:, None].astype(np.float32)
    both = alignment(x, 2)
    assert np.array_equal(both, np.stack([alignment(x[:, :5]), alignment(x[:, 5:])]))


def test_bands_that_do_not_divide_the_rows_are_refused():
    with pytest.raises(SpecError, match="5 rows do not make 2 bands"):
        load_class("eegnet").design(request(n_bands=2))


# --- regression ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "tcn"])
def test_a_regression_follows_what_it_was_shown(name):
    """A velocity that is a mixture of rates; the last hops of each stretch are targets."""
    family = load_class(name)
    asked = request(classes=(), outputs=("vx", "vy"), hop=2, options={"dropout": 0.0})
    spec = family.design(asked)
    rng = np.random.default_rng(0)
    mixture = np.array([[1, 0, -1, 0, 0], [0, 1, 0, 0, 2]])
    rates = rng.normal(size=(60, 5, 60)).repeat(2, axis=2).astype(np.float32)
    velocity = 300 + 50 * (mixture @ rates)[:, :, 1::2].transpose(0, 2, 1)  # (trials, hops, outputs)
    fitted = family.fit(spec, rates[:50], velocity[:50, 20:], seed=0)
    runner = Runner(family.restore(spec, fitted.weights), fitted.params)
    said = []
    for trial in rates[50:]:
        runner.reset()
        said.append([runner.step(trial[:, at : at + 2]) for at in range(0, 120, 2)][20:])
    true, said = velocity[50:, 20:].reshape(-1, 2), np.concatenate(said)
    assert said.shape == (400, 2)
    assert (r_squared(true, said) > 0.5).all(), r_squared(true, said)
    assert (correlation(true, said) > 0.7).all()


def test_scores_of_regression():
    y = np.random.default_rng(0).normal(size=(50, 2))
    assert np.allclose(r_squared(y, y), 1)
    assert np.allclose(r_squared(y, np.broadcast_to(y.mean(axis=0), y.shape)), 0)
    assert np.allclose(correlation(y, -3 * y + 5), -1)
    assert np.allclose(correlation(y, np.zeros_like(y)), 0)
    assert (r_squared(y, y + 100) < 0).all()


def test_a_spec_has_either_classes_or_outputs():
    plain = {"name": "x", "channels": ("a",), "sfreq_hz": 10.0, "hop": 1, "receptive_field": 5}
    assert DecoderSpec(**plain, outputs=("v",)).n_outputs == 1
    with pytest.raises(SpecError, match="classes and outputs"):
        DecoderSpec(**plain, classes=("l", "r"), outputs=("v",))
    with pytest.raises(SpecError, match="0 class"):
        DecoderSpec(**plain)


# --- electrodes ------------------------------------------------------------------------------------------------------


def test_electrodes_lie_where_they_lie():
    x, y = flat_positions(["C3", "Cz", "C4", "Fz", "O1"]).T
    assert x[0] < -0.1
    assert x[2] > 0.1
    assert abs(x[1]) < 0.05
    assert y[3] > 0.1
    assert y[4] < -0.5


def test_neighbours_are_near():
    labels = ["FC3", "C5", "C3", "C1", "CP3", "FC4", "C2", "C4", "C6", "CP4"]
    near = neighbourhood(labels)
    assert {labels[i] for i in np.flatnonzero(near[2])} == {"FC3", "C5", "C1", "CP3"}
    assert np.allclose(near.sum(axis=1), 1)


def test_the_grid_shows_left_on_the_left_and_the_nose_above():
    labels = ["C5", "C6", "Fz", "Pz", "Cz"]
    image = grid_weights(labels).reshape(N_ROWS, N_COLUMNS, 5)
    places = [np.unravel_index(image[:, :, k].argmax(), (N_ROWS, N_COLUMNS)) for k in range(5)]
    assert places[0][1] == 0
    assert places[1][1] == N_COLUMNS - 1
    assert places[2][0] < places[4][0] < places[3][0]
    assert np.allclose(image.sum(axis=2), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["gnn", "cnn3d", "convlstm"])
def test_channels_without_a_place_are_refused_by_name(name, few_epochs):
    family = load_class(name)
    spec = family.design(request(channels=("C3", "MEG0113", "C4")))
    with pytest.raises(SpecError, match="channel MEG0113 is no electrode"):
        family.fit(spec, noise(spec), np.arange(12) % 2, seed=0)
