"""From trials to a decoder whose probabilities mean what they say: held-out folds, a temperature, a last fit on all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from calibration import stats
from calibration.align import align_trials, covariances, starting_alignment
from calibration.reliability import ece
from calibration.trials import Trials, check_trials
from decoders import load_class
from decoders.engine import softmax, use_one_thread
from decoders.mirror import mirror_order
from decoders.spec import Arrays, DecoderSpec, Family, FitError, Fitted
from decoders.training.plan import Journal, Plan, Unit
from decoders.training.streams import learns_from_streams
from decoders.windowed import Windowed

N_FOLDS = 5  # of people, or of one run's trials
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
        ``accuracy, chance, chance_band, kappa, n_trials, temperature, ece_before, ece, split`` of the held-out trials,
        and ``held_out``, the accuracy of each fold.
    """

    fitted: Fitted
    held_out: NDArray[np.float64]
    scores: dict[str, Any]


def calibrate(
    spec: DecoderSpec,
    trials: Trials,
    *,
    seed: int,
    plan: Plan | None = None,
    each: Callable[[list[Any]], Iterable[Any]] = iter,
    journals: Callable[[str], Journal] | None = None,
) -> Calibrated:
    """Fit ``spec.name`` to the trials.

    The temperature is chosen on trials that were held out: people of several, else one run at a time, or, with a single
    run, consecutive fifths of each class. Then the decoder is fitted again on everything. Where the decoder recentres,
    each trial is aligned as `calibration.align.align_trials` does it, from the mean of the trials that are fitted.

    Parameters
    ----------
    spec : DecoderSpec
    trials : Trials
        ``x`` holds ``spec.context`` samples or more; epochs where the decoder answers markers.
    seed : int
    plan : Plan or None
        How to train, where the decoder is a network; its usual way where None.
    each : callable
        Wraps the list of fits to come, for a progress bar.
    journals : callable
        From the name of a fit to where it keeps what it has done.

    Raises
    ------
    FitError
        The trials are too few, of one class, not finite, or have a constant channel; or a plan without a network.
    """
    check_trials(trials, spec.channels)
    use_one_thread()
    fold, split = folds(trials)
    held_out = np.zeros((len(trials.y), len(spec.classes)))
    fitted = None
    for k in each([*range(fold.max() + 1), None]):
        rest = fold != k if k is not None else np.ones(len(fold), bool)
        name = "all" if k is None else f"fold-{k}"
        fitted = fit_to(spec, trials, rest, seed=seed, plan=plan, journals=journals, name=name)
        if k is not None:
            held_out[~rest] = decide_of(spec, fitted, trials, ~rest)
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
        "ece_before": ece(softmax(held_out), trials.y),
        "ece": ece(p, trials.y),
        "split": split,
        "held_out": [stats.accuracy(trials.y[fold == k], said[fold == k]) for k in range(fold.max() + 1)],
    }
    return Calibrated(fitted, p, scores)


def fit_to(
    spec: DecoderSpec,
    trials: Trials,
    rest: NDArray[np.bool_],
    *,
    seed: int,
    plan: Plan | None = None,
    journals: Callable[[str], Journal] | None = None,
    name: str = "all",
) -> Fitted:
    """A decoder of the trials ``rest``; where it recentres, from each trial's own matrix, and with the start in params.

    A network of endless memory learns from their streams, if ``trials`` has them.

    ``name`` is that of its journal; the rest is as in `calibrate`.
    """
    family, start, align = load_class(spec.name), None, None
    if spec.recentre_hops:
        start, align = _recentred(spec, trials, rest)
        align = align[rest]
    fitted = _fit(family, spec, trials.of(rest), seed, plan, journals, name, align)
    return fitted if start is None else Fitted(fitted.weights, {**fitted.params, "align": start})


