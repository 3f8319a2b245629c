"""`mlp`: a fully connected network on the log power of each channel (and band) over the window."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.networks.layers.causal import MeanOfLast, Pool
from decoders.networks.layers.power import Log, Square
from decoders.networks.network import Network, NetworkFamily
from decoders.spec import DecoderSpec, Request


class Standardise(nn.Module):
    """Zero mean and unit deviation, by constants."""

    def __init__(self, n_features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features, 1))
        self.register_buffer("scale", torch.ones(n_features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise x (batch, features, time)."""
        return (x - self.get_buffer("mean")) / self.get_buffer("scale")


def sizes(request: Request) -> dict[str, float]:
    """One hidden layer."""
    return {"n_hidden": 32, "pool": request.hop, "dropout": 0.5, "n_tokens": 2}


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Power over the window, logarithm, two linear layers (of width 1 in time)."""
    n = len(spec.channels)
    return [
        Square(),
        Pool(size.pool),
        MeanOfLast(n, size.n_tokens),
        Log(),
        Standardise(n),
        nn.Hardtanh(-3, 3),  # a channel that falls silent must not outweigh all others
        nn.Dropout(size.dropout),
        nn.Conv1d(n, size.n_hidden, 1),
        nn.ELU(),
        nn.Dropout(size.dropout),
        nn.Conv1d(size.n_hidden, spec.n_outputs, 1),
    ]


def prepare(network: Network, x: Tensor, y: NDArray) -> None:
    """Take the constants from the ends of the trials; batch statistics would see windows that are still filling."""
    square, pool, _, log, constants = network.layers[:5]
    n_tokens = int(network.spec.options["n_tokens"])
    values = log(pool(square(x))[:, :, -n_tokens:].mean(dim=2, keepdim=True))
    constants.get_buffer("mean").copy_(values.mean(0))
    constants.get_buffer("scale").copy_(values.std(0).clamp(min=1e-3))


mlp = NetworkFamily("mlp", sizes, layers, prepare)
