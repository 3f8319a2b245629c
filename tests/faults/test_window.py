"""The window as a controller: it dies, hangs, is one of two, or loses its engine; devices are neutral in time."""

import contextlib
import os
import signal
import time

import psutil
import pytest

from tests.helpers.live import bci, session
from tests.helpers.window import DrivenWindow


@pytest.fixture
def live(model, unique_name, tmp_path):
    with session(model, unique_name, tmp_path, "--share") as running:
        running.wait_for(lambda: bci("control", "status").returncode == 0, "the engine")
        yield running


@pytest.fixture
def open_window(live, tmp_path, monkeypatch):
    monkeypatch.setenv("ROLANDIC_SETTINGS", str(tmp_path / "window.ini"))
    opened = []

    def open_one():
        opened.append(DrivenWindow(live.process.pid))
        return opened[-1]

    yield open_one
    for window in opened:
        window.close()


@pytest.fixture
def armed(live, open_window):
    """A window that has armed the session, which commands."""
    window = open_window()
    window.wait_until(lambda s: s["is_controller"] and s["can_arm"], "control")
    arm(live, window)
    return window


def arm(live, window):
    """Arm until it holds: where this machine holds the window up for longer than a lease, it does not."""
    at_s = time.monotonic()

    def is_armed():
        if window.state()["can_arm"]:
            window.say("click Arm")
        return len(live.listener.commands(at_s)) >= 2

    live.wait_for(is_armed, "commands of a session that a window armed")


def neutral_ms(live, at_s, within_ms=300):
    """From ``at_s`` to neutral; below 0 where a busy machine had cost the window its lease just before."""
    commanded_s = live.listener.commands()[-1][0]
    live.wait_for_neutral(commanded_s)
    if live.listener.neutrals(commanded_s)[0][0] > at_s:
        return live.wait_for_neutral(at_s, within_ms)
    return 1000 * (live.listener.neutrals(commanded_s)[0][0] - at_s)


def test_killed_while_armed_from_it_the_session_goes_on_disarmed_and_a_new_window_attaches(live, open_window, armed):
    at_s = time.monotonic()
    armed.process.kill()
    ms = neutral_ms(live, at_s)
    print(f"SIGKILL of the window -> neutral at the listener: {ms:.0f} ms")
    again = open_window()
    again.wait_until(lambda s: s["is_controller"] and s["bar"] == "disarmed", "control, disarmed")
    assert live.listener.commands(at_s + 1) == []
    arm(live, again)
    assert live.interrupt() == 0
    again.wait_until(lambda s: "the session has ended; its report: " in s["why"], "the end of the session")
    live.verify()
    assert live.errors == ""


def test_its_event_loop_hangs_while_armed_from_it(live, armed):
    at_s = time.monotonic()
    armed.say("block 3")
    ms = neutral_ms(live, at_s, within_ms=300 + 10)  # the line is read every 10 ms
    print(f"event loop blocked -> neutral at the listener: {ms:.0f} ms")
    armed.wait_until(lambda s: s["is_controller"] and s["gate"] == "disarmed", "control again, disarmed")
    assert live.listener.commands(at_s + 1) == []
    assert live.interrupt() == 0
    live.verify()


def test_of_two_windows_one_controls_and_both_stop(live, open_window, armed):
    other = open_window()
    state = other.wait_until(lambda s: "controls this session" in s["refusal"], "the refusal")
    assert not state["is_controller"]
    assert not state["can_arm"]
    assert state["hands"] == []
    other.say("click Take over")
    other.wait_until(lambda s: s["is_controller"] and s["gate"] == "disarmed", "control, disarmed")
    armed.wait_until(lambda s: not s["is_controller"], "the loss of control")
    arm(live, other)
    at_s = time.monotonic()
    armed.say("space")  # in its note field
    ms = neutral_ms(live, at_s)
    print(f"space bar in the other window -> neutral at the listener: {ms:.0f} ms")
    state = armed.wait_until(lambda s: s["gate"] == "stopped", "the stop")
    assert state["note"] == ""
    assert any(a.startswith("stop stopped") for a in state["answers"])
    other.wait_until(lambda s: s["gate"] == "stopped", "the stop")
    other.say("click Release the stop")
    other.wait_until(lambda s: s["gate"] == "disarmed" and s["can_arm"], "the release")
    assert live.interrupt() == 0
    live.verify()


def test_a_command_by_hand_goes_out_when_armed_and_is_recorded_as_such(live, armed):
    bci("control", "threshold", "0.999999")  # the decoder says nothing any more
    armed.wait_until(lambda s: s["hands"] == ["left", "right"] or s["can_arm"], "the buttons")
    at_s = time.monotonic()

    def came():
        state = armed.state()
        if state["can_arm"]:
            armed.say("click Arm")
        elif state["hands"]:
            armed.say("click right")
        return [c for c in live.listener.commands(at_s) if c[1] == "right"]

    live.wait_for(came, "a command by hand")
    armed.wait_until(lambda s: any(row[0] == "right (by hand)" and row[1] for row in s["sent"]), "its receipt")
    assert live.interrupt() == 0
    report = live.report()
    assert report["n_commands_by_hand"] >= 1
    live.verify()


def test_the_stream_goes_and_comes_back_and_the_window_shows_it(live, armed):
    at_s = time.monotonic()
    live.senders[0].suspend()
    neutral_ms(live, at_s, within_ms=None)
    armed.wait_until(lambda s: "silent" in s["why"] or "silent" in s["trouble"], "the silence")
    live.wait_for(lambda: time.monotonic() - at_s > 5.0, "five seconds")
    live.senders[0].go_on()
    armed.wait_until(lambda s: not s["trouble"] and s["can_arm"], "the signal")
    arm(live, armed)
    assert live.interrupt() == 0
    live.verify()


def test_the_engine_is_killed_and_the_window_says_so_and_stays(live, armed):
    at_s = time.monotonic()
    live.remember_family()
    live.process.kill()
    neutral_ms(live, at_s)
    armed.wait_until(
        lambda s: "nothing from the session for" in s["trouble"] and s["bar"] == "session silent", "the end"
    )
    assert not armed.wait_until(lambda s: not s["is_controller"], "no control")["can_arm"]
    armed.say("space")
    armed.wait_until(lambda s: any(a.startswith("stop ") for a in s["answers"]), "an answer to the stop")
    assert armed.process.poll() is None


def window_of(live):
    """The process that `bci run --window` opened."""
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            words = process.info["cmdline"] or []
            if "bci.gui" in words and words[-1] == str(live.process.pid):
                return process
    return None


def test_run_opens_a_window_that_may_be_killed_and_that_outlives_ctrl_c(model, unique_name, tmp_path, monkeypatch):
    monkeypatch.setenv("ROLANDIC_SETTINGS", str(tmp_path / "window.ini"))
    with session(model, unique_name, tmp_path, "--window", "--arm") as live:
        live.wait_for_commands(2)
        window = live.wait_for(lambda: window_of(live), "the window")
        assert os.getpgid(window.pid) != os.getpgid(live.process.pid)
        at_s = time.monotonic()
        os.kill(window.pid, signal.SIGKILL)
        live.wait_for_commands(3, at_s)  # armed by --arm, not by the window
        assert live.zombies() == []
        assert live.interrupt() == 0
        assert live.errors == ""
        live.verify()
