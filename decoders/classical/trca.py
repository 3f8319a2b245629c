"""`trca`: which flicker is looked at, by task-related components and their templates, learnt from this person.

Ensemble task-related component analysis of Nakanishi et al. 2018 (IEEE TBME 65:104). Markers must stand at the start of
the flicker, always at the same phase of it: what is not locked to the marker is noise here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoders.epochs import design_epoch
from decoders.spec import Arrays, DecoderSpec, FitError, Fitted, Params, Request, SpecError

RIDGE = 1e-3  # of the mean variance: channels that are a sum of the others leave a direction without any


class TRCA:
    """Epoch -> correlation with each class's template, seen through all classes' filters -> logits.

    Parameters
    ----------
    spec : DecoderSpec
    weights : dict
        ``filters`` (classes, channels), one component each; ``templates`` (classes, channels, samples), the means.
    """

    def __init__(self, spec: DecoderSpec, weights: Arrays):
        self.spec = spec
        self._filters = np.ascontiguousarray(weights["filters"], np.float64)
        self._templates = _standard(self._filters @ np.asarray(weights["templates"], np.float64))

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """The epoch is ``epoch_s``."""
        return design_epoch("trca", request)

    @classmethod
    def fit(cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.integer], *, seed: int) -> Fitted:
        """For each class the direction that repeats best from trial to trial; nothing is random.

        Raises
        ------
        FitError
            A class has one trial only.
        """
        wide = x.astype(np.float64)
        wide -= wide.mean(axis=2, keepdims=True)
        filters, templates = [], []
        for label, name in enumerate(spec.classes):
            trials = wide[y == label]
            if len(trials) < 2:
                raise FitError(f"decoder 'trca': class {name} has {len(trials)} trial; what repeats needs 2 or more")
            filters.append(_component(trials))
            templates.append(trials.mean(axis=0))
        weights = {"filters": np.stack(filters), "templates": np.stack(templates)}
        return Fitted(weights, {"temperature": np.ones(1)})

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> TRCA:
        """The decoder around stored weights; SpecError if their shapes do not fit."""
        k, n, n_samples = len(spec.classes), len(spec.channels), spec.receptive_field
        wanted = {"filters": (k, n), "templates": (k, n, n_samples)}
        shapes = {name: np.shape(weights.get(name, ())) for name in wanted}
        if shapes != wanted:
            raise SpecError(f"decoder 'trca': weights have shapes {shapes}, the spec needs {wanted}; train it again")
        return cls(spec, weights)

    def predict(self, epoch: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Logits (batch, classes) of epoch (batch, channels, samples)."""
        logits = np.empty((len(epoch), len(self._filters)))
        for i, one in enumerate(epoch.astype(np.float64)):
            seen = _standard(self._filters @ (one - one.mean(axis=1, keepdims=True)))
            r = np.clip((self._templates * seen).sum(axis=(1, 2)), -1 + 1e-9, 1 - 1e-9)
            logits[i] = np.sqrt(epoch.shape[2]) * np.arctanh(r)
        return logits


def _component(trials: NDArray[np.float64]) -> NDArray[np.float64]:
    """The filter (channels,) whose output covaries most between trials (n, channels, samples), for its variance."""
    total = trials.sum(axis=0)
    within = np.einsum("nct,ndt->cd", trials, trials)
    between = total @ total.T - within
    variance = np.trace(within) / len(within)
    values, vectors = np.linalg.eigh(within + RIDGE * variance * np.eye(len(within)))
    root = vectors / np.sqrt(values)
    return root @ np.linalg.eigh(root.T @ between @ root)[1][:, -1]


def _standard(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """At norm 1 over the last two axes (the products of two such are correlations); silence stays silence."""
    norm = np.sqrt((x * x).sum(axis=(-2, -1), keepdims=True))
    return x / np.maximum(norm, 1e-300)
