"""How far probabilities can be believed, and how far scores would vary with other people and runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_BINS = 10
N_DRAWS = 2000


def ece(p: NDArray[np.float64], y: NDArray[np.integer]) -> float:
    """Expected calibration error in `N_BINS` fixed bins of confidence (Naeini et al. 2015, AAAI; Guo et al. 2017).

    The mean distance between how sure and how right the answers of a bin are, weighted by their number. Few trials make
    it large by chance alone: give its interval beside it.

    Parameters
    ----------
    p : ndarray, shape (n_trials, n_classes)
    y : ndarray, shape (n_trials,)
    """
    return float(sum(share * abs(right - sure) for _, share, sure, right in reliability(p, y)))


def reliability(p: NDArray[np.float64], y: NDArray[np.integer]) -> list[tuple[float, float, float, float]]:
    """Of each bin that is not empty: lower edge, share of the trials, mean confidence, share of right answers."""
    confidence = p.max(axis=1)
    right = p.argmax(axis=1) == y
    at = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    return [
        (
            k / N_BINS,
            float((at == k).mean()),
            float(confidence[at == k].mean()),
            float(right[at == k].mean()),
        )
        for k in np.unique(at)
    ]


def risk_coverage(p: NDArray[np.float64], y: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What it costs to decide more: the surest trials first (El-Yaniv and Wiener 2010, JMLR 11:1605).

    Parameters
    ----------
    p : ndarray, shape (n_trials, n_classes)
    y : ndarray, shape (n_trials,)

    Returns
    -------
    coverage, risk : ndarray, shape (n_levels,)
        Share of the trials that are at least as sure as one of them, and share of those that are wrong. Trials that are
        equally sure come together.
    """
    sure = p.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    wrong = np.cumsum(p.argmax(axis=1)[order] != y[order])
    last = np.flatnonzero(np.append(np.diff(sure[order]) != 0, True))
    n = last + 1
    return n / len(y), wrong[last] / n


def untempered(p: NDArray[np.float64], temperature: ArrayLike) -> NDArray[np.float64]:
    """What the probabilities (n_trials, n_classes) were before their logits were divided by the temperature."""
    logits = np.log(np.maximum(p, 1e-300)) * np.asarray(temperature, float).reshape(-1, 1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def grouped_ci(
    values: Sequence[float], people: Sequence[str], runs: Sequence[str], *, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean over people of each one's mean over trials: people are drawn again, then their runs.

    Of one person alone runs are drawn, or trials where there is one run.

    Parameters
    ----------
    values : sequence of float, shape (n_trials,)
        Such as 1 for right and 0 for wrong, or the difference between two decoders.
    people, runs : sequence of str, shape (n_trials,)
    """
    rng, of = np.random.default_rng(seed), np.asarray(values, float)
    who, run = np.asarray(people), np.asarray([str(r) for r in runs])
    sums, counts = [], []
    for person in np.unique(who):
        mine = who == person
        _, group = np.unique(run[mine], return_inverse=True)
        if group.max() == 0 and len(np.unique(who)) == 1:
            group = np.arange(mine.sum())
        sums.append(np.bincount(group, weights=of[mine]))
        counts.append(np.bincount(group))
    n, most = len(sums), max(len(s) for s in sums)
    total, count = (
        np.array([np.pad(np.asarray(v, float), (0, most - len(v))) for v in part]) for part in (sums, counts)
    )
    n_runs = np.array([len(s) for s in sums])
    drawn = rng.integers(0, n, (N_DRAWS, n))
    run_drawn = (rng.random((N_DRAWS, n, most)) * n_runs[drawn][:, :, None]).astype(int)
    counted = np.arange(most) < n_runs[drawn][:, :, None]
    picked = (drawn[:, :, None], run_drawn)
    means = ((total[picked] * counted).sum(axis=2) / (count[picked] * counted).sum(axis=2)).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
