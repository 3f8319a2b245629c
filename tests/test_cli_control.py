"""``bci control``: what it sends, and what it says when it cannot; and that it and ``bci stop`` load nothing heavy."""

import json
import os
import subprocess
import sys

import pytest

from bci.__main__ import main
from bci.errors import RolandicError
from bci.host.control_socket import ControlServer


class Engine:
    """A control server that remembers what it was told."""

    def __init__(self, session="sub-1/ses-1"):
        self.told, self.model_hash, self.swap_error, self.armed = [], "", "", False
        self.server = ControlServer("engine", self.handle, session)
        self.server.start()

    def handle(self, message):
        if message["action"] == "arm" and not self.armed:
            raise RolandicError("health is bad")
        if message["action"] == "status":
            said = {"gate": "armed" if self.armed else "disarmed", "is_armed": self.armed, "session": "sub-1/ses-1"}
            said |= {"health": "ok", "reasons": [], "n_hops": 7}
            return {"ok": True, "model_hash": self.model_hash, "swap_error": self.swap_error, **said}
        self.told.append((message["action"], message["value"]))
        return {"ok": True}


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.server.close()


def refused(capsys, *arguments):
    """Exit code and standard error."""
    with pytest.raises(SystemExit) as stop:
        main(["control", *arguments])
    return stop.value.code, capsys.readouterr().err.strip()


def test_actions_reach_the_engine(engine, capsys, tmp_path):
    for action in ("disarm", "pause", "resume", "reset"):
        main(["control", action])
    main(["control", "threshold", "0.9"])
    main(["control", "dwell", "0"])
    main(["control", "command", "left"])
    main(["control", "note", "electrode", "C3", "fixed", "--json", "-"])
    (tmp_path / "SHA256").write_text("abc\n")
    engine.model_hash = "abc"
    main(["control", "swap", os.path.relpath(tmp_path)])
    assert engine.told == [
        ("disarm", ""),
        ("pause", ""),
        ("resume", ""),
        ("reset", ""),
        ("threshold", "0.9"),
        ("dwell", "0"),
        ("command", "left"),
        ("note", "electrode C3 fixed"),
        ("swap", str(tmp_path.resolve())),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "disarm: done"
    assert json.loads(lines[-2]) == {"action": "note", "value": "electrode C3 fixed", "ok": True}


def test_a_swap_that_is_refused_is_exit_1(engine, capsys, tmp_path):
    (tmp_path / "SHA256").write_text("abc\n")
    engine.swap_error = "its files do not match SHA256"
    assert refused(capsys, "swap", str(tmp_path)) == (1, "bci: not swapped: its files do not match SHA256")


def test_what_the_engine_refuses_is_exit_1(engine, capsys):
    assert refused(capsys, "arm") == (1, "bci: health is bad")


def test_arming_says_how_it_stands_and_whether_it_did_already(engine, capsys):
    engine.armed = True
    main(["control", "arm"])
    assert capsys.readouterr().out == "armed already: gate armed, health ok, 7 hops, sub-1/ses-1\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["threshold"], "control threshold takes a probability"),
        (["threshold", "high"], "control threshold = 'high': must be above 0 and at most 1"),
        (["threshold", "nan"], "control threshold = 'nan': must be above 0 and at most 1"),
        (["dwell", "inf"], "control dwell = 'inf': must be 0 or more seconds"),
        (["command"], "control command takes the name of a class"),
        (["swap", "no-such-model"], "control swap: no-such-model is no folder"),
        (["note"], "control note takes a text"),
        (["reset", "now"], "control reset takes no value, got 'now'"),
    ],
)
def test_what_was_asked_wrongly_is_exit_2(engine, capsys, arguments, message):
    code, error = refused(capsys, *arguments)
    assert code == 2
    assert message in error
    assert engine.told == []


def test_no_session_is_exit_1(capsys, runtime_dir):
    code, error = refused(capsys, "pause")
    assert (code, error) == (1, f"bci: no session runs here (looked in {runtime_dir}); start one with bci run")


def test_several_sessions_need_a_pid(engine, capsys):
    other = Engine("sub-2/ses-1")
    code, error = refused(capsys, "pause")
    other.server.close()
    assert code == 2
    assert "2 sessions run here" in error
    assert "sub-2/ses-1" in error
    main(["control", "pause", "--pid", str(os.getpid())])
    assert engine.told == [("pause", "")]
    assert refused(capsys, "pause", "--pid", "1")[0] == 1


def test_stop_and_control_load_nothing_heavy():
    code = "import sys, bci.cli.stop, bci.cli.control; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "bci.host.control_socket" in loaded
    assert not {"numpy", "torch", "pylsl", "mne", "psutil", "scipy", "msgspec"} & set(loaded)
