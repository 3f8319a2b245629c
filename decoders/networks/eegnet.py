"""`eegnet`: the compact network of Lawhern et al. 2018 (J. Neural Eng. 15:056013), causal and streaming.

Changed against the paper, so that a hop costs the hop: spatial filters come first (they and the temporal kernels are
both linear, so the order is free; each spatial filter has a temporal kernel of its own, where the paper shares one
between two), convolutions in time look back only, and the readout is the mean of token logits over the window instead
of one weight a frame. Batch normalisation uses running statistics outside training.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from decoders.networks.layers.causal import CausalDepthwise, MeanOfLast, Pool
from decoders.networks.network import NetworkFamily, frame, front, kernel
from decoders.spec import DecoderSpec, Request


def sizes(request: Request) -> dict[str, float]:
    """Pools that bring the signal to about 32 Hz, then to one token a hop."""
    pool = frame(request)
    return {
        "n_filters": 16, "kernel": kernel(request.sfreq_hz), "pool": pool,
        "frame_kernel": kernel(request.sfreq_hz / pool), "frame_pool": request.hop // pool,
        "dropout": 0.5, "n_tokens": 2,
    }  # fmt: skip


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Spatial filters, temporal kernels, pool, separable convolution, pool, mean of logits over the window."""
    n = size.n_filters
    return [
        *front(spec, n, size.kernel),
        nn.ELU(),
        Pool(size.pool),
        nn.Dropout(size.dropout),
        CausalDepthwise(n, size.frame_kernel),
        nn.Conv1d(n, n, 1, bias=False),
        nn.BatchNorm1d(n),
        nn.ELU(),
        Pool(size.frame_pool),
        nn.Dropout(size.dropout),
        nn.Conv1d(n, spec.n_outputs, 1),
        MeanOfLast(spec.n_outputs, size.n_tokens),
    ]


eegnet = NetworkFamily("eegnet", sizes, layers)
