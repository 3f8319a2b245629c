"""The step with its constants multiplied out gives the same numbers, for every network, hop, band and head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders.networks.merged import MergedStep
from tests.helpers.decoders import NETWORKS
from tests.helpers.models import untrained


def both(name, seed=0, **sizes):
    """Logits of a random signal by the network and by its merged step, which keeps the ends of rings."""
    family, spec, fitted = untrained(name, seed, **sizes)
    network = family.restore(spec, fitted.weights)
    merged = MergedStep(network).eval()
    params = {"align": torch.from_numpy(fitted.params["align"])}
    x = np.random.default_rng(seed).normal(size=(min(spec.n_priming_hops, 50) + 4, len(spec.channels), spec.hop))
    hops = torch.from_numpy(x.astype(np.float32))
    memory, state, ours, theirs = merged.initial_state(1), network.initial_state(1), [], []
    with torch.inference_mode():
        for hop in hops:
            logits, after = merged.step(hop.reshape(merged.shape), memory, params)
            memory = tuple(a.reshape(-1)[-m.numel() :].reshape(m.shape) for a, m in zip(after, memory, strict=True))
            ours.append(logits[0].numpy())
            logits, state = network.step(hop[None], state, params)
            theirs.append(logits[0].numpy())
    return merged, np.array(ours), np.array(theirs)


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=4, deadline=None)
@given(
    hop=st.integers(1, 32),
    sfreq_hz=st.sampled_from([80.0, 250.0]),
    n_bands=st.sampled_from([1, 4]),
    heads=st.sampled_from([{"classes": ("l", "r")}, {"classes": (), "outputs": ("x", "y", "z")}]),
)
def test_the_same_numbers_for_whatever_a_network_is_made_for(name, hop, sfreq_hz, n_bands, heads):
    _, ours, theirs = both(name, hop, n_channels=3, window_s=2.0, hop=hop, sfreq_hz=sfreq_hz, n_bands=n_bands, **heads)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_sixty_four_channels_do_not_become_large_matrices():
    """A mean over the window of 64 channels stays a mean."""
    merged, ours, theirs = both("mlp", n_channels=64, sfreq_hz=250.0, window_s=2.0)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
    assert max(value.numel() for value in merged.state_dict().values()) <= 64 * 64
