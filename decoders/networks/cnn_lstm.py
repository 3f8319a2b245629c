"""`cnn_lstm`: learnt filters make one token a hop, an LSTM carries what they say."""

from __future__ import annotations

from typing import Any

from torch import nn

from decoders.networks.layers.causal import MeanOfLast, Pool
from decoders.networks.layers.recurrent import Recurrent
from decoders.networks.network import NetworkFamily, averaged_hops, front, kernel
from decoders.spec import DecoderSpec, Request


def sizes(request: Request) -> dict[str, float]:
    """One token a hop."""
    return {
        "n_filters": 24, "kernel": kernel(request.sfreq_hz), "pool": request.hop,
        "n_hidden": 32, "dropout": 0.5, "n_averaged": averaged_hops(request),
    }  # fmt: skip


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Spatial filters, temporal kernels, tokens, LSTM, mean of logits over most of the window."""
    return [
        *front(spec, size.n_filters, size.kernel),
        nn.ELU(),
        Pool(size.pool),
        nn.Dropout(size.dropout),
        Recurrent("lstm", size.n_filters, size.n_hidden),
        nn.Dropout(size.dropout),
        nn.Conv1d(size.n_hidden, spec.n_outputs, 1),
        MeanOfLast(spec.n_outputs, size.n_averaged),
    ]


cnn_lstm = NetworkFamily("cnn_lstm", sizes, layers)
