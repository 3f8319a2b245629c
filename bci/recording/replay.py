"""Run a recorded session again: feed its events by number, and say whether the same came out.

The stream ``bci-events`` of a recording holds every event that entered the session, in order; the samples stand in the
raw streams. Feeding them to a new `Session` must give the recorded predictions and commands: bit for bit on the same
kind of machine, within 1e-5 elsewhere (docs/decisions/0002).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.errors import RecordingError
from bci.session import Session, advance
from bci.types import (
    Acknowledged,
    Chunk,
    ChunkRef,
    ClockOffset,
    Command,
    Control,
    Gap,
    HealthChange,
    InputEvent,
    Marker,
    Now,
    Numbered,
    OutputEvent,
    Prediction,
    Receipt,
    RecordedStream,
    Recording,
    Step,
    Swap,
)

TOLERANCE = 1e-5  # of a probability, where bits cannot be promised
FORMAT = 2  # of the streams that a session records about itself
HOP_LABELS = ("hop", "sample_index", "stamp_s", "age_s", "flags", "marker", "marker_index")  # then p, class by class


def hop_row(prediction: Prediction) -> tuple[float, ...]:
    """A prediction as ``bci-hops`` holds it."""
    p = prediction
    return (p.hop, p.sample_index, p.stamp_s, p.age_s, p.flags, p.marker, p.marker_index, *p.p)


@dataclass(frozen=True)
class RecordedSession:
    """What a recording says about the session that made it.

    ``hops`` has shape (n_predictions, 7 + n_classes): `HOP_LABELS`, then probabilities; ``latency`` (n, 8) has the
    times of ``bci-latency``.
    """

    metadata: dict[str, Any]
    streams: tuple[RecordedStream, ...]
    events: tuple[Numbered, ...]
    hops: NDArray[np.float64]
    commands: tuple[Command, ...]
    receipts: tuple[Receipt, ...]
    latency: NDArray[np.float64]

    @property
    def is_complete(self) -> bool:
        """Whether the session ended in order and the file has all of it; else a crash cut it somewhere."""
        last = self.events[-1].event if self.events else None
        return isinstance(last, Control) and last.action == "end"


def read_session(recording: Recording, metadata: str) -> RecordedSession:
    """Take a recording apart.

    Parameters
    ----------
    recording
        As `bci.recording.xdf.read_xdf` gives it.
    metadata
        The text that stands in the header of ``bci-events``.

    Raises
    ------
    RecordingError
        It was not made by ``bci run``, or lacks a stream that replay needs.
    """
    own = {s.spec.name: s for s in recording.streams if s.spec.type == "rolandic"}
    missing = [name for name in ("bci-events", "bci-hops", "bci-commands") if name not in own]
    if missing:
        raise RecordingError(
            f"{recording.path}: no stream {', '.join(missing)}; only a recording made by `bci run` can be replayed"
        )
    numbered = msgspec.json.Decoder(Numbered).decode
    answers = msgspec.json.Decoder(Command | Receipt | Acknowledged).decode
    lines = [answers(line) for line in own["bci-commands"].samples]
    about = json.loads(metadata or "{}")
    if about.get("format") != FORMAT:
        raise RecordingError(
            f"{recording.path}: recorded in format {about.get('format')}, this program replays {FORMAT}; "
            "replay it with the version that made it"
        )
    return RecordedSession(
        metadata=about,
        streams=tuple(s for s in recording.streams if s.spec.type != "rolandic"),
        events=tuple(numbered(line) for line in own["bci-events"].samples),
        hops=np.asarray(own["bci-hops"].samples, dtype=np.float64),
        commands=tuple(line for line in lines if isinstance(line, Command)),
        receipts=tuple(line for line in lines if isinstance(line, Receipt)),
        latency=np.asarray(own["bci-latency"].samples if "bci-latency" in own else np.zeros((0, 8))),
    )


def recorded_events(recorded: RecordedSession) -> Iterator[InputEvent]:
    """The events as they entered the session, samples put back into their chunks; ends where samples are missing."""
    expected = 0
    for entry in recorded.events:
        if entry.seq != expected:
            if not expected:
                raise RecordingError(
                    f"this part begins in the middle of its session, at event {entry.seq}: the recorder was restarted "
                    "there, and what came before is in the part before; `bci report` reads both"
                )
            raise RecordingError(f"event {expected} is missing from the recorded sequence (next is {entry.seq})")
        expected += 1
        event = entry.event
        if not isinstance(event, ChunkRef):
            yield event
            continue
        stream = recorded.streams[event.stream]
        part = slice(event.first_index, event.first_index + event.n)
        stamps_s = stream.stamps_s[part]
        if len(stamps_s) < event.n:  # a crash cut the tail of the samples
            return
        yield Chunk(event.stream, event.first_index, np.asarray(stream.samples)[part], stamps_s, event.arrival_s)


def rechunked(events: Iterator[InputEvent], primary: int, sizes: Iterator[int]) -> Iterator[InputEvent]:
    """The same events with the primary's samples in chunks of other ``sizes``; it must not change an output.

    A chunk is handed over early where a later event needs its samples, never late.
    """
    waiting: list[Chunk] = []

    def cut() -> Iterator[Chunk]:
        if not waiting:
            return
        samples = np.concatenate([c.samples for c in waiting])
        stamps_s = np.concatenate([c.stamps_s for c in waiting])
        first, at = waiting[0].first_index, 0
        while at < len(stamps_s):
            n = max(1, next(sizes))
            yield Chunk(primary, first + at, samples[at : at + n], stamps_s[at : at + n], waiting[-1].arrival_s)
            at += n
        waiting.clear()

    for event in events:
        if isinstance(event, Chunk) and event.stream == primary:
            waiting.append(event)
            continue
        if isinstance(event, Step | Gap | Marker | Now):
            yield from cut()
        yield event
    yield from cut()


def replay(session: Session, events: Iterator[InputEvent]) -> Iterator[OutputEvent]:
    """Feed events by number."""
    for event in events:
        yield from session.receive(event)


def replay_otherwise(session: Session, events: Iterator[InputEvent]) -> Iterator[OutputEvent]:
    """What would it have done: the recorded samples and controls, but hops and model of another ``session``.

    Hops are computed when their samples are there, and judged at the time that the recorded gate was given last. A
    recorded swap happens if ``session`` has that model.
    """
    for event in events:
        if isinstance(event, Now) and session.n_ready:
            for _, outputs in advance(session, lambda now_s=event.now_s: now_s):
                yield from outputs
        elif isinstance(event, Swap):
            if event.model_hash in session.pipelines:
                yield from session.receive(event)
        elif isinstance(event, Chunk | ClockOffset | Gap | Marker | Control | HealthChange | Now):
            yield from session.receive(event)


@dataclass
class Comparison:
    """Recorded against replayed, prediction by prediction and command by command."""

    n_predictions: int = 0
    n_commands: int = 0
    n_differences: int = 0
    first_difference: dict[str, Any] | None = None
    max_abs_dp: float = 0.0
    n_tail_recorded: int = 0
    n_tail_replayed: int = 0
    bitwise: bool = True

    def differ(self, kind: str, index: int, recorded: Any, replayed: Any) -> None:
        """Count one difference."""
        self.n_differences += 1
        self.bitwise = False
        if self.first_difference is None:
            self.first_difference = {"kind": kind, "index": index, "recorded": recorded, "replayed": replayed}

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        names = ("n_differences", "first_difference", "max_abs_dp", "bitwise", "n_tail_recorded", "n_tail_replayed")
        return {name: getattr(self, name) for name in names}


def compare(recorded: RecordedSession, outputs: list[OutputEvent], *, bits: bool) -> Comparison:
    """Every prediction and command beside the recorded one.

    Parameters
    ----------
    bits
        Demand equal bits; otherwise probabilities within `TOLERANCE` and equal decisions.
    """
    result, n_labels = Comparison(), len(HOP_LABELS)
    predictions = [o for o in outputs if isinstance(o, Prediction)]
    replayed = np.array([hop_row(p) for p in predictions])
    replayed = replayed.reshape(len(predictions), -1) if predictions else np.zeros((0, recorded.hops.shape[1]))
    n = result.n_predictions = min(len(replayed), len(recorded.hops))
    result.n_tail_recorded, result.n_tail_replayed = len(recorded.hops) - n, len(replayed) - n
    if n and replayed.shape[1] != recorded.hops.shape[1]:
        result.differ("classes", 0, recorded.hops.shape[1] - n_labels, replayed.shape[1] - n_labels)
        return result
    a, b = recorded.hops[:n], replayed[:n]
    result.bitwise = bool(np.array_equal(a.view(np.uint64), np.ascontiguousarray(b).view(np.uint64)))
    both_nan = np.isnan(a) & np.isnan(b)
    gap = np.where(both_nan, 0.0, np.abs(a - b))
    result.max_abs_dp = float(np.nan_to_num(gap[:, n_labels:], nan=np.inf).max(initial=0.0))
    wrong = (a.view(np.uint64) != np.ascontiguousarray(b).view(np.uint64)) if bits else ~(gap <= TOLERANCE)
    for row in np.flatnonzero(wrong.any(axis=1)):
        result.differ("prediction", int(a[row, 0]), a[row].tolist(), b[row].tolist())
    # a hop stands in the file behind its events and its command: a crash may cut off a replayed tail, never make one
    if result.n_tail_recorded:
        result.differ("prediction", int(recorded.hops[n, 0]), recorded.hops[n].tolist(), None)
    if result.n_tail_replayed and recorded.is_complete:
        result.differ("prediction", int(replayed[n, 0]), None, replayed[n].tolist())
    commands = [o for o in outputs if isinstance(o, Command)]
    if result.n_tail_replayed and not recorded.is_complete:
        last_hop = int(a[-1, 0]) if n else -1
        commands = [c for c in commands if c.hop <= last_hop or c in recorded.commands]
    _compare_commands(result, recorded.commands, commands, bits)
    return result


def _compare_commands(result: Comparison, recorded: tuple[Command, ...], replayed: list[Command], bits: bool) -> None:
    result.n_commands = len(replayed)
    for index, (a, b) in enumerate(zip(recorded, replayed, strict=False)):
        same = a == b if bits else (a.name, a.hop, a.arm_id) == (b.name, b.hop, b.arm_id)
        if not same:
            result.differ("command", index, msgspec.to_builtins(a), msgspec.to_builtins(b))
    for index in range(len(replayed), len(recorded)):
        result.differ("command", index, msgspec.to_builtins(recorded[index]), None)
    for index in range(len(recorded), len(replayed)):
        result.differ("command", index, None, msgspec.to_builtins(replayed[index]))
