"""From trouble to neutral: how long until a UDP listener hears it, over many repetitions.

    python scripts/measure_neutral.py --n 100

An engine stand-in holds a device host armed, beating every 20 ms. Measured from just before the signal or the message:

- kill -9 of the engine; SIGSTOP of the engine (the heartbeat's time-out of 150 ms is part of it);
- stop sent on the device host's socket, with the engine running, and with the engine suspended;
- the whole of ``bci stop``, with the start of its interpreter.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np


def engine(url: str) -> None:
    from bci.host.clock import now_s
    from bci.host.device_host import DeviceHost

    host = DeviceHost([url])
    host.start()
    host.heartbeat(0, 0.0, now_s())
    host.arm(1)
    while True:
        host.heartbeat(1, 0.0, now_s())
        if any(getattr(report, "state", "") == "armed" for report in host.poll(now_s())):
            print(json.dumps({"host_pid": host.pid}), flush=True)
        time.sleep(0.02)


def kill(child: subprocess.Popen, _: dict) -> None:
    os.kill(child.pid, signal.SIGKILL)


def suspend(child: subprocess.Popen, _: dict) -> None:
    os.kill(child.pid, signal.SIGSTOP)


def stop(child: subprocess.Popen, _: dict) -> None:
    from bci.host.control_socket import ask_all
    from bci.host.runtime import published

    ask_all(published("device_host"), {"action": "stop"}, 2.0)


def bci_stop(child: subprocess.Popen, held: dict) -> None:
    held["command"] = subprocess.Popen([sys.executable, "-m", "bci", "stop", "--quiet"])


CASES = {
    "kill -9": (kill, False),
    "SIGSTOP": (suspend, False),
    "stop": (stop, False),
    "stop, engine suspended": (stop, True),
    "bci stop": (bci_stop, False),
}


def once(case: str) -> float:
    """Milliseconds from the cause to the datagram."""
    act, is_suspended = CASES[case]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        url = f"udp://127.0.0.1:{listener.getsockname()[1]}"
        child = subprocess.Popen([sys.executable, __file__, "--engine", url], stdout=subprocess.PIPE, text=True)
        held: dict = {}
        try:
            assert child.stdout is not None
            child.stdout.readline()
            listener.recv(4096)  # opened
            if is_suspended:
                suspend(child, held)
                listener.recv(4096)  # late heartbeat
            started_s = time.perf_counter()
            act(child, held)
            while b'"neutral"' not in listener.recv(4096):
                pass
            return (time.perf_counter() - started_s) * 1000
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
            if "command" in held:
                held["command"].wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=50, help="repetitions of each case")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.engine:
        engine(arguments.engine)
    rows = []
    if not arguments.json:
        print(f"{'':24s}{'n':>6s}{'p50':>9s}{'p99':>9s}{'max':>9s}  ms")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROLANDIC_RUNTIME_DIR"] = folder  # other sessions of this person are not ours to stop
        for case in CASES:
            times = np.array([once(case) for _ in range(arguments.n)])
            p50, p99 = np.percentile(times, [50, 99])
            rows.append({"case": case, "n": arguments.n, "p50_ms": p50, "p99_ms": p99, "max_ms": times.max()})
            if not arguments.json:
                print(f"{case:24s}{arguments.n:6d}{p50:9.1f}{p99:9.1f}{times.max():9.1f}", flush=True)
    if arguments.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
