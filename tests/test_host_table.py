"""The device host's table: every pair, every refusal, and that no sequence lets a command through that must not go."""

import itertools
import math

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bci.control.host_table import (
    TRANSITIONS,
    Arm,
    Close,
    Disarm,
    Failed,
    GoNeutral,
    Heartbeat,
    HostEvent,
    HostMode,
    HostSettings,
    HostState,
    HostTable,
    Neutral,
    Reset,
    Send,
    Stop,
    Tick,
    deadline_s,
    receive,
)
from bci.types import Command, Receipt

SETTINGS = HostSettings()
CHANGES = {
    ("disarmed", "arm"): "armed",
    ("armed", "trouble"): "held",
    ("held", "well"): "armed",
    **{(s, e): "disarmed" for s in ("armed", "held") for e in ("disarm", "lost", "failed")},
    **{(s, "stop"): "stopped" for s in ("disarmed", "armed", "held")},
    ("stopped", "reset"): "disarmed",
    **{(s, "close"): "closed" for s in ("disarmed", "armed", "held", "stopped")},
}


@pytest.mark.parametrize(("name", "event"), list(itertools.product(HostMode, HostEvent)))
def test_every_pair(name, event):
    assert TRANSITIONS[name, event] == CHANGES.get((name.value, event.value), name)


class Host:
    def __init__(self, *, armed=True, **table):
        self.table, self.now_s, self.done = HostTable(**table), 100.0, ()
        if armed:
            self.beat()
            self.take(Arm(1))
            assert self.table.name is HostMode.ARMED

    def take(self, message, dt_s=0.0):
        self.now_s += dt_s
        self.table, self.done = receive(SETTINGS, self.table, message, self.now_s)
        return self.done

    def beat(self, dt_s=0.0, age_s=0.05, late_s=0.0):
        self.now_s += dt_s
        return self.take(Heartbeat(1, age_s, self.now_s - late_s))

    def command(self, id_=1, *, arm_id=1, ago_s=0.0, ttl_ms=300.0):
        done = self.take(Command(id_, "left", 0.9, self.now_s - ago_s, ttl_ms, arm_id, 1))
        return done[-1]

    def refusal(self, *args, **kwargs):
        receipt = self.command(*args, **kwargs)
        assert isinstance(receipt, Receipt)
        assert not receipt.accepted
        return receipt.reason

    @property
    def neutrals(self):
        return [a.reason for a in self.done if isinstance(a, GoNeutral)]


def test_a_valid_command_is_sent():
    host = Host()
    host.beat(0.05)
    sent = host.command()
    assert isinstance(sent, Send)
    assert sent.command.name == "left"


def test_entering_every_state_but_armed_is_neutral_and_told():
    for message, state in ((Disarm("enough"), "disarmed"), (Stop("help"), "stopped"), (Close("bye"), "closed")):
        host = Host()
        neutral, told = host.take(message)
        assert neutral == GoNeutral(message.reason)
        assert told == HostState(state, message.reason, 1)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Disarm(), "disarmed"),
        (Stop("bci stop"), "stopped: bci stop"),
        (Close(), "closed"),
        (Failed("unplugged"), "unplugged"),
    ],
)
def test_commands_are_refused_when_not_armed(message, reason):
    host = Host()
    host.take(message)
    host.beat(0.01)
    assert reason in host.refusal()


def test_stop_latches_until_a_person_resets_and_each_stop_is_neutral():
    host = Host()
    host.take(Stop("first"))
    assert host.take(Stop("second"), 0.1)[0] == GoNeutral("second")
    host.beat(0.01)
    (told,) = host.take(Arm(2))
    assert told.refused == "stopped: reset it first"
    host.take(Disarm())
    host.take(Tick(), 10)
    assert host.table.name is HostMode.STOPPED
    host.take(Reset())
    assert host.table.name is HostMode.DISARMED
    assert "disarmed" in host.refusal()
    host.beat(0.01)
    host.take(Arm(2))
    assert host.refusal(2, arm_id=1) == "of arming 1, now 2"
    assert isinstance(host.command(3, arm_id=2), Send)


