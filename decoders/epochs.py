"""`EpochRunner`: asks a decoder that answers markers, one epoch at a time, the same bits every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoders.engine import softmax, use_one_thread
from decoders.spec import DecoderSpec, EpochDecoder, Params, Request, SpecError


class EpochRunner:
    """One epoch decoder, live or in replay.

    Parameters
    ----------
    decoder : EpochDecoder
    params : mapping of str to ndarray
        What recalibration changes, always with ``temperature`` (1,).
    """

    def __init__(self, decoder: EpochDecoder, params: Params):
        use_one_thread()
        self.decoder, self.spec, self._params = decoder, decoder.spec, params
        self._temperature = float(np.asarray(params["temperature"]).reshape(-1)[0])
        if not self._temperature > 0:
            raise SpecError(f"decoder {self.spec.name!r}: temperature {self._temperature:g}; it must be above 0")
        # the epoch always lies at the same place in memory
        self._epoch = np.zeros((1, len(self.spec.channels), self.spec.receptive_field or 0), np.float32)

    def warm_up(self) -> None:
        """Pay for the first calls now."""
        noise = np.random.default_rng(0).normal(size=self._epoch.shape[1:])
        self.predict(noise.astype(np.float32))

    def predict(self, epoch: NDArray[np.float32]) -> NDArray[np.float64]:
        """One epoch (channels, samples) -> probabilities (classes,)."""
        if epoch.shape != self._epoch.shape[1:]:
            raise SpecError(
                f"decoder {self.spec.name!r}: an epoch of shape {epoch.shape}, it takes {self._epoch.shape[1:]}"
            )
        self._epoch[0] = epoch
        return softmax(np.asarray(self.decoder.predict(self._epoch, self._params)[0], np.float64) / self._temperature)


def design_epoch(name: str, request: Request) -> DecoderSpec:
    """The spec of a family that answers markers, for the epoch that was asked for.

    Raises
    ------
    SpecError
        The epoch is empty, or ends before the marker.
    """
    start_s, stop_s = request.epoch_s
    first, stop = round(start_s * request.sfreq_hz), round(stop_s * request.sfreq_hz)
    if not (start_s < stop_s and stop >= 1 and stop - first >= 2):
        raise SpecError(
            f"decoder {name!r}: an epoch from {start_s:g} to {stop_s:g} s; it must end after the marker and hold "
            "two samples or more, such as 0 to 0.8 s"
        )
    return DecoderSpec(
        name=name,
        channels=request.channels,
        sfreq_hz=request.sfreq_hz,
        hop=request.hop,
        classes=request.classes,
        receptive_field=stop - first,
        unit=request.unit,
        epoch=(first, stop),
    )
