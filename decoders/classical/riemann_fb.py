"""`riemann_fb`: covariances of a filter bank, over the window and over its halves, tangent space, logistic regression.

The bands are the rows of the input (`DecoderSpec.n_bands`); the tangent space is that of Barachant et al. 2012 (IEEE
TBME 59:920), the bank that of Ang et al. 2008 (IJCNN, FBCSP). Each band is aligned by a matrix of its own, which live
recentring moves (Zanini et al. 2018, IEEE TBME 65:1107; Kumar et al. 2019, arXiv:1909.04733).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoders.classical.linear import fit_logistic
from decoders.classical.riemann import log_matrix, shrunk_covariance
from decoders.mirror import check_mirror, mirror_order
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError
from decoders.windowed import Windowed

LOGISTIC_C = 5e-4  # of features at unit scale, of which there are 1,632 for 16 channels and 4 bands
OPTIONS = {"mirror": 0.0, "halves": 1.0}


class RiemannFB:
    """Covariance of each band and segment -> aligned -> tangent vector -> logits.

    ``params``: ``align`` (bands, channels, channels), or one for each row of a batch; ``temperature``.

    Parameters
    ----------
    spec : DecoderSpec
        ``options["halves"]``: whether the halves of the window are segments beside the whole; ``options["mirror"]``:
        whether it was trained to give the other of two classes for a head that is mirrored left to right.
    weights : dict
        ``coef`` (segments, bands, channels, channels, classes), ``intercept`` (classes,).
    """

    def __init__(self, spec: DecoderSpec, weights: Arrays):
        self.spec = spec
        coef = np.asarray(weights["coef"], np.float64)
        self.coef = np.ascontiguousarray(coef.reshape(-1, coef.shape[-1]))
        self.intercept = np.asarray(weights["intercept"], np.float64)

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """The window is ``window_s``."""
        return design_windowed("riemann_fb", request, OPTIONS)

    @classmethod
    def fit(
        cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.integer], *, seed: int,
        align: NDArray[np.float64] | None = None,
    ) -> Fitted:  # fmt: skip
        """Align (to the trials' mean, or each trial by its own ``align``), then regress; nothing is random."""
        segments = band_covariances(spec, x)
        matrix = mean_alignment(segments[:, 0]) if align is None else align
        tangent = _tangent(segments, matrix)
        n, n_segments, n_bands, c, _ = tangent.shape
        upper = np.triu_indices(c)
        twice = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
        if mirrored := bool(spec.options["mirror"]):
            order = mirror_order(spec.channels[:c])
            tangent = (tangent - tangent[..., order, :][..., order]) / 2
        features = (tangent[..., upper[0], upper[1]] * twice).reshape(n, -1)
        scale = np.maximum(np.sqrt((features**2).mean(axis=0)), 1e-9)  # what is zero by symmetry stays zero
        coef, intercept = fit_logistic(features / scale, y, len(spec.classes), C=LOGISTIC_C, intercept=not mirrored)
        flat = (coef / scale[:, None]).reshape(n_segments, n_bands, len(twice), -1) * (twice / 2)[:, None]
        whole = np.zeros((n_segments, n_bands, c, c, flat.shape[-1]))
        whole[:, :, upper[0], upper[1]] += flat
        whole[:, :, upper[1], upper[0]] += flat
        if mirrored:
            whole = (whole - whole[:, :, order][:, :, :, order]) / 2
        start = np.broadcast_to(np.eye(c), (n_bands, c, c)) if align is not None else matrix
        params = {"align": np.array(start), "temperature": np.ones(1)}
        return Fitted({"coef": whole, "intercept": intercept}, params)

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> Windowed:
        """The decoder around stored weights; SpecError if their shapes do not fit."""
        c, k = len(spec.channels) // spec.n_bands, len(spec.classes)
        n_segments = 3 if spec.options.get("halves") else 1
        wanted = {"coef": (n_segments, spec.n_bands, c, c, k), "intercept": (k,)}
        shapes = {name: np.shape(weights.get(name, ())) for name in wanted}
        if shapes != wanted:
            raise SpecError(
                f"decoder {spec.name!r}: weights have shapes {shapes}, the spec needs {wanted}; train it again"
            )
        return Windowed(cls(spec, weights), spec)

    def logits(self, window: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Logits of window (batch, channels, n_samples) -> (batch, classes)."""
        tangent = _tangent(band_covariances(self.spec, window), params["align"])
        return tangent.reshape(len(window), -1) @ self.coef + self.intercept


def design_windowed(name: str, request: Request, options: dict[str, float]) -> DecoderSpec:
    """The spec of a decoder that takes a window of bands, and that recentring may align.

    Raises
    ------
    SpecError
        A window below two hops, an option that is not there, or electrodes that cannot be mirrored.
    """
    window, hop_s = round(request.window_s * request.sfreq_hz), request.hop / request.sfreq_hz
    if window < 2 * request.hop:
        raise SpecError(
            f"decoder {name!r}: a window of {request.window_s:g} s holds less than two hops of {hop_s:.3g} s; "
            f"use a window of {2 * hop_s:.3g} s or more"
        )
    if unknown := sorted(set(request.options) - set(options)):
        raise SpecError(f"decoder {name!r}: no option {', '.join(unknown)}; there are {', '.join(options)}")
    spec = DecoderSpec(
        name=name,
        channels=request.channels,
        sfreq_hz=request.sfreq_hz,
        hop=request.hop,
        classes=request.classes,
        n_bands=request.n_bands,
        receptive_field=window,
        recentre_hops=request.recentre_hops,
        unit=request.unit,
        options=options | request.options,
    )
    check_mirror(spec)
    return spec


def band_covariances(spec: DecoderSpec, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shrunk covariance of each band over the window at the end of x (n, channels, samples), then of its halves.

    Returns
    -------
    ndarray, shape (n, segments, bands, channels, channels)
    """
    n_samples = spec.receptive_field or 0
    bands = x[:, :, -n_samples:].astype(np.float64).reshape(len(x) * spec.n_bands, -1, n_samples)
    half = n_samples // 2
    cuts = [slice(None), slice(half), slice(half, None)] if spec.options.get("halves") else [slice(None)]
    c = bands.shape[1]
    return np.stack([shrunk_covariance(bands[:, :, cut]).reshape(len(x), -1, c, c) for cut in cuts], axis=1)


def mean_alignment(covariances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse root of the Riemannian mean of each band: (n, bands, channels, channels) without the first axis."""
    from pyriemann.geometry.base import invsqrtm
    from pyriemann.geometry.mean import mean_riemann

    bands = np.moveaxis(covariances, 1, 0)
    return np.stack([invsqrtm(mean_riemann(band, tol=1e-6, maxiter=100)) for band in bands])


def _tangent(segments: NDArray[np.float64], align: Any) -> NDArray[np.float64]:
    align = np.asarray(align, np.float64)
    if align.ndim == 4:  # one for each trial
        align = align[:, None]
    aligned = align @ segments @ align.swapaxes(-1, -2)
    return log_matrix(aligned.reshape(-1, *aligned.shape[-2:])).reshape(aligned.shape)
