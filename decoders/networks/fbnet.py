"""`fbnet`: second moments of spatial filters in a filter bank, as log powers and correlations, and one linear layer.

The streaming relative of a tangent-space classifier (Barachant et al. 2012, IEEE TBME 59:920): near the identity, where
alignment puts covariances, the matrix logarithm is close to the logarithm of the powers beside the correlations, which
needs no eigenvalues; the filters in front are learnt. Segments: the window and its halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.classical.linear import fit_logistic
from decoders.classical.riemann_fb import LOGISTIC_C
from decoders.networks.layers import Memory
from decoders.networks.layers.power import FLOOR
from decoders.networks.mlp import Standardise
from decoders.networks.network import Network, NetworkFamily
from decoders.spec import DecoderSpec, Request, SpecError

MAX_FILTERS = 16  # in a band


class SpatialFilters(nn.Module):
    """Filters over the channels of each band, by which every channel is itself at first."""

    def __init__(self, n_channels: int, n_filters: int, n_bands: int):
        super().__init__()
        self.conv = nn.Conv1d(n_bands * n_channels, n_bands * n_filters, 1, bias=False, groups=n_bands)
        if n_filters == n_channels:
            start = torch.eye(n_channels)
        else:
            start = nn.init.orthogonal_(torch.empty(n_filters, n_channels))
        with torch.no_grad():
            self.conv.weight.copy_(start.repeat(n_bands, 1)[:, :, None])

    def forward(self, x: Tensor) -> Tensor:
        """Filter x (batch, bands·channels, time)."""
        return self.conv(x)


class SecondMoments(nn.Module):
    """Mean products of the filters of a band over each token: (batch, bands·n·(n + 1)/2, tokens), diagonals first."""

    def __init__(self, n_filters: int, n_bands: int, pool: int):
        super().__init__()
        self.decimation, self.n_past, self.n_bands = pool, pool - 1, n_bands
        off = torch.triu_indices(n_filters, n_filters, 1)
        row = torch.cat((torch.arange(n_filters), off[0]))
        column = torch.cat((torch.arange(n_filters), off[1]))
        self.register_buffer("entry", row * n_filters + column, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Products of x (batch, bands·filters, time)."""
        parts = x.unflatten(1, (self.n_bands, -1)).unflatten(3, (-1, self.decimation)).transpose(2, 3)
        moments = (parts @ parts.transpose(3, 4) / self.decimation).flatten(3)  # (batch, bands, tokens, n·n)
        return moments[..., self.get_buffer("entry")].transpose(2, 3).flatten(1, 2)


class Segments(nn.Module):
    """Mean over the last ``n`` tokens, then over their halves, computed anew from a ring: features times 3.

    Where ``trains_on_last``, only the newest token leaves it in training: it is the one that the loss looks at, for a
    thirtieth of the cost.
    """

    def __init__(self, n_features: int, n: int, trains_on_last: bool):
        super().__init__()
        assert n >= 2
        self.trains_on_last = trains_on_last
        self.n_features, self.n, self.n_half = n_features, n, n // 2
        self.n_past = n - 1

    def initial(self, batch: int) -> Memory:
        """A past of zeros."""
        return (torch.zeros(batch, self.n_features, self.n_past),)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Average x (batch, features, tokens)."""
        x = torch.cat((memory[0], x), dim=2)
        memory = (x[:, :, -self.n_past :],)
        if self.training and self.trains_on_last:
            x = x[:, :, -self.n :]
        mean = nn.functional.avg_pool1d
        late = mean(x[:, :, self.n - self.n_half :], self.n_half, stride=1)
        early = mean(x[:, :, : x.shape[2] - self.n_half], self.n - self.n_half, stride=1)
        whole = mean(x, self.n, stride=1)
        return torch.cat((whole, early, late), dim=1), memory


class LogCorrelation(nn.Module):
    """Moments to log powers and correlations; a share of the mean power is added to each power, as shrinkage does."""

    def __init__(self, n_filters: int, n_groups: int, shrinkage: float):
        super().__init__()
        self.n_filters, self.n_groups, self.shrinkage = n_filters, n_groups, shrinkage
        off = torch.triu_indices(n_filters, n_filters, 1)
        self.register_buffer("row", off[0], persistent=False)
        self.register_buffer("column", off[1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Take x (batch, groups·entries, tokens), diagonals first in each group."""
        groups = x.unflatten(1, (self.n_groups, -1))
        power, product = groups[:, :, : self.n_filters], groups[:, :, self.n_filters :]
        power = power + self.shrinkage * power.mean(dim=2, keepdim=True) + FLOOR
        size = power.rsqrt()
        correlation = product * size[:, :, self.get_buffer("row")] * size[:, :, self.get_buffer("column")]
        return torch.cat((power.log(), correlation), dim=2).flatten(1, 2)


