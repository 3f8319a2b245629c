"""The vocabulary of the program: what streams are, what enters the session, and what leaves it.

Small records are msgspec structs (frozen, tagged by ``kind``), so that the same object is what the session receives,
what goes over a channel to another process, and what stands as a line of JSON in the recording. Records that carry
arrays are frozen dataclasses. Times are seconds of the LSL clock (``pylsl.local_clock``) unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

SampleFormat = Literal["float32", "double64", "int8", "int16", "int32", "int64", "string"]
DTYPES: dict[str, type] = {
    "float32": np.float32,
    "double64": np.float64,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
}


# --- streams ---------------------------------------------------------------------------------------------------------


class Channel(msgspec.Struct, frozen=True):
    """One channel of a stream: its label, kind of sensor, unit, and place on the head in metres if known."""

    label: str
    type: str = "EEG"
    unit: str = ""
    position_m: tuple[float, float, float] | None = None


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream says about itself. ``sfreq_hz`` is 0 for irregular rates (markers)."""

    name: str
    type: str = "EEG"
    source_id: str = ""
    uid: str = ""
    hostname: str = ""
    sfreq_hz: float = 0.0
    format: SampleFormat = "float32"
    channels: tuple[Channel, ...] = ()
    group: str = ""  # streams that `bci stream` and `bci simulate` open together carry the same group
    created_s: float = 0.0
    stamps: Literal["sender", "arrival"] = "sender"  # arrival: the source has none, they are our own at its reception

    @property
    def labels(self) -> tuple[str, ...]:
        """Of all channels, in order."""
        return tuple(c.label for c in self.channels)

    @property
    def is_marker_stream(self) -> bool:
        """Whether its samples are events rather than a signal."""
        return self.format == "string" or (self.sfreq_hz == 0.0 and self.type.lower() == "markers")

    @property
    def is_own(self) -> bool:
        """Whether it is what a session writes down about itself (``bci-…``): neither a signal nor cues."""
        return self.name.startswith("bci-") and self.name != CUES


CUES = "bci-cues"  # markers of our own cue screen, for a session like anybody's


def marker_spec(name: str) -> StreamSpec:
    """A marker stream as LSL knows it: strings, one channel, no rate."""
    return StreamSpec(name=name, type="Markers", format="string", channels=(Channel("marker", "Markers"),))


@dataclass(frozen=True, slots=True, eq=False)
class RecordedStream:
    """One stream of a recording: ``samples`` (n, n_channels), or n labels; ``stamps_s`` (n,) as recorded."""

    spec: StreamSpec
    samples: NDArray[Any] | list[str]
    stamps_s: NDArray[np.float64]

    @property
    def marker_labels(self) -> list[str]:
        """Of a marker stream: what each marker says, the number of its first channel where it is numeric."""
        return self.samples if isinstance(self.samples, list) else [number_label(row[0]) for row in self.samples]


BRAIN = ("EEG", "MAG", "GRAD", "MEG")  # types of channels that decoders read


def number_label(value: Any) -> str:
    """How a numeric marker is called: a whole number without a point, whatever type carried it."""
    return str(int(value)) if float(value).is_integer() else str(value)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A file that was read: its signal and marker streams side by side. ``sha256`` is of the file's bytes."""

    path: str
    streams: tuple[RecordedStream, ...]
    sha256: str = ""

    @property
    def signals(self) -> tuple[RecordedStream, ...]:
        """Streams of samples at a rate."""
        return tuple(s for s in self.streams if not s.spec.is_marker_stream)

    @property
    def markers(self) -> tuple[RecordedStream, ...]:
        """Streams of events."""
        return tuple(s for s in self.streams if s.spec.is_marker_stream)


# --- what enters the session (each gets one sequence number from the engine) ------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Samples as one pull gave them.

    ``samples`` has shape (n, n_channels) in the stream's own dtype, ``stamps_s`` shape (n,) as the sender gave them.
    ``first_index`` counts the samples of this stream that arrived before, from the start of the session.
    """

    stream: int
    first_index: int
    samples: NDArray[Any]
    stamps_s: NDArray[np.float64]
    arrival_s: float

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.stamps_s)


class ChunkRef(msgspec.Struct, frozen=True, tag_field="kind", tag="chunk"):
    """A chunk as the event sequence records it: the samples themselves stand in the stream's own recording."""

    stream: int
    first_index: int
    n: int
    arrival_s: float


class ClockOffset(msgspec.Struct, frozen=True, tag_field="kind", tag="clock_offset"):
    """Add ``offset_s`` to a raw stamp of ``stream`` to get local time; ``uncertainty_s`` is half the round trip."""

    stream: int
    collected_s: float
    offset_s: float
    uncertainty_s: float = 0.0


class Gap(msgspec.Struct, frozen=True, tag_field="kind", tag="gap"):
    """An irregularity in front of sample ``first_index`` of ``stream``.

    ``open``: seen, not yet judged; hops wait. ``late``: nothing is missing. ``lost``: ``n`` samples are missing.
    ``unknown``: what is missing cannot be told (reconnect, clock reset): a new segment begins.
    """

    stream: int
    verdict: Literal["open", "late", "lost", "unknown"]
    first_index: int
    n: int = 0
    duration_s: float = 0.0
    reason: str = ""


class Marker(msgspec.Struct, frozen=True, tag_field="kind", tag="marker"):
    """A marker as it came: label and raw stamp of the marker's own stream."""

    stream: int
    label: str
    stamp_s: float


class Control(msgspec.Struct, frozen=True, tag_field="kind", tag="control"):
    """What a person or program asked of the session; ``value`` depends on ``action``."""

    action: Literal[
        "arm", "disarm", "pause", "resume", "note", "threshold", "dwell", "command", "stopped", "reset", "end"
    ]
    value: str = ""
    by: str = ""


