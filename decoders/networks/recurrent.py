"""`rnn`, `lstm`, `gru`: a recurrent cell on frames of spatially filtered signal.

A classifier's frames hold the logarithm of power, for it is oscillations that it tells apart; a regression's hold the
mean of the signal (rates of neurons, slow potentials). Memory has no end: classifiers learn from streams. The mean of
token logits over most of the window decides, worth .01 to .06 on imagery over the newest logit alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from decoders.networks.layers.causal import MeanOfLast, Pool
from decoders.networks.layers.power import Log, Square
from decoders.networks.layers.recurrent import Kind, Recurrent
from decoders.networks.network import NetworkFamily, averaged_hops
from decoders.spec import DecoderSpec, Request


def sizes(request: Request) -> dict[str, float]:
    """One frame a hop."""
    return {"n_filters": 32, "n_hidden": 32, "pool": request.hop, "dropout": 0.3, "n_averaged": averaged_hops(request)}


def layers(kind: Kind, spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Spatial filters, frames, recurrent cell, mean of logits over most of the window."""
    pooled = [Square(), Pool(size.pool), Log()] if spec.classes else [Pool(size.pool)]
    return [
        nn.Conv1d(len(spec.channels), size.n_filters, 1, bias=False, groups=spec.n_bands),
        *pooled,
        nn.BatchNorm1d(size.n_filters),
        Recurrent(kind, size.n_filters, size.n_hidden),
        nn.Dropout(size.dropout),
        nn.Conv1d(size.n_hidden, spec.n_outputs, 1),
        *([MeanOfLast(spec.n_outputs, size.n_averaged)] if spec.classes else []),
    ]


rnn = NetworkFamily("rnn", sizes, partial(layers, "rnn"))
lstm = NetworkFamily("lstm", sizes, partial(layers, "lstm"))
gru = NetworkFamily("gru", sizes, partial(layers, "gru"))
