"""A steady sender for benchmarks: noise, stamped at the push, so that stamp to arrival is the transport's share."""

from __future__ import annotations

import sys
import time

import numpy as np
import pylsl


def main(name: str, n_channels: int, sfreq_hz: float, chunk: int, seconds: float, n_consumers: int) -> None:
    """Push ``chunk`` samples every ``chunk / sfreq_hz`` s, once ``n_consumers`` inlets are there."""
    info = pylsl.StreamInfo(name, "EEG", n_channels, sfreq_hz, pylsl.cf_float32, f"bench-{name}")
    channels = info.desc().append_child("channels")
    for i in range(n_channels):
        node = channels.append_child("channel")
        node.append_child_value("label", f"ch{i + 1}")
        node.append_child_value("type", "EEG")
        node.append_child_value("unit", "microvolts")
    outlet = pylsl.StreamOutlet(info, chunk)
    generator = np.random.default_rng(1)
    data = [generator.normal(0, 10, (chunk, n_channels)).astype(np.float32) for _ in range(64)]
    until_s = time.monotonic() + 30
    # liblsl counts no consumers, only whether there is one; the second program says on stdin that it is there
    for _ in range(n_consumers):
        sys.stdin.readline()
    while not outlet.have_consumers() and time.monotonic() < until_s:
        time.sleep(0.01)
    start_s = pylsl.local_clock() + 0.1
    for k in range(round(seconds * sfreq_hz / chunk)):
        due_s = start_s + k * chunk / sfreq_hz
        while (rest_s := due_s - pylsl.local_clock()) > 0:
            time.sleep(rest_s)
        outlet.push_chunk(data[k % len(data)], pylsl.local_clock())
    time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]))
