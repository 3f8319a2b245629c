"""Attention over the last tokens, with a ring of keys and values that were computed once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from decoders.networks.layers import Memory


class AttentionBlock(nn.Module):
    """A pre-norm transformer block in which a token sees the last ``n_tokens`` (Vaswani et al. 2017, NeurIPS).

    Where a token stands is told by a bias for each head and lag (simplified from Shaw et al. 2018, as in Raffel et al.
    2020), so that nothing depends on how long the stream has run. What was before the start counts as tokens of zeros.

    Parameters
    ----------
    n_features, n_heads : int
    n_tokens : int
        The newest included, at least 2.
    dropout : float
    """

    def __init__(self, n_features: int, n_heads: int, n_tokens: int, dropout: float):
        super().__init__()
        assert n_tokens >= 2
        assert n_features % n_heads == 0
        self.n_heads, self.n_past = n_heads, n_tokens - 1
        self.n_each = n_features // n_heads
        self.norm1 = nn.LayerNorm(n_features)
        self.project = nn.Linear(n_features, 3 * n_features)
        self.by_lag = nn.Parameter(torch.zeros(n_heads, n_tokens))  # oldest first
        self.out = nn.Linear(n_features, n_features)
        self.norm2 = nn.LayerNorm(n_features)
        self.expand = nn.Linear(n_features, 2 * n_features)
        self.contract = nn.Linear(2 * n_features, n_features)
        self.dropout = nn.Dropout(dropout)

    def initial(self, batch: int) -> Memory:
        """Rings of keys (batch, heads, each, past) and of values (batch, heads, past, each)."""
        ring = torch.zeros(batch, self.n_heads, self.n_each, self.n_past)
        return ring, ring.transpose(2, 3).contiguous()

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Transform x (batch, features, tokens)."""
        x = x.transpose(1, 2)
        y, memory = self._attend(self.norm1(x), memory)
        x = x + self.dropout(y)
        x = x + self.dropout(self.contract(nn.functional.gelu(self.expand(self.norm2(x)))))
        return x.transpose(1, 2), memory

    def _attend(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        batch, n, _ = x.shape
        parts = self.project(x).reshape(batch, n, 3, self.n_heads, self.n_each)
        query = parts[:, :, 0].transpose(1, 2) * self.n_each**-0.5  # (batch, heads, tokens, each)
        keys = torch.cat((memory[0], parts[:, :, 1].permute(0, 2, 3, 1)), dim=3)
        values = torch.cat((memory[1], parts[:, :, 2].transpose(1, 2)), dim=2)
        weights = torch.softmax(query @ keys + self._bias(n), dim=3)
        y = (self.dropout(weights) @ values).transpose(1, 2).reshape(batch, n, -1)
        return self.out(y), (keys[:, :, :, -self.n_past :], values[:, :, -self.n_past :])

    def _bias(self, n: int) -> Tensor:
        """The bias (heads, n, past + n) of token i for key j; keys that it must not see get -inf."""
        if n == 1:
            return self.by_lag[:, None]
        frames = torch.arange(self.n_past + n, device=self.by_lag.device)
        place = frames - frames[:n, None]  # of the key, in what the token may see
        hidden = (place < 0) | (place > self.n_past)
        return self.by_lag[:, place.clamp(0, self.n_past)].masked_fill(hidden, -torch.inf)
