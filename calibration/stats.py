"""Scores of cued decisions, each with what chance would give. Pure; labels are class indices, -1 is an abstention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike


def accuracy(cued: ArrayLike, said: ArrayLike) -> float:
    """Share of trials that were right; an abstention is wrong."""
    cued, said = _pair(cued, said)
    return float(np.mean(cued == said))


def chance_level(cued: Sequence[int]) -> float:
    """What the best decoder reaches that never looks at the signal: the share of the most frequent class."""
    _, counts = np.unique(np.asarray(cued), return_counts=True)
    return float(counts.max() / counts.sum())


def chance_band(n: int, chance: float, level: float = 0.95) -> tuple[float, float]:
    """Range of accuracies that guessing gives in ``n`` trials with probability ``level`` or more (exact binomial).

    An accuracy above the upper end is better than chance at ``(1 - level) / 2``, one-sided (Müller-Putz et al. 2008).
    """
    if not n:
        return 0.0, 1.0
    if chance >= 1:
        return 1.0, 1.0
    k = np.arange(n + 1)
    log_factorial = np.array([math.lgamma(i + 1) for i in range(n + 1)])
    log_ways = log_factorial[n] - log_factorial - log_factorial[::-1]
    log_pmf = log_ways + k * math.log(chance) + (n - k) * math.log1p(-chance)
    below = np.cumsum(np.exp(log_pmf))
    tail = (1 - level) / 2
    return float(np.searchsorted(below, tail) / n), float(min(np.searchsorted(below, 1 - tail), n) / n)


def accuracy_interval(n_right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of an accuracy (Wilson 1927): it stays within 0 and 1, and holds for few trials."""
    if not n:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    p, spread = n_right / n, z * z / n
    half = z * math.sqrt(p * (1 - p) / n + spread / (4 * n))
    low, high = ((p + spread / 2 + sign * half) / (1 + spread) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def kappa(cued: ArrayLike, said: ArrayLike) -> float:
    """Cohen's kappa: agreement beyond what the two frequencies of answers give by chance. 0 when it is undefined."""
    cued, said = _pair(cued, said)
    observed = float(np.mean(cued == said))
    expected = sum(float(np.mean(cued == c) * np.mean(said == c)) for c in np.union1d(cued, said))
    return (observed - expected) / (1 - expected) if expected < 1 else 0.0


def itr_bits_per_min(accuracy: float, n_classes: int, trial_s: float, chance: float = 0.0) -> float:
    """Information transfer rate of Wolpaw et al. 2002; 0 at chance and below.

    Parameters
    ----------
    accuracy : float
    n_classes : int
    trial_s : float
        Time that one decision takes.
    chance : float
        Accuracy of always saying the most frequent class, where classes are not equally frequent.
    """
    if accuracy <= max(chance, 1 / n_classes):
        return 0.0
    bits = math.log2(n_classes) + accuracy * math.log2(accuracy)
    if accuracy < 1:
        bits += (1 - accuracy) * math.log2((1 - accuracy) / (n_classes - 1))
    return bits * 60 / trial_s


def auc(is_positive: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, a tie being half. 0.5 when undefined."""
    is_positive, score = np.asarray(is_positive, bool), np.asarray(score, float)
    positive, negative = score[is_positive][:, None], score[~is_positive][None, :]
    if not positive.size or not negative.size:
        return 0.5
    return float(np.mean((positive > negative) + 0.5 * (positive == negative)))


def auc_band(n_positive: int, n_negative: int, level: float = 0.95) -> tuple[float, float]:
    """Range of areas that guessing gives with probability ``level``: normal approximation of Mann & Whitney 1947."""
    if not n_positive or not n_negative:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    half = z * math.sqrt((n_positive + n_negative + 1) / (12 * n_positive * n_negative))
    return max(0.0, 0.5 - half), min(1.0, 0.5 + half)


def bootstrap_ci(values: ArrayLike, *, seed: int, level: float = 0.95, n_draws: int = 5000) -> tuple[float, float]:
    """Interval of the mean over people, who are drawn again with replacement (percentile bootstrap).

    Parameters
    ----------
    values : array-like, shape (n_people,)
        At least two.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        raise ValueError(f"an interval over people needs at least 2 of them, not {len(values)}")
    means = np.random.default_rng(seed).choice(values, (n_draws, len(values))).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _pair(cued: ArrayLike, said: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    cued, said = np.asarray(cued), np.asarray(said)
    if cued.shape != said.shape or not cued.size:
        raise ValueError(f"{cued.size} cues and {said.size} answers; as many of both are needed, and at least one")
    return cued, said
