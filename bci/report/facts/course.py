"""The course of a run: when the gate was in which state, when health was bad and why, what people asked and noted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bci.control.gate import ARMED_MODES, GateMode
from bci.control.host_table import HostState
from bci.recording.runs import RunRecord
from bci.types import Control, GateChange, Health, MarkerExpired, SegmentStarted, Swap

_LEVELS = ("ok", "warn", "bad")


@dataclass(frozen=True, slots=True)
class Stretch:
    """From ``from_s`` to ``until_s`` (LSL time) something was in this state, for these reasons."""

    from_s: float
    until_s: float
    state: str
    reasons: tuple[str, ...] = ()


def gate_states(run: RunRecord, start_s: float, end_s: float) -> list[Stretch]:
    """What the gate was in, without a hole."""
    changes = [(at_s, said.state, said.reasons) for at_s, said in run.said if isinstance(said, GateChange)]
    stretches, before = [], (start_s, GateMode.DISARMED.value, ())
    for at_s, state, reasons in changes:
        if state != before[1]:
            stretches.append(Stretch(before[0], at_s, before[1], before[2]))
            before = at_s, state, reasons
    stretches.append(Stretch(before[0], max(end_s, before[0]), before[1], before[2]))
    return [s for s in stretches if s.until_s > s.from_s]


def armed(states: list[Stretch]) -> list[tuple[float, float]]:
    """When a command could have come, now or after recovery; neighbours joined."""
    joined: list[tuple[float, float]] = []
    for s in states:
        if s.state in ARMED_MODES:
            if joined and joined[-1][1] == s.from_s:
                joined[-1] = joined[-1][0], s.until_s
            else:
                joined.append((s.from_s, s.until_s))
    return joined


def disarmings(run: RunRecord, states: list[Stretch], start_s: float) -> list[dict[str, Any]]:
    """When trouble took the arming away: not a person, and not the end of the session."""
    orders = {
        e.value or f"disarmed by {e.by}"
        for _, e in run.events
        if isinstance(e, Control) and e.action == "disarm" and e.by != "device host" and "died" not in e.value
    }
    return [
        {"t_s": after.from_s - start_s, "reasons": list(after.reasons)}
        for before, after in pairwise(states)
        if before.state in ARMED_MODES and after.state == GateMode.DISARMED and not orders & set(after.reasons)
    ]


def troubles(run: RunRecord, end_s: float) -> list[Stretch]:
    """Stretches without good health, each with all its reasons, and states of the device host that nobody wants."""
    found: list[Stretch] = []
    began: tuple[float, str, dict[str, None]] | None = None
    for at_s, said in run.said:
        if not isinstance(said, Health):
            continue
        if said.level == "ok":
            if began is not None:
                found.append(Stretch(began[0], at_s, began[1], tuple(began[2])))
            began = None
        elif began is None:
            began = at_s, said.level, dict.fromkeys(said.reasons)
        else:
            worst = max(began[1], said.level, key=_LEVELS.index)
            began = began[0], worst, began[2] | dict.fromkeys(said.reasons)
    if began is not None:
        found.append(Stretch(began[0], max(end_s, began[0]), began[1], tuple(began[2])))
    return sorted([*found, *_device_host(run, end_s)], key=lambda s: s.from_s)


def _device_host(run: RunRecord, end_s: float) -> Iterator[Stretch]:
    """While it was stopped or gone."""
    began: tuple[float, HostState] | None = None
    for at_s, said in run.said:
        if not isinstance(said, HostState):
            continue
        if began is not None and said.state != began[1].state:
            yield _host_stretch(began, at_s)
            began = None
        if began is None and said.state in ("stopped", "dead"):
            began = at_s, said
    if began is not None:
        yield _host_stretch(began, max(end_s, began[0]))


def _host_stretch(began: tuple[float, HostState], until_s: float) -> Stretch:
    state = "emergency stop" if began[1].state == "stopped" else "the device host has died"
    return Stretch(began[0], until_s, "bad", (f"{state}: {began[1].reason}" if began[1].reason else state,))


def alarms(stretches: list[Stretch], start_s: float) -> list[dict[str, Any]]:
    """`troubles` as the report lists them."""
    return [
        {"t_s": s.from_s - start_s, "duration_s": s.until_s - s.from_s, "level": s.state, "reasons": list(s.reasons)}
        for s in stretches
    ]


def notes(run: RunRecord, start_s: float) -> list[dict[str, Any]]:
    """What people and programs asked of the session and noted, and models that took over, in order."""
    found = []
    for at_s, event in run.events:
        if isinstance(event, Control) and event.action != "end":
            found.append({"t_s": at_s - start_s, "action": event.action, "text": event.value, "by": event.by})
        elif isinstance(event, Swap):
            found.append({"t_s": at_s - start_s, "action": "swap", "text": event.model_hash, "by": event.source})
    return found


def expired(run: RunRecord, start_s: float) -> list[dict[str, Any]]:
    """Markers that the decoder should have answered and never did."""
    return [
        {"t_s": at_s - start_s, "label": said.label, "reason": said.reason}
        for at_s, said in run.said
        if isinstance(said, MarkerExpired)
    ]


def ended_because(run: RunRecord) -> str | None:
    """Why the run ended, in its own words; None if it was cut off."""
    ends = [e.value for _, e in run.events if isinstance(e, Control) and e.action == "end"]
    return ends[-1] if ends else None


def n_segments(run: RunRecord) -> int:
    """How often filters and decoder began anew, the start included."""
    return sum(isinstance(said, SegmentStarted) for _, said in run.said)
