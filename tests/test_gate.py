"""The gate: its table, each rule once, and that no sequence of events yields a command that must not be."""

import itertools
import math

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bci.control.gate import (
    ARMED_MODES,
    TRANSITIONS,
    GateEvent,
    GateMode,
    GateSettings,
    GateState,
    command_by_hand,
    control,
    step,
    with_threshold,
)
from bci.control.velocity import VelocitySettings, follow
from bci.errors import ConfigError
from bci.types import Control, Flag, Health, Prediction

OK, BAD = Health("ok"), Health("bad", ("signal silent",))
HOP_S = 0.1
THREE = GateSettings(classes=("left", "right", "rest"), rest="rest")
LEFT, RIGHT, REST, UNSURE = (0.9, 0.05, 0.05), (0.05, 0.9, 0.05), (0.1, 0.1, 0.8), (0.4, 0.35, 0.25)


class Gate:
    """The gate with a clock: one hop each ``HOP_S``."""

    def __init__(self, settings=THREE, *, armed=True):
        self.settings, self.state, self.n, self.now_s = settings, GateState(), 0, 100.0
        self.commands, self.reasons = [], ()
        if armed:
            self.hop(UNSURE)
            self.control("arm")
            assert self.state.name is GateMode.ARMED

    def hop(self, p=UNSURE, n=1, *, health=OK, flags=0, age_s=0.05, dt_s=HOP_S):
        for _ in range(n):
            self.n, self.now_s = self.n + 1, self.now_s + dt_s
            prediction = p and Prediction(self.n, self.n * 20, self.now_s - age_s, p, flags, "model", age_s)
            self.state, command, self.reasons = step(self.settings, self.state, prediction, health, self.now_s)
            self.commands += [command] if command else []
        return self.state.name

    def control(self, action, value="", health=OK):
        self.state, self.reasons = control(self.settings, self.state, Control(action, value), health)
        return self.state.name

    def command_by_hand(self, name, health=OK):
        self.state, command, self.reasons = command_by_hand(self.settings, self.state, name, "", health, self.n)
        self.commands += [command] if command else []
        return command

    @property
    def names(self):
        return [c.name for c in self.commands]


# --- the table -------------------------------------------------------------------------------------------------------

# every pair that changes the state, written down a second time as rules
_ARMED = {"armed", "dwell", "refractory", "recovering"}
CHANGES = {
    ("disarmed", "arm"): "armed",
    **{(s, "disarm"): "disarmed" for s in _ARMED},
    **{(s, "lost"): "disarmed" for s in _ARMED},
    **{(s, "bad"): "recovering" for s in _ARMED},
    **{(s, "stop"): "stopped" for s in _ARMED | {"disarmed"}},
    ("stopped", "reset"): "disarmed",
    ("armed", "high"): "dwell",
    ("dwell", "low"): "armed",
    ("dwell", "stale"): "armed",
    ("dwell", "dwelled"): "refractory",
    ("armed", "manual"): "refractory",
    ("dwell", "manual"): "refractory",
    ("refractory", "rested"): "armed",
    ("recovering", "recovered"): "armed",
}


@pytest.mark.parametrize(("name", "event"), list(itertools.product(GateMode, GateEvent)))
def test_every_pair(name, event):
    assert TRANSITIONS[name, event] == CHANGES.get((name.value, event.value), name)


def test_the_table_is_complete_and_nothing_but_arming_leaves_disarmed():
    assert len(TRANSITIONS) == len(GateMode) * len(GateEvent)
    entries = {(s, e) for (s, e), t in TRANSITIONS.items() if t in ARMED_MODES and s not in ARMED_MODES}
    assert entries == {(GateMode.DISARMED, GateEvent.ARM)}


# --- rules -----------------------------------------------------------------------------------------------------------


