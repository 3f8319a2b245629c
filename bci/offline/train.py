"""`bci train`: recordings to a calibrated model, through the live preprocessing."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.config import channel_index
from bci.control.gate import GateSettings
from bci.errors import ConfigError, ModelError
from bci.offline.card import card
from bci.offline.gate_choice import choose_gate
from bci.offline.resequenced import TrainingStreams
from bci.offline.stream import play, primary_stream, subject_and_run, with_unit
from bci.offline.work import WorkFolder
from bci.session import Session
from bci.signal.epochs import LATE_S, EpochRing
from bci.signal.montage import Reference
from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
from bci.types import BRAIN, Flag, MarkerPlaced, Prediction, Recording, SegmentStarted, StreamSpec
from calibration.drift import baseline
from calibration.fit import calibrate
from calibration.trials import Cue, HopRun, Trials, collect_epochs, cut_trials
from decoders import load_class
from decoders.checkpoint import load_model, save_model
from decoders.onnx_step import Exported, export_fitted
from decoders.spec import DecoderError, DecoderSpec, FitError, Fitted, Request
from decoders.training.plan import Plan
from decoders.training.streams import learns_from_streams

_UNTRUSTED = Flag.PRIMING | Flag.FILLED | Flag.NONFINITE


class TrainSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What to learn from recordings.

    ``labels`` maps markers to classes, in the order of the classes. ``channels`` are labels, all of EEG or MEG where
    None; ``bad_channels`` among them are rebuilt from the others, in training and ever after. ``clip`` limits the
    filtered signal to plus and minus so much, in the model's unit, against artefacts. ``decide_at_s`` counts from the
    cue to the end of the window; ``bands_hz`` is a filter bank instead of ``bandpass_hz``; ``sfreq_hz`` is the rate of
    the decoder, the stream's own where None. ``recentre`` "riemann" lets the alignment follow the signal live, a step
    every ``window_s``; ``mirror`` makes use of two classes being left and right. ``plan`` is how to train a network,
    ``init`` the folder of a model whose weights it begins with.
    """

    labels: dict[str, str]
    decoder: str = "riemann"
    channels: tuple[str, ...] | None = None
    stream: str | None = None
    unit: str | None = None
    trigger: str = ""
    reference: Reference = "none"
    bipolar_pairs: tuple[tuple[str, str], ...] = ()
    bandpass_hz: tuple[float | None, float | None] | None = (8.0, 30.0)
    bands_hz: tuple[tuple[float, float], ...] = ()
    notch_hz: float | None = None
    notch_harmonics: int = 1
    clip: float | None = None
    bad_channels: tuple[str, ...] = ()
    sfreq_hz: float | None = None
    window_s: float = 3.0
    recentre: Literal["none", "riemann"] = "none"
    mirror: bool = False
    epoch_s: tuple[float, float] = (0.0, 0.8)
    filter_order: int = 4
    hop_s: float = 0.1
    decide_at_s: float = 3.5
    seed: int = 0
    false_commands_per_min: float | None = None
    plan: Plan | None = None
    init: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A model that is ready to be saved."""

    spec: DecoderSpec
    fitted: Fitted
    preprocessing: PreprocessingSpec
    info: dict[str, Any]
    step: Exported

    def save(self, folder: str) -> str:
        """Write the model folder and return its hash; ModelError where it cannot be written."""
        try:
            pre = msgspec.to_builtins(self.preprocessing)
            said = card(self.spec, self.preprocessing, self.info)
            return save_model(folder, self.spec, self.fitted, pre, self.info, said, (self.step.onnx,))
        except DecoderError as error:
            raise ModelError(str(error)) from None


def train(
    recordings: Sequence[Recording],
    settings: TrainSettings,
    *,
    each: Callable[[list[Any]], Iterable[Any]] = iter,
    work: WorkFolder | None = None,
) -> Trained:
    """Cut cued trials out of the recordings, and fit and calibrate a decoder on them.

    Parameters
    ----------
    recordings : sequence of Recording
        Of one person, as a rule. With more than one, whole recordings are held out for the temperature and the score.
    settings : TrainSettings
    each : callable
        Wraps the list of fits, for a progress bar.
    work : WorkFolder or None
        Where a network's training keeps what it has done.

    Raises
    ------
    ConfigError
        No such labels, channels, stream or decoder; a window that does not fit.
    ModelError
        The trials cannot give a decoder: too few, one class, bad or constant channels.
    """
    if not recordings:
        raise ConfigError("no recordings to train on; name at least one file")
    check_labels(recordings, settings)
    design = Design.of(recordings[0], settings)
    classes, spec = design.spec.classes, design.spec
    runs = [preprocess(recording, design.preprocessing, settings, spec) for recording in recordings]
    try:
        plan = training_plan(settings, spec)
        trials = design.trials(recordings, runs)
        journals = work.open(_fingerprint(recordings, settings, plan, spec)).journal if work is not None else None
        calibrated = calibrate(spec, trials, seed=settings.seed, plan=plan, each=each, journals=journals)
        gate = _gate(spec, calibrated.fitted, trials, runs, settings, plan)
    except DecoderError as error:
        raise ModelError(f"cannot train on {_named(recordings)}: {error}") from None
    info = {
        "labels": settings.labels,
        "decide_at_s": settings.decide_at_s if spec.epoch is None else settings.epoch_s[1],
        "window_s": settings.window_s if spec.epoch is None else settings.epoch_s[1] - settings.epoch_s[0],
        "seed": settings.seed,
        "n_trials": {c: int((trials.y == i).sum()) for i, c in enumerate(classes)},
        "n_left_out": trials.n_left_out,
        "scores": calibrated.scores,
        "baseline": _baseline(runs, settings),
        **gate,
        "trained_on": [
            {
                "file": r.path.replace("\\", "/").rsplit("/", 1)[-1],
                "sha256": r.sha256,
                "subject": h.subject,
                "run": h.run,
            }
            for r, h in zip(recordings, runs, strict=True)
        ],
        "versions": {"python": platform.python_version()}
        | {n: version(n) for n in ("rolandic", "numpy", "scipy", "scikit-learn", "pyriemann", "torch")},
    }
    return Trained(spec, calibrated.fitted, design.preprocessing, info, export_fitted(spec, calibrated.fitted))


def _baseline(runs: Sequence[HopRun], settings: TrainSettings) -> dict[str, Any] | None:
    """What the signal was like, so that a session can tell when it is otherwise."""
    kept = baseline([run.hops[run.is_good] for run in runs], settings.hop_s)
    return None if kept is None else msgspec.to_builtins(kept)


def _gate(
    spec: DecoderSpec,
    fitted: Fitted,
    trials: Trials,
    runs: Sequence[HopRun],
    settings: TrainSettings,
    plan: Plan | None,
) -> dict[str, Any]:
    """Threshold and dwell for the wanted rate of false commands, where one is wanted."""
    if settings.false_commands_per_min is None:
        return {}
    chosen = choose_gate(
        spec, fitted, trials, runs, wanted_per_min=settings.false_commands_per_min, trial_s=settings.decide_at_s,
        seed=settings.seed, plan=plan,
    )  # fmt: skip
    return {"gate": chosen}


@dataclass(frozen=True, slots=True)
class Design:
    """What settings come to on a stream: the preprocessing, the decoder, and where trials are cut."""

    settings: TrainSettings
    preprocessing: PreprocessingSpec
    spec: DecoderSpec

    @classmethod
    def of(cls, recording: Recording, settings: TrainSettings) -> Design:
        """For recordings like this one; ConfigError where the decoder cannot serve it."""
        stream = with_unit(primary_stream(recording, settings.stream).spec, settings.unit)
        preprocessing = _preprocessing(stream, settings)
        request = Request(
            channels=Preprocessing(preprocessing, stream).labels,
            sfreq_hz=preprocessing.sfreq_hz,
            hop=preprocessing.hop,
            classes=tuple(dict.fromkeys(settings.labels.values())),
            n_bands=len(preprocessing.bands_hz) or 1,
            unit=preprocessing.unit,
            window_s=settings.window_s,
            epoch_s=settings.epoch_s,
            recentre_hops=round(settings.window_s / settings.hop_s) if settings.recentre == "riemann" else 0,
            options={"mirror": 1.0} if settings.mirror else {},
        )
        try:
            spec = load_class(settings.decoder).design(request)
        except DecoderError as error:
            raise ConfigError(str(error)) from None
        if spec.recentre_hops != request.recentre_hops or spec.options.get("mirror", 0.0) != float(settings.mirror):
            raise ConfigError(
                f"decoder {settings.decoder!r} takes neither --recentre nor --mirror; "
                "riemann_fb, csp and the networks do"
            )
        return cls(settings, preprocessing, spec)

    def trials(self, recordings: Sequence[Recording], runs: Sequence[HopRun]) -> Trials:
        """Trials to learn from: those of `cut` with, where the decoder learns from streams, what makes them."""
        trials = self.cut(runs)
        if not learns_from_streams(self.spec):
            return trials
        settings = msgspec.structs.replace(self.settings, trigger="")
        streams = TrainingStreams(
            trials, recordings, runs, lambda one: preprocess(one, self.preprocessing, settings, self.spec),
            n_context=self.spec.n_priming_hops, decide_at_s=settings.decide_at_s, stream=settings.stream,
            seed=settings.seed,
        )  # fmt: skip
        return replace(trials, streams=streams)

    def cut(self, runs: Sequence[HopRun], decide_at_s: float | None = None) -> Trials:
        """Trials of these runs; FitError where there is none."""
        if self.spec.epoch is not None:
            return collect_epochs(runs, self.spec.classes)
        at_s = self.settings.decide_at_s if decide_at_s is None else decide_at_s
        return cut_trials(runs, self.spec.classes, self.spec.n_priming_hops, at_s)


def training_plan(settings: TrainSettings, spec: DecoderSpec) -> Plan | None:
    """How to train, with the weights that it begins with; FitError where they are of another kind of model."""
    if not settings.init:
        return settings.plan
    other = load_model(settings.init)
    if (other.spec.name, other.spec.channels) != (spec.name, spec.channels) or spec.backend != "torch":
        raise FitError(
            f"--init {settings.init}: a {other.spec.name} of {len(other.spec.channels)} channels "
            f"({', '.join(other.spec.channels[:8])}); it must be a network of the same kind and channels, in this order"
        )
    network: Any = other.decoder
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    return msgspec.structs.replace(settings.plan or Plan(), init=weights)


def _fingerprint(recordings: Sequence[Recording], settings: TrainSettings, plan: Any, spec: DecoderSpec) -> str:
    """One hash of all that decides the result."""
    parts = [settings, plan, spec, [(r.path, r.sha256) for r in recordings], version("torch"), version("numpy")]
    encoded = msgspec.json.encode(parts, enc_hook=lambda array: hashlib.sha256(array.tobytes()).hexdigest())
    return hashlib.sha256(encoded).hexdigest()


def _named(recordings: Sequence[Recording]) -> str:
    shown = ", ".join(r.path for r in recordings[:6])
    return shown if len(recordings) <= 6 else f"{shown} and {len(recordings) - 6} more"


def check_labels(recordings: Sequence[Recording], settings: TrainSettings) -> None:
    """Refuse fewer than two classes, and recordings without such markers, before any work is done."""
    if len(set(settings.labels.values())) < 2:
        named = ", ".join(set(settings.labels.values())) or "no class"
        raise ConfigError(f"--labels names {named}; at least 2 classes are needed, such as T1=left T2=right")
    for recording in recordings if not settings.trigger else ():  # a trigger channel is read on the way
        found = sorted({label for stream in recording.markers for label in stream.marker_labels})
        if not found:
            raise ConfigError(f"{recording.path}: it has no markers, so no trial can be cut; train on a cued recording")
        if not set(settings.labels) & set(found):
            wanted = " or ".join(settings.labels)
            raise ConfigError(f"{recording.path}: no marker is called {wanted}; there are {', '.join(found[:20])}")


def _preprocessing(stream: StreamSpec, settings: TrainSettings) -> PreprocessingSpec:
    # of a bipolar montage, the electrodes of the pairs, each once
    paired = tuple(dict.fromkeys(label for pair in settings.bipolar_pairs for label in pair))
    channels = settings.channels or paired or tuple(c.label for c in stream.channels if c.type.upper() in BRAIN)
    if not channels:
        raise ConfigError(
            f"stream {stream.name!r} has no channel of type EEG or MEG; "
            f"name some of {', '.join(stream.labels)} by --channels"
        )
    units = {c.unit for c in stream.channels if c.label in channels}
    magnetic = units & {"T", "fT", "pT"}
    sfreq_hz = settings.sfreq_hz or stream.sfreq_hz
    return PreprocessingSpec(
        channels=channels,
        sfreq_hz=sfreq_hz,
        hop=max(1, round(settings.hop_s * sfreq_hz)),
        unit="T" if magnetic else "uV",
        reference="bipolar" if settings.bipolar_pairs else settings.reference,
        bipolar_pairs=settings.bipolar_pairs,
        bandpass_hz=None if settings.bands_hz else settings.bandpass_hz,
        bands_hz=settings.bands_hz,
        notch_hz=settings.notch_hz,
        notch_harmonics=settings.notch_harmonics,
        filter_order=settings.filter_order,
        clip=settings.clip,
        interpolate=settings.bad_channels,
    )


def preprocess(recording: Recording, spec: PreprocessingSpec, settings: TrainSettings, decoder: DecoderSpec) -> HopRun:
    """Run one recording through the live data path and keep every hop, or every epoch, that a decoder would see."""
    stream = primary_stream(recording, settings.stream)
    stream_spec = with_unit(stream.spec, settings.unit)
    pipeline = _Keep(spec, stream_spec, decoder, frozenset(settings.labels))
    trigger = channel_index(stream_spec, "--trigger", settings.trigger)
    session = Session(stream_spec, {"": pipeline}, "", GateSettings(classes=("a", "b")), trigger=trigger)
    cues, numbers, sample_index, segment, answered, n_segments = [], [], [], [], [], 0
    for output in play(session, stream, recording):
        if isinstance(output, Prediction) and output.marker >= 0:
            answered.append(output.marker)
        elif isinstance(output, Prediction):
            sample_index.append(output.sample_index)
            segment.append(n_segments)
        elif isinstance(output, SegmentStarted):
            n_segments += 1
        elif isinstance(output, MarkerPlaced) and output.label in settings.labels:
            cues.append(Cue(settings.labels[output.label], output.sample_index))
            numbers.append(output.number)
    subject, run = subject_and_run(recording.path)
    return HopRun(
        subject=subject,
        run=run,
        hops=np.stack(pipeline.hops) if pipeline.hops else np.zeros((0, 1, spec.hop), np.float32),
        sample_index=np.array(sample_index, int),
        segment=np.array(segment, int),
        is_good=np.array(pipeline.is_good, bool),
        cues=tuple(cues),
        sfreq_hz=stream_spec.sfreq_hz,
        epochs=dict(zip((numbers.index(n) for n in answered), pipeline.epochs, strict=True)),
    )


class _Keep:
    """Stands in the session where a model's pipeline would, and keeps what the decoder would have been given."""

    classes: tuple[str, ...] = ("a", "b")  # a session wants two
    model_hash = ""
    n_prime_blocks = 0
    drift_limit = math.inf

    def __init__(self, spec: PreprocessingSpec, stream: StreamSpec, decoder: DecoderSpec, markers: frozenset[str]):
        self.preprocessing = Preprocessing(spec, stream)
        self.block = self.preprocessing.block
        self.hops: list[NDArray[np.float32]] = []
        self.is_good: list[bool] = []
        self.epochs: list[NDArray[np.float32] | None] = []  # None: not whole or not good
        self._decoder, self._markers = decoder, markers
        first, stop = decoder.epoch or (0, 1)
        self._first, self._ring = first, EpochRing(stop - first, spec.hop, round(LATE_S * spec.sfreq_hz))
        self._n_settling = math.ceil(self.preprocessing.settling_s * spec.sfreq_hz / spec.hop)
        self._n_hops = self._n_samples = 0

    @property
    def is_epoch_model(self) -> bool:
        return self._decoder.epoch is not None

    def start(self, first_sample: NDArray) -> None:
        self.preprocessing.start(first_sample)
        self._ring.start()
        self._n_hops = self._n_samples = 0

    def step(self, samples: NDArray, n_filled: int, mark: Callable[[str], None]) -> list[tuple[NDArray, Flag]]:
        self._n_samples += self.block
        kept = []
        for data, flags in self.preprocessing.step(samples):
            self._n_hops += 1
            if n_filled:
                flags |= Flag.FILLED
            if self._n_hops <= self._n_settling:
                flags |= Flag.PRIMING
            self.hops.append(data)
            self.is_good.append(not flags & _UNTRUSTED)
            self._ring.push(data, flags)
            kept.append((np.full(2, 0.5), flags))
        return kept

    @property
    def bad_channels(self) -> tuple[str, ...]:
        return ()

    @property
    def drift(self) -> float:
        return 0.0

    @property
    def has_drifted(self) -> bool:
        return False

    def answers(self, label: str) -> bool:
        return self.is_epoch_model and label in self._markers

    def epoch(self, n_back: int) -> tuple[NDArray, Flag, float] | None:
        cut = self._ring.cut(self.preprocessing.sample_at(self._n_samples - 1 - n_back) + self._first)
        if cut is None:
            return None
        data, flags = cut
        self.epochs.append(None if flags & _UNTRUSTED else data)
        return np.full(2, 0.5), flags, 0.0
