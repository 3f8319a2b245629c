"""`tcn`: a causal temporal-convolution net on tokens of band activity.

The front of `eegnet` makes one token a hop, as in EEG-TCNet (Ingolfsson et al. 2020, IEEE SMC); residual blocks of
dilated convolutions follow (Bai et al. 2018, arXiv:1803.01271), one convolution a block.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from decoders.networks.layers import Memory
from decoders.networks.layers.causal import CausalConv, MeanOfLast, Pool
from decoders.networks.network import NetworkFamily, front, kernel, window_hops
from decoders.spec import DecoderSpec, Request

TAPS = 3


class Block(nn.Module):
    """Dilated convolution, normalised and rectified, added to its input."""

    def __init__(self, n_features: int, dilation: int, dropout: float):
        super().__init__()
        self.conv = CausalConv(n_features, n_features, TAPS, dilation)
        self.n_past = self.conv.n_past
        self.after = nn.Sequential(nn.BatchNorm1d(n_features), nn.ELU(), nn.Dropout(dropout))

    def initial(self, batch: int) -> Memory:
        """The past of the convolution."""
        return self.conv.initial(batch)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Transform x (batch, features, tokens)."""
        y, memory = self.conv(x, memory)
        return x + self.after(y), memory


def sizes(request: Request) -> dict[str, float]:
    """As many blocks as half the window has room for; the mean of token logits takes the rest."""
    n_blocks = 1
    while 1 + (TAPS - 1) * (2 ** (n_blocks + 1) - 1) <= window_hops(request) / 2:
        n_blocks += 1
    return {
        "n_filters": 24, "kernel": kernel(request.sfreq_hz), "pool": request.hop,
        "n_blocks": n_blocks, "dropout": 0.3, "n_tokens": 2,
    }  # fmt: skip


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Spatial filters, temporal kernels, tokens, dilated blocks, mean of logits over the window."""
    n = size.n_filters
    return [
        *front(spec, n, size.kernel),
        nn.ELU(),
        Pool(size.pool),
        nn.Dropout(size.dropout),
        *(Block(n, 2**k, size.dropout) for k in range(size.n_blocks)),
        nn.Conv1d(n, spec.n_outputs, 1),
        MeanOfLast(spec.n_outputs, size.n_tokens),
    ]


tcn = NetworkFamily("tcn", sizes, layers)
