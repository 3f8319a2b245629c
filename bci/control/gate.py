"""The gate: from predictions to proposed commands, as a table of states. It proposes; the device host decides.

::

    DISARMED --arm--> ARMED --high--> DWELL --dwelled (proposes a command)--> REFRACTORY --rested--> ARMED
    ARMED, DWELL --manual (a person commands)--> REFRACTORY
    any armed state --bad--> RECOVERING --recovered--> ARMED;  --lost, disarm--> DISARMED;  --stop--> STOPPED

Everything is a value and an argument: no clock, no randomness. Whatever is unknown, flagged or late gives no evidence;
what is flagged, or missing for too long, is trouble. With ``velocity`` set, ARMED steers and never dwells.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from bci.control.velocity import Velocity, VelocitySettings, follow, meant
from bci.errors import ConfigError
from bci.types import Command, Control, Flag, Health, Prediction

FUTURE_S: Final = 0.25  # smoothed stamps may run ahead of the clock by jitter, not by more


class GateMode(StrEnum):
    """States of the gate. A command is proposed on the way from DWELL to REFRACTORY."""

    DISARMED = "disarmed"
    ARMED = "armed"
    DWELL = "dwell"
    REFRACTORY = "refractory"
    RECOVERING = "recovering"
    STOPPED = "stopped"


class GateEvent(StrEnum):
    """What can happen to the gate."""

    ARM = "arm"
    DISARM = "disarm"
    STOP = "stop"  # the device host is stopped
    RESET = "reset"  # a person has reset the device host
    LOST = "lost"  # outage longer than lost_s, clock jump, or a set time without use
    BAD = "bad"  # health is bad, a prediction is flagged or malformed, or no usable one came for too long
    STALE = "stale"  # a prediction that is too old
    HIGH = "high"  # a class that commands reached the threshold
    LOW = "low"  # the class in dwell fell below release, or another class won
    DWELLED = "dwelled"  # one class was held for dwell_s
    RESTED = "rested"  # refractory_s has passed since the last command
    RECOVERED = "recovered"  # resume_s of good health, and a rest decision in it
    MANUAL = "manual"  # a person commands, instead of the decoder


_DIS, _ARM, _DWL, _REF, _REC, _STP = GateMode
_ROWS: Final[dict[GateMode, tuple[GateMode, ...]]] = {
    #       ARM   DISARM STOP  RESET LOST  BAD   STALE HIGH  LOW   DWELLED RESTED RECOVERED MANUAL
    _DIS: (_ARM, _DIS, _STP, _DIS, _DIS, _DIS, _DIS, _DIS, _DIS, _DIS, _DIS, _DIS, _DIS),
    _ARM: (_ARM, _DIS, _STP, _ARM, _DIS, _REC, _ARM, _DWL, _ARM, _ARM, _ARM, _ARM, _REF),
    _DWL: (_DWL, _DIS, _STP, _DWL, _DIS, _REC, _ARM, _DWL, _ARM, _REF, _DWL, _DWL, _REF),
    _REF: (_REF, _DIS, _STP, _REF, _DIS, _REC, _REF, _REF, _REF, _REF, _ARM, _REF, _REF),
    _REC: (_REC, _DIS, _STP, _REC, _DIS, _REC, _REC, _REC, _REC, _REC, _REC, _ARM, _REC),
    _STP: (_STP, _STP, _STP, _DIS, _STP, _STP, _STP, _STP, _STP, _STP, _STP, _STP, _STP),
}
TRANSITIONS: Final[dict[tuple[GateMode, GateEvent], GateMode]] = {
    (mode, event): target for mode, row in _ROWS.items() for event, target in zip(GateEvent, row, strict=True)
}
_EVIDENCE_STAYS: Final = frozenset({GateEvent.HIGH, GateEvent.LOW, GateEvent.RESTED, GateEvent.RECOVERED})
ARMED_MODES: Final = frozenset({GateMode.ARMED, GateMode.DWELL, GateMode.REFRACTORY, GateMode.RECOVERING})


class GateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How sure, for how long, how often.

    Parameters
    ----------
    classes : tuple of str
        Names in the order of the probabilities; every class but ``rest`` is a command.
    rest : str or None
        The class that commands nothing.
    threshold, release : float
        A dwell begins, and a command is proposed, at ``p >= threshold``; the dwell ends at ``p < release``.
    dwell_s : float
        How long one class must be held, in stamps of the predictions.
    evidence_s : float
        Time constant of a leaky accumulation of the probabilities, which threshold and release then judge (the
        exponential smoothing of Millan et al. 2004, IEEE Trans. Biomed. Eng. 51:1026); 0: each prediction by itself.
    refractory_s : float
        Shortest time between two proposals.
    max_age_s : float
        Predictions on older data give no evidence.
    max_hole_s : float or None
        A hole this long in the predictions ends a dwell, and waiting for recovery begins anew; ``max_age_s`` where
        None. Infinite for a decoder that answers markers: they come when they come.
    ttl_ms : float
        How long a command may be under way before the device host refuses it.
    resume_s : float
        Good health needed after trouble, with a rest decision in it, before the gate is armed again.
    lost_s : float
        Trouble, or a step of the clock, longer than this disarms.
    idle_disarm_s : float
        Disarms when nothing was commanded for so long.
    velocity : VelocitySettings or None
        Continuous control; below ``release`` it steers to a stand.

    Raises
    ------
    ConfigError
        A value is out of range; the message names key, value, and what is allowed.
    """

    classes: tuple[str, ...]
    rest: str | None = None
    threshold: float = 0.8
    release: float = 0.65
    dwell_s: float = 0.5
    evidence_s: float = 0.0
    refractory_s: float = 1.0
    max_age_s: float = 0.5
    max_hole_s: float | None = None
    ttl_ms: float = 300.0
    resume_s: float = 2.0
    lost_s: float = 2.0
    idle_disarm_s: float = 600.0
    velocity: VelocitySettings | None = None

    def __post_init__(self) -> None:
        if len(set(self.classes)) < 2 or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"gate classes = {self.classes}: two or more different names are needed")
        if self.rest is not None and self.rest not in self.classes:
            raise ConfigError(f"gate rest = {self.rest!r}: must be one of {', '.join(self.classes)}")
        if problem := _threshold_problem(self, self.threshold):
            raise ConfigError(f"gate {problem}")
        if not 0 < self.release <= self.threshold:
            raise ConfigError(f"gate release = {self.release:g}: must be above 0 and at most threshold")
        for key in ("dwell_s", "evidence_s", "refractory_s", "resume_s"):
            if not 0 <= getattr(self, key) < math.inf:
                raise ConfigError(f"gate {key} = {getattr(self, key):g}: must be 0 or more")
        for key in ("max_age_s", "ttl_ms", "lost_s", "idle_disarm_s"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"gate {key} = {getattr(self, key):g}: must be above 0")
        if self.velocity is not None and (strange := set(self.velocity.directions) - set(self.classes)):
            raise ConfigError(f"gate velocity {', '.join(strange)}: there are classes {', '.join(self.classes)}")
        if self.max_hole_s is not None and not self.max_hole_s > 0:
            raise ConfigError(f"gate max_hole_s = {self.max_hole_s:g}: must be above 0")

    @property
    def hole_s(self) -> float:
        """Longest hole in the predictions that evidence survives."""
        return self.max_age_s if self.max_hole_s is None else self.max_hole_s