def test_a_held_class_is_commanded_after_the_dwell():
    gate = Gate()
    gate.hop(LEFT, 5)
    assert gate.commands == []
    assert gate.state.name is GateMode.DWELL
    gate.hop(LEFT)  # 0.5 s after the first stamp
    (command,) = gate.commands
    assert (command.name, command.value, command.id, command.arm_id, command.hop) == ("left", 0.9, 1, 1, gate.n)
    assert (command.issued_s, command.ttl_ms) == (gate.now_s, 300.0)
    assert gate.state.name is GateMode.REFRACTORY


def test_refractory_time_then_the_next_command_with_the_next_id():
    gate = Gate()
    gate.hop(LEFT, 6)
    gate.hop(RIGHT, 9)
    assert gate.state.name is GateMode.REFRACTORY
    gate.hop(RIGHT, 7)
    assert gate.names == ["left", "right"]
    assert [c.id for c in gate.commands] == [1, 2]


def test_hysteresis_between_release_and_threshold():
    gate = Gate()
    gate.hop(LEFT, 3)
    gate.hop((0.7, 0.2, 0.1), 4)  # above release: the dwell goes on, but commands nothing
    assert gate.state.name is GateMode.DWELL
    assert gate.commands == []
    gate.hop(LEFT)
    assert gate.names == ["left"]


@pytest.mark.parametrize("p", [(0.6, 0.3, 0.1), RIGHT, REST, UNSURE])
def test_a_class_that_is_not_held_starts_again(p):
    gate = Gate()
    gate.hop(LEFT, 5)
    gate.hop(p)
    gate.hop(LEFT, 5)
    assert gate.commands == []
    gate.hop(LEFT)
    assert gate.names == ["left"]


def test_the_rest_class_commands_nothing():
    gate = Gate()
    gate.hop((0.0, 0.0, 1.0), 30)
    assert gate.commands == []
    assert gate.state.name is GateMode.ARMED


@pytest.mark.parametrize(
    "bad",
    [
        {"age_s": 0.51},
        {"age_s": math.nan},
    ],
)
def test_a_prediction_that_cannot_be_used_resets_the_dwell(bad):
    gate = Gate()
    gate.hop(LEFT, 5)
    assert gate.hop(**({"p": LEFT} | bad)) is GateMode.ARMED
    assert gate.reasons
    gate.hop(LEFT, 5)
    assert gate.commands == []


@pytest.mark.parametrize("p", [(0.9, 0.1), (math.nan, 0.05, 0.05), (1.1, 0.0, 0.0)])
def test_a_decoder_that_says_what_none_can_say_is_trouble(p):
    gate = Gate()
    gate.hop(LEFT, 5)
    assert gate.hop(p) is GateMode.RECOVERING
    assert gate.reasons == ("the probabilities are malformed",)


def test_stamps_that_go_backward_reset_the_dwell():
    gate = Gate()
    gate.hop(LEFT, 5)
    assert gate.hop(LEFT, age_s=0.4, dt_s=0.01) is GateMode.ARMED


def test_a_hole_in_the_predictions_starts_the_dwell_again():
    gate = Gate()
    gate.hop(LEFT, 3)
    gate.hop(LEFT, dt_s=0.6)
    assert gate.commands == []
    assert gate.state.name is GateMode.DWELL


@pytest.mark.parametrize("flag", list(Flag))
def test_a_flag_is_trouble(flag):
    gate = Gate()
    gate.hop(LEFT, 5)
    assert gate.hop(LEFT, flags=int(flag)) is GateMode.RECOVERING
    assert gate.reasons == (f"the prediction is flagged: {str(flag.name).lower().replace('_', ' ')}",)
    gate.hop(REST, 19)
    assert gate.state.name is GateMode.RECOVERING
    gate.hop(REST, 3)
    assert gate.state.name is GateMode.ARMED


