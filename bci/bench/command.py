"""How long a command takes from the signal to the device, and a stop from the person to the device."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bci.bench.latency import linear_model, running, wait_for_file
from bci.errors import RolandicError

WAIT_S = 10.0
MAX_SLOW = 100  # repetitions of what begins a new process each time


class Listener:
    """A device at ``udp://`` of this process: when which datagram came, by the LSL clock."""

    def __init__(self) -> None:
        import bci.lsl  # noqa: F401  keeps liblsl's own lines off the terminal
        from bci.host.clock import now_s

        self._now_s = now_s
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"udp://127.0.0.1:{self._socket.getsockname()[1]}"
        self.got: list[tuple[float, dict[str, Any]]] = []
        self._has_come = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(65536):
                came_s = self._now_s()
                with self._has_come:
                    self.got.append((came_s, json.loads(data)))
                    self._has_come.notify()

    def neutral_since(self, since_s: float) -> float:
        """When the first neutral came after ``since_s``; waits for it."""

        def first() -> float | None:
            return next((t for t, said in self.got[-256:] if t >= since_s and said.get("neutral")), None)

        with self._has_come:
            if (found := self._has_come.wait_for(first, WAIT_S)) is None:
                raise RolandicError("bench: no neutral came at the listener")
        return found

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


def measure(n: int, seconds: float) -> dict[str, Any]:
    """Both, as rows of ms.

    Parameters
    ----------
    n : int
        Stops in each state of the engine; what needs a new process each time is repeated at most `MAX_SLOW` times.
    seconds : float
        Length of the session whose commands are timed; 0 leaves it out.
    """
    with tempfile.TemporaryDirectory(prefix="bci-bench-") as folder:
        before = os.environ.get("ROLANDIC_RUNTIME_DIR")
        os.environ["ROLANDIC_RUNTIME_DIR"] = folder  # other sessions of this person are not ours to stop
        try:
            rows = [decisive_hops(seconds)] if seconds else []
            n_slow = min(n, MAX_SLOW)
            rows += [stops("idle", n), stops("busy", n)]
            if os.name == "posix":
                rows += [stops("idle", n, is_frozen=True), frozen(n_slow)]
            rows += [killed(n_slow), whole_stop(min(n, 20))]
        finally:
            os.environ.pop("ROLANDIC_RUNTIME_DIR")
            if before is not None:
                os.environ["ROLANDIC_RUNTIME_DIR"] = before
    return {"rows": rows, "n": n, "seconds": seconds}


def decisive_hops(seconds: float, n_channels: int = 64, sfreq_hz: float = 1000.0, hop: int = 20) -> dict[str, Any]:
    """`bci run` on noise with a threshold just above chance: a hop decides every 0.15 s or so."""
    from bci.recording.xdf import read_xdf

    name = f"bench-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="bci-bench-") as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        listener = Listener()
        stack.callback(listener.close)
        linear_model(folder / "model", n_channels, sfreq_hz, hop)
        sender = [name, str(n_channels), str(sfreq_hz), str(hop), str(seconds)]
        outlet = stack.enter_context(running(["-m", "bci.bench.outlet", *sender, "1"], stdin=True))
        gate = ["--arm", "--threshold", "0.52", "--dwell", "0", "--refractory", "0.15"]
        where = ["--stream", name, "--model", str(folder / "model"), "--session", str(folder / "session"), "--quiet"]
        end = ["--device", listener.url, "--seconds", str(seconds + 4), "--json", str(folder / "report.json")]
        live = stack.enter_context(running(["-m", "bci", "run", *where, *gate, *end]))
        wait_for_file(folder / "session" / "session.xdf", live)
        assert outlet.stdin is not None
        outlet.stdin.write("go\n")
        outlet.stdin.flush()
        live.communicate(timeout=seconds + 60)
        streams = {s.spec.name: s for s in read_xdf(folder / "session" / "session.xdf").streams}
        stamps_s = streams[name].stamps_s
        index = {int(row[0]): int(row[1]) for row in np.asarray(streams["bci-hops"].samples)}
        ms = [1000 * (t - stamps_s[index[said["hop"]]]) for t, said in listener.got if "command" in said]
    if not ms:
        raise RolandicError("bench: the session sent no command; run it again")
    return _row("last sample of a decisive hop -> datagram", ms)


