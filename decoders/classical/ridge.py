"""`ridge`: a continuous output, such as a cursor's velocity, as a weighted sum of the last hops' means.

The linear filter of Carmena et al. 2003 (PLoS Biol. 1:193), with the penalty chosen by leaving parts out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError
from decoders.windowed import Windowed

PENALTIES = np.geomspace(1.0, 1e5, 16)
N_FOLDS = 5  # consecutive ones: neighbours in time are alike


class Ridge:
    """Window -> means of its hops -> outputs.

    Parameters
    ----------
    weights : dict
        ``coef`` (hops, channels, outputs) and ``intercept`` (outputs,).
    """

    def __init__(self, weights: Arrays):
        coef = np.asarray(weights["coef"], np.float64)
        self._n_hops = len(coef)
        self._coef = np.ascontiguousarray(coef.reshape(-1, coef.shape[-1]))
        self._intercept = np.asarray(weights["intercept"], np.float64)

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """The window is ``window_s``, in whole hops."""
        n_hops = max(1, round(request.window_s * request.sfreq_hz / request.hop))
        return design_regression("ridge", request, receptive_field=n_hops * request.hop)

    @classmethod
    def fit(cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.floating], *, seed: int) -> Fitted:
        """Least squares on standardised means with an L2 penalty; nothing is random.

        y is (n_trials, n_outputs), or (n_trials, n_hops, n_outputs) for the last hops of each trial.
        """
        from sklearn.linear_model import RidgeCV
        from sklearn.model_selection import KFold

        features, targets = examples(spec, x, y)
        mean, scale = features.mean(axis=0), features.std(axis=0)
        scale[scale <= 1e-12 * scale.max(initial=1.0)] = np.inf  # what never changes says nothing
        folds = KFold(min(N_FOLDS, len(features)))
        model = RidgeCV(PENALTIES, cv=folds).fit((features - mean) / scale, targets)
        coef = np.asarray(model.coef_, np.float64).reshape(spec.n_outputs, -1).T / scale[:, None]
        intercept = np.ravel(model.intercept_) - mean @ coef
        weights = {"coef": coef.reshape(-1, len(spec.channels), spec.n_outputs), "intercept": intercept}
        return Fitted(weights, {"temperature": np.ones(1)})

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> Windowed:
        """The decoder around stored weights; SpecError if their shapes do not fit."""
        n_hops = (spec.receptive_field or 0) // spec.hop
        wanted = {"coef": (n_hops, len(spec.channels), spec.n_outputs), "intercept": (spec.n_outputs,)}
        shapes = {name: np.shape(weights.get(name, ())) for name in wanted}
        if shapes != wanted:
            raise SpecError(f"decoder 'ridge': weights have shapes {shapes}, the spec needs {wanted}; train it again")
        return Windowed(cls(weights), spec)

    def logits(self, window: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Outputs of window (batch, channels, n_samples) -> (batch, outputs)."""
        return (
            hop_means(window, window.shape[2] // self._n_hops).reshape(len(window), -1) @ self._coef + self._intercept
        )


def design_regression(
    name: str, request: Request, receptive_field: int | None = None, warmup_hops: int = 0
) -> DecoderSpec:
    """The spec of a decoder that has outputs and no classes.

    Raises
    ------
    SpecError
        Classes were asked for.
    """
    if not request.outputs:
        raise SpecError(
            f"decoder {name!r} gives numbers, not classes; take a classifier such as riemann (outputs are trained from "
            "Python: scripts/results/neurons.py does)"
        )
    return DecoderSpec(
        name=name,
        channels=request.channels,
        sfreq_hz=request.sfreq_hz,
        hop=request.hop,
        outputs=request.outputs,
        unit=request.unit,
        receptive_field=receptive_field,
        warmup_hops=warmup_hops,
    )


def hop_means(x: NDArray[np.floating], hop: int) -> NDArray[np.float64]:
    """Mean of each hop of x (n, channels, samples) -> (n, hops, channels)."""
    return x.astype(np.float64).reshape(*x.shape[:2], -1, hop).mean(axis=3).transpose(0, 2, 1)


def examples(
    spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features of each window that ends at a hop that y knows, and y there: (n, hops·channels), (n, n_outputs).

    Hops before which a stretch holds no whole window are left out.
    """
    y = np.asarray(y, np.float64)
    y = y if y.ndim == 3 else y[:, None]
    n_window = (spec.receptive_field or spec.hop) // spec.hop
    means = hop_means(x[:, :, x.shape[2] % spec.hop :], spec.hop)
    ends = range(max(n_window, means.shape[1] - y.shape[1] + 1), means.shape[1] + 1)
    if not ends:
        raise SpecError(
            f"decoder {spec.name!r}: stretches of {means.shape[1]} hops hold no window of {n_window}; use a shorter one"
        )
    features = np.stack([means[:, end - n_window : end] for end in ends], axis=1)  # (trials, n, window, channels)
    targets = y[:, -len(ends) :]
    return features.reshape(len(x) * len(ends), -1), targets.reshape(len(x) * len(ends), -1)
