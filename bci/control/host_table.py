"""What the device host decides, as a table: it alone lets a command through, and it goes neutral by itself.

::

    DISARMED --arm--> ARMED --trouble (heartbeat late, data old)--> HELD --well--> ARMED;  HELD --lost--> DISARMED
    any state --stop--> STOPPED (latched) --reset (a person)--> DISARMED;  any state --close--> CLOSED

Only ARMED moves anything. Every other state is neutral, and no command issued before the last neutral is ever sent.
Times are seconds of the LSL clock, which engine and host share because they run on one machine.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from bci.types import Acknowledged, Command, Receipt

FUTURE_S: Final = 0.005  # one clock on one machine: what claims to be later than now is wrong


class HostMode(StrEnum):
    """States of the device host."""

    DISARMED = "disarmed"
    ARMED = "armed"
    HELD = "held"
    STOPPED = "stopped"
    CLOSED = "closed"


class HostEvent(StrEnum):
    """What can happen to the device host."""

    ARM = "arm"
    DISARM = "disarm"
    TROUBLE = "trouble"  # the heartbeat is late, or the data are old
    WELL = "well"
    LOST = "lost"  # trouble for longer than lost_s
    FAILED = "failed"  # a device reported an error
    STOP = "stop"
    RESET = "reset"
    CLOSE = "close"  # the engine has gone, or closes


_DIS, _ARM, _HLD, _STP, _CLO = HostMode
_ROWS: Final[dict[HostMode, tuple[HostMode, ...]]] = {
    #       ARM   DISARM TROUBLE WELL LOST  FAILED STOP  RESET CLOSE
    _DIS: (_ARM, _DIS, _DIS, _DIS, _DIS, _DIS, _STP, _DIS, _CLO),
    _ARM: (_ARM, _DIS, _HLD, _ARM, _DIS, _DIS, _STP, _ARM, _CLO),
    _HLD: (_HLD, _DIS, _HLD, _ARM, _DIS, _DIS, _STP, _HLD, _CLO),
    _STP: (_STP, _STP, _STP, _STP, _STP, _STP, _STP, _DIS, _CLO),
    _CLO: (_CLO, _CLO, _CLO, _CLO, _CLO, _CLO, _CLO, _CLO, _CLO),
}
TRANSITIONS: Final[dict[tuple[HostMode, HostEvent], HostMode]] = {
    (name, event): target for name, row in _ROWS.items() for event, target in zip(HostEvent, row, strict=True)
}


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When the host stops believing the engine, and how often it moves at most."""

    heartbeat_timeout_s: float = 0.15
    max_age_s: float = 0.5
    lost_s: float = 2.0
    min_interval_s: float = 0.1
    resume_s: float = 2.0  # after a hold, commands issued before so much good health are void


# --- what it is told -------------------------------------------------------------------------------------------------


class Arm(msgspec.Struct, frozen=True, tag_field="kind", tag="arm"):
    """Let commands of this arming through; ``arm_id`` must be larger than any before."""

    arm_id: int


class Disarm(msgspec.Struct, frozen=True, tag_field="kind", tag="disarm"):
    """Neutral, until armed again."""

    reason: str = ""


class Neutral(msgspec.Struct, frozen=True, tag_field="kind", tag="neutral"):
    """Neutral now; stays armed for later commands."""

    reason: str = ""


class Heartbeat(msgspec.Struct, frozen=True, tag_field="kind", tag="heartbeat"):
    """Sent by the decode thread: the last hop, and how old at ``sent_s`` the newest sample was that it has decided on.

    A decoder that is stuck is thus old data, however often the thread beats; ``hop`` itself is not judged.
    """

    hop: int
    age_s: float
    sent_s: float


class Stop(msgspec.Struct, frozen=True, tag_field="kind", tag="stop"):
    """Emergency stop: neutral, latched until a person resets it."""

    reason: str = ""


class Reset(msgspec.Struct, frozen=True, tag_field="kind", tag="reset"):
    """A person has looked and lets it be armed again."""


class Close(msgspec.Struct, frozen=True, tag_field="kind", tag="close"):
    """Neutral, then end. Also what the end of the channel means."""

    reason: str = ""


class Failed(msgspec.Struct, frozen=True, tag_field="kind", tag="failed"):
    """A device raised an error."""

    reason: str


