"""`convlstm`: an LSTM whose gates are convolutions over the electrode grid (Shi et al. 2015, NeurIPS). Not tuned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from decoders.networks.cnn3d import prepare
from decoders.networks.layers import Memory
from decoders.networks.layers.causal import MeanOfLast, Pool
from decoders.networks.layers.power import Log, Square
from decoders.networks.layers.scalp import N_COLUMNS, N_ROWS, Flat, Grid
from decoders.networks.network import NetworkFamily, averaged_hops
from decoders.spec import DecoderSpec, Request


class ConvLSTM(nn.Module):
    """One layer; each cell of the grid sees its eight neighbours.

    Parameters
    ----------
    n_in, n_hidden : int
        Features of a cell of the grid.
    """

    n_past = None

    def __init__(self, n_in: int, n_hidden: int):
        super().__init__()
        self.n_hidden = n_hidden
        self.gates = nn.Conv2d(n_in + n_hidden, 4 * n_hidden, 3, padding=1)

    def initial(self, batch: int) -> Memory:
        """Hidden state and the cell's."""
        zeros = torch.zeros(batch, self.n_hidden, N_ROWS, N_COLUMNS)
        return zeros, zeros.clone()

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Run over x (batch, n_in, time, rows, columns) to n_hidden features."""
        hidden, cell = memory
        outputs = []
        for image in x.unbind(2):
            take, forget, give, new = self.gates(torch.cat((image, hidden), dim=1)).chunk(4, dim=1)
            cell = torch.sigmoid(forget + 1) * cell + torch.sigmoid(take) * torch.tanh(new)
            hidden = torch.sigmoid(give) * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=2), (hidden, cell)


def sizes(request: Request) -> dict[str, float]:
    """One frame a hop."""
    return {"n_features": 8, "pool": request.hop, "dropout": 0.5, "n_averaged": averaged_hops(request)}


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Log power on the grid, convolutional LSTM, mean of logits over most of the window."""
    return [
        Square(),
        Pool(size.pool),
        Log(),
        nn.BatchNorm1d(len(spec.channels)),
        nn.Hardtanh(-3, 3),
        Grid(len(spec.channels) // spec.n_bands, spec.n_bands),
        ConvLSTM(spec.n_bands, size.n_features),
        Flat(),
        nn.Dropout(size.dropout),
        nn.Conv1d(size.n_features * N_ROWS * N_COLUMNS, spec.n_outputs, 1),
        MeanOfLast(spec.n_outputs, size.n_averaged),
    ]


convlstm = NetworkFamily("convlstm", sizes, layers, prepare)
