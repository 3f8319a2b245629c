"""What lies under the folder of sessions: people, their models, and their sessions. Reads files; no Qt, no LSL.

::

    ROOT/sub-ID/ses-N/            sessions, as `bci run` makes them
    ROOT/sub-ID/calibration/      recordings that a decoder was trained on here
    ROOT/sub-ID/models/NAME/      models that were trained here
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec

from bci.errors import ModelError, RolandicError
from bci.preflight import names_channels
from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
from bci.signal.resample import rate_ratio
from bci.types import BRAIN, StreamSpec
from decoders.mirror import mirror_order
from decoders.spec import SpecError

DEPTH = 4  # folders below the root that are looked into
SUBJECT = re.compile(r"[A-Za-z0-9]+")  # as `bci.config.RecordingSection.subject`
# Over both hand areas and between; of a cap with many channels, few trials cannot weigh the others
MOTOR = re.compile(r"(fc|c|cp)[1-6z]", re.IGNORECASE)
RECIPE_HZ = 80.0
MANY_CHANNELS, ENOUGH_MOTOR = 32, 8


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model folder as its ``spec.json`` describes it; ``trouble`` says why it cannot be read."""

    path: Path
    decoder: str = ""
    classes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    sfreq_hz: float = 0.0
    made: date | None = None
    scores: dict[str, Any] | None = None
    preprocessing: dict[str, Any] | None = None
    trouble: str = ""

    @property
    def name(self) -> str:
        """As people call it: the folder, and whose it is."""
        person = next((p.removeprefix("sub-") for p in self.path.parts[::-1] if p.startswith("sub-")), "")
        return f"{person} · {self.path.name}" if person else self.path.name


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """A recorded session."""

    path: Path
    subject: str
    began: datetime
    has_report: bool
    told: dict[str, Any]  # of run.json; empty where a crash left none


def subjects(root: Path) -> list[str]:
    """Who has a folder here."""
    return sorted(p.name.removeprefix("sub-") for p in _folders(root) if p.name.startswith("sub-"))


def is_subject(name: str) -> bool:
    """Whether BIDS allows this name."""
    return SUBJECT.fullmatch(name) is not None


def models(root: Path, subject: str = "") -> list[ModelEntry]:
    """All models under the root, those of ``subject`` first and the newest first; copies inside sessions left out."""
    found = [read_model(path.parent) for path in _below(root, "spec.json", DEPTH)]

    def order(model: ModelEntry) -> tuple[bool, int]:
        return f"sub-{subject}" not in model.path.parts, -(model.made.toordinal() if model.made else 0)

    return sorted(sorted(found, key=lambda m: m.path.name, reverse=True), key=order)


def read_model(path: Path) -> ModelEntry:
    """What its ``spec.json`` says; its bytes are checked where it is used."""
    file = path / "spec.json"
    try:
        told, made = json.loads(file.read_text(encoding="utf-8")), date.fromtimestamp(file.stat().st_mtime)
        pre = told["preprocessing"]
        return ModelEntry(
            path, told["decoder"]["name"], tuple(told["decoder"]["classes"]), tuple(pre["channels"]),
            float(pre["sfreq_hz"]), made, told["info"].get("scores"), pre,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return ModelEntry(path, trouble=f"cannot be read ({type(error).__name__}): train it again or copy it again")


def why_unfit(model: ModelEntry, stream: StreamSpec | None) -> str:
    """Why a model cannot run on this stream, as the session would refuse it; empty where it can, or nobody knows."""
    if model.trouble:
        return model.trouble
    if stream is None or not names_channels(stream):
        return ""
    try:
        Preprocessing(msgspec.convert(model.preprocessing, PreprocessingSpec), stream)
    except (RolandicError, msgspec.ValidationError) as error:
        return str(error).removeprefix(f"stream {stream.name!r} does not fit the model: ")
    return ""


def sessions(root: Path) -> list[SessionEntry]:
    """All recorded sessions under the root, the newest first."""
    found = [read_session(path.parent) for path in _below(root, "session.xdf", DEPTH, is_session_wanted=True)]
    return sorted(found, key=lambda s: s.began, reverse=True)


def read_session(path: Path) -> SessionEntry:
    """What is known of a session's folder without reading its recording."""
    try:
        told = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    toml, xdf = path / "session.toml", path / "session.xdf"  # the first is written once, when it begins
    began = datetime.fromtimestamp((toml if toml.exists() else xdf).stat().st_mtime)
    subject = path.parent.name.removeprefix("sub-") if path.parent.name.startswith("sub-") else path.parent.name
    return SessionEntry(path, subject, began, (path / "report.html").exists(), told if isinstance(told, dict) else {})


def next_session(root: Path, subject: str) -> Path:
    """The folder that the next session of a person gets; `bci run` makes it."""
    parent = root / f"sub-{subject}"
    n = _next_number(parent, r"ses-(\d+)")
    return parent / f"ses-{n}"


def next_calibration(root: Path, subject: str, today: date) -> tuple[Path, Path]:
    """The recording and the model folder of the next calibration; the recording's folder is there."""
    person = root / f"sub-{subject}"
    (person / "calibration").mkdir(parents=True, exist_ok=True, mode=0o700)
    n = _next_number(person / "calibration", r"sub-.*_run-(\d+)\.xdf")
    name = f"hands-{today:%Y-%m-%d}"
    taken = {p.name for p in _folders(person / "models")}
    model = next(m for m in (name, *(f"{name}-{i}" for i in range(2, 1000))) if m not in taken)
    return person / "calibration" / f"sub-{subject}_run-{n}.xdf", person / "models" / model


def inputs_for(stream: StreamSpec | None) -> tuple[str, ...]:
    """Channels to train on; empty: all of them. Of a cap with many, those over the motor cortex."""
    if stream is None or len(stream.channels) <= MANY_CHANNELS:
        return ()
    over_motor = tuple(label for label in stream.labels if MOTOR.fullmatch(label.strip(".")))
    return over_motor if len(over_motor) >= ENOUGH_MOTOR else ()


def recipe(stream: StreamSpec | None) -> list[str]:
    """What lets a filter bank tell left from right best (docs/results.md), as far as the stream allows it."""
    if stream is None:
        return []
    added = []
    with contextlib.suppress(ModelError):
        rate_ratio(stream.sfreq_hz, RECIPE_HZ)
        added += ["--sfreq", f"{RECIPE_HZ:g}"]
    with contextlib.suppress(SpecError):
        brain = [c.label for c in stream.channels if c.type.upper() in BRAIN]
        mirror_order(inputs_for(stream) or brain)
        added += ["--mirror"]
    return added


def _next_number(folder: Path, pattern: str) -> int:
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return max((int(m[1]) for name in names if (m := re.fullmatch(pattern, name))), default=0) + 1


def _below(root: Path, name: str, depth: int, is_session_wanted: bool = False) -> Iterator[Path]:
    """Files of this name, at most so deep. Models inside sessions are copies."""
    if (file := root / name).is_file():
        yield file
    if depth and (is_session_wanted or not (root / "session.xdf").exists()):
        for folder in _folders(root):
            if not (folder.name == "models" and is_session_wanted):
                yield from _below(folder, name, depth - 1, is_session_wanted)


def _folders(folder: Path) -> Sequence[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []
