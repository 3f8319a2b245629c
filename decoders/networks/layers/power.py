"""Logarithms of power: what event-related desynchronisation changes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FLOOR = 1e-6  # of a signal of unit variance: silence stays finite


class Square(nn.Module):
    """The square of each number."""

    def forward(self, x: Tensor) -> Tensor:
        """Square x."""
        return x * x


class Log(nn.Module):
    """The natural logarithm, with a floor."""

    def forward(self, x: Tensor) -> Tensor:
        """Take the logarithm of x, which is not negative."""
        return torch.log(x + FLOOR)