def test_nothing_issued_before_the_last_neutral_goes_out():
    host = Host()
    host.beat(0.05)
    assert host.take(Neutral("trouble")) == (GoNeutral("trouble"),)
    host.beat(0.01)
    assert host.refusal(1, ago_s=0.02) == "issued before the last neutral"
    assert isinstance(host.command(2), Send)


def test_ttl():
    host = Host()
    host.beat(0.4)
    assert host.refusal(1, ago_s=0.301) == "issued 301 ms ago, valid for 300 ms"
    assert isinstance(host.command(2, ago_s=0.299), Send)
    assert "issued" in host.refusal(3, ago_s=-1.0)
    assert "issued" in host.refusal(4, ago_s=math.nan)


def test_arm_ids_and_command_ids_only_grow():
    host = Host()
    host.beat(0.05)
    assert host.refusal(1, arm_id=0) == "of arming 0, now 1"
    assert isinstance(host.command(5), Send)
    host.beat(0.11)
    assert host.refusal(5) == "command 5 is not newer than 5"
    assert host.refusal(4) == "command 4 is not newer than 5"
    host.take(Disarm())
    (told,) = host.take(Arm(1))
    assert told.refused == "arming 1 is not newer than 1"


def test_rate_limit():
    host = Host()
    host.beat(0.05)
    assert isinstance(host.command(1), Send)
    host.beat(0.09)
    assert host.refusal(2) == "less than 100 ms after the last command"
    host.beat(0.02)
    assert isinstance(host.command(3), Send)


def test_a_late_heartbeat_is_neutral_at_its_deadline_and_a_new_one_is_well():
    host = Host()
    deadline = deadline_s(SETTINGS, host.table)
    assert deadline == pytest.approx(host.now_s + 0.15)
    host.now_s = deadline
    host.take(Tick(), -1e-6)
    assert host.neutrals == []
    host.take(Tick(), 1e-6)
    assert host.neutrals == ["heartbeat late by 150 ms"]
    assert host.table.name is HostMode.HELD
    assert "held" in host.refusal(ago_s=-0.01)
    assert host.beat(0.01) == (HostState("armed", "well again", 1),)


def test_old_data_are_neutral_although_the_heart_beats():
    host = Host()
    host.beat(0.1, age_s=0.45)
    assert deadline_s(SETTINGS, host.table) == pytest.approx(host.now_s + 0.05)
    host.take(Tick(), 0.05 + 1e-9)
    assert host.neutrals == ["data 500 ms old"]
    host.beat(0.1, age_s=0.6)
    assert host.table.name is HostMode.HELD


def test_heartbeats_count_from_when_they_were_sent():
    host = Host()
    host.beat(0.1, late_s=0.09)  # slow on its way
    host.take(Tick(), 0.07)
    assert host.table.name is HostMode.HELD
    host.beat(late_s=0.3)  # from before the trouble
    assert host.table.name is HostMode.HELD
    host.beat(late_s=-1.0)  # from the future: would vouch for the engine in a second
    host.take(Tick(), 1.0)
    assert host.table.name is HostMode.HELD
    host.beat()
    assert host.table.name is HostMode.ARMED


def test_a_command_after_a_silence_goes_neutral_first():
    host = Host()
    host.now_s += 0.5
    done = host.take(Command(1, "left", 0.9, host.now_s, 300.0, 1, 1))
    assert [type(a) for a in done] == [GoNeutral, HostState, Receipt]


def test_long_trouble_disarms():
    host = Host()
    host.take(Tick(), 0.2)
    assert deadline_s(SETTINGS, host.table) == host.now_s + 2.0
    host.take(Tick(), 2.0)
    assert host.table.name is HostMode.DISARMED
    assert deadline_s(SETTINGS, host.table) == math.inf
    host.beat()
    assert host.table.name is HostMode.DISARMED


