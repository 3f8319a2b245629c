"""A real session for tests of faults: `bci run`, a sender and a UDP listener; nothing is left running after it.

::

    with session(model, unique_name, tmp_path) as live:
        live.wait_for_commands()
        live.child("device_host").kill()
        live.wait_for(lambda: live.states("stopped"), "a new host, stopped")
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from bci.recording.folder import parts
from bci.recording.scan import scan
from bci.recording.xdf import read_xdf
from bci.types import Numbered, RecordedStream

WAIT_S = 40.0  # long enough for a machine that does three other things


def wait_for(is_so: Callable[[], Any], what: str, timeout_s: float = WAIT_S, why: Callable[[], str] = str) -> Any:
    """Wait until ``is_so()`` is truthy and return it; the test fails when it does not come."""
    until_s = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < until_s, f"did not come within {timeout_s:g} s: {what} {why()}"
        time.sleep(0.01)
    return found


BUSY_MS = 40.0


class Listener:
    """What a device at ``udp://`` gets: (seconds of the monotonic clock, datagram)."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.url = f"udp://127.0.0.1:{self._socket.getsockname()[1]}"
        self.got: list[tuple[float, dict[str, Any]]] = []
        self._is_closing = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._is_closing:
            with contextlib.suppress(TimeoutError):
                data = self._socket.recv(65536)
                self.got.append((time.monotonic(), json.loads(data)))

    def neutrals(self, since_s: float = 0.0) -> list[tuple[float, str]]:
        """Time and reason of each neutral since then."""
        return [(at_s, said["reason"]) for at_s, said in list(self.got) if at_s >= since_s and said.get("neutral")]

    def commands(self, since_s: float = 0.0) -> list[tuple[float, str]]:
        """Time and name of each command since then."""
        return [(at_s, said["command"]) for at_s, said in list(self.got) if at_s >= since_s and "command" in said]

    def close(self) -> None:
        self._is_closing = True
        self._thread.join(5)
        self._socket.close()


class Sender:
    """`tests.helpers.fault_sender` in a process of its own."""

    def __init__(self, name: str, n_more: int = 0):
        arguments = [sys.executable, "-m", "tests.helpers.fault_sender", name, str(n_more)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, start_new_session=True)

    def suspend(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self) -> None:
        """Have it send the end marker."""
        self._say(b"end\n")

    def nan(self) -> None:
        """Have it send a chunk that is not finite."""
        self._say(b"nan\n")

    def _say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()


