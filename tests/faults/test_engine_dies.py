"""The engine is killed, stopped, or stumbles over its decoder: devices go neutral by themselves, the file is whole."""

import subprocess
import sys
import time

import pytest

from bci.recording.scan import Tag, scan
from tests.helpers.live import assert_nothing_missing, bci, session
from tests.helpers.pages import reported


def footers(path):
    """Streams that the file finished."""
    return [c.tag for c in scan(path.read_bytes()).chunks].count(Tag.STREAM_FOOTER)


def test_killed_while_armed(live):
    at_s = time.monotonic()
    live.process.kill()
    ms = live.wait_for_neutral(at_s, within_ms=300)
    print(f"SIGKILL of the engine -> neutral at the listener: {ms:.0f} ms")
    live.process.wait(20)
    live.wait_for(lambda: not live.alive(), "the end of recorder and device host")
    neutral_s = live.listener.neutrals(at_s)[0][0]
    assert live.listener.commands(neutral_s) == []
    # on a busy machine the missing heartbeat may be noticed before the end of the pipe
    assert any("the engine has gone" in reason for _, reason in live.listener.neutrals(at_s))

    (path,) = live.parts()
    assert not scan(path.read_bytes()).damage
    assert footers(path) == 7  # signal, markers, and our own five
    assert_nothing_missing(live.streams()["raw"].samples[:, 0])
    replayed = live.verify()
    assert replayed["n_predictions"] > 40
    tails = replayed["n_tail_recorded"], replayed["n_tail_replayed"]
    print(f"tails: {tails[0]} recorded predictions without events, {tails[1]} replayed ones without a record")
    assert live.errors == ""


def test_resumed_after_a_kill_in_the_next_part_and_disarmed(live):
    live.process.kill()
    live.process.wait(20)
    live.wait_for(lambda: not live.alive(), "the end of recorder and device host")
    first = live.parts()[0].read_bytes()
    at_s = time.monotonic()
    live.start("--arm", "--resume")
    live.wait_for(lambda: live.n_recorded(1) > 1000, "three seconds of a new part")
    assert live.listener.commands(at_s) == []
    assert bci("control", "arm").returncode == 0
    live.wait_for_commands(2, at_s)
    assert live.interrupt() == 0
    assert live.parts() == [live.folder / "session.xdf", live.folder / "session.part2.xdf"]
    assert live.parts()[0].read_bytes() == first
    assert live.report()["recording"] == str(live.parts()[1])
    assert_nothing_missing(live.streams(1)["raw"].samples[:, 0])
    assert live.verify(part=1)["n_commands"] == live.report()["n_commands"] >= 2
    assert live.errors == ""
    made = reported(live.folder, live.report(), is_whole=False)
    assert [run["ended_because"] for run in made["runs"]] == [None, "stopped by the user"]
    assert "1 run broke off" in made["verdicts"][0]["text"].replace("\u00a0", " ")
    assert len(made["commands"]) == made["n_commands"] > live.report()["n_commands"]


def test_stopped_for_a_moment_while_armed(live):
    """Less than 2 s: neutral meanwhile, and 2 s of good health and a rest decision before the next command."""
    at_s = time.monotonic()
    live.suspend()
    ms = live.wait_for_neutral(at_s, within_ms=300)
    live.go_on()
    back_s = time.monotonic()
    if back_s - at_s > 1.0:
        pytest.skip("this machine is too busy to stop a process for only a moment")
    print(f"SIGSTOP of the engine -> neutral at the listener: {ms:.0f} ms")
    assert "heartbeat late" in live.listener.neutrals(at_s)[0][1]
    live.wait_for_commands(1, back_s)
    neutral_s = live.listener.neutrals(at_s)[0][0]
    assert all(when_s - neutral_s > 2.0 for when_s, _ in live.listener.commands(neutral_s))
    assert live.interrupt() == 0
    report = live.report()
    assert any("device host holds: heartbeat late" in trouble for trouble in report["troubles"])
    assert report["n_samples_lost"] == 0
    assert_nothing_missing(live.streams()["raw"].samples[:, 0])
    live.verify()
    assert live.errors == ""


def test_stopped_for_long_while_armed(live):
    """More than 2 s: disarmed when it goes on, and armed again only by a person."""
    at_s = time.monotonic()
    live.suspend()
    live.wait_for_neutral(at_s, within_ms=300)
    live.wait_for(lambda: time.monotonic() - at_s > 3.0, "three seconds")
    live.go_on()
    back_s = time.monotonic()
    live.wait_for(lambda: time.monotonic() - back_s > 4.0, "four seconds")
    assert live.listener.commands(at_s + 0.5) == []
    assert bci("control", "arm").returncode == 0
    live.wait_for_commands_again(back_s)
    assert live.interrupt() == 0
    assert_nothing_missing(live.streams()["raw"].samples[:, 0])
    live.verify()
    assert live.errors == ""


def test_a_decoder_that_raises_ends_the_session_in_order(model, unique_name, tmp_path):
    with session(model, unique_name, tmp_path, "--arm", program="tests.helpers.broken_decoder") as live:
        assert live.wait_for_end() == 1
        assert "IndexError: no such electrode" in live.errors
        assert live.errors.count("\n") == 1
        assert live.errors.startswith("bci: ")
        assert "in _broken" in (live.folder / "error.txt").read_text()
        assert live.listener.neutrals()[-1][1] == "the session ended"
        report = live.report()
        assert 40 < report["n_hops"] < 60  # some were for warming up
        assert "IndexError" in report["ended_because"]
        assert report["n_samples"] == len(live.streams()["raw"].stamps_s)
        assert footers(live.parts()[0]) == 7
        assert_nothing_missing(live.streams()["raw"].samples[:, 0])


def test_a_session_that_never_finds_its_stream_can_be_interrupted(unique_name, model, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "bci", "run", "--stream", unique_name, "--model", str(model), "--wait", "60"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        time.sleep(1.0)  # anywhere in its start
        process.send_signal(2)
        out, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait(20)
    assert process.returncode == 1
    assert "Traceback" not in errors + out