@pytest.mark.parametrize(
    ("age_s", "late_s"), [(0.6, 0.0), (0.05, 0.2), (math.nan, 0.0), (0.05, -1.0), (0.05, math.nan)]
)
def test_arming_needs_a_fresh_heartbeat_and_fresh_data(age_s, late_s):
    host = Host(armed=False)
    assert host.take(Arm(1))[0].refused == "no heartbeat yet"
    host.beat(age_s=age_s, late_s=late_s)
    assert host.take(Arm(1))[0].refused
    assert host.table.name is HostMode.DISARMED


def test_a_restarted_host_begins_stopped():
    host = Host(armed=False, name=HostMode.STOPPED, reason="restarted")
    host.beat()
    assert host.take(Arm(1))[0].refused == "stopped: reset it first"


def velocity(host, id_, **kwargs):
    command = Command(id_, "velocity", 0.5, host.now_s, 300.0, 1, 1, velocity=(0.3, 0.4), **kwargs)
    return host.take(command)[-1]


def test_a_velocity_that_is_not_followed_by_another_in_time_is_neutral():
    host = Host()
    host.beat(0.05)
    assert isinstance(velocity(host, 1), Send)
    for _ in range(2):
        host.beat(0.14)
        assert host.neutrals == []
    assert deadline_s(SETTINGS, host.table) == pytest.approx(host.now_s + 0.02)
    host.take(Tick(), 0.02 + 1e-9)
    assert host.neutrals == ["no newer velocity in time"]
    assert host.table.name is HostMode.ARMED
    host.take(Tick(), 0.05)
    assert host.neutrals == []  # said once


def test_a_newer_velocity_and_every_neutral_end_the_wait():
    host = Host()
    host.beat(0.05)
    velocity(host, 1)
    for _ in range(2):
        host.beat(0.1)
    assert isinstance(velocity(host, 2), Send)
    for _ in range(2):
        host.beat(0.14)
        assert host.neutrals == []
    host.take(Neutral("enough"))
    host.beat(0.14)
    assert host.neutrals == []
    assert host.table.moving_until_s == math.inf


