"""`cca`: which flicker is looked at, by canonical correlation with sines at each frequency and its harmonic.

Lin et al. 2006 (IEEE TBME 53:2610). Nothing but the temperature is learnt: the classes' names say their frequencies.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from decoders.epochs import design_epoch
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError

N_HARMONICS = 2
RANK_TOLERANCE = 1e-6  # of the strongest direction: an average reference leaves one without signal
_FREQUENCY = re.compile(r"(\d+(?:\.\d+)?)\s*hz", re.IGNORECASE)


class CCA:
    """Epoch -> for each class the log likelihood of its strongest canonical correlation -> logits.

    Parameters
    ----------
    spec : DecoderSpec
        Classes such as ``12Hz``.
    """

    def __init__(self, spec: DecoderSpec):
        self.spec = spec
        t_s = np.arange(spec.receptive_field or 0) / spec.sfreq_hz
        waves = [
            [f(2 * np.pi * k * hz * t_s) for k in range(1, N_HARMONICS + 1) for f in (np.sin, np.cos)]
            for hz in frequencies_hz(spec.classes)
        ]
        references = np.array(waves).transpose(0, 2, 1)
        self._references = np.linalg.qr(references - references.mean(axis=1, keepdims=True))[0]  # (classes, samples, 4)

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """The epoch is ``epoch_s``; SpecError where a class names no frequency, or one that cannot be seen."""
        spec = design_epoch("cca", request)
        for hz in frequencies_hz(request.classes):
            if not 0 < N_HARMONICS * hz < request.sfreq_hz / 2:
                raise SpecError(
                    f"decoder 'cca': {hz:g} Hz with {N_HARMONICS} harmonics needs a rate above "
                    f"{2 * N_HARMONICS * hz:g} Hz; the decoder's is {request.sfreq_hz:g} Hz"
                )
        if spec.receptive_field is not None and spec.receptive_field < 4 * N_HARMONICS * len(request.channels):
            raise SpecError(
                f"decoder 'cca': an epoch of {spec.receptive_field} samples is too short for {len(request.channels)} "
                "channels; make it longer by --epoch, such as 0 2"
            )
        return spec

    @classmethod
    def fit(cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.integer], *, seed: int) -> Fitted:
        """Nothing to learn."""
        return Fitted({}, {"temperature": np.ones(1)})

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> CCA:
        """The decoder; SpecError if there are weights, for it has none."""
        if weights:
            raise SpecError(f"decoder 'cca' has no weights, there are {', '.join(weights)}; train it again")
        return cls(spec)

    def predict(self, epoch: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Logits (batch, classes) of epoch (batch, channels, samples)."""
        r = np.stack([self._correlations(one) for one in epoch.astype(np.float64)])
        return -0.5 * epoch.shape[2] * np.log1p(-(np.minimum(r, 1 - 1e-9) ** 2))

    def _correlations(self, epoch: NDArray[np.float64]) -> NDArray[np.float64]:
        """Largest canonical correlation of one epoch (channels, samples) with each class -> (classes,)."""
        _, values, basis = np.linalg.svd(epoch - epoch.mean(axis=1, keepdims=True), full_matrices=False)
        basis = basis[values > RANK_TOLERANCE * values[0]]  # rows that span the signal over time
        if not len(basis):  # silence correlates with nothing
            return np.zeros(len(self._references))
        return np.linalg.svd(basis @ self._references, compute_uv=False)[:, 0]


def frequencies_hz(classes: tuple[str, ...]) -> list[float]:
    """The frequency that each class's name says.

    Raises
    ------
    SpecError
        A name says none.
    """
    found = [_FREQUENCY.fullmatch(name.strip()) for name in classes]
    if nameless := [name for name, match in zip(classes, found, strict=True) if match is None]:
        raise SpecError(
            f"decoder 'cca': class {', '.join(nameless)} names no frequency; call the classes by theirs, "
            "such as --labels 1=30Hz 2=20Hz"
        )
    return [float(match[1]) for match in found if match]
