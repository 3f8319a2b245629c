"""Recurrent cells that hand their state to the caller."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from decoders.networks.layers import Memory

Kind = Literal["rnn", "lstm", "gru"]
_CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """One layer of a vanilla RNN (Elman 1990), LSTM (Hochreiter and Schmidhuber 1997) or GRU (Cho et al. 2014).

    Parameters
    ----------
    kind : {"rnn", "lstm", "gru"}
    n_in : int
        Features.
    n_hidden : int
    """

    n_past = None

    def __init__(self, kind: Kind, n_in: int, n_hidden: int):
        super().__init__()
        self.n_hidden = n_hidden
        self.n_parts = 2 if kind == "lstm" else 1
        self.cell = _CELLS[kind](n_in, n_hidden)

    def initial(self, batch: int) -> Memory:
        """Hidden state, and for an LSTM the cell's."""
        return tuple(torch.zeros(batch, self.n_hidden) for _ in range(self.n_parts))

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Run over x (batch, n_in, time) to (batch, n_hidden, time)."""
        state = tuple(part.unsqueeze(0) for part in memory)
        y, after = self.cell(x.permute(2, 0, 1), state if self.n_parts == 2 else state[0])
        parts = after if self.n_parts == 2 else (after,)
        return y.permute(1, 2, 0), tuple(part.squeeze(0) for part in parts)
