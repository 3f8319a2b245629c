"""The device host as a process, a UDP listener as the device: what is sent, and neutral whatever befalls the engine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from bci.control.host_table import HostSettings, HostState
from bci.errors import DeviceError
from bci.host import device_host as device_host_module
from bci.host.clock import now_s
from bci.host.control_socket import ask_all
from bci.host.device_host import DeviceHost
from bci.host.runtime import published
from bci.types import Acknowledged, Command, Receipt
from tests.helpers.devices import LineServer, Microcontroller, datagram, listener
from tests.helpers.live import wait_for

WAIT_S = 20
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture
def udp():
    sock, url = listener()
    with sock:
        yield sock, url


@contextlib.contextmanager
def hosted(*urls, **options):
    host = DeviceHost(list(urls), **options)
    try:
        host.start()
        yield host
    finally:
        host.close()


def until(host, fits, *, beating=True):
    """Beat and poll until a report fits; all reports up to that one. Later ones are kept for the next call."""
    reports, end_s = [], time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        if beating:
            host.heartbeat(1, 0.01, now_s())
        host.unread = [*getattr(host, "unread", []), *host.poll(now_s())]
        while host.unread:
            reports.append(host.unread.pop(0))
            if fits(reports[-1]):
                return reports
        time.sleep(0.01)
    raise AssertionError(f"waited {WAIT_S} s; got {reports}")


def is_state(name):
    return lambda report: isinstance(report, HostState) and report.state == name


def arm(host, arm_id=1):
    host.heartbeat(0, 0.01, now_s())
    host.arm(arm_id)
    until(host, is_state("armed"))


def left(id_=1, *, ago_s=0.0, arm_id=1):
    return Command(id_, "left", 0.9, now_s() - ago_s, 300.0, arm_id, 5)


def receipt(host, id_):
    return until(host, lambda r: isinstance(r, Receipt) and r.command_id == id_)[-1]


def has_ended(pid):
    """Whether a process ends in time; an orphan may stay a zombie until somebody reaps it."""
    end_s = time.monotonic() + WAIT_S
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > end_s:
                return False
            time.sleep(0.01)
    return True


# --- from the engine's side ------------------------------------------------------------------------------------------


def test_a_command_arrives_and_its_receipt_says_what_was_sent(udp):
    sock, url = udp
    with hosted(url, "null:") as host:
        assert datagram(sock) == {"neutral": True, "reason": "opened"}
        arm(host)
        host.send(left())
        got = datagram(sock)
        assert (got["command"], got["id"], got["hop"]) == ("left", 1, 5)
        done = receipt(host, 1)
        assert done.accepted
        assert (json.loads(done.sent[0]), done.sent[1]) == (got, "left")
        assert host.trouble == ""
        host.neutral("enough")
        assert datagram(sock) == {"neutral": True, "reason": "enough"}
        host.disarm("done")
        assert datagram(sock) == {"neutral": True, "reason": "done"}
    assert datagram(sock) == {"neutral": True, "reason": "the session ended"}
    assert has_ended(host.pid)


def test_refused_commands_never_reach_the_device(udp):
    sock, url = udp
    with hosted(url) as host:
        datagram(sock)
        host.heartbeat(0, 0.01, now_s())
        host.send(left(1))
        assert "disarmed" in receipt(host, 1).reason
        arm(host)
        host.send(left(2, ago_s=0.4))
        assert "valid for 300 ms" in receipt(host, 2).reason
        host.send(left(3, arm_id=0))
        assert "of arming 0" in receipt(host, 3).reason
        host.send(left(4))
        assert datagram(sock)["id"] == 4


def test_a_missing_heartbeat_is_neutral_and_trouble_until_it_beats_again(udp):
    sock, url = udp
    with hosted(url) as host:
        datagram(sock)
        arm(host)
        until(host, is_state("held"), beating=False)
        assert "heartbeat late" in datagram(sock)["reason"]
        assert "device host holds: heartbeat late" in host.trouble
        until(host, is_state("armed"))
        assert host.trouble == ""


def test_old_data_are_neutral(udp):
    sock, url = udp
    with hosted(url) as host:
        datagram(sock)
        arm(host)
        host.heartbeat(2, 0.7, now_s())
        assert datagram(sock)["reason"].startswith("data 70")


def test_a_device_that_cannot_be_opened_is_a_device_error(tmp_path):
    (tmp_path / "dead").touch()
    flaky = DeviceHost(["null:", f"flaky:{tmp_path}"], opener="tests.helpers.devices:open_flaky")
    with pytest.raises(DeviceError, match="is unplugged"):
        flaky.start()
    assert has_ended(flaky.pid)
    hopeless = DeviceHost(["null:"], opener="tests.helpers.devices:open_hopeless")
    with pytest.raises(DeviceError, match="device null:: ZeroDivisionError"):
        hopeless.start()
    assert hopeless.close() == []


def test_a_device_that_fails_to_send_is_refused_neutral_disarmed_and_opened_again(tmp_path):
    with hosted(f"flaky:{tmp_path}", opener="tests.helpers.devices:open_flaky") as host:
        arm(host)
        (tmp_path / "broken").touch()
        host.send(left(1))
        done = receipt(host, 1)
        assert not done.accepted
        assert "OSError: cable" in done.reason
        until(host, is_state("disarmed"))
        assert (tmp_path / "neutrals").read_text().splitlines()[0].endswith("OSError: cable")
        (tmp_path / "broken").unlink()
        until(host, lambda r: isinstance(r, HostState) and r.trouble == "" and r.state == "disarmed")
        arm(host, 2)
        host.send(left(2, arm_id=2))
        assert receipt(host, 2).accepted


def test_a_device_that_fails_to_go_neutral_is_trouble_until_it_does(tmp_path):
    with hosted(f"flaky:{tmp_path}", opener="tests.helpers.devices:open_flaky") as host:
        arm(host)
        (tmp_path / "dead").touch()
        host.neutral("now")
        until(host, lambda r: is_state("disarmed")(r) and "unplugged" in r.trouble)
        host.arm(2)
        reports = until(host, lambda r: isinstance(r, HostState) and r.refused)
        assert "unplugged" in reports[-1].refused
        (tmp_path / "dead").unlink()
        until(host, lambda r: is_state("disarmed")(r) and not r.trouble)
        assert "opened again" in (tmp_path / "neutrals").read_text()


ANY = "tests.helpers.devices:open_any"


def is_trouble(text):
    return lambda r: isinstance(r, HostState) and bool(r.trouble) == bool(text) and text in r.trouble


def test_a_device_that_is_lost_while_nothing_is_sent_is_found_and_waiting_for_it_delays_no_stop(udp, tmp_path):
    sock, url = udp
    with hosted(f"stuck:{tmp_path}", url, opener=ANY) as host:
        datagram(sock)
        arm(host)
        (tmp_path / "gone").touch()
        until(host, is_trouble("is unplugged"))
        assert "is unplugged" in datagram(sock)["reason"]
        until(host, is_state("disarmed"))
        time.sleep(0.6)  # it is being opened now, and that waits
        replies = ask_all(published("device_host"), {"action": "stop", "value": "help"}, 10.0)
        assert datagram(sock) == {"neutral": True, "reason": "help"}
        ((_, reply),) = replies
        assert not reply["ok"]  # of the one that is gone nobody knows
        (tmp_path / "gone").unlink()
        until(host, is_trouble(""))
        assert host.state.state == "stopped"


def test_a_device_that_waits_has_failed(tmp_path):
    with hosted("sluggish:", opener=ANY) as host:
        arm(host)
        host.send(left(1))
        assert "device sluggish: held up the device host for 0." in receipt(host, 1).reason
        until(host, is_state("disarmed"))


def test_acknowledgements_are_reported_and_a_missing_one_is_trouble():
    server = LineServer()
    url = f"tcp://127.0.0.1:{server.port}?ack_ms=300"
    with contextlib.closing(server), hosted(url) as host:
        arm(host)
        host.send(left(1))
        (ack,) = [r for r in until(host, lambda r: isinstance(r, Acknowledged)) if isinstance(r, Acknowledged)]
        assert (ack.command_id, ack.device) == (1, url)
        server.acknowledges = False
        host.neutral("this, too, is awaited")
        until(host, is_trouble("has not acknowledged line"))
        until(host, is_state("disarmed"))


@posix
@pytest.mark.parametrize("kind", ["serial", "tcp"])
def test_unplugged_is_neutral_everywhere_and_plugged_in_again_it_can_be_armed(udp, tmp_path, kind):
    sock, other = udp
    if kind == "serial":
        board = Microcontroller(tmp_path / "tty")
        url, unplug, plug_in = f"serial://{board.path}", board.unplug, board.plug_in
    else:
        server = LineServer()
        url, unplug, plug_in = f"tcp://127.0.0.1:{server.port}", server.close, lambda: LineServer(server.port)
    with hosted(url, other) as host:
        datagram(sock)
        arm(host)
        unplug()
        assert f"device {url} is lost" in datagram(sock)["reason"]
        until(host, is_state("disarmed"))
        host.arm(2)
        reports = until(host, lambda r: isinstance(r, HostState) and r.refused)
        assert url in reports[-1].refused
        board_again = plug_in()
        until(host, is_trouble(""))
        arm(host, 3)
        host.send(left(1, arm_id=3))
        assert receipt(host, 1).accepted
        lines = board.lines if kind == "serial" else board_again.lines
        wait_for(lambda: any("left" in str(line) for line in lines), "the command at the device")
    unplug() if kind == "serial" else board_again.close()


def test_velocities_go_to_devices_that_stop_by_themselves_and_end_in_neutral(udp):
    sock, url = udp
    other = listener()
    with other[0], hosted(f"{url}?loss=zero", other[1]) as host:
        assert datagram(sock)["reason"] == datagram(other[0])["reason"] == "opened"
        arm(host)
        host.send(Command(1, "velocity", 0.5, now_s(), 300.0, 1, 5, velocity=(0.4, -0.3)))
        assert len(receipt(host, 1).sent) == 1
        assert datagram(sock)["velocity"] == [0.4, -0.3]
        for _ in range(20):
            host.heartbeat(1, 0.01, now_s())
            time.sleep(0.02)
        assert datagram(sock) == datagram(other[0]) == {"neutral": True, "reason": "no newer velocity in time"}
    with hosted("udp://127.0.0.1:9") as host:
        arm(host)
        host.send(Command(1, "velocity", 0.5, now_s(), 300.0, 1, 5, velocity=(0.4, -0.3)))
        assert receipt(host, 1).reason == "no device takes velocities"


def test_a_host_that_was_killed_is_dead_and_its_successor_stopped_until_reset(udp):
    sock, url = udp
    with hosted(url) as host:
        datagram(sock)
        arm(host)
        old = host.pid
        psutil.Process(old).kill()
        reports = until(host, is_state("dead"))
        assert "has gone" in reports[-1].reason
        assert "device host" in host.trouble
        host.send(left(1))  # goes nowhere, and does not raise
        host.restart()
        until(host, is_state("stopped"))
        assert host.pid != old
        assert has_ended(old)
        assert datagram(sock) == {"neutral": True, "reason": "opened"}
        host.arm(2)
        reports = until(host, lambda r: isinstance(r, HostState) and r.refused)
        assert reports[-1].refused == "stopped: reset it first"
        host.reset()
        until(host, is_state("disarmed"))
        arm(host, 3)
        host.send(left(2, arm_id=3))
        assert receipt(host, 2).accepted


def test_a_restart_tries_until_the_device_is_there_again(tmp_path):
    with hosted(f"flaky:{tmp_path}", opener="tests.helpers.devices:open_flaky") as host:
        pid = host.pid
        host.restart()  # of a living host: nothing
        (tmp_path / "dead").touch()
        psutil.Process(pid).kill()
        until(host, is_state("dead"))
        host.restart()
        reports = until(host, is_state("dead"))
        assert "unplugged" in reports[-1].reason
        (tmp_path / "dead").unlink()
        until(host, is_state("stopped"))


@pytest.mark.parametrize(
    ("failing", "error"),
    [("spawn_child", OSError(24, "Too many open files")), ("spawn_child", RuntimeError("?")), ("_reap", OSError("?"))],
)
def test_a_restart_that_fails_for_any_reason_is_tried_again(monkeypatch, failing, error):
    def fail(*_args, **_options):
        raise error

    with hosted("null:") as host:
        psutil.Process(host.pid).kill()
        until(host, is_state("dead"))
        with monkeypatch.context() as patch:
            patch.setattr(device_host_module, failing, fail)
            host.restart()
            reports = until(host, is_state("dead"))
            assert reports[-1].reason == f"{type(error).__name__}: {error}"
        until(host, is_state("stopped"))  # nobody asks again


@posix
def test_a_host_that_hangs_is_dead_and_nothing_waits_for_it(udp):
    with hosted(udp[1]) as host:
        arm(host)
        psutil.Process(host.pid).suspend()
        try:
            until(host, is_state("dead"))
            assert "does not answer" in host.trouble
            host.restart()
            until(host, is_state("stopped"))
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(host.pid).resume()


def test_limits_come_from_the_settings(udp):
    with hosted(udp[1], settings=HostSettings(max_age_s=0.2)) as host:
        host.heartbeat(0, 0.3, now_s())
        host.arm(1)
        reports = until(host, lambda r: isinstance(r, HostState) and r.refused, beating=False)
        assert "data 30" in reports[-1].refused


# --- what happens to the engine --------------------------------------------------------------------------------------


@contextlib.contextmanager
def engine(*urls):
    """An armed engine in a process group of its own; every process is gone afterwards."""
    options = {"start_new_session": True} if sys.platform != "win32" else {}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.armed_engine", *urls],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    child.host_pid = json.loads(child.stdout.readline())["pid"]
    try:
        heard(child, "armed")
        yield child
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(child.pid).resume()
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
        assert has_ended(child.host_pid)


def heard(child, state):
    """The engine's report of that state of the host."""
    for line in child.stdout:
        report = json.loads(line)
        if report.get("state") == state:
            return report
    raise AssertionError(f"the engine ended before its host was {state}")


