"""`gnn`: a graph network over electrode neighbourhoods.

Each electrode's log power meets the mean of its neighbours' in two layers (GraphSAGE with the mean, Hamilton et al.
2017, NeurIPS); every electrode has a weight of its own in the readout, for left and right are places. Not tuned.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.networks.layers.causal import MeanOfLast, Pool
from decoders.networks.layers.power import Log, Square
from decoders.networks.layers.scalp import electrodes, neighbourhood
from decoders.networks.network import Network, NetworkFamily
from decoders.spec import DecoderSpec, Request


class GraphLayer(nn.Module):
    """Features of each electrode and of its neighbours, mixed and rectified.

    Parameters
    ----------
    n_channels : int
    n_in, n_out : int
        Features of an electrode.
    """

    def __init__(self, n_channels: int, n_in: int, n_out: int):
        super().__init__()
        self.n_in = n_in
        self.register_buffer("neighbours", torch.zeros(n_channels, n_channels))
        self.mix = nn.Conv2d(2 * n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Transform x (batch, n_in·channels, time) to (batch, n_out·channels, time)."""
        x = x.unflatten(1, (self.n_in, -1))
        x = self.mix(torch.cat((x, self.get_buffer("neighbours") @ x), dim=1))
        return nn.functional.elu(x).flatten(1, 2)


def sizes(request: Request) -> dict[str, float]:
    """One token a hop."""
    return {"n_features": 8, "pool": request.hop, "dropout": 0.2, "n_tokens": 2}


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Log power, two graph layers, mean of logits over the window."""
    n_rows, n = len(spec.channels), len(spec.channels) // spec.n_bands
    return [
        Square(),
        Pool(size.pool),
        Log(),
        nn.BatchNorm1d(n_rows),
        nn.Hardtanh(-3, 3),
        GraphLayer(n, spec.n_bands, size.n_features),
        GraphLayer(n, size.n_features, size.n_features),
        nn.Dropout(size.dropout),
        nn.Conv1d(n * size.n_features, spec.n_outputs, 1),
        MeanOfLast(spec.n_outputs, size.n_tokens),
    ]


def prepare(network: Network, x: Tensor, y: NDArray) -> None:
    """Tell each layer who is whose neighbour."""
    matrix = torch.from_numpy(neighbourhood(electrodes(network.spec.channels, network.spec.n_bands)))
    for layer in network.layers:
        if isinstance(layer, GraphLayer):
            layer.get_buffer("neighbours").copy_(matrix)


gnn = NetworkFamily("gnn", sizes, layers, prepare)