class Tick(msgspec.Struct, frozen=True, tag_field="kind", tag="tick"):
    """Time has passed."""


EngineMessage = Arm | Disarm | Neutral | Heartbeat | Command | Reset | Close
HostMessage = EngineMessage | Stop | Failed | Tick


# --- what it does ----------------------------------------------------------------------------------------------------


class GoNeutral(msgspec.Struct, frozen=True, tag_field="kind", tag="go_neutral"):
    """Every device goes neutral, now."""

    reason: str


class Send(msgspec.Struct, frozen=True, tag_field="kind", tag="send"):
    """The devices carry this command out."""

    command: Command


class HostState(msgspec.Struct, frozen=True, tag_field="kind", tag="host_state"):
    """What the engine is told whenever it changes, and when an arming was refused (``refused`` says why).

    ``trouble`` says which device does not do what it was told, as long as that is so.

    ``dead`` is the engine's own word for a host that has gone or does not answer.
    """

    state: Literal["disarmed", "armed", "held", "stopped", "closed", "dead"]
    reason: str = ""
    arm_id: int = 0
    refused: str = ""
    trouble: str = ""


class Alive(msgspec.Struct, frozen=True, tag_field="kind", tag="alive"):
    """The host's loop runs; sent every 50 ms."""


HostReport = Receipt | Acknowledged | HostState | Alive
Action = GoNeutral | Send | Receipt | HostState


class HostTable(msgspec.Struct, frozen=True, kw_only=True):
    """All that the host remembers, as a value. Ids are the largest seen."""

    name: HostMode = HostMode.DISARMED
    reason: str = ""
    arm_id: int = 0
    command_id: int = 0
    heard_s: float = -math.inf  # when the newest heartbeat was sent
    age_s: float = math.inf  # of the newest sample decided on, then
    held_since_s: float = 0.0
    neutral_s: float = -math.inf  # commands issued until then are void
    moved_s: float = -math.inf  # when the last command was let through
    moving_until_s: float = math.inf  # when the velocity that was let through last must have been followed by another


def receive(
    settings: HostSettings, table: HostTable, message: HostMessage, now_s: float
) -> tuple[HostTable, tuple[Action, ...]]:
    """Take one message at ``now_s``; return the new value and what to do, in order.

    A command that is let through comes back as `Send`, whose receipt its executor writes; a refused one as `Receipt`.
    """
    match message:
        case Heartbeat():
            if table.heard_s < message.sent_s <= now_s + FUTURE_S:  # one from the future would vouch for later
                table = replace(table, heard_s=message.sent_s, age_s=message.age_s)
            return _watch(settings, table, now_s)
        case Tick():
            return _watch(settings, table, now_s)
        case Command():
            table, actions = _watch(settings, table, now_s)
            if problem := _refusal(settings, table, message, now_s):
                return _seen(table, message), (*actions, Receipt(message.id, False, problem))
            until_s = table.moving_until_s
            if message.velocity is not None:
                until_s = message.issued_s + message.ttl_ms / 1000
            return replace(_seen(table, message), moved_s=now_s, moving_until_s=until_s), (*actions, Send(message))
        case Arm():
            if problem := _arming_problem(settings, table, message, now_s):
                return table, (HostState(table.name.value, table.reason, table.arm_id, refused=problem),)
            return _move(replace(table, arm_id=message.arm_id), HostEvent.ARM, f"armed ({message.arm_id})", now_s)
        case Disarm():
            return _move(table, HostEvent.DISARM, message.reason or "disarmed", now_s)
        case Neutral():
            return _still(table, now_s), (GoNeutral(message.reason or "neutral"),)
        case Stop():
            return _move(table, HostEvent.STOP, message.reason or "stopped", now_s)
        case Reset():
            return _move(table, HostEvent.RESET, "reset", now_s)
        case Failed():
            return _move(table, HostEvent.FAILED, message.reason, now_s)
        case Close():
            return _move(table, HostEvent.CLOSE, message.reason or "closed", now_s)


