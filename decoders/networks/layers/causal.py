"""Convolutions and pools in time: the tail of the past is carried, pools are computed anew from a ring."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from decoders.networks.layers import Memory


class CausalDepthwise(nn.Module):
    """One kernel in time for each feature, over its own past.

    Parameters
    ----------
    n_features : int
    kernel : int
        Length in frames, at least 2.
    """

    def __init__(self, n_features: int, kernel: int):
        super().__init__()
        assert kernel >= 2
        self.n_past = kernel - 1
        self.conv = nn.Conv1d(n_features, n_features, kernel, groups=n_features, bias=False)

    def initial(self, batch: int) -> Memory:
        """A past of zeros."""
        return (torch.zeros(batch, self.conv.in_channels, self.n_past),)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Filter x (batch, features, time)."""
        n = x.shape[2]
        x = torch.cat((memory[0], x), dim=2)
        # grouped convolution has a cost for each group, three times that of the arithmetic where x is a hop
        y = _short_depthwise(x, self.conv.weight[:, 0], n) if n <= self.n_past // 2 else self.conv(x)
        return y, (x[:, :, -self.n_past :],)


def _short_depthwise(x: Tensor, kernels: Tensor, n: int) -> Tensor:
    """The same convolution of x (batch, features, past + n) as one product with a band matrix for each feature."""
    band = nn.functional.pad(kernels, (n - 1, n - 1)).unfold(1, x.shape[2], 1).flip(1)  # (features, n, past + n)
    return (x.unsqueeze(2) @ band.transpose(1, 2)).squeeze(2)


class CausalConv(nn.Module):
    """Kernels in time over all features, with holes of ``dilation``; van den Oord et al. 2016 (arXiv:1609.03499).

    Parameters
    ----------
    n_in, n_out : int
        Features.
    kernel : int
        Taps, at least 2.
    dilation : int
        Frames between two taps.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, dilation: int = 1):
        super().__init__()
        assert kernel >= 2
        self.n_past = (kernel - 1) * dilation
        self.conv = nn.Conv1d(n_in, n_out, kernel, dilation=dilation, bias=False)

    def initial(self, batch: int) -> Memory:
        """A past of zeros."""
        return (torch.zeros(batch, self.conv.in_channels, self.n_past),)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Filter x (batch, n_in, time) to (batch, n_out, time)."""
        x = torch.cat((memory[0], x), dim=2)
        return self.conv(x), (x[:, :, -self.n_past :],)


class Pool(nn.Module):
    """Mean of every ``n`` frames."""

    def __init__(self, n: int):
        super().__init__()
        self.decimation = n
        self.n_past = n - 1

    def forward(self, x: Tensor) -> Tensor:
        """Pool x (batch, features, time), time a multiple of ``n``."""
        return x if self.decimation == 1 else nn.functional.avg_pool1d(x, self.decimation)


class MeanOfLast(nn.Module):
    """Mean of the last ``n`` frames, computed anew from a ring of them (a running sum would drift).

    Parameters
    ----------
    n_features : int
    n : int
        Frames, at least 2.
    """

    def __init__(self, n_features: int, n: int):
        super().__init__()
        assert n >= 2
        self.n_features = n_features
        self.n = n
        self.n_past = n - 1

    def initial(self, batch: int) -> Memory:
        """A past of zeros."""
        return (torch.zeros(batch, self.n_features, self.n_past),)

    def forward(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Average x (batch, features, time)."""
        x = torch.cat((memory[0], x), dim=2)
        return nn.functional.avg_pool1d(x, self.n, stride=1), (x[:, :, -self.n_past :],)