class AnySequence(RuleBasedStateMachine):
    """What goes out was armed, fresh, new, within its time and the rate, and issued after the last neutral."""

    @initialize()
    def begin(self):
        self.host = Host(armed=False)
        self.armed_id = None  # by our own bookkeeping
        self.is_stopped = self.is_closed = False
        self.fresh_until_s = -math.inf
        self.neutral_s = self.sent_s = -math.inf
        self.sent_id = self.arm_id = self.command_id = 0

    def take(self, message, dt_s=0.0):
        done = self.host.take(message, dt_s)
        if any(isinstance(a, GoNeutral) for a in done):
            self.neutral_s = self.host.now_s
        if self.host.table.name not in (HostMode.ARMED, HostMode.HELD):
            self.armed_id = None
        return done

    @rule(dt_s=st.sampled_from([0.0, 0.02, 0.16, 0.6, 3.0]))
    def wait(self, dt_s):
        self.take(Tick(), dt_s)
        if self.host.now_s >= self.fresh_until_s:
            assert self.host.table.name is not HostMode.ARMED

    @rule(
        age_s=st.sampled_from([0.0, 0.1, 0.4, 0.6]),
        late_s=st.sampled_from([0.0, 0.05, 0.2, -2.0]),
        n=st.integers(1, 20),
    )
    def beats(self, age_s, late_s, n):
        for _ in range(n):
            self.host.now_s += 0.02
            sent_s = self.host.now_s - late_s
            if late_s >= 0 and sent_s > self.host.table.heard_s:
                self.fresh_until_s = sent_s + min(0.15, 0.5 - age_s)
            self.take(Heartbeat(1, age_s, sent_s))

    @rule(new=st.booleans())
    def arm(self, new):
        self.arm_id += new
        before = self.host.table.arm_id
        self.take(Arm(self.arm_id))
        if self.host.table.arm_id != before:
            assert not self.is_stopped
            assert not self.is_closed
            assert self.arm_id > before
            assert self.host.now_s < self.fresh_until_s
            self.armed_id = self.arm_id

    @rule()
    def revive(self):
        """What a person and a healthy engine do: reset, heartbeat, arm."""
        self.reset()
        self.beats(0.05, 0.0, 1)
        if self.armed_id is None:
            self.arm(True)
        self.beats(0.05, 0.0, 2)

    @rule(
        revived=st.booleans(), step=st.sampled_from([-1, 0, 1, 1, 2]), old_arm=st.sampled_from([False, False, True]),
        ago_s=st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.29, 0.4, -0.5]), dt_s=st.sampled_from([0.0, 0.01, 0.11, 0.2]),
    )  # fmt: skip
    def command(self, revived, step, ago_s, old_arm, dt_s):
        if revived:
            self.revive()
        self.host.now_s += dt_s
        self.command_id = max(0, self.command_id + step)
        now_s, neutral_s = self.host.now_s, self.neutral_s
        arm_id = self.arm_id - old_arm
        command = Command(self.command_id, "left", 0.9, now_s - ago_s, 300.0, arm_id, 1)
        done = self.take(command)
        sends = [a for a in done if isinstance(a, Send)]
        receipts = [a for a in done if isinstance(a, Receipt)]
        assert len(sends) + len(receipts) == 1
        if sends:
            assert not self.is_stopped
            assert not self.is_closed
            assert self.armed_id == arm_id
            assert now_s < self.fresh_until_s
            assert 0 <= ago_s <= 0.3
            assert command.issued_s > neutral_s
            assert command.id > self.sent_id
            assert now_s - self.sent_s >= 0.1
            self.sent_id, self.sent_s = command.id, now_s

    @rule()
    def disarm(self):
        self.take(Disarm())
        assert self.armed_id is None

    @rule()
    def neutral(self):
        assert self.take(Neutral("x")) == (GoNeutral("x"),)

    @rule()
    def stop(self):
        done = self.take(Stop("x"))
        assert done[0] == GoNeutral("x")
        self.is_stopped = not self.is_closed

    @rule()
    def reset(self):
        self.take(Reset())
        self.is_stopped = False
        assert self.host.table.name is not HostMode.STOPPED

    @rule()
    def fail(self):
        self.take(Failed("x"))
        assert self.armed_id is None

    @rule(really=st.integers(0, 9))
    def close(self, really):
        if really == 0:
            self.take(Close())
            self.is_closed, self.is_stopped = True, False


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_after_a_hold_nothing_moves_for_a_while_whatever_the_gate_thinks():
    """A step that took 160 ms: the heartbeat comes, and right behind it a command of the same arming."""
    settings = HostSettings()
    table = HostTable()
    for message, now_s in ((Heartbeat(0, 0.0, 10.0), 10.0), (Arm(1), 10.0), (Tick(), 10.16)):
        table, _ = receive(settings, table, message, now_s)
    assert table.name is HostMode.HELD
    table, _ = receive(settings, table, Heartbeat(1, 0.0, 10.17), 10.17)
    assert table.name is HostMode.ARMED
    sent = []
    for k in range(1, 30):
        now_s = 10.17 + 0.1 * k
        table, _ = receive(settings, table, Heartbeat(1 + k, 0.0, now_s), now_s)
        table, actions = receive(settings, table, Command(k, "left", 0.9, now_s, 300.0, 1, k), now_s)
        sent += [now_s for a in actions if isinstance(a, Send)]
    assert sent
    assert min(sent) >= 10.17 + settings.resume_s