@pytest.mark.parametrize("name", ["armed", "dwell", "refractory"])
@pytest.mark.parametrize("missing", [{"p": None}, {"p": LEFT, "age_s": 0.6}])
def test_no_usable_prediction_for_too_long_is_trouble_but_one_late_hop_is_not(name, missing):
    gate = Gate()
    gate.hop(LEFT, {"armed": 0, "dwell": 3, "refractory": 6}[name])
    assert gate.state.name == name
    gate.hop(**missing)
    assert gate.state.name in (GateMode.ARMED, name)
    assert gate.hop(**missing, n=4) is not GateMode.RECOVERING
    assert gate.hop(**missing) is GateMode.RECOVERING


# --- leaky evidence and velocities -----------------------------------------------------------------------------------

LEAKY = GateSettings(classes=("left", "right", "rest"), rest="rest", evidence_s=0.5, dwell_s=0.0)


def test_leaky_evidence_begins_at_chance_and_follows_the_probabilities():
    gate = Gate(LEAKY)
    assert gate.state.evidence == ()
    gate.hop((1.0, 0.0, 0.0))
    assert gate.state.evidence == pytest.approx((1 / 3, 1 / 3, 1 / 3))  # how long it has been so is not known yet
    gate.hop((1.0, 0.0, 0.0))
    keep = math.exp(-0.1 / 0.5)
    assert gate.state.evidence == pytest.approx((keep / 3 + 1 - keep, keep / 3, keep / 3))
    gate.hop((1.0, 0.0, 0.0), 4)
    assert gate.commands == []  # 2/3 exp(-0.5/0.5) = 0.25 are missing
    gate.hop((1.0, 0.0, 0.0), 2)
    (command,) = gate.commands
    assert command.value == pytest.approx(1 - 2 / 3 * math.exp(-0.7 / 0.5))


def test_one_wild_hop_does_not_undo_leaky_evidence():
    gate = Gate(GateSettings(classes=("left", "right"), evidence_s=0.5, dwell_s=1.5), armed=False)
    gate.hop((0.5, 0.5))
    gate.control("arm")
    gate.hop((1.0, 0.0), 12)
    gate.hop((0.0, 1.0))
    gate.hop((1.0, 0.0), 12)
    assert gate.names == ["left"]


@pytest.mark.parametrize("event", [{"health": BAD}, {"flags": 1}, {"age_s": 0.6}])
def test_trouble_clears_the_evidence(event):
    gate = Gate(LEAKY)
    gate.hop(LEFT, 5)
    gate.hop(LEFT, **event)
    assert gate.state.evidence == ()


def test_a_command_and_an_arming_clear_the_evidence():
    gate = Gate(LEAKY)
    gate.hop((1.0, 0.0, 0.0), 8)
    assert gate.names == ["left"]
    assert gate.state.evidence == ()
    gate.hop(LEFT, 3)
    gate.control("disarm")
    gate.control("arm")
    assert gate.state.evidence == ()


STEER = VelocitySettings(directions={"left": (-1.0, 0.0), "right": (1.0, 0.0)}, interval_s=0.15)
STEERING = GateSettings(classes=("left", "right", "rest"), rest="rest", release=0.4, velocity=STEER, ttl_ms=300.0)


def test_velocities_follow_the_classes_and_come_at_most_each_interval():
    gate = Gate(STEERING)
    gate.hop(LEFT, 20)
    assert {c.name for c in gate.commands} == {"velocity"}
    speeds = [c.velocity[0] for c in gate.commands]
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[-1] == pytest.approx(-0.85, abs=0.01)
    assert gate.commands[-1].value == pytest.approx(0.85, abs=0.01)
    times = [c.issued_s for c in gate.commands]
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.15
    assert gate.state.name is GateMode.ARMED
    assert [c.id for c in gate.commands] == list(range(1, len(times) + 1))


@pytest.mark.parametrize("p", [REST, UNSURE[::-1], (0.34, 0.33, 0.33)])
def test_rest_and_doubt_steer_to_a_stand_that_is_said_once(p):
    gate = Gate(STEERING)
    gate.hop(LEFT, 10)
    gate.hop(p, 30)
    assert [c.velocity for c in gate.commands].count((0.0, 0.0)) == 1
    assert gate.commands[-1].velocity == (0.0, 0.0)
    n = len(gate.commands)
    gate.hop(p, 10)
    assert len(gate.commands) == n


