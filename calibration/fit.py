"""From trials to a decoder whose probabilities mean what they say: held-out folds, a temperature, a last fit on all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration import stats
from calibration.align import align_trials, covariances, starting_alignment
from calibration.trials import Trials, check_trials
from decoders import load_class
from decoders.engine import softmax, use_one_thread
from decoders.mirror import mirror_order
from decoders.spec import DecoderSpec, Family, Fitted

N_FOLDS = 5  # where there is one run only
TEMPERATURES = np.geomspace(0.1, 30.0, 241)


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A decoder fitted on all trials, and how it did on those that it had not seen.

    Attributes
    ----------
    fitted : Fitted
        With the temperature set.
    held_out : ndarray, shape (n_trials, n_classes)
        Probabilities of each trial by the decoder that was fitted without its fold.
    scores : dict
        ``accuracy, chance, chance_band, kappa, n_trials, temperature, split`` of the held-out trials.
    """

    fitted: Fitted
    held_out: NDArray[np.float64]
    scores: dict[str, Any]


def calibrate(
    spec: DecoderSpec, trials: Trials, *, seed: int, each: Callable[[list[Any]], Iterable[Any]] = iter
) -> Calibrated:
    """Fit ``spec.name`` to the trials.

    The temperature is chosen on trials that were held out: one run at a time, or, with a single run, consecutive fifths
    of each class. Then the decoder is fitted again on everything. Where the decoder recentres, each trial is aligned as
    `calibration.align.align_trials` does it, from the mean of the trials that are fitted.

    Parameters
    ----------
    spec : DecoderSpec
    trials : Trials
        ``x`` holds ``spec.context`` samples or more; epochs where the decoder answers markers.
    seed : int
    each : callable
        Wraps the list of fits to come, for a progress bar.

    Raises
    ------
    FitError
        The trials are too few, of one class, not finite, or have a constant channel.
    """
    check_trials(trials, spec.channels)
    family = load_class(spec.name)
    use_one_thread()
    fold, split = folds(trials)
    held_out = np.zeros((len(trials.y), len(spec.classes)))
    fitted = None
    for k in each([*range(fold.max() + 1), None]):
        rest = fold != k if k is not None else np.ones(len(fold), bool)
        if spec.recentre_hops:
            start, align = recentred(spec, trials, rest)
            more: dict[str, Any] = {"align": align[rest]}
            fitted = family.fit(spec, trials.x[rest], trials.y[rest], seed=seed, **more)
            params = {**fitted.params, "align": align[~rest]}
            fitted = Fitted(fitted.weights, {**fitted.params, "align": start})
        else:
            fitted = family.fit(spec, trials.x[rest], trials.y[rest], seed=seed)
            params = fitted.params
        if k is not None:
            held_out[~rest] = decide(family, spec, Fitted(fitted.weights, params), trials.x[~rest])
    assert fitted is not None
    t = temperature(held_out, trials.y)
    p = softmax(held_out / t)
    fitted = Fitted(fitted.weights, {**fitted.params, "temperature": np.full(1, t)})
    said = p.argmax(axis=1)
    chance = stats.chance_level(trials.y.tolist())
    scores = {
        "accuracy": stats.accuracy(trials.y, said),
        "chance": chance,
        "chance_band": list(stats.chance_band(len(said), chance)),
        "kappa": stats.kappa(trials.y, said),
        "auc": stats.auc(trials.y == 1, p[:, 1]) if len(spec.classes) == 2 else None,
        "auc_band": list(stats.auc_band(int(trials.y.sum()), int((trials.y == 0).sum())))
        if len(spec.classes) == 2
        else None,
        "n_trials": len(said),
        "temperature": t,
        "split": split,
    }
    return Calibrated(fitted, p, scores)


def recentred(
    spec: DecoderSpec, trials: Trials, rest: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where recentring starts, by the trials ``rest``, and the matrix of each trial, in their order in time."""
    n_samples = min(trials.x.shape[2], spec.recentre_hops * spec.hop)
    covariance = covariances(trials.x[:, :, -n_samples:], spec.n_bands)
    c = covariance.shape[-1]
    mirror = mirror_order(spec.channels[:c]) if spec.options.get("mirror") else None
    start = starting_alignment(covariance[rest], mirror)
    subject = trials.subject if len(trials.subject) else np.zeros(len(trials.y), int)
    return start, align_trials(covariance, subject, start)


def folds(trials: Trials) -> tuple[NDArray[np.integer], str]:
    """The fold of each trial, and in words: whole runs, or consecutive parts of each class where runs cannot serve."""
    _, by_run = np.unique(trials.run, return_inverse=True)
    if by_run.max() > 0 and all(
        _teaches_all(trials.y[by_run != k], len(trials.classes)) for k in range(by_run.max() + 1)
    ):
        return by_run, "leave one run out"
    fold = np.zeros(len(trials.y), int)
    n_folds = min(N_FOLDS, *np.bincount(trials.y, minlength=len(trials.classes)).tolist())
    for label in range(len(trials.classes)):
        of_class = np.flatnonzero(trials.y == label)
        fold[of_class] = np.arange(len(of_class)) * n_folds // len(of_class)
    return fold, f"{n_folds} consecutive parts of each class"


def _teaches_all(y: NDArray[np.integer], n_classes: int) -> bool:
    return bool((np.bincount(y, minlength=n_classes) > 0).all())


def decide(family: Family, spec: DecoderSpec, fitted: Fitted, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits at the end of each trial, from a fresh state, or of each epoch: x (n, channels, samples)."""
    decoder: Any = family.restore(spec, fitted.weights)
    if spec.epoch is not None:
        return np.asarray(decoder.predict(x, fitted.params), np.float64)
    x = np.ascontiguousarray(x[:, :, x.shape[2] % spec.hop :])
    if spec.backend == "numpy":
        logits, _ = decoder.forward(x, decoder.initial_state(len(x)), fitted.params)
        return np.asarray(logits[:, -1], np.float64)
    import torch

    params = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in fitted.params.items()}
    with torch.inference_mode():
        logits, _ = decoder.forward(torch.from_numpy(x), decoder.initial_state(len(x)), params)
        return logits[:, -1].double().numpy()


def temperature(logits: NDArray[np.float64], y: NDArray[np.integer]) -> float:
    """The divisor of the logits that makes held-out labels most likely (Guo et al. 2017).

    Targets are softened as in Platt 1999, so that a few trials, all right, do not claim certainty.

    Parameters
    ----------
    logits : ndarray, shape (n_trials, n_classes)
    y : ndarray, shape (n_trials,)
    """
    n, n_classes = logits.shape
    target = np.full((n, n_classes), 1 / (n + n_classes))
    target[np.arange(n), y] = (n + 1) / (n + n_classes)
    losses = [-(target * np.log(softmax(logits / t) + 1e-12)).sum() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])
