"""What an evaluation says about its trials: scores with chance beside them, by person, with intervals; and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.errors import ConfigError
from calibration import stats
from calibration.reliability import ece, grouped_ci, untempered

Rows = list[dict[str, Any]]


def score(
    rows: Rows, classes: tuple[str, ...], decide_at_s: float, *, seed: int, temperature: ArrayLike = 1.0
) -> dict[str, Any]:
    """Everything that an evaluation says about its trials.

    Parameters
    ----------
    rows : list of dict
        ``{subject, run, index, label, p}``; ``p`` is None for an abstention, which counts as wrong.
    classes : tuple of str
    decide_at_s : float
    seed : int
        Of the bootstrap, which draws people, then runs.
    temperature : float, or one for each row
        By which logits were divided; for the calibration error before that.
    """
    cued = np.array([classes.index(r["label"]) for r in rows])
    said = np.array([int(np.argmax(r["p"])) if r["p"] else -1 for r in rows])
    subjects, runs = [str(r["subject"]) for r in rows], [str(r["run"]) for r in rows]
    right = (cued == said).astype(float)
    warm = np.broadcast_to(np.asarray(temperature, float), len(rows))
    per_subject = [
        _of_person(name, np.array(subjects) == name, rows, runs, cued, said, warm, seed)
        for name in sorted(set(subjects))
    ]
    accuracies = np.array([s["accuracy"] for s in per_subject])
    chance = stats.chance_level(cued.tolist())
    accuracy = float(right.mean())
    decided = said >= 0
    scores = np.array([r["p"][1] if r["p"] else 0.5 for r in rows])
    n_worst = max(1, len(accuracies) // 10)
    return {
        "per_subject": per_subject,
        "mean": float(accuracies.mean()),
        "ci95": list(grouped_ci(right.tolist(), subjects, runs, seed=seed)) if len(accuracies) > 1 else None,
        "spread": float(accuracies.std(ddof=1)) if len(accuracies) > 1 else None,
        "worst_decile": float(np.sort(accuracies)[:n_worst].mean()),
        "accuracy": accuracy,
        "chance": chance,
        "chance_band": list(stats.chance_band(len(rows), chance)),
        "kappa": stats.kappa(cued, said),
        **_by_class(cued, said, classes),
        "auc": stats.auc(cued[decided] == 1, scores[decided]) if len(classes) == 2 else None,
        "itr_bits_per_min": stats.itr_bits_per_min(accuracy, len(classes), decide_at_s, chance),
        "ece": _over_people([s["ece"] for s in per_subject], seed),
        "n_trials": len(rows),
        "n_abstained": int((~decided).sum()),
    }


def _of_person(
    name: str,
    mine: NDArray[np.bool_],
    rows: Rows,
    runs: list[str],
    cued: NDArray,
    said: NDArray,
    warm: NDArray,
    seed: int,
) -> dict[str, Any]:
    """One person's row; ``ece`` is None where every trial was an abstention."""
    at = np.flatnonzero(mine)
    right = (cued[at] == said[at]).astype(float)
    decided = [i for i in at if said[i] >= 0]
    calibration = None
    if decided:
        after = np.array([rows[i]["p"] for i in decided], float)
        before, y = untempered(after, warm[decided]), cued[decided]
        calibration = {
            "before": ece(before, y),
            "before_ci95": _ece_ci(before, y, seed),
            "after": ece(after, y),
            "after_ci95": _ece_ci(after, y, seed),
        }
    chance = stats.chance_level(cued[at].tolist())
    return {
        "subject": name,
        "n_trials": len(at),
        "accuracy": float(right.mean()),
        "ci95": list(grouped_ci(right.tolist(), [name] * len(at), [runs[i] for i in at], seed=seed)),
        "chance_band": list(stats.chance_band(len(at), chance)),
        "n_abstained": len(at) - len(decided),
        "ece": calibration,
    }