class Live:
    """A running `bci run` and all that belongs to it."""

    def __init__(self, model: Path, name: str, folder: Path, *options: str, program: str = "bci"):
        self._program = program
        self.name, self.model, self.folder = name, model, folder / "session"
        self._out, self._errors, self._json = folder / "out.txt", folder / "errors.txt", folder / "report.json"
        self.listener = Listener()
        self.senders = [Sender(name)]
        self.process: subprocess.Popen[bytes]
        self.family: dict[int, psutil.Process] = {}  # every process that belonged to an engine of ours
        self.start(*options)

    def start(self, *options: str) -> None:
        """Start an engine; again after one has died."""
        self._json.unlink(missing_ok=True)
        arguments = ["run", "--stream", self.name, "--model", self.model, "--session", self.folder, "--wait", "30"]
        arguments += ["--device", self.listener.url, "--threshold", "0.6", "--dwell", "0.06", "--refractory", "0.2"]
        arguments += ["--json", self._json, *options]
        with self._out.open("ab") as out, self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._program, *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True,
            )  # fmt: skip

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def errors(self) -> str:
        """All that was said on standard error."""
        return self._errors.read_text()

    @property
    def text(self) -> str:
        """All that was printed."""
        return self._out.read_text()

    def wait_for(self, is_so: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
        return wait_for(
            is_so, what, timeout_s, lambda: f"\nstderr: {self.errors}\nlast datagrams: {self.listener.got[-8:]}"
        )

    def wait_for_commands(self, n: int = 2, since_s: float = 0.0) -> float:
        """Until ``n`` commands have come since then; the time of now."""
        self.wait_for(lambda: len(self.listener.commands(since_s)) >= n, f"{n} commands")
        self.remember_family()
        return time.monotonic()

    def wait_for_commands_again(self, since_s: float, n: int = 1) -> None:
        """Until ``n`` commands have come since then; on a slow machine trouble lasts over 2 s, and it is armed anew."""
        next_s = time.monotonic() + 6.0  # 2 s of good health, and the first command, before that

        def is_there() -> bool:
            nonlocal next_s
            if time.monotonic() > next_s:
                assert bci("control", "arm").returncode == 0
                next_s = time.monotonic() + 6.0
            return len(self.listener.commands(since_s)) >= n

        self.wait_for(is_there, f"{n} commands again")
        self.remember_family()

    def wait_for_neutral(self, since_s: float, within_ms: float | None = None) -> float:
        """The time between ``since_s`` and the first neutral after it, in ms.

        ``within_ms`` is checked where the machine let us run: we look every 10 ms, and a look that comes much later
        says that all processes here were kept waiting.
        """
        looks = [since_s]

        def is_neutral() -> bool:
            looks.append(time.monotonic())
            return bool(self.listener.neutrals(since_s))

        self.wait_for(is_neutral, "neutral")
        ms = 1000 * (self.listener.neutrals(since_s)[0][0] - since_s)
        held_up_ms = 1000 * float(np.diff(looks).max())
        if within_ms is not None and held_up_ms < BUSY_MS:
            assert ms <= within_ms, self.listener.neutrals(since_s)[0]
        return ms

    def wait_for_end(self, timeout_s: float = 60.0) -> int:
        """The engine's exit code, once it and all its children have gone."""
        self.remember_family()
        code = self.process.wait(timeout_s)
        self.wait_for(lambda: not self.alive(), "the end of its children")
        return code

    def remember_family(self) -> None:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                self.family.setdefault(child.pid, child)

    def alive(self) -> list[psutil.Process]:
        """Children of the engine that have not ended."""
        return [p for p in self.family.values() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def zombies(self) -> list[psutil.Process]:
        """Children that ended and that the running engine has not buried."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [p for p in children if p.status() == psutil.STATUS_ZOMBIE]

    def child(self, kind: str) -> psutil.Process:
        """The engine's living ``recorder`` or ``device_host``."""

        def find() -> list[psutil.Process]:
            found = []
            for process in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.Error):
                    if f"bci.host.{kind}_main" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
            return found

        found = self.wait_for(find, f"a {kind} process")
        self.remember_family()
        return found[-1]

    # --- doing -------------------------------------------------------------------------------------------------------

    def suspend(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def interrupt(self) -> int:
        """Ctrl-C: to the whole process group of the engine, as a terminal does; the exit code."""
        self.remember_family()
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait_for_end()

    # --- afterwards --------------------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """What ``--json`` wrote."""
        return json.loads(self._json.read_text())

    def parts(self) -> list[Path]:
        """The files of the recording."""
        return parts(self.folder / "session.xdf")

    def streams(self, part: int = 0) -> dict[str, RecordedStream]:
        """By name; ``raw`` is the signal."""
        found = {s.spec.name: s for s in read_xdf(self.parts()[part]).streams}
        found["raw"] = found[self.name]
        return found

    def events(self, part: int = 0) -> list[Any]:
        """The numbered events, checked to be without a hole."""
        lines = [msgspec.json.decode(line, type=Numbered) for line in self.streams(part)["bci-events"].samples]
        assert [line.seq for line in lines] == list(range(lines[0].seq, lines[0].seq + len(lines)))
        return [line.event for line in lines]

    def health(self, part: int = 0) -> list[dict[str, Any]]:
        """Health, gate changes, segments, and what the device host said."""
        return [json.loads(line) for line in self.streams(part)["bci-health"].samples]

    def n_recorded(self, part: int = 0) -> int:
        """Samples of all streams in a file that is still growing."""
        found = self.parts()
        return sum(c.n_samples for c in scan(found[part].read_bytes()).chunks) if len(found) > part else 0

    def verify(self, part: int = 0) -> dict[str, Any]:
        """`bci replay --verify`: no difference, and its report."""
        replayed = bci("replay", str(self.parts()[part]), "--verify", "--json", "-")
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
        assert replayed.stderr == ""
        result = json.loads(replayed.stdout)
        assert result["n_differences"] == 0
        assert result["bitwise"]
        return result

    def close(self) -> None:
        """Kill what still runs."""
        self.remember_family()
        for process in (self.process, *(s.process for s in self.senders)):
            process.kill()
            process.wait(20)
        for child in self.family.values():
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(list(self.family.values()), 20)
        for sender in self.senders:
            sender.kill()
        self.listener.close()


@contextlib.contextmanager
def session(model: Path, name: str, folder: Path, *options: str, program: str = "bci") -> Iterator[Live]:
    """A session of `fault_sender` and `bci run`, with commands as soon as it is armed."""
    live = Live(model, name, folder, *options, program=program)
    try:
        yield live
    finally:
        live.close()


def bci(*arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run one verb to its end."""
    return subprocess.run(
        [sys.executable, "-m", "bci", *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s
    )


def assert_nothing_missing(counter: np.ndarray) -> None:
    """Sample numbers in order and without a hole."""
    assert len(counter) > 0
    assert np.array_equal(np.diff(counter), np.ones(len(counter) - 1)), np.flatnonzero(np.diff(counter) != 1)