def say(child, line):
    child.stdin.write(line + "\n")
    child.stdin.flush()


def bci(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "bci", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_an_engine_that_is_killed_leaves_its_devices_neutral(udp):
    sock, url = udp
    with engine(url) as child:
        say(child, "left")
        assert datagram(sock)["reason"] == "opened"
        assert datagram(sock)["command"] == "left"
        child.kill()
        assert datagram(sock) == {"neutral": True, "reason": "the engine has gone"}
        assert has_ended(child.host_pid)


@posix
def test_an_engine_that_is_suspended_leaves_its_devices_neutral(udp):
    sock, url = udp
    with engine(url) as child:
        datagram(sock)
        os.kill(child.pid, signal.SIGSTOP)
        assert "heartbeat late" in datagram(sock)["reason"]
        os.kill(child.pid, signal.SIGCONT)
        assert heard(child, "held")["arm_id"] == 1


@posix
def test_bci_stop_needs_no_engine_and_latches(udp):
    sock, url = udp
    with engine(url, "null:") as child:
        datagram(sock)
        os.kill(child.pid, signal.SIGSTOP)
        assert "heartbeat late" in datagram(sock)["reason"]
        done = bci("stop", "--json", "-")
        assert done.returncode == 0, done.stderr
        (stopped,) = json.loads(done.stdout)["stopped"]
        assert stopped == {"pid": child.host_pid, "session": "test-session", "devices": [url, "null:"]}
        assert datagram(sock) == {"neutral": True, "reason": "bci stop"}
        os.kill(child.pid, signal.SIGCONT)
        heard(child, "stopped")
        say(child, "left")
        for line in child.stdout:
            report = json.loads(line)
            if report["kind"] == "receipt":
                assert not report["accepted"]
                assert report["reason"] == "stopped: bci stop"
                break
        say(child, "end")
        assert datagram(sock) == {"neutral": True, "reason": "the session ended"}


def test_bci_stop_reaches_every_host(udp):
    sock, url = udp
    with engine(url) as one, engine("null:") as two:
        datagram(sock)
        done = bci("stop")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [f"stopped {url} of test-session", "stopped null: of test-session"]
        assert datagram(sock) == {"neutral": True, "reason": "bci stop"}
        assert heard(one, "stopped")["reason"] == heard(two, "stopped")["reason"] == "bci stop"


def test_bci_stop_says_when_there_is_nothing_to_stop(runtime_dir):
    done = bci("stop")
    assert done.returncode == 1
    assert done.stderr == f"bci: nothing to stop: no session with devices runs here (looked in {runtime_dir})\n"


@posix
def test_bci_stop_says_when_a_host_does_not_answer(udp):
    with engine(udp[1]) as child:
        os.kill(child.host_pid, signal.SIGSTOP)
        try:
            done = bci("stop", "--timeout", "0.3")
            assert done.returncode == 1
            assert f"NOT stopped: the device_host of process {child.host_pid} does not answer" in done.stderr
        finally:
            os.kill(child.host_pid, signal.SIGCONT)


@posix
def test_ctrl_c_to_the_group_ends_the_engine_and_the_host_after_it(udp):
    sock, url = udp
    with engine(url) as child:
        datagram(sock)
        os.kill(child.host_pid, signal.SIGINT)  # as if it were in the group
        say(child, "left")
        assert datagram(sock)["command"] == "left"
        os.killpg(child.pid, signal.SIGINT)  # the helper dies of it, without closing anything
        assert datagram(sock) == {"neutral": True, "reason": "the engine has gone"}


@posix
def test_a_host_that_is_terminated_is_neutral(udp):
    sock, url = udp
    with hosted(url) as host:
        datagram(sock)
        arm(host)
        psutil.Process(host.pid).terminate()
        assert datagram(sock) == {"neutral": True, "reason": "the device host ends"}
        until(host, is_state("dead"))
