"""The composition root: the only file that puts concrete sources, devices, recorder, and decoders together."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from bci.config import (
    DEFAULT_THRESHOLD,
    ModelSettings,
    SessionConfig,
    channel_index,
    default_dwell_s,
    default_release,
    parse_config,
    to_toml,
)
from bci.control.gate import GateSettings
from bci.control.host_table import HostSettings
from bci.control.velocity import VelocitySettings
from bci.errors import ConfigError, ModelError
from bci.pipeline import Pipeline
from bci.recording.replay import FORMAT, RecordedSession, read_session
from bci.session import HopModel, Session, no_mark
from bci.types import StreamSpec, Swap
from decoders.checkpoint import CheckpointError, Model, load_model
from decoders.spec import DecoderError

LIBRARIES = ("numpy", "scipy", "torch", "onnxruntime", "pyriemann", "scikit-learn", "rolandic")


def load(path: str | Path) -> Model:
    """Load a model folder.

    Raises
    ------
    ModelError
        It is absent, damaged, or foreign, or holds weights that decide nothing yet.
    """
    try:
        model = load_model(Path(path))
    except (CheckpointError, DecoderError) as error:
        raise ModelError(str(error)) from None
    if "pretrained" in model.info:
        raise ModelError(
            f"{path} holds pretrained weights and decides nothing; make a model by bci train --init {path}"
        )
    return model


def fit_to_stream(model: Model, spec: StreamSpec, config: SessionConfig | None = None) -> Pipeline:
    """The model's pipeline on this stream, warmed up; what does not fit is named."""
    config = config or SessionConfig()
    stream, how = config.stream, config.model
    pipeline = Pipeline(model, spec, stream.bad_channels, how.lock_to, how.compute, config.alarms)
    pipeline.warm_up()
    return pipeline


def gate_settings(config: SessionConfig, classes: tuple[str, ...], is_epoch_model: bool) -> GateSettings:
    """The gate's settings for a model with these classes; a class called ``rest`` commands nothing unless told."""
    g = config.gate
    threshold = g.threshold if g.threshold is not None else DEFAULT_THRESHOLD
    rest = g.rest if g.rest is not None else ("rest" if "rest" in classes else None)
    return GateSettings(
        classes=classes,
        rest=rest,
        threshold=threshold,
        release=g.release if g.release is not None else default_release(threshold),
        evidence_s=g.evidence_s,
        dwell_s=g.dwell_s if g.dwell_s is not None else default_dwell_s(is_epoch_model),
        refractory_s=g.refractory_s,
        max_age_s=g.max_age_s,
        max_hole_s=math.inf if is_epoch_model else None,
        ttl_ms=g.ttl_ms,
        resume_s=g.resume_s,
        lost_s=g.lost_s,
        idle_disarm_s=g.idle_disarm_s,
        velocity=_velocity_settings(config),
    )


def _velocity_settings(config: SessionConfig) -> VelocitySettings | None:
    v = config.velocity
    if not v.directions:
        return None
    return VelocitySettings(
        directions=v.directions,
        smoothing_s=v.smoothing_s,
        max_speed=v.max_speed,
        max_change=v.max_change,
        interval_s=1.25 / config.devices.rate_limit_hz,  # a little slower than the device host allows
    )


def host_settings(config: SessionConfig, hop_s: float) -> HostSettings:
    """The device host's own limits."""
    max_age_s = config.gate.max_age_s + hop_s  # just before the next hop, what was decided last is a hop older
    return HostSettings(min_interval_s=1 / config.devices.rate_limit_hz, max_age_s=max_age_s)


def build_session(
    config: SessionConfig,
    spec: StreamSpec,
    pipelines: Mapping[str, HopModel],
    model_hash: str,
    mark: Callable[[str], None] = no_mark,
) -> Session:
    """The data path, the same for live and replay."""
    model = pipelines[model_hash]
    settings = gate_settings(config, model.classes, model.is_epoch_model)
    trigger = channel_index(spec, "stream.trigger_channel", config.stream.trigger_channel)
    max_fill_s = config.stream.max_fill_s
    return Session(spec, pipelines, model_hash, settings, max_fill_s=max_fill_s, trigger=trigger, mark=mark)


