"""`transformer`: convolutional tokens, attention over the last of them (after EEGConformer, Song et al. 2023,
IEEE TNSRE 31:710), keys and values kept in a ring, positions relative.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from decoders.networks.layers.attention import AttentionBlock
from decoders.networks.layers.causal import MeanOfLast, Pool
from decoders.networks.network import NetworkFamily, front, kernel, window_hops
from decoders.spec import DecoderSpec, Request


def sizes(request: Request) -> dict[str, float]:
    """One token a hop; each block sees a quarter of the window, the mean of token logits takes the rest."""
    return {
        "n_filters": 32, "kernel": kernel(request.sfreq_hz), "pool": request.hop,
        "n_blocks": 2, "n_heads": 4, "dropout": 0.3,
        "n_attended": max(2, window_hops(request) // 4), "n_tokens": 2,
    }  # fmt: skip


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Spatial filters, temporal kernels, tokens, attention, mean of logits over the last tokens."""
    n = size.n_filters
    return [
        *front(spec, n, size.kernel),
        nn.ELU(),
        Pool(size.pool),
        nn.Dropout(size.dropout),
        *(AttentionBlock(n, size.n_heads, size.n_attended, size.dropout) for _ in range(size.n_blocks)),
        nn.Conv1d(n, spec.n_outputs, 1),
        MeanOfLast(spec.n_outputs, size.n_tokens),
    ]


transformer = NetworkFamily("transformer", sizes, layers)