class GateState(msgspec.Struct, frozen=True, kw_only=True):
    """All that the gate remembers, as a value. ``arm_id`` and ``command_id`` are the last ones given out."""

    name: GateMode = GateMode.DISARMED
    arm_id: int = 0
    command_id: int = 0
    now_s: float | None = None  # of the last step
    bad_since_s: float | None = None
    good_since_s: float | None = None  # in RECOVERING
    has_rested: bool = False  # in RECOVERING: a rest decision was seen
    stamp_s: float | None = None  # of the last prediction that counted
    seen_s: float = -math.inf  # now_s when it counted
    candidate: int = -1  # class in dwell
    dwell_since_s: float = 0.0  # stamp at which its dwell began
    evidence: tuple[float, ...] = ()  # accumulated; empty: none yet
    velocity: Velocity = (0.0, 0.0)
    commanded_s: float = -math.inf  # now_s of the last proposal
    active_s: float = -math.inf  # now_s of the last arming or proposal

    @property
    def is_armed(self) -> bool:
        """Whether a command may come of it, now or after recovery."""
        return self.name in ARMED_MODES


Stepped = tuple[GateState, Command | None, tuple[str, ...]]


def step(
    settings: GateSettings, state: GateState, prediction: Prediction | None, health: Health, now_s: float
) -> Stepped:
    """One hop, or a tick without one: the new state, a proposed command or None, and the reasons for what changed.

    Parameters
    ----------
    settings, state
        The value that `step` or `control` returned last, or ``GateState()``.
    prediction : Prediction or None
        None at a tick during silence.
    health : Health
        ``bad`` means neutral.
    now_s : float
        LSL clock; must not go backward, and `step` must be called at least every ``lost_s``.
    """
    previous_s = state.now_s
    is_bad = health.level not in ("ok", "warn")  # unknown is shut
    bad_since_s = (state.bad_since_s if state.bad_since_s is not None else now_s) if is_bad else None
    state = replace(state, now_s=now_s, bad_since_s=bad_since_s)
    if state.name not in ARMED_MODES:
        return state, None, ()
    if lost := _lost(settings, state, previous_s, now_s):
        return _move(state, GateEvent.LOST), None, (lost,)
    if is_bad:
        state = _move(state, GateEvent.BAD)
        return state, None, health.reasons or ("health is bad",)
    problem = _unusable(settings, state, prediction) if prediction is not None else ""
    if (prediction is None or problem) and now_s - state.seen_s > settings.hole_s:
        return _move(state, GateEvent.BAD), None, (problem or "no prediction for too long",)
    if prediction is None:
        return state, None, ()
    if problem:
        is_bad = prediction.flags or not _is_well_formed(settings, prediction)
        event = GateEvent.BAD if is_bad else GateEvent.STALE
        return _move(replace(state, stamp_s=None), event), None, (problem,)
    return _weigh(settings, state, prediction, now_s)