def check_expectations(expected: ModelSettings, model: Model) -> None:
    """Refuse a model that is not what ``session.toml`` says.

    Raises
    ------
    ConfigError
        It names the key, both values, and what would work.
    """
    pre, spec = model.preprocessing, model.spec
    window_s = spec.receptive_field / spec.sfreq_hz if spec.receptive_field else None
    actual: dict[str, Any] = {
        "decoder": spec.name,
        "channels": list(pre["channels"]),
        "reference": pre.get("reference", "none"),
        "bipolar_pairs": [tuple(pair) for pair in pre.get("bipolar_pairs", ())],
        "bandpass_hz": pre.get("bandpass_hz"),
        "filter_order": pre.get("filter_order"),
        "notch_hz": pre.get("notch_hz"),
        "notch_harmonics": pre.get("notch_harmonics"),
        "clip": pre.get("clip"),
        "window_s": window_s if spec.epoch is None else None,
        "epoch_s": None if spec.epoch is None else [edge / spec.sfreq_hz for edge in spec.epoch],
        "decide_at_s": model.info.get("decide_at_s") if spec.epoch is None else None,
        "hop_s": spec.hop / spec.sfreq_hz,
    }
    for key, is_value in actual.items():
        wanted = getattr(expected, key)
        wanted = list(wanted) if isinstance(wanted, tuple) else wanted
        is_value = list(is_value) if isinstance(is_value, tuple) else is_value
        if wanted is not None and wanted != is_value:
            raise ConfigError(
                f"model.{key} = {wanted!r}: the model has {is_value!r}; train one with this setting, or drop it"
            )


def environment(compute: str) -> dict[str, Any]:
    """What bits depend on: the same here and there means bitwise equal replay. ``compute`` is `Pipeline.compute`."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": processor(),
        "threads": 1,
        "compute": compute,
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if lines:
            return lines[0].split(":", 1)[1].strip()
    return platform.processor()


def session_metadata(config: SessionConfig, spec: StreamSpec, model: Model, compute: str) -> str:
    """What replay needs to build the same session, as the header of ``bci-events`` keeps it."""
    return json.dumps(
        {
            "format": FORMAT,
            "model_hash": model.hash,
            "onnx_sha256": [onnx and hashlib.sha256(onnx).hexdigest() for onnx in model.onnx],
            "primary": msgspec.to_builtins(spec),
            "config": to_toml(config),
            "environment": environment(compute),
            "command_line": sys.argv[1:],
        }
    )


@dataclass(frozen=True)
class Replayable:
    """A recorded session with what it takes to run it again."""

    recorded: RecordedSession
    config: SessionConfig
    spec: StreamSpec
    model: Model
    pipelines: dict[str, Pipeline]
    is_same_environment: bool

    def session(self) -> Session:
        """A fresh session, as the recorded one began."""
        return build_session(self.config, self.spec, self.pipelines, self.model.hash)


def open_recorded(
    path: Path, other_model: Path | None = None, threshold: float | None = None, compute: str | None = None
) -> Replayable:
    """Read a session's recording and load the models that it used, from its own folder.

    Parameters
    ----------
    path
        ``session.xdf`` in its folder, beside ``models/``.
    other_model, threshold
        Another model or gate threshold to try on the same session.
    compute
        Where to decode; as recorded where None.
    """
    from bci.recording.xdf import metadata_of, read_xdf_file

    file = read_xdf_file(path)
    names = [s.spec.name for s in file.recording.streams]
    metadata = metadata_of(file.header_xml[names.index("bci-events")]) if "bci-events" in names else ""
    recorded = read_session(file.recording, metadata)
    overrides = {
        "gate": {"threshold": threshold, "release": None if threshold is None else default_release(threshold)},
        "model": {"compute": compute},
    }
    config = parse_config(recorded.metadata["config"], overrides, where=str(path))
    spec = msgspec.convert(recorded.metadata["primary"], StreamSpec)
    folder = path.parent / "models"
    if other_model is not None:
        model = load(other_model)
        pipelines = {model.hash: fit_to_stream(model, spec, config)}
    else:
        hashes = {recorded.metadata["model_hash"]} | {
            e.event.model_hash for e in recorded.events if isinstance(e.event, Swap)
        }
        models = {h: _own_model(folder / h, h) for h in hashes}
        pipelines = {h: fit_to_stream(m, spec, config) for h, m in models.items()}
        model = models[recorded.metadata["model_hash"]]
    here = environment(pipelines[model.hash].compute) == recorded.metadata["environment"]
    return Replayable(recorded, config, spec, model, pipelines, here)


def _own_model(folder: Path, expected_hash: str) -> Model:
    if not folder.is_dir():
        raise ModelError(
            f"no {folder}: a session is replayed with the models that it used; "
            "put the recording into the session's folder, beside models/, or try another by --model DIR"
        )
    model = load(folder)
    if model.hash != expected_hash:
        raise ModelError(
            f"{folder}: holds model {model.hash[:12]}, the session used {expected_hash[:12]}; restore the folder"
        )
    return model
