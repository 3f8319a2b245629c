"""Filters and decoder of one model, fitted to one stream: what a hop costs, and when its answer may be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
from numpy.typing import NDArray

from bci.errors import ModelError
from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
from bci.types import Flag, StreamSpec
from decoders.checkpoint import Model
from decoders.engine import Runner


class Pipeline:
    """Raw blocks in, class probabilities out, hop by hop.

    Parameters
    ----------
    model
        As `decoders.checkpoint.load_model` gives it.
    stream
        The stream that it shall run on; what does not fit is refused here, by name.
    bad_channels
        Inputs of the model that carry no signal today; they are rebuilt from the others by spherical splines.

    Raises
    ------
    ModelError
        A channel, unit or rate of the model is not what the stream has.
    """

    def __init__(self, model: Model, stream: StreamSpec, bad_channels: Sequence[str] = ()):
        try:
            spec = msgspec.convert(model.preprocessing, PreprocessingSpec)
        except msgspec.ValidationError as error:
            raise ModelError(f"model {model.hash[:12]}: its preprocessing cannot be read ({error})") from None
        bad = dict.fromkeys((*spec.interpolate, *bad_channels))
        self.preprocessing = Preprocessing(msgspec.structs.replace(spec, interpolate=tuple(bad)), stream)
        self.runner = Runner(model.decoder, model.params)
        self.model_hash = model.hash
        self.classes = tuple(model.spec.classes)
        self.block = self.preprocessing.block
        self.signal_delay_s = self.preprocessing.delay_s + model.spec.delay_s
        hop_s = spec.hop / spec.sfreq_hz
        # until then an answer depends on where the pipeline was started, or on a sample that was made up
        self._n_priming = model.spec.n_priming_hops + math.ceil(self.preprocessing.settling_s / hop_s)
        self.n_prime_blocks = math.ceil(self._n_priming * hop_s * stream.sfreq_hz / self.block) + 1
        self._n_hops = 0
        self._taint: dict[Flag, int] = {}

    def warm_up(self) -> None:
        """Pay for first calls before anything is live."""
        self.runner.warm_up()

    def start(self, first_sample: NDArray) -> None:
        """Begin a segment: filters in steady state for ``first_sample`` (n_channels,), decoder state as new."""
        self.preprocessing.start(first_sample)
        self.runner.reset()
        self._n_hops = 0
        self._taint = {}

    def step(self, samples: NDArray, n_filled: int, mark: Callable[[str], None]) -> list[tuple[NDArray, Flag]]:
        """One block (n_channels, block) -> for each hop that it completes: probabilities (n_classes,) and flags.

        A flag about samples stays for as long as they can be felt: in the filters, then in the decoder's context.
        """
        hops = self.preprocessing.step(samples)
        mark("filtered")
        if n_filled:
            self._taint[Flag.FILLED] = self._n_priming
        results = []
        for data, flags in hops:
            self._n_hops += 1
            p = self.runner.step(data)
            for flag in (Flag.NONFINITE, Flag.BAD_CHANNEL):
                if flags & flag:
                    self._taint[flag] = self._n_priming
            for flag, n_left in list(self._taint.items()):
                flags |= flag
                if n_left <= 1:
                    del self._taint[flag]
                else:
                    self._taint[flag] = n_left - 1
            if self._n_hops < self._n_priming:
                flags |= Flag.PRIMING
            results.append((p, flags))
        mark("decoded")
        return results