class Swap(msgspec.Struct, frozen=True, tag_field="kind", tag="swap"):
    """The model of this hash takes over once recent signal has primed it. Its folder is safe on disk in the session."""

    model_hash: str
    source: str = ""


class HealthChange(msgspec.Struct, frozen=True, tag_field="kind", tag="health_change"):
    """One source of trouble outside the session changed: ``level`` is ok, warn or bad."""

    source: str
    level: Literal["ok", "warn", "bad"]
    reason: str = ""


class Step(msgspec.Struct, frozen=True, tag_field="kind", tag="step"):
    """Compute the next block that is complete: filters, then as many decoder hops as it fills."""

    block: int


class Now(msgspec.Struct, frozen=True, tag_field="kind", tag="now"):
    """The time that the gate is given for the oldest waiting prediction, or for none during silence."""

    now_s: float


InputEvent = Chunk | ClockOffset | Gap | Marker | Control | Swap | HealthChange | Step | Now
JournalEvent = ChunkRef | ClockOffset | Gap | Marker | Control | Swap | HealthChange | Step | Now


class Numbered(msgspec.Struct, frozen=True):
    """A line of the recorded event sequence."""

    seq: int
    event: JournalEvent


# --- what leaves the session -----------------------------------------------------------------------------------------


class Flag(IntFlag):
    """Why a hop is not to be trusted; a decision needs 0."""

    PRIMING = 1  # filters settle, or the receptive field is not full
    FILLED = 2  # held samples stand in the receptive field for a short loss
    NONFINITE = 4  # NaN or inf arrived; the last finite value was held
    BAD_CHANNEL = 8  # a channel that the decoder needs is flat or saturated
    PAUSED = 16
    BETWEEN_EPOCHS = 32  # the model answers markers; this hop by itself says nothing
    ARTEFACT = 64  # far louder than calibration ever was: the answer is kept and scored, but commands nothing


@dataclass(frozen=True, slots=True, eq=False)
class Hop:
    """One decoder step of preprocessed data, shape (n_channels, hop), float32 in the model's unit."""

    index: int
    sample_index: int  # raw index of the last sample that has entered it
    stamp_s: float  # local time of that sample, smoothed and corrected
    data: NDArray[np.float32]
    flags: Flag


class Prediction(msgspec.Struct, frozen=True, tag_field="kind", tag="prediction"):
    """What the decoder says after one hop, or of the epoch that the hop completed.

    ``age_s`` is the age of its newest sample when the gate saw it. For an epoch, ``marker`` is the number of the marker
    that it answers, ``marker_index`` the raw sample that the epoch was cut by; both are -1 for a hop.
    """

    hop: int
    sample_index: int
    stamp_s: float
    p: tuple[float, ...]
    flags: int
    model_hash: str
    age_s: float = 0.0
    marker: int = -1
    marker_index: int = -1


class Command(msgspec.Struct, frozen=True, tag_field="kind", tag="command", omit_defaults=True):
    """What the gate proposes to the device host.

    ``velocity`` (x, y; 1 is full speed) makes it a piece of continuous control: it holds for ``ttl_ms`` at most.
    """

    id: int
    name: str
    value: float
    issued_s: float
    ttl_ms: float
    arm_id: int
    hop: int
    velocity: tuple[float, float] | None = None
    by_hand: bool = False  # a person's, not the decoder's


class Receipt(msgspec.Struct, frozen=True, tag_field="kind", tag="receipt"):
    """What the device host did with a command: ``sent`` is what really went out, per device; or why it was refused."""

    command_id: int
    accepted: bool
    reason: str = ""
    sent: tuple[str, ...] = ()
    sent_s: float = 0.0


class Acknowledged(msgspec.Struct, frozen=True, tag_field="kind", tag="acknowledged"):
    """The receiver behind ``device`` (its URL) said at ``heard_s`` that it has the command."""

    command_id: int
    device: str
    heard_s: float


class GateChange(msgspec.Struct, frozen=True, tag_field="kind", tag="gate"):
    """The gate moved to another state, at this hop, for these reasons."""

    state: str
    hop: int
    reasons: tuple[str, ...] = ()
    arm_id: int = 0


class Health(msgspec.Struct, frozen=True, tag_field="kind", tag="health"):
    """All troubles together; ``bad`` means neutral."""

    level: Literal["ok", "warn", "bad"]
    reasons: tuple[str, ...] = ()


class SegmentStarted(msgspec.Struct, frozen=True, tag_field="kind", tag="segment"):
    """Filters, windows and decoder state begin anew at raw sample ``first_index`` of the primary stream."""

    number: int
    first_index: int
    reason: str


class MarkerPlaced(msgspec.Struct, frozen=True, tag_field="kind", tag="marker_placed"):
    """The raw sample of the primary stream that a marker fell on, and how far its time was from that sample's.

    ``number`` counts the markers of the session that could be placed.
    """

    label: str
    sample_index: int
    stamp_s: float
    residual_s: float
    number: int = -1


class MarkerExpired(msgspec.Struct, frozen=True, tag_field="kind", tag="marker_expired"):
    """A marker that the model should have answered and never will; ``number`` is -1 if it could not be placed."""

    label: str
    number: int
    reason: str


class Drift(msgspec.Struct, frozen=True, tag_field="kind", tag="drift"):
    """How far the signal is from that of calibration (`calibration.drift`), in deviations; an alarm above ``limit``."""

    hop: int
    score: float
    limit: float


OutputEvent = Prediction | Command | GateChange | Health | SegmentStarted | MarkerPlaced | MarkerExpired | Drift