def _weigh(settings: GateSettings, state: GateState, prediction: Prediction, now_s: float) -> Stepped:
    """Evidence of one usable prediction, health being good and the gate armed."""
    dt_s = 0.0 if state.stamp_s is None else prediction.stamp_s - state.stamp_s
    hole = dt_s > settings.hole_s
    p = _accumulated(settings, () if hole else state.evidence, prediction.p, dt_s)
    state = replace(state, stamp_s=prediction.stamp_s, seen_s=now_s, evidence=p)
    best = max(range(len(p)), key=p.__getitem__)
    threshold, release = settings.threshold, settings.release
    commands = settings.classes[best] != settings.rest
    is_rested = now_s - state.commanded_s >= settings.refractory_s
    reasons: tuple[str, ...] = ()

    if state.name is GateMode.RECOVERING:
        good_since_s = now_s if state.good_since_s is None else state.good_since_s
        # the best class is never below chance: with a release near it, rest would never be seen
        has_rested = state.has_rested or not commands or p[best] < max(release, (threshold + 1 / len(p)) / 2)
        state = replace(state, good_since_s=good_since_s, has_rested=has_rested)
        if not (has_rested and now_s - good_since_s >= settings.resume_s):
            return state, None, ()
        return _move(state, GateEvent.RECOVERED), None, ("recovered",)  # a dwell begins with the next hop
    if settings.velocity is not None:
        is_meant = commands and p[best] >= release
        return _steer(settings, settings.velocity, state, prediction, p if is_meant else (), dt_s)
    if state.name is GateMode.REFRACTORY:
        if not is_rested:
            return state, None, ()
        state = _move(state, GateEvent.RESTED)
        reasons = ("refractory time is over",)
    if state.name is GateMode.DWELL and (hole or not commands or best != state.candidate or p[best] < release):
        reasons = ("a hole in the predictions" if hole else f"{settings.classes[state.candidate]} was not held",)
        state = _move(state, GateEvent.LOW)
    if state.name is GateMode.ARMED and commands and p[best] >= threshold:
        state = replace(_move(state, GateEvent.HIGH), candidate=best, dwell_since_s=prediction.stamp_s)
        reasons = (f"{settings.classes[best]} reached {threshold:g}",)
    # the sum of hops of 1/250 s falls short of 0.5 by rounding
    held = state.name is GateMode.DWELL and prediction.stamp_s - state.dwell_since_s >= settings.dwell_s - 1e-6
    if not (held and is_rested and p[best] >= threshold):
        return state, None, reasons
    name = settings.classes[best]
    command = Command(
        id=state.command_id + 1, name=name, value=p[best], issued_s=now_s, ttl_ms=settings.ttl_ms, arm_id=state.arm_id,
        hop=prediction.hop,
    )  # fmt: skip
    state = _move(state, GateEvent.DWELLED)
    state = replace(state, command_id=command.id, commanded_s=now_s, active_s=now_s)
    return state, command, (f"{name} held for {settings.dwell_s:g} s",)


