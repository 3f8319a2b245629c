"""Ctrl-C, SIGTERM, and what a person asks by `bci control`: orderly, recorded, and replayed to the same."""

import os
import signal
import time

import pytest

from bci.host.control_socket import send_control
from bci.host.runtime import published
from bci.recording.scan import Tag, scan
from bci.types import Control, Flag, Swap
from tests.helpers.fault_sender import fitted_model
from tests.helpers.live import assert_nothing_missing, bci


def is_orderly(live, code):
    assert code == 0
    assert live.errors == ""
    assert live.alive() == []
    assert live.report()["ended_because"] == "stopped by the user"
    assert "stopped by the user" in live.text
    assert live.listener.neutrals()[-1][1] == "the session ended"
    data = live.parts()[0].read_bytes()
    assert [c.tag for c in scan(data).chunks].count(Tag.STREAM_FOOTER) == 7
    assert_nothing_missing(live.streams()["raw"].samples[:, 0])
    assert live.report()["n_samples"] == len(live.streams()["raw"].stamps_s)
    live.verify()


def test_ctrl_c_to_the_group(live):
    assert live.zombies() == []
    is_orderly(live, live.interrupt())


def test_ctrl_c_again_and_again(live):
    live.remember_family()
    for _ in range(3):
        os.killpg(live.process.pid, signal.SIGINT)
    is_orderly(live, live.wait_for_end())


def test_sigterm(live):
    live.remember_family()
    live.process.send_signal(signal.SIGTERM)
    is_orderly(live, live.wait_for_end())


def test_controls_are_events_and_do_what_they_say(live, tmp_path):
    other = fitted_model(tmp_path / "other", seed=2)
    assert bci("control", "note", "electrode", "C3", "fixed").returncode == 0
    assert bci("control", "pause").returncode == 0
    paused_s = time.monotonic()
    live.wait_for(lambda: time.monotonic() - paused_s > 2.5, "more than one round of the sender")
    assert live.listener.commands(paused_s + 0.2) == []
    assert bci("control", "resume").returncode == 0
    live.wait_for_commands(2, paused_s + 0.2)
    assert bci("control", "threshold", "0.99").returncode == 0
    strict_s = time.monotonic()
    live.wait_for(lambda: time.monotonic() - strict_s > 2.5, "more than one round of the sender")
    assert live.listener.commands(strict_s + 0.2) == []
    refused = bci("control", "threshold", "0.2")
    assert refused.returncode == 1
    assert "must be above chance (0.333)" in refused.stderr
    assert bci("control", "threshold", "0.6").returncode == 0
    live.wait_for_commands(2, strict_s + 0.2)
    refused = bci("control", "swap", str(tmp_path))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert bci("control", "swap", str(other)).returncode == 0
    live.wait_for(lambda: len(list((live.folder / "models").iterdir())) == 2, "the second model in the folder")
    swapped_s = time.monotonic()
    live.wait_for_commands(2, swapped_s + 1.0)
    assert live.interrupt() == 0

    events = live.events()
    asked = [(e.action, e.value) for e in events if isinstance(e, Control) and e.by == "control socket"]
    assert [a for a, _ in asked] == ["note", "pause", "resume", "threshold", "threshold"]
    assert asked[0] == ("note", "electrode C3 fixed")
    assert [v for a, v in asked if a == "threshold"] == ["0.99", "0.6"]
    assert len([e for e in events if isinstance(e, Swap)]) == 1
    flags = live.streams()["bci-hops"].samples[:, 4].astype(int)
    paused = flags & int(Flag.PAUSED) != 0
    assert 2.0 / 0.02 < paused.sum() < len(flags)
    assert abs(int(paused[1:].sum()) - int(paused[:-1].sum())) == 0  # neither the first nor the last
    result = live.verify()
    assert result["n_commands"] == live.report()["n_commands"]
    assert live.errors == ""


@pytest.mark.parametrize("action", ["arm", "stop"])
def test_nothing_answers_after_the_end(live, action):
    assert live.interrupt() == 0
    asked = bci("control", "arm") if action == "arm" else bci("stop")
    assert asked.returncode == 1
    assert asked.stderr.count("\n") == 1


def test_the_one_who_armed_hangs(live):
    """Armed with a promise to beat: without beats it is disarmed, whatever the signal says."""
    (engine,) = published("engine")
    send_control(engine, {"action": "disarm", "value": ""})
    send_control(engine, {"action": "arm", "value": "lease", "by": "window"})
    armed_s = time.monotonic()

    def beat():
        send_control(engine, {"action": "beat"})
        return len(live.listener.commands(armed_s)) >= 2

    live.wait_for(beat, "commands while it beats")
    last_s = time.monotonic()
    ms = live.wait_for_neutral(last_s)
    print(f"last beat of the window -> neutral at the listener: {ms:.0f} ms")
    assert live.listener.neutrals(last_s)[0][1] == "the window that armed it is not heard any more"
    live.wait_for(lambda: time.monotonic() - last_s > 2.5, "more than one round of the sender")
    assert live.listener.commands(live.listener.neutrals(last_s)[0][0]) == []
    assert not send_control(engine, {"action": "status"})["is_armed"]
    assert bci("control", "arm").returncode == 0  # who promises nothing is not waited for
    live.wait_for_commands(2, last_s)
    assert live.interrupt() == 0
    gates = [h["reasons"] for h in live.health() if h["kind"] == "gate" and h["state"] == "disarmed"]
    assert ["the window that armed it is not heard any more"] in gates
    live.verify()
    assert live.errors == ""
