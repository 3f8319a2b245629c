"""The yardstick: the fastest way that pylsl has to pull (blocking, preallocated), and nothing else."""

from __future__ import annotations

import json
import sys

import numpy as np
import pylsl

from bci.host.realtime import settle


def main(name: str, chunk: int, seconds: float) -> None:
    """Print the latency of every sample that ended a pushed chunk, in seconds, as JSON."""
    found = pylsl.resolve_byprop("name", name, 1, 20)
    inlet = pylsl.StreamInlet(found[0], max_buflen=60)
    inlet.open_stream(10)
    settle()  # the same priority and collector as the engine: what is compared is the code
    print("ready", flush=True)
    room = np.empty((4096, inlet.channel_count), np.float32)
    latencies_s, n_seen = [], 0
    until_s = pylsl.local_clock() + seconds
    while pylsl.local_clock() < until_s:
        _, stamps = inlet.pull_chunk(0.5, 4096, room, 1, True)
        now_s = pylsl.local_clock()
        for k in range(len(stamps)):
            if (n_seen + k + 1) % chunk == 0:
                latencies_s.append(now_s - stamps[k])
        n_seen += len(stamps)
    print(json.dumps(latencies_s))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
