"""Decoders of continuous outputs: their contract, and that they compute what their papers say."""

from __future__ import annotations

import numpy as np
import pytest

from decoders import contract as c
from decoders import load_class
from decoders.spec import FitError, Request, SpecError
from decoders.training.regression import r_squared
from tests.helpers.decoders import REGRESSIONS

OUTPUTS = ("vx", "vy")


def request(**other):
    what = {"channels": tuple("abcdef"), "sfreq_hz": 50.0, "hop": 5, "outputs": OUTPUTS, "window_s": 0.4}
    return Request(**(what | other))


def reaches(n_trials=30, n_hops=40, seed=0):
    """Velocities that wander, and channels that follow them in noise: x (trials, 6, samples), y (trials, hops, 2)."""
    rng = np.random.default_rng(seed)
    y = np.zeros((n_trials, n_hops, 2))
    for k in range(1, n_hops):
        y[:, k] = 0.9 * y[:, k - 1] + rng.normal(0, 1, (n_trials, 2))
    tuning = np.random.default_rng(9).normal(0, 1, (2, 6))
    rates = np.repeat(y @ tuning, 5, axis=1).transpose(0, 2, 1)
    x = 20 + rates + rng.normal(0, 4, rates.shape)
    return x.astype(np.float32), 100 * y + 7


def trained(name):
    family = load_class(name)
    spec = family.design(request())
    fitted = family.fit(spec, *reaches(), seed=0)
    return lambda: (family.restore(spec, fitted.weights), dict(fitted.params))


@pytest.mark.parametrize("check", c.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", REGRESSIONS)
def test_the_contract_is_kept(name, check):
    check(trained(name))


@pytest.mark.parametrize("name", REGRESSIONS)
def test_new_reaches_are_followed(name):
    decoder, params = trained(name)()
    x, y = reaches(seed=1)
    said, _ = decoder.forward(x, decoder.initial_state(len(x)), params)
    scored = slice(decoder.spec.n_priming_hops, None)
    score = r_squared(y[:, scored].reshape(-1, 2), said[:, scored].reshape(-1, 2))
    assert (score > 0.85).all(), score
    shuffled = r_squared(y[::-1, scored].reshape(-1, 2), said[:, scored].reshape(-1, 2))
    assert (shuffled < 0.1).all(), shuffled


def test_kalman_comes_to_what_the_textbook_says():
    """The recursion with its covariance, written out, from another start: after the warm-up the two agree."""
    x, y = reaches(n_trials=60)
    flat = y - y.mean(axis=(0, 1))
    before, after = flat[:, :-1].reshape(-1, 2), flat[:, 1:].reshape(-1, 2)
    means = x.reshape(60, 6, 40, 5).mean(axis=3).transpose(0, 2, 1).reshape(-1, 6).astype(float)
    a = np.linalg.lstsq(before, after, rcond=None)[0].T
    w = np.cov((after - before @ a.T).T, bias=True)
    h = np.linalg.lstsq(flat.reshape(-1, 2), means - means.mean(axis=0), rcond=None)[0].T
    q = np.cov((means - means.mean(axis=0) - flat.reshape(-1, 2) @ h.T).T, bias=True)
    q += 1e-2 * np.trace(q) / 6 * np.eye(6)

    family = load_class("kalman")
    spec = family.design(request())
    fitted = family.fit(spec, x, y, seed=0)
    decoder = family.restore(spec, fitted.weights)
    new, _ = reaches(n_trials=1, n_hops=60, seed=3)
    ours, _ = decoder.forward(new, decoder.initial_state(1), fitted.params)

    state, spread = np.array([300.0, -300.0]), 1e6 * np.eye(2)
    for k, seen in enumerate(new.reshape(6, 60, 5).mean(axis=2).T - means.mean(axis=0)):
        state, spread = a @ state, a @ spread @ a.T + w
        gain = spread @ h.T @ np.linalg.inv(h @ spread @ h.T + q)
        state, spread = state + gain @ (seen - h @ state), (np.eye(2) - gain @ h) @ spread
        if k > 40:
            np.testing.assert_allclose(ours[0, k], state + y.mean(axis=(0, 1)), rtol=1e-3, atol=0.5)


def test_ridge_takes_the_window_and_ignores_what_never_changes():
    family = load_class("ridge")
    spec = family.design(request())
    assert spec.receptive_field == 20
    x, y = reaches()
    x[:, 3] = 5.0
    fitted = family.fit(spec, x, y[:, -1], seed=0)
    assert np.abs(fitted.weights["coef"][:, 3]).max() == 0
    decoder = family.restore(spec, fitted.weights)
    window = x[:1, :, -20:]
    said, _ = decoder.forward(window, decoder.initial_state(1), fitted.params)
    by_hand = np.einsum("hco,ch->o", fitted.weights["coef"], window[0].astype(float).reshape(6, 4, 5).mean(axis=2))
    np.testing.assert_allclose(said[0, -1], by_hand + fitted.weights["intercept"], rtol=1e-9)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_they_cannot_serve(name):
    family = load_class(name)
    with pytest.raises(SpecError, match="gives numbers, not classes"):
        family.design(request(outputs=(), classes=("a", "b")))
    with pytest.raises(SpecError, match="weights have shapes"):
        family.restore(family.design(request()), {})


def test_kalman_needs_to_see_how_outputs_move():
    family = load_class("kalman")
    x, y = reaches()
    with pytest.raises(FitError, match="targets of two hops or more"):
        family.fit(family.design(request()), x, y[:, -1], seed=0)


def test_ridge_needs_a_window():
    family = load_class("ridge")
    x, y = reaches()
    with pytest.raises(SpecError, match="stretches of 3 hops hold no window of 4"):
        family.fit(family.design(request()), x[:, :, -15:], y[:, -3:], seed=0)
