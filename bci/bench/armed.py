"""A stand-in for the engine in `bci bench command`: holds a device host armed, at rest or as busy as it can be.

``python -m bci.bench.armed URL idle|busy``: prints ``armed PID`` once it is armed; a line on standard input resets and
arms it again.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time

import numpy as np

import bci.lsl  # noqa: F401  keeps liblsl's own lines off the terminal
from bci.control.host_table import HostState
from bci.host.clock import now_s
from bci.host.device_host import DeviceHost
from bci.types import Command

BEAT_S = 0.02


def main(url: str, mode: str) -> None:
    """Until it is killed."""
    host = DeviceHost([url])
    host.start()
    arm_ids, ids = itertools.count(1), itertools.count(1)
    arm_id = 0
    asked = threading.Event()
    asked.set()
    threading.Thread(target=lambda: [asked.set() for _ in sys.stdin], daemon=True).start()
    block = np.random.default_rng(0).normal(size=(128, 128))
    for hop in itertools.count():
        host.heartbeat(hop, 0.0, now_s())
        if asked.is_set():
            asked.clear()
            arm_id = next(arm_ids)
            host.reset()
            host.arm(arm_id)
        for report in host.poll(now_s()):
            if isinstance(report, HostState) and report.state == "armed":
                print("armed", host.pid, flush=True)
        if mode == "busy":  # a command each turn, whatever the rate limit says, and no rest for the processor
            host.send(Command(next(ids), "left", 0.9, now_s(), 300.0, arm_id, hop))
            block = block @ block.T / np.linalg.norm(block)
        else:
            time.sleep(BEAT_S)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
