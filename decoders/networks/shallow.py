"""`shallow`: ShallowConvNet (Schirrmeister et al. 2017, Hum. Brain Mapp. 38:5391): log power of learnt filters.

Spatial filters come first, each with one kernel in time; the long pool is a mean over a ring of short ones.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from decoders.networks.layers.causal import MeanOfLast, Pool
from decoders.networks.layers.power import Log, Square
from decoders.networks.network import NetworkFamily, front
from decoders.spec import DecoderSpec, Request

_KERNEL_S = 0.1
_POOL_S = 0.3


def sizes(request: Request) -> dict[str, float]:
    """Kernel and pool as in the paper, in seconds; one token a hop."""
    hop_s = request.hop / request.sfreq_hz
    return {
        "n_filters": 40, "kernel": max(2, round(_KERNEL_S * request.sfreq_hz)), "pool": request.hop,
        "pooled_hops": max(2, round(_POOL_S / hop_s)), "dropout": 0.5, "n_tokens": 2,
    }  # fmt: skip


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Spatial filters, temporal kernels, square, pool, logarithm, mean of logits over the window."""
    n = size.n_filters
    return [
        *front(spec, n, size.kernel),
        Square(),
        Pool(size.pool),
        MeanOfLast(n, size.pooled_hops),
        Log(),
        nn.Dropout(size.dropout),
        nn.Conv1d(n, spec.n_outputs, 1),
        MeanOfLast(spec.n_outputs, size.n_tokens),
    ]


shallow = NetworkFamily("shallow", sizes, layers)
