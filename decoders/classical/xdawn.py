"""`xdawn`: responses to markers, by xDAWN filters, covariances beside the mean responses, and the tangent space.

Rivet et al. 2009 (IEEE TBME 56:2035, xDAWN); Barachant and Congedo 2014 (arXiv 1409.0107, the covariance of a filtered
epoch stacked on the filtered mean responses); shrinkage by Chen et al. 2010 (OAS, IEEE TSP 58:5016). pyriemann and
scikit-learn fit it; an epoch needs numpy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoders.classical.linear import fit_logistic
from decoders.classical.riemann import log_matrix
from decoders.epochs import design_epoch
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError

N_FILTERS = 2  # a class
LOGISTIC_C = 1.0


class Xdawn:
    """Epoch -> covariance with the mean responses -> tangent vector -> logits.

    Parameters
    ----------
    spec : DecoderSpec
    weights : dict
        ``filters`` (n, channels), ``responses`` (n, samples), the filtered mean response of every class, ``coef``
        (2n, 2n, classes), ``intercept`` (classes,). ``whitening`` (2n, 2n) of the tangent space is among ``params``.
    """

    def __init__(self, spec: DecoderSpec, weights: Arrays):
        self.spec = spec
        self.filters = np.asarray(weights["filters"], np.float64)
        self.responses = np.asarray(weights["responses"], np.float64)
        coef = np.asarray(weights["coef"], np.float64)
        self.coef = np.ascontiguousarray(coef.reshape(-1, coef.shape[-1]))
        self.intercept = np.asarray(weights["intercept"], np.float64)

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """The epoch is ``epoch_s``."""
        return design_epoch("xdawn", request)

    @classmethod
    def fit(cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.integer], *, seed: int) -> Fitted:
        """Filters and mean responses of each class, then a regression in the tangent space; nothing is random."""
        from pyriemann.geometry.base import invsqrtm
        from pyriemann.geometry.mean import mean_riemann
        from pyriemann.spatialfilters import Xdawn as Filters

        scale = float(x.std(dtype=np.float64))  # volts, microvolts and tesla alike
        x64 = x.astype(np.float64) / scale
        filters = Filters(nfilter=min(N_FILTERS, x.shape[1]), estimator="scm").fit(x64, y)
        spatial, responses = np.asarray(filters.filters_), np.asarray(filters.evokeds_)
        n = len(spatial)
        covariances = stacked_covariance(responses, spatial @ x64)
        whitening = invsqrtm(mean_riemann(covariances, tol=1e-6, maxiter=100))
        tangent = log_matrix(whitening @ covariances @ whitening)
        coef, intercept = fit_logistic(tangent.reshape(len(x), -1), y, len(spec.classes), C=LOGISTIC_C)
        weights: Arrays = {"filters": spatial / scale, "responses": responses}
        weights |= {"coef": coef.reshape(2 * n, 2 * n, -1), "intercept": intercept}
        return Fitted(weights, {"whitening": whitening, "temperature": np.ones(1)})

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> Xdawn:
        """The decoder around stored weights; SpecError if their shapes do not fit."""
        shapes = {name: np.shape(weights.get(name, ())) for name in ("filters", "responses", "coef", "intercept")}
        n = shapes["filters"][0] if shapes["filters"] else 0
        wanted = {
            "filters": (n, len(spec.channels)), "responses": (n, spec.receptive_field),
            "coef": (2 * n, 2 * n, len(spec.classes)), "intercept": (len(spec.classes),),
        }  # fmt: skip
        if shapes != wanted:
            raise SpecError(f"decoder 'xdawn': weights have shapes {shapes}, the spec needs {wanted}; train it again")
        return cls(spec, weights)

    def predict(self, epoch: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Logits (batch, classes) of epoch (batch, channels, samples)."""
        whitening = params["whitening"]
        covariances = stacked_covariance(self.responses, self.filters @ epoch.astype(np.float64))
        tangent = log_matrix(whitening @ covariances @ whitening.T)
        return tangent.reshape(len(epoch), -1) @ self.coef + self.intercept


def stacked_covariance(responses: NDArray[np.float64], filtered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shrunk covariance (batch, 2n, 2n) of mean responses (n, samples) on filtered epochs (batch, n, samples)."""
    return oas_covariance(np.concatenate((np.broadcast_to(responses, filtered.shape), filtered), axis=1))


def oas_covariance(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance shrunk towards a multiple of the identity by the oracle approximation of Chen et al. 2010.

    Parameters
    ----------
    x : ndarray, shape (n, n_channels, n_samples)

    Returns
    -------
    ndarray, shape (n, n_channels, n_channels)
    """
    p, n = x.shape[1:]
    x = x - x.mean(axis=2, keepdims=True)
    covariance = x @ x.transpose(0, 2, 1) / n
    mu = np.trace(covariance, axis1=1, axis2=2) / p
    alpha = (covariance * covariance).mean(axis=(1, 2))  # as in scikit-learn, which follows the paper's erratum
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = (alpha + mu**2) / ((n + 1.0) * (alpha - mu**2 / p))
    rho = np.where(np.isfinite(rho) & (rho > 0), np.minimum(rho, 1.0), 1.0)
    shrunk = (1 - rho)[:, None, None] * covariance
    at = np.arange(p)
    shrunk[:, at, at] += (rho * mu)[:, None]
    return shrunk
