"""Building blocks that look only back in time and let the caller carry what they remember.

A layer without memory is any torch module on (batch, features, time). A layer with memory is a `Carrying` one: it
takes ``(x, memory)`` and gives ``(y, memory)``; memory is a value, a tuple of tensors with first axis ``batch``, the
past that the next call needs. Two attributes, where they are not the defaults, let `decoders.networks.network` find the
receptive field: ``n_past`` (frames of its own input that an output needs beside the newest; 0, or None where memory has
no end) and ``decimation`` (frames that go into one; 1).
"""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor

Memory: TypeAlias = tuple[Tensor, ...]


@runtime_checkable
class Carrying(Protocol):
    """A layer that remembers."""

    def initial(self, batch: int) -> Memory:
        """What it remembers at the start of a segment."""
        ...

    def __call__(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Take (batch, features, time); give the same with what the next call needs."""
        ...
