"""Building blocks that look only back in time and let the caller carry what they remember.

Each takes ``(x, memory)`` and gives ``(y, memory)``; memory is a value, the past that the next call needs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CausalDepthwise(nn.Module):
    """One kernel in time for each feature, over its own past.

    Parameters
    ----------
    n_features : int
    kernel : int
        Length in samples, at least 2.
    """

    def __init__(self, n_features: int, kernel: int):
        super().__init__()
        assert kernel >= 2
        self.n_past = kernel - 1
        self.conv = nn.Conv1d(n_features, n_features, kernel, groups=n_features, bias=False)

    def initial(self, batch: int) -> Tensor:
        """A past of zeros."""
        return torch.zeros(batch, self.conv.in_channels, self.n_past)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Filter x (batch, features, time), past (batch, features, kernel - 1)."""
        x = torch.cat((past, x), dim=2)
        return self.conv(x), x[:, :, -self.n_past :]


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

    def initial(self, batch: int) -> Tensor:
        """A past of zeros."""
        return torch.zeros(batch, self.n_features, self.n - 1)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Filter x (batch, features, frames), past (batch, features, n - 1)."""
        x = torch.cat((past, x), dim=2)
        return nn.functional.avg_pool1d(x, self.n, stride=1), x[:, :, -(self.n - 1) :]
