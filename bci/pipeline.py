"""Filters and decoder of one model, fitted to one stream: what a hop costs, and when its answer may be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.config import AlarmSection
from bci.errors import ModelError
from bci.ports import END_MARKER
from bci.signal.epochs import LATE_S, EpochRing
from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
from bci.types import Flag, StreamSpec
from calibration.align import Recentring
from calibration.drift import Baseline, Watch
from decoders.checkpoint import Model
from decoders.engine import Compute, Runner
from decoders.epochs import EpochRunner
from decoders.spec import Decoder, DecoderError, EpochDecoder

DEFAULT_ALARMS = AlarmSection()
_UNTRUSTED = Flag.FILLED | Flag.NONFINITE | Flag.BAD_CHANNEL


class Pipeline:
    """Raw blocks in, class probabilities out, hop by hop; or, for a model that answers markers, epoch by epoch.

    A model that recentres gets another ``align`` every `DecoderSpec.recentre_hops` good hops, before the last of them
    is decoded. The running mean outlives segments; it begins anew with the pipeline.

    Parameters
    ----------
    model
        As `decoders.checkpoint.load_model` gives it.
    stream
        The stream that it shall run on; what does not fit is refused here, by name.
    bad_channels
        Inputs of the model that carry no signal today; they are rebuilt from the others by spherical splines.
    lock_to
        Labels of further markers that an epoch model answers, beside those that it was trained with; "*" is all.
    compute
        Where hops are decoded; see `decoders.engine.Runner`.
    alarms
        When the signal is too far from that of calibration; without effect for a model that keeps no baseline.

    Raises
    ------
    ModelError
        A channel, unit or rate of the model is not what the stream has; or it cannot be computed here.
    """

    def __init__(
        self,
        model: Model,
        stream: StreamSpec,
        bad_channels: Sequence[str] = (),
        lock_to: Sequence[str] = (),
        compute: Compute = "auto",
        alarms: AlarmSection = DEFAULT_ALARMS,
    ):
        try:
            spec = msgspec.convert(model.preprocessing, PreprocessingSpec)
        except msgspec.ValidationError as error:
            raise ModelError(f"model {model.hash[:12]}: its preprocessing cannot be read ({error})") from None
        bad = dict.fromkeys((*spec.interpolate, *bad_channels))
        wanted = msgspec.structs.replace(spec, interpolate=tuple(bad))
        self.preprocessing = Preprocessing(wanted, stream, alarms.max_bad_share)
        self.model_hash = model.hash
        if model.spec.outputs:
            raise ModelError(
                f"model {model.hash[:12]}: {model.spec.name} gives {', '.join(model.spec.outputs)}; "
                "a session decides between classes, so take a classifier"
            )
        self.classes = tuple(model.spec.classes)
        self.block = self.preprocessing.block
        self.signal_delay_s = self.preprocessing.delay_s + model.spec.delay_s
        hop_s = spec.hop / spec.sfreq_hz
        self.runner = self._ring = self._recentring = None
        self.compute = "numpy"
        self._nothing = np.full(len(self.classes), 1 / len(self.classes))
        if model.spec.epoch is None:
            try:
                self.runner = Runner(cast("Decoder", model.decoder), model.params, model.onnx, compute)
            except DecoderError as error:
                raise ModelError(f"model {model.hash[:12]}: {error}") from None
            self.compute = self.runner.compute
            if model.spec.recentre_hops:
                self._recentring = Recentring(starting_align(model.params), model.spec.recentre_hops)
            self._markers = frozenset()
        else:
            self._first, stop = model.spec.epoch
            self._sfreq_hz, self._last_s = stream.sfreq_hz, (stop - 1) / spec.sfreq_hz
            self._ring = EpochRing(stop - self._first, spec.hop, round(LATE_S * spec.sfreq_hz))
            self._epochs = EpochRunner(cast("EpochDecoder", model.decoder), model.params)
            self._markers = frozenset((*model.info.get("labels", {}), *lock_to))
        # until then an answer depends on where the pipeline was started, or on a sample that was made up
        self._n_settling = math.ceil(self.preprocessing.settling_s / hop_s)
        self._n_priming = model.spec.n_priming_hops + self._n_settling
        self.n_prime_blocks = math.ceil(self._n_priming * hop_s * stream.sfreq_hz / self.block) + 1
        self._n_hops = self._n_samples = 0  # since the start; raw ones
        self._taint: dict[Flag, int] = {}
        self._alarms, self.drift_limit = alarms, alarms.drift_sd
        kept = model.info.get("baseline")
        self._watch = Watch(msgspec.convert(kept, Baseline), hop_s) if kept else None
        self._has_drifted = False

    @property
    def is_epoch_model(self) -> bool:
        """Whether it answers markers instead of hops."""
        return self._ring is not None

    def warm_up(self) -> None:
        """Pay for first calls before anything is live."""
        (self.runner or self._epochs).warm_up()

    def start(self, first_sample: NDArray) -> None:
        """Begin a segment: filters in steady state for ``first_sample`` (n_channels,), decoder state as new."""
        self.preprocessing.start(first_sample)
        if self.runner is not None:
            self.runner.reset()
        if self._recentring is not None:
            self._recentring.begin_segment()
        if self._ring is not None:
            self._ring.start()
        if self._watch is not None:
            self._watch.begin_segment()
        self._n_hops = self._n_samples = 0
        self._taint = {}

    def step(self, samples: NDArray, n_filled: int, mark: Callable[[str], None]) -> list[tuple[NDArray, Flag]]:
        """One block (n_channels, block) -> for each hop that it completes: probabilities (n_classes,) and flags.

        A flag about samples stays for as long as they can be felt: in the filters, then in the decoder's context.
        """
        self._n_samples += self.block
        hops = self.preprocessing.step(samples)
        mark("filtered")
        if n_filled:
            self._taint[Flag.FILLED] = self._n_priming
        results = []
        for data, flags in hops:
            self._n_hops += 1
            if self._watch is not None and self._n_hops > self._n_settling and not flags & _UNTRUSTED:
                flags |= self._look(self._watch, data)
            for flag in (Flag.NONFINITE, Flag.BAD_CHANNEL, Flag.ARTEFACT):
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
            if self._recentring is not None:
                is_good = self._n_hops > self._n_settling and not flags & (_UNTRUSTED | Flag.ARTEFACT)
                if self._recentring.step(data, is_good) and self.runner is not None:
                    self.runner.set_params(align=self._recentring.align)
            results.append(self._answer(data, flags))
        mark("decoded")
        return results

    def _look(self, watch: Watch, data: NDArray[np.float32]) -> Flag:
        """Compare with calibration; the alarm of drift ends at 80 % of where it begins."""
        watch.step(data, self._alarms.artefact_sd)
        self._has_drifted = watch.drift > self.drift_limit * (0.8 if self._has_drifted else 1.0)
        return Flag.ARTEFACT if watch.artefact > self._alarms.artefact_sd else Flag(0)

    @property
    def drift(self) -> float:
        """How far the signal is from that of calibration; 0 for a model that keeps no baseline."""
        return self._watch.drift if self._watch is not None else 0.0

    @property
    def has_drifted(self) -> bool:
        """Whether it is too far to decide anything."""
        return self._has_drifted

    def _answer(self, data: NDArray[np.float32], flags: Flag) -> tuple[NDArray, Flag]:
        if self.runner is not None:
            return self.runner.step(data), flags
        assert self._ring is not None
        self._ring.push(data, flags)
        return self._nothing, flags | Flag.BETWEEN_EPOCHS

    @property
    def bad_channels(self) -> tuple[str, ...]:
        """Inputs that have been flat or saturated over the last second."""
        return self.preprocessing.bad_channels

    def answers(self, label: str) -> bool:
        """Whether a marker of this label gets a prediction of its own."""
        return label in self._markers or ("*" in self._markers and label != END_MARKER)

    def epoch(self, n_back: int) -> tuple[NDArray, Flag, float] | None:
        """Decide the epoch of a marker that fell ``n_back`` raw samples before the newest one; None until it is whole.

        Returns
        -------
        p : ndarray, shape (n_classes,)
        flags : Flag
        end_s : float
            How long before the newest sample the epoch ended.

        Raises
        ------
        EpochGoneError
            It will never be whole.
        """
        assert self._ring is not None
        first = self.preprocessing.sample_at(self._n_samples - 1 - n_back) + self._first
        cut = self._ring.cut(first)
        if cut is None:
            return None
        data, flags = cut
        return self._epochs.predict(data), flags, max(0.0, n_back / self._sfreq_hz - self._last_s)


def starting_align(params: Mapping[str, NDArray]) -> NDArray:
    """Where recentring starts; of an ensemble the members' own, which `decoders.ensemble.combine` has compared."""
    return params["align"] if "align" in params else params["0.align"]