@pytest.mark.parametrize("event", [{"health": BAD}, {"flags": 1}, {"age_s": 0.6}])
def test_trouble_ends_a_velocity_at_once_and_it_begins_again_from_a_stand(event):
    gate = Gate(STEERING)
    gate.hop(LEFT, 10)
    n = len(gate.commands)
    gate.hop(LEFT, **event)
    assert gate.state.velocity == (0.0, 0.0)
    assert len(gate.commands) == n


def test_velocities_are_limited_in_speed_and_change():
    how = VelocitySettings(directions={"a": (1.0, 0.0)}, smoothing_s=0.0, max_speed=0.5, max_change=1.0)
    assert follow(how, (0.0, 0.0), (9.0, 0.0), 0.1) == pytest.approx((0.1, 0.0))
    assert follow(how, (0.45, 0.0), (9.0, 0.0), 0.1) == pytest.approx((0.5, 0.0))
    assert follow(how, (0.3, 0.3), (math.nan, 1.0), 10.0) == (0.0, 0.0)
    smooth = VelocitySettings(directions={"a": (1.0, 0.0)}, smoothing_s=0.2)
    assert follow(smooth, (0.0, 0.0), (0.0, 0.5), 0.1) == pytest.approx((0.0, 0.5 * (1 - math.exp(-0.5))))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"directions": {}}, "at least one class must steer somewhere"),
        ({"directions": {"left": (1.0, 1.0)}}, "at most 1 long"),
        ({"directions": {"left": (1.0, 0.0)}, "max_speed": 0.0}, "max_speed = 0: must be above 0"),
        ({"directions": {"left": (1.0, 0.0)}, "smoothing_s": -1.0}, "smoothing_s = -1: must be 0 or more"),
    ],
)
def test_settings_of_velocities_out_of_range_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        VelocitySettings(**values)


def test_only_classes_steer():
    with pytest.raises(ConfigError, match="velocity up: there are classes a, b"):
        GateSettings(classes=("a", "b"), velocity=VelocitySettings(directions={"up": (0.0, 1.0)}))


def test_brief_trouble_needs_good_health_and_a_rest_decision():
    gate = Gate()
    gate.hop(LEFT, 5)
    assert gate.hop(LEFT, health=BAD) is GateMode.RECOVERING
    assert gate.reasons == ("signal silent",)
    gate.hop(LEFT, 40)  # 4 s, never at rest
    assert gate.state.name is GateMode.RECOVERING
    gate.hop(REST)
    gate.hop(LEFT, 5)
    assert gate.commands == []
    gate.hop(LEFT)
    assert gate.names == ["left"]


def test_nobody_above_release_is_a_rest_decision_where_there_is_no_rest_class():
    gate = Gate(GateSettings(classes=("left", "right")), armed=False)
    gate.hop((0.5, 0.5))
    gate.control("arm")
    gate.hop((0.5, 0.5), health=BAD)
    gate.hop((0.5, 0.5), 20)
    assert gate.state.name is GateMode.RECOVERING
    gate.hop((0.5, 0.5), 2)
    assert gate.state.name is GateMode.ARMED


def test_rest_can_be_seen_even_where_release_lies_below_chance():
    gate = Gate(GateSettings(classes=("left", "right"), threshold=0.6, release=0.48), armed=False)
    gate.hop((0.5, 0.5))
    gate.control("arm")
    gate.hop((0.58, 0.42), health=BAD)
    assert gate.hop((0.58, 0.42), 40) is GateMode.RECOVERING
    assert gate.hop((0.54, 0.46)) is GateMode.ARMED


