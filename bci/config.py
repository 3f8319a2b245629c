"""``session.toml``: every setting of a session, with its default, its unit and what is allowed.

Flags of ``bci run`` are the same settings by another name; a flag wins over the file. What a model fixes (channels,
reference, filters, window, hop, decoder) may be repeated here as an expectation: another model refuses to run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
import tomlkit
from pydantic import Field

from bci.errors import ConfigError
from bci.types import StreamSpec

DEFAULT_THRESHOLD = 0.8
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(gt=0, lt=1)]
# TOML has no word for nothing: "-" leaves an edge of a band out
Edge = Annotated[
    Positive | None,
    pydantic.BeforeValidator(lambda edge: None if edge == "-" else edge),
    pydantic.PlainSerializer(lambda edge: "-" if edge is None else edge),
]


class Section(pydantic.BaseModel):
    """Unknown keys are errors, and a setting does not change after it was read."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class StreamSettings(Section):
    """Which streams the session listens to; the primary stream defines the hops."""

    name: str = ""
    type: str = ""
    source_id: str = ""
    recording: str = ""
    fieldtrip: str = Field(default="", description="host:port of a FieldTrip buffer, instead of an LSL stream")
    markers: tuple[str, ...] = ()
    also: tuple[str, ...] = Field(default=(), description="more signal streams, recorded beside the primary one")
    unit: Literal["", "uV", "mV", "V", "T"] = Field(default="", description="for a stream that does not say its unit")
    labels: tuple[str, ...] = Field(default=(), description="for a stream that does not name its channels, in order")
    rate_hz: Positive | None = Field(default=None, description="of a recording that does not tell it")
    bad_channels: tuple[str, ...] = Field(
        default=(), description="inputs of the model that carry no signal today; rebuilt from the others"
    )
    wait_s: Positive = 10.0
    silence_s: Positive | None = None
    reconnect_s: Positive = 30.0
    max_fill_s: Annotated[float, Field(ge=0, le=1)] = 0.1
    trigger_channel: str = Field(default="", description="label of a channel whose changes are markers")
    counter_channel: str = Field(default="", description="label of a channel that counts samples")
    counter_modulo: Annotated[int, Field(ge=2)] | None = Field(default=None, description="where it wraps to 0")

    @property
    def is_lsl(self) -> bool:
        """Whether the signal is an LSL stream, which others can read as well."""
        return not (self.recording or self.fieldtrip)


class ModelSettings(Section):
    """The model folder, and what it is expected to be."""

    path: str = ""
    decoder: str | None = None
    channels: tuple[str, ...] | None = None
    reference: Literal["none", "average", "laplacian", "bipolar"] | None = None
    bipolar_pairs: tuple[tuple[str, str], ...] | None = None
    bandpass_hz: tuple[Edge, Edge] | None = Field(default=None, description='"-" for an edge that is not there')
    filter_order: Annotated[int, Field(ge=1)] | None = None
    notch_hz: Positive | None = None
    notch_harmonics: Annotated[int, Field(ge=1)] | None = None
    clip: Positive | None = None
    window_s: Positive | None = None
    epoch_s: tuple[float, float] | None = Field(default=None, description="of a model that answers markers")
    decide_at_s: Positive | None = Field(default=None, description="from the cue to the decision of a trial")
    hop_s: Positive | None = None
    compute: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="where hops are decoded; auto is the CPU, by ONNX Runtime where the model has a graph",
    )
    lock_to: tuple[str, ...] = Field(
        default=(), description='more markers that an epoch model answers, beside those it was trained with; "*": all'
    )


class GateSection(Section):
    """When a prediction becomes a command."""

    threshold: Probability | None = Field(
        default=None, description="default: what `bci train --false-commands-per-min` chose, else 0.8"
    )
    release: Probability | None = Field(
        default=None, description="hysteresis: a dwell ends below this; default 0.8 x threshold"
    )
    dwell_s: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="how long a class must be held; default: what training chose, else 0.5, or 0 for epochs",
    )
    evidence_s: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="time constant of leaky evidence; 0: each prediction by itself"
    )
    refractory_s: Annotated[float, Field(ge=0)] = 1.0
    max_age_s: Positive = 0.5
    ttl_ms: Positive = 300.0
    rest: str | None = Field(default=None, description="class that never commands")
    resume_s: Annotated[float, Field(ge=0)] = Field(default=2.0, description="good health before it goes on")
    lost_s: Positive = Field(default=2.0, description="trouble for longer than this disarms")
    idle_disarm_s: Positive = Field(default=600.0, description="so long without a command disarms")


class AlarmSection(Section):
    """When the signal is not what calibration saw: nothing is commanded then. ``inf`` turns an alarm off."""

    artefact_sd: Positive = Field(default=8.0, description="deviations of a channel's log power over half a second")
    drift_sd: Positive = Field(default=2.0, description="deviations of all channels' log power over half a minute")
    max_bad_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="part of the model's channels that may carry no signal; above it, neutral"
    )


class VelocitySection(Section):
    """Continuous control instead of commands: ``directions`` of the classes, x and y, at most 1 long."""

    directions: dict[str, tuple[float, float]] = {}
    smoothing_s: Annotated[float, Field(ge=0)] = 0.2
    max_speed: Positive = 1.0
    max_change: Positive = Field(default=5.0, description="of the velocity, a second")