def _ece_ci(p: NDArray[np.float64], y: NDArray[np.integer], seed: int) -> list[float]:
    """Trials are drawn again; percentile interval."""
    draws = np.random.default_rng(seed).integers(0, len(y), (200, len(y)))
    return np.quantile([ece(p[at], y[at]) for at in draws], [0.025, 0.975]).tolist()


def _over_people(each: list[dict[str, Any] | None], seed: int) -> dict[str, Any] | None:
    """Mean calibration error over people, and its interval, before and after the temperature."""
    known = [one for one in each if one is not None]
    if not known:
        return None
    result: dict[str, Any] = {}
    for when in ("before", "after"):
        values = [one[when] for one in known]
        result[when] = float(np.mean(values))
        several = len(values) > 1
        result[f"{when}_ci95"] = list(stats.bootstrap_ci(values, seed=seed)) if several else known[0][f"{when}_ci95"]
    return result


def _by_class(cued: NDArray, said: NDArray, classes: Sequence[str]) -> dict[str, Any]:
    """Scores that look at classes one by one, and confusions: a row for each cued class, abstentions last."""
    from sklearn.metrics import precision_recall_fscore_support

    labels = np.arange(len(classes))
    scored = precision_recall_fscore_support(cued, said, labels=labels, zero_division=cast("Any", 0.0))
    precision, recall, f1 = (np.asarray(values, float) for values in scored[:3])
    present = np.isin(labels, cued)
    return {
        "balanced_accuracy": float(recall[present].mean()),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "macro_f1": float(f1[present].mean()),
        "confusion": [[int(((cued == c) & (said == s)).sum()) for s in (*labels, -1)] for c in labels],
    }


def paired(result: dict[str, Any], other: dict[str, Any], *, seed: int) -> dict[str, Any]:
    """How much better the first result is than the other on the same trials: mean over people of the differences.

    The interval draws people, then runs. ``p`` is that of a sign-flip test over people (over trials of one person).

    Raises
    ------
    ConfigError
        They are not of the same trials.
    """

    def key(row: dict[str, Any]) -> tuple[str, str, int, str]:
        return str(row["subject"]), str(row["run"]), int(row["index"]), str(row["label"])

    def right(of: dict[str, Any]) -> dict[tuple[str, str, int, str], bool]:
        return {key(r): bool(r["p"]) and of["classes"][int(np.argmax(r["p"]))] == r["label"] for r in of["trials"]}

    try:
        first, second = right(result), right(other)
    except (KeyError, TypeError):
        raise ConfigError("--against: it holds no trials; give the --json of bci evaluate") from None
    if first.keys() != second.keys():
        n_both = len(first.keys() & second.keys())
        raise ConfigError(
            f"--against: {n_both} trials are in both results, {len(first) - n_both} in this one only and "
            f"{len(second) - n_both} in the other only; compare results of the same recordings and protocol"
        )
    keys = sorted(first)
    differences = [float(first[k]) - float(second[k]) for k in keys]
    people, runs = [k[0] for k in keys], [k[1] for k in keys]
    by_person = [
        np.mean([d for d, who in zip(differences, people, strict=True) if who == p]) for p in sorted(set(people))
    ]
    units = np.array(by_person if len(by_person) > 1 else differences)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (10_000, len(units)))
    as_large = np.abs((signs * units).mean(axis=1)) >= abs(units.mean()) - 1e-12
    return {
        "difference": float(np.mean(by_person)),
        "ci95": list(grouped_ci(differences, people, runs, seed=seed)),
        "p": float((as_large.sum() + 1) / (len(signs) + 1)),
        "n_people": len(by_person),
        "n_trials": len(keys),
    }


def tidy(rows: Rows, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One flat row a trial, for a CSV file: what was said, and the probability of each class."""
    return [
        {
            "subject": r["subject"], "run": r["run"], "index": r["index"], "label": r["label"],
            "said": classes[int(np.argmax(r["p"]))] if r["p"] else "",
            **{f"p_{name}": r["p"][i] if r["p"] else "" for i, name in enumerate(classes)},
        }
        for r in rows
    ]  # fmt: skip
