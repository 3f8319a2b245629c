"""What a decoder is: the streaming contract, and the record that says what it needs and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

State: TypeAlias = tuple[Any, ...]  # arrays of the decoder's backend, first axis = batch
Params: TypeAlias = Mapping[str, Any]  # arrays of the decoder's backend; always holds "temperature"
Arrays: TypeAlias = dict[str, Any]  # numpy arrays by name: what is stored


class DecoderError(Exception):
    """Base of what `decoders` and `calibration` raise for a user to read: what, where, what would work."""


class SpecError(DecoderError):
    """The decoder cannot serve what was asked."""


class FitError(DecoderError):
    """The training data cannot give a decoder."""


class DecoderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a stream must match, and everything needed to build the decoder again around its weights.

    Attributes
    ----------
    name : str
        Key in `decoders.DECODERS`.
    channels : tuple of str
        Labels of the input rows, in order. With several bands: all channels of the first band, then of the second.
    sfreq_hz : float
        Rate of the input.
    hop : int
        Samples per step.
    classes : tuple of str
        What a classifier tells apart; its outputs, in order.
    outputs : tuple of str
        What a regression gives, in order; a decoder has either classes or outputs.
    n_bands : int
        Frequency bands that the rows of the input hold; each has the same channels, labelled ``LABEL BAND``.
    receptive_field : int or None
        Samples that one output depends on; None when memory has no end (then ``warmup_hops`` counts).
    warmup_hops : int
        Hops until an endless memory has forgotten where it started.
    recentre_hops : int
        Every so many good hops, their covariance moves the running mean that ``params["align"]`` whitens by; 0: never.
    delay_s : float
        How far the middle of what an output looks at lies back, beyond the receptive field itself.
    unit : str
        Unit of the input.
    backend : {"numpy", "torch"}
        Kind of arrays that ``forward`` and ``step`` take and give.
    epoch : (int, int) or None
        For a decoder that answers markers (`EpochDecoder`): first sample of the epoch and the one behind its last,
        counted from the marker's. ``receptive_field`` is its length.
    options : dict
        Sizes that the family needs to rebuild itself (kernel lengths, time constants).
    members : tuple of DecoderSpec
        Of an ensemble: what it consists of.

    Raises
    ------
    SpecError
        When a value is impossible or does not fit the others.
    """

    name: str
    channels: tuple[str, ...]
    sfreq_hz: float
    hop: int
    classes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    n_bands: int = 1
    receptive_field: int | None = None
    warmup_hops: int = 0
    recentre_hops: int = 0
    delay_s: float = 0.0
    unit: str = "uV"
    backend: Literal["numpy", "torch"] = "numpy"
    epoch: tuple[int, int] | None = None
    options: dict[str, float] = {}
    members: tuple[DecoderSpec, ...] = ()

    def __post_init__(self) -> None:
        def refuse(what: str) -> None:
            raise SpecError(f"decoder {self.name!r}: {what}")

        if not self.channels:
            refuse("no channels; name at least one")
        if twice := _doubled(self.channels):
            refuse(f"channel {twice} is named twice; name each once")
        if self.classes and self.outputs:
            refuse("it has classes and outputs; a classifier has classes, a regression has outputs")
        if not self.outputs and len(self.classes) < 2:
            refuse(f"{len(self.classes)} class ({', '.join(self.classes)}); at least 2 are needed")
        if twice := _doubled(self.classes + self.outputs):
            refuse(f"class {twice} is named twice; name each once")
        if self.n_bands < 1 or len(self.channels) % self.n_bands:
            refuse(f"{len(self.channels)} rows do not make {self.n_bands} bands; give each band the same channels")
        if not 0 < self.sfreq_hz < float("inf"):
            refuse(f"sfreq_hz {self.sfreq_hz:g} is not a rate; it must be above 0")
        if self.hop < 1:
            refuse(f"hop {self.hop} samples; it must be at least 1 ({1 / self.sfreq_hz:.3g} s)")
        if self.warmup_hops < 0 or self.recentre_hops < 0:
            refuse(f"warmup_hops {self.warmup_hops} or recentre_hops {self.recentre_hops} is negative")
        if self.receptive_field is None and self.warmup_hops == 0:
            refuse("an endless memory needs warmup_hops of at least 1")
        if self.epoch is not None:
            if self.epoch[1] < 1 or self.epoch[1] - self.epoch[0] != self.receptive_field:
                refuse(f"epoch {self.epoch} must end after the marker and be as long as the receptive field")
            return
        if self.receptive_field is not None and self.receptive_field < self.hop:
            refuse(
                f"receptive field {self.receptive_field} samples is shorter than the hop {self.hop}; "
                f"use a window of at least {self.hop / self.sfreq_hz:.3g} s or a shorter hop"
            )

    @property
    def n_outputs(self) -> int:
        """Numbers that a step gives."""
        return len(self.classes or self.outputs)

    @property
    def hop_s(self) -> float:
        """Time between two outputs."""
        return self.hop / self.sfreq_hz

    @property
    def n_priming_hops(self) -> int:
        """Hops of a segment that must have passed before an output can be trusted (this many, the last included)."""
        field = self.receptive_field or 0
        if self.epoch is not None:
            field += self.hop - 1  # an epoch may end anywhere in its last hop
        filled = -(-field // self.hop)
        return max(filled, self.warmup_hops)

    @property
    def context(self) -> int:
        """Samples to feed from a fresh state for an output that is independent of the start; whole hops."""
        return self.n_priming_hops * self.hop


def _doubled(names: tuple[str, ...]) -> str:
    return next((name for name in names if names.count(name) > 1), "")


class Decoder(Protocol):
    """One hop in, logits out, memory carried by the caller.

    ``step`` and ``forward`` return logits; probabilities are ``softmax(logits / params["temperature"])``, which is what
    `decoders.engine.Runner` gives. A regression returns its outputs instead, as they are. State and params are never
    changed in place. ``params`` holds what recalibration changes; weights belong to the decoder. Folding ``step`` over
    the hops equals ``forward`` (relative 1e-5).
    """

    @property
    def spec(self) -> DecoderSpec:
        """What it needs and what it gives."""
        ...

    def initial_state(self, batch: int) -> State:
        """Memory at the start of a segment: a flat tuple of arrays with first axis ``batch``."""
        ...

    def forward(self, x: Any, state: State, params: Params) -> tuple[Any, State]:
        """Many hops: x (batch, channels, n·hop) -> logits (batch, n, classes)."""
        ...

    def step(self, x: Any, state: State, params: Params) -> tuple[Any, State]:
        """One hop: x (batch, channels, hop) -> logits (batch, classes)."""
        ...


class EpochDecoder(Protocol):
    """One epoch in, logits out; asked when the signal of a marker is whole.

    `decoders.epochs.EpochRunner` gives probabilities, as `Runner` does for a `Decoder`. Nothing is remembered from one
    epoch to the next, and neither the epoch nor params are changed.
    """

    @property
    def spec(self) -> DecoderSpec:
        """What it needs and what it gives; ``spec.epoch`` is set."""
        ...

    def predict(self, epoch: Any, params: Params) -> Any:
        """Logits (batch, classes) of epoch (batch, channels, samples)."""
        ...


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks of a decoder family.

    ``window_s`` is the stretch of signal that one decision should use, ``epoch_s`` the same for a family that answers
    markers: from and to, in seconds from the marker. ``options`` replace sizes that the family would choose. The rest
    is as in `DecoderSpec`.
    """

    channels: tuple[str, ...]
    sfreq_hz: float
    hop: int
    classes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    n_bands: int = 1
    unit: str = "uV"
    window_s: float = 3.0
    epoch_s: tuple[float, float] = (0.0, 0.8)
    recentre_hops: int = 0
    options: dict[str, float] = {}


class Fitted(msgspec.Struct, frozen=True):
    """What training gives: numpy arrays that `Family.restore` and `Runner` take."""

    weights: Arrays
    params: Arrays


class Family(Protocol):
    """What an entry of `decoders.DECODERS` offers."""

    def design(self, request: Request) -> DecoderSpec:
        """The spec of this family for that request; SpecError says what would work."""
        ...

    def fit(self, spec: DecoderSpec, x: Any, y: Any, *, seed: int) -> Fitted:
        """Learn from float32 x (n_trials, channels, n_samples), whose end is the decision, and y.

        ``n_samples`` is ``spec.context`` or more; what goes beyond is further back in time. For a family that answers
        markers it is the length of the epoch. y holds class indices (n_trials,), or for a regression what shall be
        given (n_trials, n_outputs). Families that can be recentred take ``align`` too, of every trial the matrix of
        each band (n_trials, n_bands, channels, channels) that was in force; the caller sets ``params["align"]`` then.
        """
        ...

    def restore(self, spec: DecoderSpec, weights: Arrays) -> Decoder | EpochDecoder:
        """The decoder around stored weights; DecoderError if they do not fit the spec."""
        ...
