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
from decoders.classical.riemann import log_matrix, shrink
from decoders.mirror import check_mirror, mirror_order
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError
from decoders.windowed import Windowed

LOGISTIC_C = 5e-4  # of features at unit scale, of which there are 1,632 for 16 channels and 4 bands
MAX_CHANNELS = 24  # of more, the directions of each band that differ most between classes are kept, this many:
N_DIRECTIONS = 16  # the logarithm of 12 matrices of 64 channels takes 4 ms, of 16 directions .3 ms
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
        ``filters`` (bands, n, channels) leave n directions of each aligned band, ``coef`` (segments, bands, n, n,
        classes), ``intercept`` (classes,).
    """

    def __init__(self, spec: DecoderSpec, weights: Arrays):
        self.spec = spec
        self.filters = np.asarray(weights["filters"], np.float64)
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
        whitened = matrix @ segments[:, 0] @ matrix.swapaxes(-1, -2)
        mirrored = bool(spec.options["mirror"])
        filters, order = _directions(spec, whitened, y)
        tangent = _tangent(segments, matrix, filters)
        n, n_segments, n_bands, c, _ = tangent.shape
        upper = np.triu_indices(c)
        twice = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
        if mirrored:
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
        n_channels = filters.shape[2]
        start = np.broadcast_to(np.eye(n_channels), (n_bands, n_channels, n_channels)) if align is not None else matrix
        params = {"align": np.array(start), "temperature": np.ones(1)}
        return Fitted({"filters": filters, "coef": whole, "intercept": intercept}, params)

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> Windowed:
        """The decoder around stored weights; SpecError if their shapes do not fit."""
        c, k = len(spec.channels) // spec.n_bands, len(spec.classes)
        n_segments, n = 3 if spec.options.get("halves") else 1, _n_directions(c)
        wanted = {"filters": (spec.n_bands, n, c), "coef": (n_segments, spec.n_bands, n, n, k), "intercept": (k,)}
        shapes = {name: np.shape(weights.get(name, ())) for name in wanted}
        if shapes != wanted:
            raise SpecError(
                f"decoder {spec.name!r}: weights have shapes {shapes}, the spec needs {wanted}; train it again"
            )
        return Windowed(cls(spec, weights), spec)

    def logits(self, window: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Logits of window (batch, channels, n_samples) -> (batch, classes)."""
        tangent = _tangent(band_covariances(self.spec, window), params["align"], self.filters)
        return tangent.reshape(len(window), -1) @ self.coef + self.intercept


def design_windowed(name: str, request: Request, options: dict[str, float]) -> DecoderSpec:
    """The spec of a decoder that takes a window of bands, and that recentring may align.

    Raises
    ------
    SpecError
        A window below two hops, an option that is not there, or electrodes that cannot be mirrored.
    """
    window, hop_s = 2 * int(request.window_s * request.sfreq_hz / 2), request.hop / request.sfreq_hz  # of two halves
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
    half, c = n_samples // 2, x.shape[1] // spec.n_bands
    parts = x[:, :, -n_samples:].reshape(len(x) * spec.n_bands, c, 2, half).swapaxes(1, 2).astype(np.float64)
    mean = parts.mean(axis=3, keepdims=True)
    parts -= mean
    fourth = (np.einsum("nhct,nhct->nht", parts, parts) ** 2).mean(axis=2)
    covariance = parts @ parts.swapaxes(2, 3) / half  # of the halves, from which that of the whole follows
    between = (mean[:, 0] - mean[:, 1]) / 2
    whole = covariance.mean(axis=1) + between @ between.swapaxes(1, 2)
    found = [shrink(whole, fourth.mean(axis=1), n_samples)]
    if spec.options.get("halves"):
        found += [shrink(covariance[:, i], fourth[:, i], half) for i in (0, 1)]
    return np.stack([each.reshape(len(x), -1, c, c) for each in found], axis=1)


def mean_alignment(covariances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse root of the Riemannian mean of each band: (n, bands, channels, channels) without the first axis."""
    from pyriemann.geometry.base import invsqrtm
    from pyriemann.geometry.mean import mean_riemann

    bands = np.moveaxis(covariances, 1, 0)
    return np.stack([invsqrtm(mean_riemann(band, tol=1e-6, maxiter=100)) for band in bands])


def _n_directions(n_channels: int) -> int:
    return n_channels if n_channels <= MAX_CHANNELS else N_DIRECTIONS


def _directions(
    spec: DecoderSpec, whitened: NDArray[np.float64], y: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Filters (bands, n, channels) from aligned covariances (trials, bands, ...), and the number of each one's mirror.

    All directions where channels are few; else those in which the means of the classes differ most (as in `csp`).
    """
    c = whitened.shape[-1]
    order = mirror_order(spec.channels[:c]) if spec.options["mirror"] else np.arange(c)
    if c <= MAX_CHANNELS:
        return np.broadcast_to(np.eye(c), (spec.n_bands, c, c)).copy(), order
    means = np.stack([whitened[y == k].mean(axis=0) for k in range(len(spec.classes))])
    if not spec.options["mirror"]:
        spread = ((means - means.mean(axis=0)) @ (means - means.mean(axis=0))).sum(axis=0)
        _, vectors = np.linalg.eigh(spread)
        return vectors[..., -N_DIRECTIONS:].swapaxes(1, 2).copy(), np.arange(N_DIRECTIONS)
    difference = means[1] - means[0]
    difference = difference - difference[:, order][:, :, order]  # what mirrored heads add: eigenvectors come in pairs
    _, vectors = np.linalg.eigh(difference)
    half = vectors[..., -N_DIRECTIONS // 2 :].swapaxes(1, 2)
    return np.concatenate((half, half[..., order]), axis=1), np.roll(np.arange(N_DIRECTIONS), N_DIRECTIONS // 2)


def _tangent(segments: NDArray[np.float64], align: Any, filters: NDArray[np.float64]) -> NDArray[np.float64]:
    align = np.asarray(align, np.float64)
    if align.ndim == 4:  # one for each trial
        align = align[:, None]
    unmixing = filters @ align
    aligned = unmixing @ segments @ unmixing.swapaxes(-1, -2)
    return log_matrix(aligned.reshape(-1, *aligned.shape[-2:])).reshape(aligned.shape)