def deadline_s(settings: HostSettings, table: HostTable) -> float:
    """The time at which a `Tick` must come if nothing else does; infinite when time alone changes nothing."""
    if table.name is HostMode.ARMED:
        late_s = table.heard_s + max(0.0, min(settings.heartbeat_timeout_s, settings.max_age_s - table.age_s))
        return min(late_s, table.moving_until_s)
    if table.name is HostMode.HELD:
        return table.held_since_s + settings.lost_s
    return math.inf


def _watch(settings: HostSettings, table: HostTable, now_s: float) -> tuple[HostTable, tuple[Action, ...]]:
    """Compare heartbeat and data age with their limits."""
    if table.name not in (HostMode.ARMED, HostMode.HELD):
        return table, ()
    if problem := _trouble(settings, table, now_s):
        if table.name is HostMode.HELD and not 0 <= now_s - table.held_since_s < settings.lost_s:
            return _move(table, HostEvent.LOST, f"trouble for more than {settings.lost_s:g} s: {problem}", now_s)
        return _move(table, HostEvent.TROUBLE, problem, now_s)
    well, actions = _move(table, HostEvent.WELL, "well again", now_s)
    if now_s >= table.moving_until_s:
        return _still(well, now_s), (*actions, GoNeutral("no newer velocity in time"))
    if table.name is HostMode.HELD:  # as the gate does, but without trusting it to have seen the trouble
        well = replace(well, neutral_s=now_s + settings.resume_s)
    return well, actions


def _trouble(settings: HostSettings, table: HostTable, now_s: float) -> str:
    """What is wrong with the engine, seen from here; written so that NaN and a clock that jumped are trouble."""
    late_s = now_s - table.heard_s
    if not -FUTURE_S <= late_s < settings.heartbeat_timeout_s:
        return "no heartbeat yet" if late_s == math.inf else f"heartbeat late by {late_s * 1000:.0f} ms"
    age_s = table.age_s + late_s
    return "" if age_s < settings.max_age_s else f"data {age_s * 1000:.0f} ms old"


def _refusal(settings: HostSettings, table: HostTable, command: Command, now_s: float) -> str:
    """Why a command must not go out, or nothing."""
    if table.name is not HostMode.ARMED:
        return f"{table.name.value}: {table.reason}" if table.reason else table.name.value
    if command.arm_id != table.arm_id:
        return f"of arming {command.arm_id}, now {table.arm_id}"
    if not command.id > table.command_id:
        return f"command {command.id} is not newer than {table.command_id}"
    age_s = now_s - command.issued_s
    if not -FUTURE_S <= age_s <= command.ttl_ms / 1000:
        return f"issued {age_s * 1000:.0f} ms ago, valid for {command.ttl_ms:g} ms"
    if not command.issued_s > table.neutral_s:
        return "too soon after a hold" if table.neutral_s > now_s else "issued before the last neutral"
    if now_s - table.moved_s < settings.min_interval_s:
        return f"less than {settings.min_interval_s * 1000:g} ms after the last command"
    return ""


def _arming_problem(settings: HostSettings, table: HostTable, arm: Arm, now_s: float) -> str:
    if table.name is not HostMode.DISARMED:
        return table.name.value + (": reset it first" if table.name is HostMode.STOPPED else "")
    if not arm.arm_id > table.arm_id:
        return f"arming {arm.arm_id} is not newer than {table.arm_id}"
    return _trouble(settings, table, now_s)


def _still(table: HostTable, now_s: float) -> HostTable:
    """Neutral without a change of state: what was issued before is void."""
    return replace(table, neutral_s=max(table.neutral_s, now_s), moving_until_s=math.inf)


def _seen(table: HostTable, command: Command) -> HostTable:
    return replace(table, command_id=max(table.command_id, command.id))


def _move(table: HostTable, event: HostEvent, reason: str, now_s: float) -> tuple[HostTable, tuple[Action, ...]]:
    """Apply the table. Entering any state but ARMED is neutral; a stop is neutral each time."""
    target = TRANSITIONS[table.name, event]
    if target is table.name and event is not HostEvent.STOP:
        return table, ()
    held_since_s = now_s if target is HostMode.HELD else table.held_since_s
    if target is not HostMode.ARMED:
        table = _still(table, now_s)
    table = replace(table, name=target, reason=reason, held_since_s=held_since_s)
    told = HostState(target.value, reason, table.arm_id)
    return table, (told,) if target is HostMode.ARMED else (GoNeutral(reason), told)
