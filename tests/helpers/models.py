"""Small decoders and model folders with random weights: what is tested is arithmetic, not skill."""

from __future__ import annotations

import numpy as np
import torch

from decoders import load_class
from decoders.engine import use_one_thread
from decoders.spec import Fitted, Request

CHANNELS = ("C3", "Cz", "C4", "FC1", "CP2", "Fz", "Pz", "P3", *(f"E{i}" for i in range(9, 65)))


def request(n_channels=5, sfreq_hz=80.0, hop=8, window_s=1.0, n_bands=1, **more):
    labels = CHANNELS[:n_channels]
    channels = labels if n_bands == 1 else tuple(f"{label} {band}" for band in range(n_bands) for label in labels)
    more = {"classes": ("left", "right"), "channels": channels} | more
    return Request(sfreq_hz=sfreq_hz, hop=hop, window_s=window_s, n_bands=n_bands, **more)


def untrained(name, seed=0, **sizes):
    """Family, spec and `Fitted` of a network that was never trained; its normalisers are not the identity."""
    use_one_thread()  # with more, small tensors on a busy machine take twenty times as long
    family = load_class(name)
    spec = family.design(request(**sizes))
    torch.manual_seed(seed)
    network = family.build(spec)
    for key, value in network.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.3)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 2.0)
    rng = np.random.default_rng(seed)
    n = len(spec.channels) // spec.n_bands
    align = np.eye(n) + 0.1 * rng.normal(size=(spec.n_bands, n, n) if spec.n_bands > 1 else (n, n))
    params = {"align": align.astype(np.float32), "temperature": np.full(1, 1.5)}
    return family, spec, Fitted({k: v.numpy().copy() for k, v in network.state_dict().items()}, params)