def sizes(request: Request) -> dict[str, float]:
    """A filter for each channel, up to 16 a band; one token a hop."""
    c = len(request.channels) // request.n_bands
    return {"n_filters": min(c, MAX_FILTERS), "pool": request.hop, "shrinkage": 0.1, "dropout": 0.0, "n_tokens": 2}


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Spatial filters, moments, segments, logarithm and correlation, normalisation, one linear layer."""
    c, n = len(spec.channels) // spec.n_bands, size.n_filters
    if not 2 <= n <= c:
        raise SpecError(f"decoder {spec.name!r}: n_filters {n} of {c} channels in a band; use 2 to {c}")
    n_entries = spec.n_bands * n * (n + 1) // 2
    return [
        SpatialFilters(c, n, spec.n_bands),
        SecondMoments(n, spec.n_bands, size.pool),
        Segments(n_entries, size.n_tokens, bool(spec.classes)),
        LogCorrelation(n, 3 * spec.n_bands, size.shrinkage),
        Standardise(3 * n_entries),
        nn.Dropout(size.dropout),
        nn.Conv1d(3 * n_entries, spec.n_outputs, 1),
    ]


def prepare(network: Network, x: Tensor, y: NDArray) -> None:
    """Fit the last layer by logistic regression with a penalty, and keep it: training moves the filters alone.

    It takes seconds, and the penalty is that of `riemann_fb`; trained by gradient alone the layer was no better. The
    order, head first and then what feeds it, is that of Kumar et al. 2022 (ICLR, LP-FT).
    """
    spec, head, constants = network.spec, network.layers[-1], network.layers[4]
    assert isinstance(head, nn.Conv1d)
    if spec.outputs:
        return
    features = _features(network, x)
    if network.mirror is None:
        mean, scale = features.mean(axis=0), features.std(axis=0)
        seen = features - mean
    else:
        mirrored = _features(network, x[:, network.mirror])
        mean, seen = (features + mirrored).mean(axis=0) / 2, (features - mirrored) / 2
        scale = np.sqrt((seen**2).mean(axis=0))
    scale = np.where(scale > 1e-3 * features.std(axis=0), scale, np.inf)  # what is zero by symmetry stays so
    coef, intercept = fit_logistic(seen / scale, y, spec.n_outputs, C=LOGISTIC_C, intercept=network.mirror is None)
    constants.get_buffer("mean").copy_(torch.from_numpy(mean)[:, None])
    constants.get_buffer("scale").copy_(torch.from_numpy(np.where(np.isfinite(scale), scale, 1.0))[:, None])
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(np.where(np.isfinite(scale)[:, None], coef, 0.0).T)[:, :, None])
        assert head.bias is not None
        head.bias.copy_(torch.from_numpy(intercept))
    head.requires_grad_(False)


@torch.no_grad()
def _features(network: Network, x: Tensor) -> NDArray[np.float64]:
    """Of the window at the end of each trial (n, features), before they are standardised."""
    filters, moments, segments, logarithm = network.layers[:4]
    assert isinstance(segments, Segments)
    assert isinstance(moments, SecondMoments)
    found = []
    for part in x.split(256):
        tokens = moments(filters(part[:, :, -segments.n * moments.decimation :]))
        whole, _ = segments(tokens[:, :, -1:], (tokens[:, :, :-1],))
        found.append(logarithm(whole))
    return np.concatenate([each[:, :, -1].numpy().astype(np.float64) for each in found])


fbnet = NetworkFamily("fbnet", sizes, layers, prepare)
