"""Streams to learn from: what they are, and who needs them; needs no torch.

Live, a memory is never reset between cues. A network of endless memory that was trained on trials, each with a fresh
one, has not met what it carries by then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoders.spec import DecoderSpec


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Signal without a break, and when which trial is decided.

    Attributes
    ----------
    signal : ndarray of float32, shape (n_channels, n_hops * hop)
    trial : ndarray of int, shape (n_hops,)
        The trial whose part of the recording each hop is from.
    decisions : ndarray of int, shape (n, 2)
        Hop and trial of each.
    """

    signal: NDArray[np.float32]
    trial: NDArray[np.integer]
    decisions: NDArray[np.integer]


def learns_from_streams(spec: DecoderSpec) -> bool:
    """Whether it is a classifying network whose memory has no end."""
    return spec.backend == "torch" and spec.receptive_field is None and bool(spec.classes) and not spec.members
