"""What `LslSource` adds to a bare pylsl pull loop: push to hand, on the same outlet, in the same run.

``python scripts/bench_pull.py [--seconds 20] [--json]``. 64 channels at 1 kHz in chunks of 20 from another process.
Latency is the return of the pull (bare), `deliver` (source) or `Inbox.take` (inbox), minus the time of the push, of
each sample that ends a pushed chunk. The receivers run in processes of their own, at once: they share the load.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np

N_CHANNELS, SFREQ_HZ, CHUNK = 64, 1000.0, 20
NAME = "bench-pull"
IDLE_S = 1.0  # the sender has ended


def send(seconds: float) -> None:
    """Channel 0 is 1 on the last row of a chunk; every stamp of a chunk is the time of its push."""
    import pylsl

    info = pylsl.StreamInfo(NAME, "EEG", N_CHANNELS, SFREQ_HZ, "float32", "bench-pull")
    outlet = pylsl.StreamOutlet(info)
    print("up", flush=True)
    sys.stdin.readline()
    data = np.zeros((CHUNK, N_CHANNELS), np.float32)
    data[-1, 0] = 1
    start_s = pylsl.local_clock()
    for k in range(int(seconds * SFREQ_HZ / CHUNK)):
        time.sleep(max(0.0, start_s + k * CHUNK / SFREQ_HZ - pylsl.local_clock()))
        outlet.push_chunk(data, [pylsl.local_clock()] * CHUNK)
    time.sleep(IDLE_S)


def receive_bare() -> tuple[list[float], list[float]]:
    import pylsl

    inlet = pylsl.StreamInlet(pylsl.resolve_byprop("name", NAME, 1, 10)[0])
    room = np.empty((1024, N_CHANNELS), np.float32)
    inlet.open_stream(10)
    print("ready", flush=True)
    latencies_s = []
    while True:
        samples, stamps_s = inlet.pull_chunk(IDLE_S if latencies_s else 10.0, 1024, room, 1, True)
        now_s = pylsl.local_clock()
        if not len(stamps_s):
            return latencies_s, []
        latencies_s += [now_s - s for s in stamps_s[samples[:, 0] == 1]]


def receive_source(through_inbox: bool) -> tuple[list[float], list[float]]:
    """Latencies, and the share of them that is ours: from the return of the pull."""
    import pylsl

    from bci.host.inbox import Inbox
    from bci.ports import Pulled, Silent
    from bci.sources.lsl import open_source

    latencies_s: list[float] = []
    ours_s: list[float] = []

    ended = threading.Event()

    def take(event: Any) -> None:
        now_s = pylsl.local_clock()
        if isinstance(event, Pulled):
            ends = event.samples[:, 0] == 1  # type: ignore[call-overload]
            latencies_s.extend(now_s - s for s in event.stamps_s[ends])
            ours_s.extend([now_s - event.arrival_s] * int(ends.sum()))
        elif isinstance(event, Silent) and latencies_s:
            ended.set()

    inbox, source = Inbox(), open_source(NAME, wait_s=10, silence_s=IDLE_S)
    source.start((lambda event: inbox.put((0, event))) if through_inbox else take)
    print("ready", flush=True)
    while through_inbox and not ended.is_set():
        for _, event in inbox.take(0.5):
            take(event)
    ended.wait()
    source.close()
    return latencies_s, ours_s


def row(values_s: list[float]) -> dict[str, float]:
    return {f"p{p}": 1e3 * float(np.percentile(values_s, p)) for p in (50, 95, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--role", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "send":
        return send(options.seconds)
    if options.role:
        latencies_s, ours_s = receive_bare() if options.role == "bare" else receive_source(options.role == "inbox")
        print(json.dumps([latencies_s, ours_s]))
        return None

    def start(role: str) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "--role", role, "--seconds", str(options.seconds)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    sender = start("send")
    receivers = {role: start(role) for role in ("bare", "source", "inbox")}
    time.sleep(1.0)
    assert sender.stdin is not None
    sender.stdin.write("go\n")
    sender.stdin.flush()
    rows: dict[str, dict[str, float]] = {}
    for role, process in receivers.items():
        latencies_s, ours_s = json.loads(process.communicate(timeout=options.seconds + 60)[0])
        rows[role] = {"n": len(latencies_s), **row(latencies_s)}
        if ours_s:
            rows[f"{role}, since the pull returned"] = {"n": len(ours_s), **row(ours_s)}
    sender.communicate(timeout=60)
    for role in ("source", "inbox"):
        rows[f"{role} / bare"] = {p: rows[role][p] / rows["bare"][p] for p in ("p50", "p95", "p99")}
    if options.json:
        print(json.dumps({"rows": [{"name": name, **values} for name, values in rows.items()]}))
    else:
        print(f"{'ms':34}{'n':>7}{'p50':>9}{'p95':>9}{'p99':>9}")
        for name, values in rows.items():
            print(f"{name:34}{values.get('n', ''):>7}" + "".join(f"{values[p]:9.3f}" for p in ("p50", "p95", "p99")))
    return None


if __name__ == "__main__":
    main()
