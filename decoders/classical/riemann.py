"""`riemann`: shrunk covariance, Riemannian tangent space at the training mean, logistic regression.

Barachant et al. 2012 (IEEE TBME 59:920, tangent-space classification); shrinkage by Ledoit and Wolf 2004
(J. Multivar. Anal. 88:365). pyriemann and scikit-learn fit it; a step needs numpy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoders.classical.linear import fit_logistic
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError
from decoders.windowed import Windowed

RANK_TOLERANCE = 1e-6  # directions with less of the largest one's variance are dropped (average reference, splines)
LOGISTIC_C = 10.0  # 1 to 100 score alike within a person (R04 <-> R08 of 86 people); less loses those who are good
_FLOOR = 1e-10  # of the mean eigenvalue: an empty window stays finite


class Riemann:
    """Covariance of a window -> tangent vector -> logits.

    Parameters
    ----------
    weights : dict
        ``project`` (rank, channels) whitens the training data and drops directions without variance,
        ``coef`` (classes, rank, rank), ``intercept`` (classes,). What recalibration may move is in ``params``:
        ``whitening`` (rank, rank), the inverse square root of the mean covariance, and ``temperature``.
    """

    def __init__(self, weights: Arrays):
        self.project = np.ascontiguousarray(weights["project"], np.float64)
        coef = np.asarray(weights["coef"], np.float64)
        self.coef = np.ascontiguousarray(coef.reshape(len(coef), -1).T)  # (rank², classes)
        self.intercept = np.asarray(weights["intercept"], np.float64)

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """The window is ``window_s``."""
        window, hop_s = round(request.window_s * request.sfreq_hz), request.hop / request.sfreq_hz
        if window < 2 * request.hop:
            raise SpecError(
                f"decoder 'riemann': a window of {request.window_s:g} s holds less than two hops of {hop_s:.3g} s; "
                f"use a window of {2 * hop_s:.3g} s or more"
            )
        return DecoderSpec(
            name="riemann",
            channels=request.channels,
            sfreq_hz=request.sfreq_hz,
            hop=request.hop,
            classes=request.classes,
            receptive_field=window,
            unit=request.unit,
        )

    @classmethod
    def fit(cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.integer], *, seed: int) -> Fitted:
        """Whiten, average the covariances, regress on the tangent space; nothing is random."""
        from pyriemann.geometry.base import invsqrtm
        from pyriemann.geometry.mean import mean_riemann

        window = x[:, :, -(spec.receptive_field or 0) :]
        project = whitener(window)
        covariances = shrunk_covariance(project @ window.astype(np.float64))
        whitening = invsqrtm(mean_riemann(covariances, tol=1e-6, maxiter=100))
        tangent = log_matrix(whitening @ covariances @ whitening)
        rank = len(whitening)
        coef, intercept = fit_logistic(tangent.reshape(len(x), -1), y, len(spec.classes), C=LOGISTIC_C)
        weights = {"project": project, "coef": coef.T.reshape(-1, rank, rank), "intercept": intercept}
        return Fitted(weights, {"whitening": whitening, "temperature": np.ones(1)})

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> Windowed:
        """The decoder around stored weights; SpecError if their shapes do not fit."""
        _check_shapes(spec, weights)
        return Windowed(cls(weights), spec)

    def logits(self, window: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Logits of window (batch, channels, n_samples) -> (batch, classes)."""
        covariance = shrunk_covariance(self.project @ window.astype(np.float64))
        whitening = params["whitening"]
        tangent = log_matrix(whitening @ covariance @ whitening.T)
        return tangent.reshape(len(window), -1) @ self.coef + self.intercept


def whitener(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """The projection that makes the pooled covariance of the trials the identity, without its null space.

    Parameters
    ----------
    x : ndarray, shape (n_trials, n_channels, n_samples)

    Returns
    -------
    ndarray, shape (rank, n_channels)
    """
    pooled = np.zeros((x.shape[1], x.shape[1]))
    for trial in x.astype(np.float64):
        trial = trial - trial.mean(axis=1, keepdims=True)
        pooled += trial @ trial.T / trial.shape[1]
    values, vectors = np.linalg.eigh(pooled / len(x))
    keep = values > RANK_TOLERANCE * values[-1]
    return np.ascontiguousarray((vectors[:, keep] / np.sqrt(values[keep])).T)


def shrunk_covariance(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ledoit and Wolf's covariance of each window: shrunk towards a multiple of the identity.

    Parameters
    ----------
    x : ndarray, shape (n, n_channels, n_samples)

    Returns
    -------
    ndarray, shape (n, n_channels, n_channels)
    """
    n_samples = x.shape[2]
    x = x - x.mean(axis=2, keepdims=True)
    fourth = (np.einsum("nct,nct->nt", x, x) ** 2).mean(axis=1)
    return shrink(x @ x.transpose(0, 2, 1) / n_samples, fourth, n_samples)


def shrink(covariance: NDArray[np.float64], fourth: NDArray[np.float64], n_samples: int) -> NDArray[np.float64]:
    """Ledoit and Wolf's shrinkage, in place, of covariances (n, p, p) with the mean 4th power of samples (n,)."""
    p = covariance.shape[1]
    mu = np.trace(covariance, axis1=1, axis2=2) / p
    norm = np.einsum("nij,nij->n", covariance, covariance)
    spread = norm - p * mu * mu
    error = (fourth - norm) / n_samples
    with np.errstate(invalid="ignore", divide="ignore"):
        amount = np.where(spread > 0, np.clip(error / spread, 0.0, 1.0), 1.0)
    diagonal = np.arange(p)
    covariance *= (1 - amount)[:, None, None]
    covariance[:, diagonal, diagonal] += (amount * mu)[:, None]
    return covariance


def log_matrix(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix logarithm of symmetric positive matrices (n, p, p); eigenvalues have a floor so that it stays finite."""
    values, vectors = np.linalg.eigh(matrices)
    floor = np.maximum(_FLOOR * values.mean(axis=1, keepdims=True), 1e-30)
    return (vectors * np.log(np.maximum(values, floor))[:, None, :]) @ vectors.transpose(0, 2, 1)


def _check_shapes(spec: DecoderSpec, weights: Arrays) -> None:
    shapes = {name: np.shape(weights.get(name, ())) for name in ("project", "coef", "intercept")}
    rank = shapes["project"][0] if shapes["project"] else 0
    n, k = len(spec.channels), len(spec.classes)
    wanted = {"project": (rank, n), "coef": (k, rank, rank), "intercept": (k,)}
    if shapes != wanted:
        raise SpecError(f"decoder 'riemann': weights have shapes {shapes}, the spec needs {wanted}; train it again")