def _accumulated(
    settings: GateSettings, evidence: tuple[float, ...], p: tuple[float, ...], dt_s: float
) -> tuple[float, ...]:
    """Leaky evidence, which begins at chance."""
    if not settings.evidence_s:
        return p
    keep = math.exp(-dt_s / settings.evidence_s)
    before = evidence or (1 / len(p),) * len(p)
    return tuple(keep * e + (1 - keep) * q for e, q in zip(before, p, strict=True))


def _steer(
    settings: GateSettings, how: VelocitySettings, state: GateState, prediction: Prediction, p: tuple[float, ...],
    dt_s: float,
) -> Stepped:  # fmt: skip
    """The velocity of this hop, proposed as long as it moves; nothing is meant where ``p`` is empty."""
    before, now_s = state.velocity, state.now_s or 0.0
    velocity = follow(how, before, meant(how, settings.classes, p) if p else (0.0, 0.0), dt_s)
    state = replace(state, velocity=velocity)
    is_due = now_s - state.commanded_s >= how.interval_s or (velocity == (0.0, 0.0) != before)
    if not is_due or velocity == before == (0.0, 0.0):
        return state, None, ()
    command = Command(
        id=state.command_id + 1, name="velocity", value=math.hypot(*velocity), issued_s=now_s, ttl_ms=settings.ttl_ms,
        arm_id=state.arm_id, hop=prediction.hop, velocity=velocity,
    )  # fmt: skip
    return replace(state, command_id=command.id, commanded_s=now_s, active_s=now_s), command, ()


def control(
    settings: GateSettings, state: GateState, control: Control, health: Health
) -> tuple[GateState, tuple[str, ...]]:
    """What a person, or the device host's mirror (``stopped``), asks of the gate. Refusals are reasons.

    ``arm`` is refused while health is bad or no step has been made yet, and gives a new ``arm_id`` otherwise.
    Actions that are not the gate's change nothing.
    """
    action, by = control.action, f" by {control.by}" if control.by else ""
    if action == "arm":
        if problem := _arming_problem(state, health):
            return state, (problem,)
        state = _move(state, GateEvent.ARM)
        now_s = state.now_s or 0.0
        armed = replace(state, arm_id=state.arm_id + 1, active_s=now_s, seen_s=now_s, stamp_s=None)
        return armed, (f"armed{by}",)
    if action == "disarm":
        return _move(state, GateEvent.DISARM), (control.value or f"disarmed{by}",)
    if action == "stopped":
        return _move(state, GateEvent.STOP), (control.value or f"stopped{by}",)
    if action == "reset":
        return _move(state, GateEvent.RESET), (f"reset{by}",)
    return state, ()


def command_by_hand(settings: GateSettings, state: GateState, name: str, by: str, health: Health, hop: int) -> Stepped:
    """What a person commands instead of the decoder: armed, in good health, on fresh data, not in the refractory time.

    Parameters
    ----------
    name : str
        A class that commands.
    hop : int
        The newest one.

    Returns
    -------
    The new state, the command or None, and why it is refused or who asked.
    """
    if problem := _manual_problem(settings, state, name, health):
        return state, None, (f"{name} by hand refused: {problem}",)
    now_s = state.now_s or 0.0
    command = Command(
        id=state.command_id + 1, name=name, value=1.0, issued_s=now_s, ttl_ms=settings.ttl_ms, arm_id=state.arm_id,
        hop=hop, by_hand=True,
    )  # fmt: skip
    state = _move(state, GateEvent.MANUAL)
    state = replace(state, command_id=command.id, commanded_s=now_s, active_s=now_s)
    return state, command, (f"{name} by hand" + (f" ({by})" if by else ""),)