@pytest.mark.parametrize("trouble", [{"health": BAD}, {"flags": 4}, {"age_s": 1.0}])
def test_trouble_while_recovering_begins_the_wait_again(trouble):
    gate = Gate()
    gate.hop(REST, health=BAD)
    gate.hop(REST, 19)
    gate.hop(REST, **trouble)
    gate.hop(REST, 19)
    assert gate.state.name is GateMode.RECOVERING


def test_a_long_outage_disarms():
    gate = Gate()
    gate.hop(LEFT, 20, health=BAD)
    assert gate.state.name is GateMode.RECOVERING
    gate.hop(LEFT, 2, health=BAD)
    assert gate.state.name is GateMode.DISARMED
    assert gate.reasons == ("trouble for more than 2 s",)


@pytest.mark.parametrize("dt_s", [2.5, -0.01, math.nan])
def test_a_jump_of_the_clock_disarms(dt_s):
    gate = Gate()
    gate.hop(LEFT, dt_s=dt_s)
    assert gate.state.name is GateMode.DISARMED
    assert "clock" in gate.reasons[0]


def test_idle_disarms():
    gate = Gate(GateSettings(classes=("left", "right", "rest"), rest="rest", idle_disarm_s=5))
    gate.hop(REST, 49)
    assert gate.state.name is GateMode.ARMED
    gate.hop(REST, 3)
    assert gate.state.name is GateMode.DISARMED


def test_arming_is_refused_without_data_in_bad_health_and_when_stopped():
    gate = Gate(armed=False)
    assert gate.control("arm") is GateMode.DISARMED
    assert gate.reasons == ("not armed: no data yet",)
    gate.hop()
    assert gate.control("arm", health=BAD) is GateMode.DISARMED
    assert gate.reasons == ("not armed: signal silent",)
    gate.control("stopped")
    assert gate.control("arm") is GateMode.STOPPED
    assert gate.control("disarm") is GateMode.STOPPED
    assert gate.control("reset") is GateMode.DISARMED
    assert gate.control("arm") is GateMode.ARMED
    assert gate.state.arm_id == 1


def test_each_arming_has_its_own_id_and_keeps_the_refractory_time():
    gate = Gate()
    gate.hop(LEFT, 6)
    gate.control("disarm")
    gate.control("arm")
    assert gate.state.arm_id == 2
    assert gate.control("arm") is GateMode.ARMED
    assert gate.state.arm_id == 2
    gate.hop(LEFT, 9)
    assert gate.names == ["left"]
    gate.hop(LEFT, 2)
    assert [(c.id, c.arm_id) for c in gate.commands] == [(1, 1), (2, 2)]


def test_controls_that_are_not_the_gates_change_nothing():
    gate = Gate()
    before = gate.state
    for action in ("note", "pause", "resume", "threshold"):
        gate.control(action, "x")
    assert gate.state == before


def test_with_threshold_keeps_release_below_it():
    assert with_threshold(THREE, 0.5).release == 0.5
    assert with_threshold(THREE, 0.9).release == 0.65
    with pytest.raises(ConfigError, match=r"threshold = 1\.1: must be above chance \(0\.333\) and at most 1"):
        with_threshold(THREE, 1.1)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("classes", [("a",), ("a", "a"), ()]),
        ("rest", ["c"]),
        ("threshold", [0.5, 1.01, math.nan]),
        ("release", [0.0, 0.9, math.nan]),
        ("dwell_s", [-1.0, math.nan, math.inf]),
        ("max_age_s", [0.0, math.nan]),
        ("ttl_ms", [-5.0]),
    ],
)
def test_settings_out_of_range_are_named(key, values):
    for value in values:
        with pytest.raises(ConfigError, match=f"gate {key} = "):
            GateSettings(**({"classes": ("a", "b")} | {key: value}))


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_a_person_may_command_while_armed_and_the_refractory_time_holds_for_both():
    gate = Gate()
    assert gate.command_by_hand("left").name == "left"
    assert gate.state.name is GateMode.REFRACTORY
    assert gate.reasons == ("left by hand",)
    assert gate.command_by_hand("right") is None
    assert gate.reasons == ("right by hand refused: within the refractory time",)
    gate.hop(LEFT, 8)
    assert gate.names == ["left"]
    gate.hop(LEFT, 9)
    assert gate.names == ["left", "left"]


