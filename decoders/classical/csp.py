"""`csp`: common spatial patterns of each band, the logarithm of their power, linear discriminant analysis.

Blankertz et al. 2008 (IEEE Signal Process. Mag. 25:41); with several bands Ang et al. 2008 (IJCNN, without its
selection of features). Covariances are shrunk (Ledoit and Wolf 2004), so is the discriminant. pyriemann and
scikit-learn fit it; a step needs numpy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoders.classical.riemann_fb import band_covariances, design_windowed, mean_alignment
from decoders.mirror import mirror_order
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError
from decoders.windowed import Windowed

OPTIONS = {"mirror": 0.0, "n_filters": 6.0}
_FLOOR = 1e-12  # of an aligned covariance, which is about the identity: silence stays finite


class CSP:
    """Window -> aligned -> filters of each band -> log power -> logits.

    ``params``: ``align`` (bands, channels, channels), or one for each row of a batch; ``temperature``.

    Parameters
    ----------
    spec : DecoderSpec
        ``options["n_filters"]`` in a band; ``options["mirror"]``: whether mirrored trials were added in training.
    weights : dict
        ``filters`` (bands, n_filters, channels), ``coef`` (bands·n_filters, classes), ``intercept`` (classes,).
    """

    def __init__(self, spec: DecoderSpec, weights: Arrays):
        self.spec = spec
        self.filters = np.asarray(weights["filters"], np.float64)
        self.coef = np.ascontiguousarray(weights["coef"], np.float64)
        self.intercept = np.asarray(weights["intercept"], np.float64)

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """The window is ``window_s``; there are no more filters than channels."""
        spec = design_windowed("csp", request, OPTIONS)
        n, c = spec.options["n_filters"], len(spec.channels) // spec.n_bands
        if not n >= 1 or n != int(n):
            raise SpecError(f"decoder 'csp': n_filters {n:g}; it must be a whole number of at least 1")
        spec.options["n_filters"] = float(min(n, c))
        return spec

    @classmethod
    def fit(
        cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.integer], *, seed: int,
        align: NDArray[np.float64] | None = None,
    ) -> Fitted:  # fmt: skip
        """Align (to the trials' mean, or each trial by its own ``align``), filters, discriminant; nothing is random."""
        from pyriemann import spatialfilters
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        covariances = band_covariances(spec, x)[:, 0]
        matrix = mean_alignment(covariances) if align is None else align
        covariances = matrix @ covariances @ matrix.swapaxes(-1, -2)
        if spec.options["mirror"]:
            order = mirror_order(spec.channels[: covariances.shape[-1]])
            covariances = np.concatenate((covariances, covariances[..., order, :][..., order]))
            y = np.concatenate((y, 1 - y))
        n_filters = int(spec.options["n_filters"])
        filters = np.stack(
            [
                np.asarray(spatialfilters.CSP(nfilter=n_filters, metric="euclid").fit(band, y).filters_)
                for band in np.moveaxis(covariances, 1, 0)
            ]
        )
        features = _log_power(filters, covariances)
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features, y)
        coef, intercept = lda.coef_, lda.intercept_
        if len(spec.classes) == 2:  # one row: the log odds of the second class
            coef, intercept = np.concatenate((-coef, coef)) / 2, np.concatenate((-intercept, intercept)) / 2
        c = filters.shape[2]
        start = np.broadcast_to(np.eye(c), (spec.n_bands, c, c)) if align is not None else matrix
        weights = {"filters": filters, "coef": np.ascontiguousarray(coef.T), "intercept": np.array(intercept)}
        return Fitted(weights, {"align": np.array(start), "temperature": np.ones(1)})

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> Windowed:
        """The decoder around stored weights; SpecError if their shapes do not fit."""
        n, k = int(spec.options.get("n_filters", 0)), len(spec.classes)
        wanted = {
            "filters": (spec.n_bands, n, len(spec.channels) // spec.n_bands), "coef": (spec.n_bands * n, k),
            "intercept": (k,),
        }  # fmt: skip
        shapes = {name: np.shape(weights.get(name, ())) for name in wanted}
        if shapes != wanted:
            raise SpecError(f"decoder 'csp': weights have shapes {shapes}, the spec needs {wanted}; train it again")
        return Windowed(cls(spec, weights), spec)

    def logits(self, window: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Logits of window (batch, channels, n_samples) -> (batch, classes)."""
        align = np.asarray(params["align"], np.float64)
        covariances = align @ band_covariances(self.spec, window)[:, 0] @ align.swapaxes(-1, -2)
        return _log_power(self.filters, covariances) @ self.coef + self.intercept


def _log_power(filters: NDArray[np.float64], covariances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log power (n, bands·filters) of covariances (n, bands, channels, channels)."""
    power = np.einsum("bfc,nbcd,bfd->nbf", filters, covariances, filters, optimize=True)
    return np.log(np.maximum(power, _FLOOR)).reshape(len(covariances), -1)