def decide_of(spec: DecoderSpec, fitted: Fitted, trials: Trials, which: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Logits of the trials ``which``, each with the matrix that recentring had come to by then, if there is any."""
    params = moved_params(spec, fitted.params, trials)
    if spec.recentre_hops:
        params = {**params, "align": params["align"][which]}
    return decide(load_class(spec.name), spec, Fitted(fitted.weights, params), trials.x[which])


def moved_params(spec: DecoderSpec, params: Arrays, trials: Trials) -> Arrays:
    """Where the decoder recentres, ``align`` of each trial, as the trials before it have moved it; else as they are."""
    if not spec.recentre_hops:
        return params
    return {**params, "align": align_trials(_covariances(spec, trials), trials.groups("person"), params["align"])}


def _recentred(
    spec: DecoderSpec, trials: Trials, rest: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where recentring starts, by the trials ``rest``, and the matrix of each trial, in their order in time."""
    covariance = _covariances(spec, trials)
    c = covariance.shape[-1]
    mirror = mirror_order(spec.channels[:c]) if spec.options.get("mirror") else None
    start = starting_alignment(covariance[rest], mirror)
    return start, align_trials(covariance, trials.groups("person"), start)


def _covariances(spec: DecoderSpec, trials: Trials) -> NDArray[np.float64]:
    n_samples = min(trials.x.shape[2], spec.recentre_hops * spec.hop)
    return covariances(trials.x[:, :, -n_samples:], spec.n_bands)


def _fit(
    family: Any,
    spec: DecoderSpec,
    trials: Trials,
    seed: int,
    plan: Plan | None,
    journals: Callable[[str], Journal] | None,
    name: str,
    align: NDArray[np.float64] | None,
) -> Fitted:
    more: dict[str, Any] = {} if align is None else {"align": align}
    if not hasattr(family, "n_best_epochs"):
        if plan is not None:
            raise FitError(f"decoder {spec.name!r} is no network: it has no epochs, rate, augmentation or layers")
        return family.fit(spec, trials.x, trials.y, seed=seed, **more)

    def streams(of: Trials) -> dict[str, Any]:
        return {"streams": of.streams(of)} if of.streams is not None and learns_from_streams(spec) else {}

    def journal(of: str) -> Journal | None:
        return journals(of) if journals is not None else None

    if plan is not None and plan.stop_on is not None:
        if align is not None:
            raise FitError("--stop-on and --recentre do not go together; choose the number of epochs by --epochs")
        held_out = _last_group(trials, plan.stop_on)
        taught, seen = trials.of(~held_out), (trials.x[held_out], trials.y[held_out])
        n_stop = family.n_best_epochs(
            spec, taught.x, taught.y, seen, seed=seed, plan=plan, journal=journal(f"{name}-stop"), **streams(taught)
        )
        plan = msgspec.structs.replace(plan, n_stop=n_stop)
    more |= streams(trials)
    return family.fit(spec, trials.x, trials.y, seed=seed, plan=plan, journal=journal(name), **more)


def _last_group(trials: Trials, unit: Unit) -> NDArray[np.bool_]:
    """The last run, session or person; the last consecutive part where that would leave nothing to learn from."""
    group = trials.groups(unit)
    held_out = group == group.max()
    if not _teaches_all(trials.y[~held_out], len(trials.classes)):
        fold = consecutive_parts(trials)[0]
        held_out = fold == fold.max()
    return held_out


def folds(trials: Trials) -> tuple[NDArray[np.integer], str]:
    """The fold of each trial, and in words: people, whole runs, or consecutive parts of each class.

    The first of these that leaves every class in what remains; people in `N_FOLDS` groups where they are more.
    """
    person, run = trials.groups("person"), trials.groups("run")
    n_people, n_runs = int(person.max()) + 1, int(run.max()) + 1
    ways = (
        (person, min(N_FOLDS, n_people), f"leave people out, {min(N_FOLDS, n_people)} folds"),
        (run, n_runs, "leave one run out"),
    )
    for group, n_folds, words in ways:
        if n_folds > 1:
            fold = group_folds(group, n_folds)
            if all(_teaches_all(trials.y[fold != k], len(trials.classes)) for k in range(n_folds)):
                return fold, words
    return consecutive_parts(trials)


def group_folds(group: NDArray[np.integer], n_folds: int) -> NDArray[np.integer]:
    """The fold of each trial, no group in two of them; in the order of the groups where each is a fold."""
    from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

    each_alone = len(np.unique(group)) <= n_folds
    fold = np.zeros(len(group), int)
    splitter = LeaveOneGroupOut() if each_alone else GroupKFold(n_folds)
    for k, (_, held_out) in enumerate(splitter.split(group, groups=group)):
        fold[held_out] = k
    return fold


def consecutive_parts(trials: Trials) -> tuple[NDArray[np.integer], str]:
    """Fifths of each class in the order of time, or as many parts as its trials allow."""
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
    if isinstance(decoder, Windowed):  # it sees nothing but the window at the end
        window = np.ascontiguousarray(x[:, :, -decoder.window :], np.float32)
        return np.asarray(decoder.model.logits(window, fitted.params), np.float64)
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