@pytest.mark.parametrize(
    ("prepare", "name", "health", "why"),
    [
        (lambda gate: None, "up", OK, "no such command; there are left, right"),
        (lambda gate: None, "rest", OK, "no such command; there are left, right"),
        (lambda gate: gate.control("disarm"), "left", OK, "not armed"),
        (lambda gate: gate.control("stopped"), "left", OK, "not armed"),
        (lambda gate: None, "left", BAD, "signal silent"),
        (
            lambda gate: gate.hop(LEFT, flags=4),
            "left",
            OK,
            "after trouble it waits for good health and a rest decision",
        ),
        (lambda gate: gate.hop(None, 6), "left", OK, "after trouble it waits for good health and a rest decision"),
    ],
)
def test_a_person_commands_nothing_that_the_decoder_could_not(prepare, name, health, why):
    gate = Gate()
    prepare(gate)
    before = gate.state
    assert gate.command_by_hand(name, health) is None
    assert gate.reasons == (f"{name} by hand refused: {why}",)
    assert gate.state == before


# --- any sequence ----------------------------------------------------------------------------------------------------


class AnySequence(RuleBasedStateMachine):
    """A command comes only armed, healthy, fresh, unflagged, dwelt, and outside the refractory time."""

    @initialize()
    def begin(self):
        self.gate = Gate(
            GateSettings(classes=("left", "right"), dwell_s=0.2, refractory_s=0.4, resume_s=0.6), armed=False
        )
        self.is_armed = self.is_stopped = False
        self.silent_s = 0.0
        self.usable_run_s = 0.0  # how long the same class has been above release without a break
        self.run_class = None
        self.since_bad_s = math.inf
        self.rested = True
        self.last_s = -math.inf
        self.ids = [(0, 0)]
        self.hop((0.5, 0.5))
        self.arm(OK)

    def hop(self, p, flags=0, age_s=0.05, health=OK, dt_s=HOP_S):
        n = len(self.gate.commands)
        armed_before = self.is_armed
        self.gate.hop(p, flags=flags, age_s=age_s, health=health, dt_s=dt_s)
        usable = p is not None and not flags and age_s <= 0.5 and health is OK and 0 <= dt_s <= 2
        if health is not OK or (p is not None and flags):
            self.since_bad_s, self.rested = 0.0, False
        elif usable:
            self.since_bad_s += dt_s
            self.rested = self.rested or max(p) < 0.65
        if p is None and health is OK and 0 <= dt_s <= 2:  # a tick between hops: a short one breaks nothing
            self.silent_s += dt_s
            assert self.gate.commands[n:] == []
            self.is_armed = self.gate.state.is_armed
            return
        winner = p.index(max(p)) if usable and max(p) >= 0.65 else None
        dt_s, self.silent_s = dt_s + self.silent_s, 0.0
        goes_on = winner is not None and winner == self.run_class and dt_s <= 0.5 + 1e-6
        self.usable_run_s = self.usable_run_s + dt_s if goes_on else 0.0
        self.run_class = winner
        for command in self.gate.commands[n:]:
            assert armed_before
            assert not self.is_stopped
            assert usable
            assert max(p) >= 0.8
            assert self.usable_run_s >= 0.2 - 1e-6
            assert self.gate.now_s - self.last_s >= 0.4
            assert self.since_bad_s >= 0.6 - 1e-6
            assert self.rested
            assert (command.arm_id, command.id) > self.ids[-1]
            assert command.id > self.ids[-1][1]
            assert command.issued_s == self.gate.now_s
            self.ids.append((command.arm_id, command.id))
            self.last_s = self.gate.now_s
        self.is_armed = self.gate.state.is_armed

    sure = st.sampled_from([(0.95, 0.05), (0.95, 0.05), (0.1, 0.9), (0.7, 0.3), (0.5, 0.5)])

    @rule(p=sure, n=st.integers(1, 6))
    def holds(self, p, n):
        self.hold(p, n)

    def hold(self, p, n):
        for _ in range(n):
            self.hop(p)

    @rule(p=sure, n=st.integers(0, 3), flags=st.sampled_from([0, 1, 16]), age_s=st.sampled_from([0.05, 0.5, 0.6]))
    def doubtful(self, p, n, flags, age_s):
        self.hold(p, n)
        self.hop(p, flags=flags, age_s=age_s)
        self.hold(p, n)

    @rule(p=sure, n=st.integers(1, 3), rest=st.booleans())
    def briefly_ill(self, p, n, rest):
        self.hold(p, n)
        self.hop(p, health=BAD)
        if rest:
            self.hop((0.5, 0.5))
        self.hold(p, 4 * n)

    @rule(p=st.one_of(st.none(), sure), n=st.sampled_from([1, 5, 19, 25]), again=st.booleans())
    def ill(self, p, n, again):
        for _ in range(n):
            self.hop(p, health=BAD)
        self.revive(again)

    @rule(n=st.integers(1, 8))
    def silent(self, n):
        for _ in range(n):
            self.hop(None)

    @rule(dt_s=st.sampled_from([-1.0, 0.0, 0.6, 1.9, 2.1, 100.0]), p=sure, n=st.integers(0, 3), again=st.booleans())
    def jump(self, dt_s, p, n, again):
        self.hold(p, n)
        self.hop(p, dt_s=dt_s)
        self.hold(p, n)
        self.revive(again)

    @rule(again=st.booleans())
    def disarm(self, again):
        self.gate.control("disarm")
        self.is_armed = False
        if again:
            self.arm(OK)

    @rule(p=sure, n=st.integers(1, 5), again=st.booleans())
    def stop(self, p, n, again):
        self.gate.control("stopped")
        self.is_armed, self.is_stopped = False, True
        for _ in range(n):
            self.hop(p)
            self.arm(OK)
        self.revive(again)

    @rule(p=sure, n=st.integers(0, 5), name=st.sampled_from(["left", "right", "up"]), health=st.sampled_from([OK, BAD]))
    def command_by_hand(self, p, n, name, health):
        self.hold(p, n)
        before = self.gate.state
        command = self.gate.command_by_hand(name, health)
        if command is not None:
            assert name != "up"
            assert before.is_armed
            assert not self.is_stopped
            assert health is OK
            assert before.name is not GateMode.RECOVERING
            assert self.gate.now_s - before.seen_s <= 0.5
            assert self.gate.now_s - self.last_s >= 0.4
            assert command.id > self.ids[-1][1]
            self.ids.append((command.arm_id, command.id))
            self.last_s = self.gate.now_s
            self.usable_run_s = 0.0
            self.run_class = None

    @rule(health=st.sampled_from([OK, BAD]))
    def arm(self, health):
        was = self.is_armed
        self.gate.control("arm", health=health)
        self.is_armed = self.gate.state.is_armed
        assert not (self.is_armed and not was and (self.is_stopped or health is BAD))
        if self.is_armed and not was:
            self.since_bad_s, self.rested = math.inf, True

    def revive(self, really):
        """What a person does: reset, arm, and rest until the gate has recovered."""
        if really:
            self.gate.control("reset")
            self.is_stopped = False
            self.hop((0.5, 0.5))
            self.arm(OK)
            self.hold((0.5, 0.5), 7)

    @invariant()
    def the_mirror_agrees(self):
        if hasattr(self, "gate"):
            assert (self.gate.state.name is GateMode.STOPPED) == self.is_stopped
            assert self.gate.state.is_armed == self.is_armed


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)
