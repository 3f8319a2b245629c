"""`fbnet`: second moments of spatial filters in a filter bank, as log powers and correlations, and one linear layer.

The streaming relative of a tangent-space classifier (Barachant et al. 2012, IEEE TBME 59:920): near the identity, where
alignment puts covariances, the matrix logarithm is close to the logarithm of the powers beside the correlations, which
needs no eigenvalues; the filters in front are learnt. Segments: the window and its halves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from decoders.networks.layers import Memory
from decoders.networks.layers.power import FLOOR
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
    """Mean over the last ``n`` tokens, then over their halves, computed anew from a ring: features times 3."""

    def __init__(self, n_features: int, n: int):
        super().__init__()
        assert n >= 2
        self.n_features, self.n, self.n_half = n_features, n, n // 2
        self.n_past = n - 1

    def initial(self, batch: int) -> Memory:
        """A past of zeros."""
        return (torch.zeros(batch, self.n_features, self.n_past),)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Average x (batch, features, tokens)."""
        x = torch.cat((memory[0], x), dim=2)
        mean = nn.functional.avg_pool1d
        late = mean(x[:, :, self.n - self.n_half :], self.n_half, stride=1)
        early = mean(x[:, :, : x.shape[2] - self.n_half], self.n - self.n_half, stride=1)
        whole = mean(x, self.n, stride=1)
        return torch.cat((whole, early, late), dim=1), (x[:, :, -self.n_past :],)


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
    return {"n_filters": min(c, MAX_FILTERS), "pool": request.hop, "shrinkage": 0.1, "dropout": 0.5, "n_tokens": 2}


def layers(spec: DecoderSpec, size: Any) -> list[nn.Module]:
    """Spatial filters, moments, segments, logarithm and correlation, normalisation, one linear layer."""
    c, n = len(spec.channels) // spec.n_bands, size.n_filters
    if not 2 <= n <= c:
        raise SpecError(f"decoder {spec.name!r}: n_filters {n} of {c} channels in a band; use 2 to {c}")
    n_entries = spec.n_bands * n * (n + 1) // 2
    return [
        SpatialFilters(c, n, spec.n_bands),
        SecondMoments(n, spec.n_bands, size.pool),
        Segments(n_entries, size.n_tokens),
        LogCorrelation(n, 3 * spec.n_bands, size.shrinkage),
        nn.BatchNorm1d(3 * n_entries, affine=False),
        nn.Dropout(size.dropout),
        nn.Conv1d(3 * n_entries, spec.n_outputs, 1),
    ]


def prepare(network: Network, x: Tensor) -> None:
    """Start the linear layer at zero: all features count alike until they are known."""
    last = network.layers[-1]
    assert isinstance(last, nn.Conv1d)
    nn.init.zeros_(last.weight)


fbnet = NetworkFamily("fbnet", sizes, layers, prepare)