def stops(mode: str, n: int, *, is_frozen: bool = False) -> dict[str, Any]:
    """A stop on the device host's socket, as `bci stop` sends it, again and again."""
    from bci.host.clock import now_s
    from bci.host.control_socket import ask_all
    from bci.host.runtime import published

    ms = []
    with _armed(mode) as (child, listener):
        if is_frozen:
            os.kill(child.pid, signal.SIGSTOP)
        for _ in range(n):
            began_s = now_s()
            ask_all(published("device_host"), {"action": "stop", "value": "bench"}, 2.0)
            ms.append(1000 * (listener.neutral_since(began_s) - began_s))
            if not is_frozen:
                _arm(child)
    state = "stopped (SIGSTOP)" if is_frozen else mode
    return _row(f"emergency stop -> neutral, engine {state}", ms)


def frozen(n: int) -> dict[str, Any]:
    """Without a stop: how long until the device host notices."""
    from bci.host.clock import now_s

    ms = []
    with _armed("idle") as (child, listener):
        for _ in range(n):
            began_s = now_s()
            os.kill(child.pid, signal.SIGSTOP)
            ms.append(1000 * (listener.neutral_since(began_s) - began_s))
            os.kill(child.pid, signal.SIGCONT)
            _wait_armed(child)  # held until then; well again by itself
    return _row("engine stopped (SIGSTOP) -> neutral, by itself", ms)


def killed(n: int) -> dict[str, Any]:
    """A dead engine takes its device host with it, so neutral comes before anybody can stop."""
    return _once_each("engine dead (kill -9) -> neutral, by itself", n, lambda child: child.kill())


def whole_stop(n: int) -> dict[str, Any]:
    """The command of a person, with the start of its interpreter."""

    def stop(_: subprocess.Popen[str]) -> None:
        subprocess.run([sys.executable, "-m", "bci", "stop", "--quiet"], check=True, timeout=60)

    return _once_each("the whole of `bci stop` -> neutral, engine idle", n, stop)


def _once_each(name: str, n: int, act: Callable[[subprocess.Popen[str]], None]) -> dict[str, Any]:
    from bci.host.clock import now_s

    ms = []
    for _ in range(n):
        with _armed("idle") as (child, listener):
            began_s = now_s()
            act(child)
            ms.append(1000 * (listener.neutral_since(began_s) - began_s))
    return _row(name, ms)


@contextlib.contextmanager
def _armed(mode: str) -> Iterator[tuple[subprocess.Popen[str], Listener]]:
    listener = Listener()
    with contextlib.closing(listener), running(["-m", "bci.bench.armed", listener.url, mode], stdin=True) as child:
        try:
            _wait_armed(child)
            yield child, listener
        finally:
            if os.name == "posix" and child.poll() is None:
                os.kill(child.pid, signal.SIGCONT)


def _arm(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("arm\n")
    child.stdin.flush()
    _wait_armed(child)


def _wait_armed(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    if not child.stdout.readline().startswith("armed"):
        raise RolandicError("bench: the device host was not armed; run it again")


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{'ms':<52}{'n':>6}{'p50':>8}{'p99':>8}{'worst':>8}"]
    for row in result["rows"]:
        lines.append(f"{row['name']:<52}{row['n']:6d}" + "".join(f"{row[k]:8.1f}" for k in ("p50", "p99", "max")))
    return "\n".join(lines)


def _row(name: str, ms: list[float]) -> dict[str, Any]:
    p50, p95, p99 = np.percentile(ms, (50, 95, 99)).tolist()
    return {"name": name, "n": len(ms), "p50": p50, "p95": p95, "p99": p99, "max": float(max(ms))}
