"""Gate and device host together: whatever happens in whatever order, with commands that dawdle on their way."""

import math

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bci.control import gate, host_table
from bci.control.host_table import (
    Arm,
    Disarm,
    GoNeutral,
    Heartbeat,
    HostMode,
    HostTable,
    Neutral,
    Reset,
    Send,
    Stop,
    Tick,
)
from bci.control.velocity import VelocitySettings
from bci.types import Control, Health, Prediction

HOP_S, REFRACTORY_S = 0.1, 0.4
HOST = host_table.HostSettings()


class Anything(RuleBasedStateMachine):
    """No command goes out while disarmed, stopped, stale, inside the refractory time, or from before the last stop."""

    velocity = None

    @initialize()
    def begin(self):
        self.settings = gate.GateSettings(
            classes=("left", "right"), dwell_s=0.2, refractory_s=REFRACTORY_S, resume_s=0.3, velocity=self.velocity
        )
        self.gate, self.host = gate.GateState(), HostTable()
        self.now_s, self.n = 100.0, 0
        self.on_the_way, self.sent = [], []
        self.stop_s = self.neutral_s = self.beat_s = -math.inf
        self.is_moving = self.is_stopped = False
        self.revive(3)

    def tell(self, message):
        self.host, actions = host_table.receive(HOST, self.host, message, self.now_s)
        for action in actions:
            if isinstance(action, GoNeutral):
                self.is_moving, self.neutral_s = False, self.now_s
            elif isinstance(action, Send):
                self.sent.append(action.command)
                self.is_moving = True
        if self.host.name is not HostMode.ARMED:
            assert not self.is_moving
        return actions

    def control(self, action):
        before = self.gate.arm_id
        self.gate, _ = gate.control(self.settings, self.gate, Control(action), Health("ok"))
        if action == "arm" and self.gate.arm_id != before:
            self.tell(Arm(self.gate.arm_id))
        elif action == "disarm":
            self.tell(Disarm())

    def hop(self, p, flags=0, health="ok", age_s=0.02):
        self.n, self.now_s = self.n + 1, self.now_s + HOP_S
        self.tell(Heartbeat(self.n, age_s, self.now_s))
        self.beat_s = self.now_s
        prediction = Prediction(self.n, self.n, self.now_s - age_s, p, flags, "", age_s)
        self.gate, command, _ = gate.step(self.settings, self.gate, prediction, Health(health), self.now_s)
        if self.gate.name is gate.GateMode.RECOVERING:
            self.tell(Neutral())
        if command is not None:
            assert not flags
            assert health == "ok"
            assert age_s <= self.settings.max_age_s
            self.on_the_way.append(command)

    @rule(p=st.sampled_from([0.95, 0.95, 0.05, 0.5]), n=st.integers(1, 8), late=st.integers(0, 3))
    def hops(self, p, n, late):
        for _ in range(n):
            self.hop((p, 1 - p))
            self.deliver(late)

    def deliver(self, keep):
        while len(self.on_the_way) > keep:
            command, n, neutral_s = self.on_the_way.pop(0), len(self.sent), self.neutral_s
            self.tell(command)
            if len(self.sent) == n:
                continue
            assert self.host.name is HostMode.ARMED
            assert not self.is_stopped
            assert command.arm_id == self.host.arm_id
            assert command.issued_s > max(self.stop_s, neutral_s)
            assert self.now_s - command.issued_s <= command.ttl_ms / 1000 + 1e-9
            assert self.now_s - self.beat_s < HOST.heartbeat_timeout_s
            assert self.sent[n].id > max((c.id for c in self.sent[:n]), default=0)
            if n and self.velocity is None:
                assert command.issued_s - self.sent[n - 1].issued_s >= REFRACTORY_S - 1e-9

    @rule(flags=st.sampled_from([0, 1, 4]), health=st.sampled_from(["ok", "bad"]), age_s=st.sampled_from([0.02, 0.6]))
    def trouble(self, flags, health, age_s):
        self.hop((0.95, 0.05), flags, health, age_s)
        self.deliver(0)

    @rule(dt_s=st.sampled_from([0.05, 0.2, 0.4, 3.0]))
    def silence(self, dt_s):
        self.now_s += dt_s
        self.tell(Tick())
        self.deliver(0)

    @rule(keep=st.integers(0, 2))
    def stop(self, keep):
        self.stop_s = self.now_s
        assert isinstance(self.tell(Stop("help"))[0], GoNeutral)  # whatever is on its way, at once
        self.is_stopped = True
        self.deliver(keep)

    @rule()
    def mirror(self):
        """The engine hears of the stop sooner or later."""
        if self.is_stopped:
            self.control("stopped")

    @rule(n=st.integers(0, 4))
    def revive(self, n):
        """A person resets and arms, whatever the engine still has on its way."""
        self.control("reset")
        self.control("disarm")
        self.tell(Reset())
        self.is_stopped = False
        self.hop((0.5, 0.5))
        self.control("arm")
        for _ in range(n):
            self.hop((0.95, 0.05))

    @rule(dt_s=st.sampled_from([0.0, 0.01, 0.3, 0.7]), keep=st.integers(0, 1))
    def by_hand(self, dt_s, keep):
        """A person commands; the engine gives the gate a time that is true before it."""
        self.now_s += dt_s
        self.gate, command, _ = gate.step(self.settings, self.gate, None, Health("ok"), self.now_s)
        assert command is None
        self.gate, command, _ = gate.command_by_hand(self.settings, self.gate, "left", "", Health("ok"), self.n)
        if self.gate.name is gate.GateMode.RECOVERING:
            self.tell(Neutral())
        if command is not None:
            self.on_the_way.append(command)
        self.deliver(keep)

    @rule()
    def disarm(self):
        self.control("disarm")


class Steering(Anything):
    """The same with velocities: and what moves stops by itself."""

    velocity = VelocitySettings(directions={"left": (-1.0, 0.0), "right": (1.0, 0.0)}, interval_s=0.11)

    @rule()
    def no_more_velocities(self):
        self.on_the_way.clear()
        for _ in range(4):
            self.now_s += HOP_S
            self.tell(Heartbeat(self.n, 0.02, self.now_s))
        assert not self.is_moving


TestAnything = Anything.TestCase
TestSteering = Steering.TestCase
TestAnything.settings = TestSteering.settings = hypothesis_settings(max_examples=100, stateful_step_count=30)
