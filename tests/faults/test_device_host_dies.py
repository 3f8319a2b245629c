"""The device host dies, or is stopped by a person: nothing moves until a person has reset it and armed again."""

import time

from bci.types import Control
from tests.helpers.live import assert_nothing_missing, bci


def is_refused_until_reset(live, since_s):
    """Arm in vain; then reset and arm, and wait for commands."""
    refused = bci("control", "arm")
    assert refused.returncode == 1
    assert "stopped: bci control reset first" in refused.stderr
    live.wait_for(lambda: time.monotonic() > since_s + 3.0, "more than one round of the sender")
    assert live.listener.commands(since_s) == []
    assert bci("control", "reset").returncode == 0
    reset_s = time.monotonic()
    assert bci("control", "arm").returncode == 0
    live.wait_for_commands_again(reset_s, 2)


def controls(live):
    return [(e.action, e.by) for e in live.events() if isinstance(e, Control)]


def test_killed_while_armed(live):
    old = live.child("device_host")
    at_s = time.monotonic()
    old.kill()
    ms = live.wait_for_neutral(at_s)  # by the new one: a host that is killed cannot say anything
    print(f"SIGKILL of the device host -> neutral by the next one: {ms:.0f} ms")
    new = live.child("device_host")
    assert new.pid != old.pid
    is_refused_until_reset(live, live.listener.neutrals(at_s)[0][0])
    assert live.zombies() == []
    assert live.interrupt() == 0
    assert "device host: it has gone" in live.report()["troubles"]
    assert_nothing_missing(live.streams()["raw"].samples[:, 0])
    states = [h["state"] for h in live.health() if h["kind"] == "host_state"]
    assert states.index("dead") < states.index("stopped") < states.index("disarmed", states.index("stopped"))
    asked = controls(live)
    assert (
        asked.index(("disarm", "engine"))
        < asked.index(("stopped", "device host"))
        < asked.index(("reset", "control socket"))
    )
    assert live.verify()["n_commands"] == live.report()["n_commands"]
    assert live.errors == ""


def test_that_hangs_is_replaced(live):
    """A stopped host cannot be told anything: it is given up, killed, and replaced by one that is STOPPED."""
    old = live.child("device_host")
    at_s = time.monotonic()
    old.suspend()
    ms = live.wait_for_neutral(at_s)
    print(f"SIGSTOP of the device host -> neutral by the next one: {ms:.0f} ms")
    live.wait_for(lambda: not old.is_running(), "the end of the old host")
    is_refused_until_reset(live, live.listener.neutrals(at_s)[0][0])
    assert live.interrupt() == 0
    assert "device host: it does not answer" in live.report()["troubles"]
    live.verify()
    assert live.errors == ""


def test_bci_stop_latches_and_the_gate_mirrors_it(live):
    at_s = time.monotonic()
    assert bci("stop").returncode == 0
    ms = live.wait_for_neutral(at_s)
    print(f"start of `bci stop` -> neutral at the listener: {ms:.0f} ms")
    is_refused_until_reset(live, live.listener.neutrals(at_s)[0][0])
    assert live.interrupt() == 0
    assert ("stopped", "device host") in controls(live)
    gates = [h["state"] for h in live.health() if h["kind"] == "gate"]
    after = gates[gates.index("stopped") :]  # with a row for the arming that was refused
    assert next(state for state in after if state != "stopped") == "disarmed"
    assert "armed" in gates[gates.index("stopped") :]
    assert live.verify()["n_commands"] == live.report()["n_commands"]
    assert live.errors == ""