class DeviceSection(Section):
    """What moves. ``urls`` such as null:, lsl:NAME, udp://host:port."""

    urls: tuple[str, ...] = ("null:",)
    rate_limit_hz: Positive = 10.0


class RecordingSection(Section):
    """Where the session is kept."""

    root: str = "sessions"
    subject: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$")] = "anonymous"
    session: Annotated[int, Field(ge=1)] | None = None
    planned_s: Positive = Field(default=3600.0, description="duration that free disk space is checked against")


class ExpectSection(Section):
    """A stream that the session needs, and what it must be. ``[[expect]]``, once a stream."""

    name: str = ""
    type: str = ""
    source_id: str = ""
    need: Literal["critical", "optional"] = "critical"
    sfreq_hz: Positive | None = None
    channels: tuple[str, ...] | None = Field(default=None, description="all labels, in order")
    unit: str | None = None

    @pydantic.model_validator(mode="after")
    def _says_which(self) -> ExpectSection:
        if not (self.name or self.type or self.source_id):
            raise ValueError("which stream is expected? give name, type or source_id")
        return self


class SessionConfig(Section):
    """A whole session."""

    stream: StreamSettings = StreamSettings()
    model: ModelSettings = ModelSettings()
    gate: GateSection = GateSection()
    alarms: AlarmSection = AlarmSection()
    velocity: VelocitySection = VelocitySection()
    devices: DeviceSection = DeviceSection()
    recording: RecordingSection = RecordingSection()
    expect: tuple[ExpectSection, ...] = ()

    @pydantic.model_validator(mode="after")
    def _release_below_threshold(self) -> SessionConfig:
        threshold = self.gate.threshold or DEFAULT_THRESHOLD
        if self.gate.release is not None and self.gate.release > threshold:
            raise ValueError(
                f"gate.release = {self.gate.release:g} is above the threshold, {threshold:g}; "
                "allowed: at most the threshold"
            )
        return self


def read_config(path: str, overrides: dict[str, dict[str, Any]] | None = None) -> SessionConfig:
    """As `parse_config`, from a file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return parse_config(text, overrides, where=path)


def parse_config(
    text: str, overrides: dict[str, dict[str, Any]] | None = None, where: str = "session.toml"
) -> SessionConfig:
    """Read TOML text; ``overrides`` (section -> key -> value, None ignored) win over it.

    Raises
    ------
    ConfigError
        One line per wrong setting: key, value, and what is allowed.
    """
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}") from None
    for section, values in (overrides or {}).items():
        given = {k: v for k, v in values.items() if v is not None}
        if given and isinstance(written := data.get(section, {}), dict):  # else pydantic says what it should be
            data[section] = {**written, **given}
    try:
        return SessionConfig.model_validate(data)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_line(e) for e in error.errors())) from None


def _line(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {key} = {error['input']!r}; allowed in this section: {', '.join(_keys(error['loc'][:-1]))}"
    if error["type"] in ("model_type", "model_attributes_type"):
        return f"{key} = {error['input']!r}: it is a section; write [{key}] with {', '.join(_keys(error['loc']))}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key} = {error['input']!r}: {message[:1].lower() + message[1:]}" if key else message


def _keys(section: tuple[Any, ...]) -> list[str]:
    model: Any = SessionConfig
    for name in section:
        if isinstance(name, str):  # a number counts the tables of one name
            model = model.model_fields[name].annotation
            model = get_args(model)[0] if get_args(model) else model
    return list(model.model_fields)


def to_toml(config: SessionConfig) -> str:
    """The configuration as resolved, as the session folder keeps it; settings without a value are left out."""
    return tomlkit.dumps(config.model_dump(mode="json", exclude_none=True))


def with_chosen_gate(config: SessionConfig, info: Mapping[str, Any]) -> SessionConfig:
    """Threshold and dwell where nobody says: as training chose them (``info`` of the model), else the defaults."""
    chosen = info.get("gate", {})
    gate, keys = config.gate, ("threshold", "dwell_s")
    update = {key: chosen[key] for key in keys if key in chosen and getattr(gate, key) is None}
    if gate.threshold is None and "threshold" not in chosen:
        update["threshold"] = DEFAULT_THRESHOLD
    if gate.release is not None:
        update["release"] = min(gate.release, update.get("threshold", gate.release))
    return config.model_copy(update={"gate": gate.model_copy(update=update)})


def default_release(threshold: float) -> float:
    """Where a dwell ends if nobody says."""
    return 0.8 * threshold


def default_dwell_s(is_epoch_model: bool) -> float:
    """How long a class must be held where nobody says: a marker's one answer is an answer."""
    return 0.0 if is_epoch_model else 0.5


def channel_index(spec: StreamSpec, key: str, label: str) -> int | None:
    """The channel that a setting names; None where it names none.

    Raises
    ------
    ConfigError
        The stream has no such channel.
    """
    if not label:
        return None
    if label not in spec.labels:
        raise ConfigError(f"{key} = {label!r}: the stream has channels {', '.join(spec.labels)}")
    return spec.labels.index(label)
