"""Control sockets: token first, one line a message, nobody waits for anybody; and the runtime folder behind them."""

import json
import os
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bci.errors import RolandicError
from bci.host import runtime
from bci.host.control_socket import MAX_CLIENTS, ControlError, ControlServer, ask_all, send_control
from bci.host.runtime import Entry


def echo(message):
    if message["action"] == "refuse":
        raise RolandicError("no, thank you")
    return {"ok": True, "got": message}


@pytest.fixture
def server():
    server = ControlServer("engine", echo, "sub-1/ses-1")
    server.start()
    yield server
    server.close()


def raw(server, *lines):
    """Send lines; the first reply, or b'' when it hung up."""
    with socket.create_connection(("127.0.0.1", server.entry.port), timeout=10) as sock:
        sock.sendall(b"".join(line + b"\n" for line in lines))
        try:
            return sock.makefile("rb").readline()
        except ConnectionResetError:
            return b""


def dead_pid():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


# --- messages --------------------------------------------------------------------------------------------------------


def test_a_message_is_answered(server):
    message = {"action": "note", "value": "électrode"}
    assert send_control(server.entry, message) == {"ok": True, "got": message}


def test_a_refusal_is_an_error_with_its_reason(server):
    with pytest.raises(ControlError, match="no, thank you"):
        send_control(server.entry, {"action": "refuse"})


def test_a_wrong_token_is_refused_and_hung_up_on(server):
    with pytest.raises(ControlError, match="wrong token"):
        send_control(replace(server.entry, token="0" * 32), {"action": "arm"})
    assert json.loads(raw(server, b"", b'{"action": "arm"}'))["error"] == "wrong token"


@pytest.mark.parametrize("line", [b"not json", b"[]", b"{}", b'{"action": 3}', b"\xff"])
def test_a_message_that_is_not_understood_is_said_so(server, line):
    assert json.loads(raw(server, server.entry.token.encode(), line))["error"].startswith("not understood")


def test_an_endless_line_is_hung_up_on(server):
    assert raw(server, b"x" * 200_000) in (b"", b'{"ok": false, "error": "wrong token"}\n')
    assert send_control(server.entry, {"action": "note"})["ok"]


def test_strangers_who_say_nothing_keep_nobody_out(server):
    strangers = [socket.create_connection(("127.0.0.1", server.entry.port)) for _ in range(3 * MAX_CLIENTS)]
    assert send_control(server.entry, {"action": "note"})["ok"]
    for sock in strangers:
        sock.close()


def test_serve_never_waits_when_there_is_nothing():
    server = ControlServer("engine", echo)
    half = socket.create_connection(("127.0.0.1", server.entry.port))
    half.sendall(server.entry.token.encode())  # no end of line yet
    server.serve()
    server.serve()
    assert len(server.sockets()) == 2
    half.close()
    server.close()


def test_a_server_that_hangs_is_reported_after_the_time_out_and_the_others_are_asked_before(server):
    hung = ControlServer("engine", echo)  # nobody serves it
    replies = ask_all([hung.entry, server.entry], {"action": "note"}, 0.3)
    assert isinstance(replies[0][1], ControlError)
    assert "does not answer" in str(replies[0][1])
    assert replies[1][1]["ok"]
    hung.close()


def test_closing_withdraws_the_entry_and_frees_the_port():
    server = ControlServer("engine", echo)
    server.start()
    assert Path(server.entry.path).exists()
    server.close()
    assert runtime.published("engine") == []
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.entry.port), timeout=10)


# --- the runtime folder ----------------------------------------------------------------------------------------------


def test_an_entry_is_whole_and_private(server, runtime_dir):
    assert runtime.published("engine") == [server.entry]
    assert runtime.published("device_host") == []
    assert runtime.is_alive(server.entry)
    assert (server.entry.pid, server.entry.session) == (os.getpid(), "sub-1/ses-1")
    assert [p.name for p in runtime_dir.iterdir()] == [Path(server.entry.path).name]
    if sys.platform != "win32":
        assert stat.S_IMODE(Path(server.entry.path).stat().st_mode) == 0o600
        assert stat.S_IMODE(runtime_dir.stat().st_mode) == 0o700


def test_entries_of_the_dead_are_removed_when_asked():
    dead = runtime.publish(Entry("engine", dead_pid(), 1, "token"))
    assert not runtime.is_alive(dead)
    assert ask_all([dead], {"action": "note"}, 0.3) == []
    assert runtime.published("engine") == []
    with pytest.raises(ControlError, match="has gone"):
        send_control(dead, {"action": "note"})


def test_files_that_are_no_entries_are_skipped(runtime_dir, server):
    (runtime_dir / "engine-1-1.json").write_text("{")
    (runtime_dir / "engine-2-2.json").write_text('{"colour": "green"}')
    assert runtime.published("engine") == [server.entry]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_a_folder_that_others_can_write_is_refused(runtime_dir):
    runtime_dir.mkdir()
    runtime_dir.chmod(0o777)
    with pytest.raises(RolandicError, match="can be written by others; set ROLANDIC_RUNTIME_DIR"):
        runtime.runtime_dir()


def test_a_folder_that_cannot_be_made_is_one_line(runtime_dir, monkeypatch):
    runtime_dir.write_text("a file")
    with pytest.raises(RolandicError, match="cannot be used"):
        runtime.runtime_dir()
