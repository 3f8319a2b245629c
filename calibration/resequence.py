"""A recording put together anew from its (rest + cue) parts, so that order and clock of cues say nothing. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def segment_starts(cues: ArrayLike, others: ArrayLike) -> NDArray[np.int64]:
    """Where the part of each cue begins: at the last other marker since the cue before, such as the start of a rest.

    Where there is none, half a typical interval before the cue, but not before the cue that precedes it.

    Parameters
    ----------
    cues, others : array-like of int
        Samples of the cues, rising, and of all other markers.
    """
    at, other = np.asarray(cues, np.int64), np.sort(np.asarray(others, np.int64))
    half = int(np.median(np.diff(at)) // 2) if len(at) > 1 else 0
    starts = []
    for k, cue in enumerate(at):
        before = at[k - 1] + 1 if k else max(0, cue - 2 * half)
        rests = other[(other >= before) & (other < cue)]
        starts.append(int(rests[-1]) if len(rests) else max(int(before), int(cue) - half))
    return np.array(starts, np.int64)


def resequence(samples: NDArray, starts: ArrayLike, order: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The parts in another order, each moved so that the signal is continuous at the joints; filter afterwards.

    What comes before the first part stays in front. Parts that the order does not name are left out.

    Parameters
    ----------
    samples : ndarray, shape (n_samples, n_channels)
        Unfiltered.
    starts : array-like of int
        First sample of each part, rising; a part ends where the next one begins, the last with the recording.
    order : array-like of int
        Which part comes at each place, none twice.

    Returns
    -------
    samples : ndarray, shape (n_samples, n_channels)
    moved : ndarray of int, shape (n_samples,)
        Where each old sample is now; -1 where it was left out.
    """
    edges, places = [*np.asarray(starts, int).tolist(), len(samples)], np.asarray(order, int).tolist()
    if len({*places}) < len(places) or not {*places} <= {*range(len(edges) - 1)}:
        raise ValueError(f"order {places} names a part twice or one that is not among {len(edges) - 1}")
    pieces = [np.arange(edges[0])] + [np.arange(edges[k], edges[k + 1]) for k in places]
    source = np.concatenate(pieces)
    after = np.asarray(samples, np.float64)[source]
    at = edges[0]
    for piece in pieces[1:]:
        if at and len(piece):
            step = after[at - 1] - after[at]
            after[at : at + len(piece)] += np.where(np.isfinite(step), step, 0.0)  # a NaN spoils its sample only
        at += len(piece)
    moved = np.full(len(samples), -1, np.int64)
    moved[source] = np.arange(len(source))
    return after, moved