def _manual_problem(settings: GateSettings, state: GateState, name: str, health: Health) -> str:
    commands = [c for c in settings.classes if c != settings.rest]
    now_s = state.now_s if state.now_s is not None else math.inf
    if name not in commands:
        return f"no such command; there are {', '.join(commands)}"
    if settings.velocity is not None:
        return "this session steers"
    if not (state.is_armed and health.level in ("ok", "warn")):
        return "not armed" if not state.is_armed else "; ".join(health.reasons) or "health is bad"
    if state.name is GateMode.RECOVERING:
        return "after trouble it waits for good health and a rest decision"
    if now_s - state.commanded_s < settings.refractory_s:
        return "within the refractory time"
    if now_s - state.seen_s > settings.hole_s:
        return "the data are too old"
    return ""


def with_dwell(settings: GateSettings, dwell_s: float) -> GateSettings:
    """The same settings with another dwell.

    Raises
    ------
    ConfigError
        It is below 0 or no number.
    """
    return replace(settings, dwell_s=dwell_s)


def with_threshold(settings: GateSettings, threshold: float) -> GateSettings:
    """The same settings with another threshold, and ``release`` at most that.

    Raises
    ------
    ConfigError
        The threshold is not above chance, or above 1.
    """
    return replace(settings, threshold=threshold, release=min(settings.release, threshold))


def _arming_problem(state: GateState, health: Health) -> str:
    if state.name is GateMode.STOPPED:
        return "not armed: stopped; reset first"
    if state.is_armed:
        return "armed already"
    if state.now_s is None:
        return "not armed: no data yet"
    if health.level not in ("ok", "warn"):
        return "not armed: " + ("; ".join(health.reasons) or "health is bad")
    return ""


def _move(state: GateState, event: GateEvent) -> GateState:
    """Apply the table; a dwell never survives a change of state, evidence neither trouble nor a command."""
    target = TRANSITIONS[state.name, event]
    if target is state.name and event not in (GateEvent.BAD, GateEvent.STALE):
        return state
    state = replace(state, name=target, candidate=-1, good_since_s=None, has_rested=False, velocity=(0.0, 0.0))
    return state if event in _EVIDENCE_STAYS else replace(state, evidence=())


def _lost(settings: GateSettings, state: GateState, previous_s: float | None, now_s: float) -> str:
    if previous_s is not None and not 0 <= now_s - previous_s <= settings.lost_s:
        return f"the clock jumped by {now_s - previous_s:.3g} s"
    if state.bad_since_s is not None and now_s - state.bad_since_s > settings.lost_s:
        return f"trouble for more than {settings.lost_s:g} s"
    if now_s - state.active_s > settings.idle_disarm_s:
        return f"no command for {settings.idle_disarm_s:g} s"
    return ""


def _unusable(settings: GateSettings, state: GateState, prediction: Prediction) -> str:
    """Why a prediction is no evidence; written so that NaN is unusable."""
    if prediction.flags:
        return f"the prediction is flagged: {_words(prediction.flags)}"
    if not prediction.age_s <= settings.max_age_s:
        return "the data are too old"
    if prediction.age_s < -FUTURE_S:
        return "the stamps lie in the future"  # then nobody can say how old the data are
    if state.stamp_s is not None and not prediction.stamp_s > state.stamp_s:
        return "stamps went backward"
    if not _is_well_formed(settings, prediction):
        return "the probabilities are malformed"
    return ""


def _is_well_formed(settings: GateSettings, prediction: Prediction) -> bool:
    """Whether a decoder that works can have said this."""
    return len(prediction.p) == len(settings.classes) and all(0.0 <= p <= 1.0 for p in prediction.p)


def _words(flags: int) -> str:
    return ", ".join(str(flag.name).lower().replace("_", " ") for flag in Flag(flags))


def _threshold_problem(settings: GateSettings, threshold: float) -> str:
    chance = 1 / len(settings.classes)
    ok = chance < threshold <= 1
    return "" if ok else f"threshold = {threshold:g}: must be above chance ({chance:.3g}) and at most 1"
