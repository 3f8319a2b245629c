"""Random cuts of a recording into chunks: whatever the cut, the result must not change."""

import itertools

import numpy as np
from hypothesis import strategies as st

from bci.types import Chunk


def cuts(n: int, max_cuts: int = 40):
    """Strategy for the places (sorted, with 0 and n) at which ``n`` samples are cut."""
    return st.lists(st.integers(0, n), max_size=max_cuts).map(lambda at: sorted({0, n, *at}))


def chunks(samples: np.ndarray, stamps_s: np.ndarray, at: list[int], stream: int = 0) -> list[Chunk]:
    """The chunks of a recording (n, n_channels) that is cut at ``at``."""
    return [Chunk(stream, a, samples[a:b], stamps_s[a:b], 0.0) for a, b in itertools.pairwise(at)]
