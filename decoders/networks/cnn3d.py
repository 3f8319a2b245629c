"""`cnn3d`: convolutions over the scalp's grid and time together, on frames of log power at about 32 Hz. Not tuned."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.networks.layers import Memory
from decoders.networks.layers.causal import MeanOfLast, Pool
from decoders.networks.layers.power import Log, Square
from decoders.networks.layers.scalp import N_COLUMNS, N_ROWS, Flat, Grid, electrodes, grid_weights
from decoders.networks.network import Network, NetworkFamily, frame
from decoders.spec import DecoderSpec, Request

FRAMES = 5  # of a kernel in time


class CausalConv3d(nn.Module):
    """A kernel of 3 by 3 cells and `FRAMES` frames over all features; it looks back only.

    Parameters
    ----------
    n_in, n_out : int
        Features.
    """

    n_past = FRAMES - 1

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.conv = nn.Conv3d(n_in, n_out, (FRAMES, 3, 3), padding=(0, 1, 1), bias=False)

    def initial(self, batch: int) -> Memory:
        """A past of zeros."""
        return (torch.zeros(batch, self.conv.in_channels, self.n_past, N_ROWS, N_COLUMNS),)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Filter x (batch, n_in, time, rows, columns) to n_out features."""
        x = torch.cat((memory[0], x), dim=2)
        return self.conv(x), (x[:, :, -self.n_past :],)


def sizes(request: Request) -> dict[str, float]:
    """Frames at about 32 Hz, then one token a hop."""
    pool = frame(request)
    return {
        "n_features": 8, "pool": pool, "frame_pool": request.hop // pool,
        "dropout": 0.5, "n_tokens": 2,
    }  # fmt: skip


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Log power on the grid, two convolutions, mean of logits over the window."""
    n = size.n_features
    return [
        Square(),
        Pool(size.pool),
        Log(),
        nn.BatchNorm1d(len(spec.channels)),
        nn.Hardtanh(-3, 3),
        Grid(len(spec.channels) // spec.n_bands, spec.n_bands),
        CausalConv3d(spec.n_bands, n),
        nn.BatchNorm3d(n),
        nn.ELU(),
        CausalConv3d(n, n),
        nn.BatchNorm3d(n),
        nn.ELU(),
        Flat(),
        Pool(size.frame_pool),
        nn.Dropout(size.dropout),
        nn.Conv1d(n * N_ROWS * N_COLUMNS, spec.n_outputs, 1),
        MeanOfLast(spec.n_outputs, size.n_tokens),
    ]


def prepare(network: Network, x: Tensor, y: NDArray) -> None:
    """Place the electrodes."""
    weights = grid_weights(electrodes(network.spec.channels, network.spec.n_bands))
    for layer in network.layers:
        if isinstance(layer, Grid):
            layer.get_buffer("place").copy_(torch.from_numpy(weights))


cnn3d = NetworkFamily("cnn3d", sizes, layers, prepare)
