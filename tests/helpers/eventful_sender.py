"""A sender to which things happen: `python -m tests.helpers.eventful_sender NAME SECONDS`.

A simulated person at 250 Hz over LSL, stamped as a real amplifier would. At 20 % of the time 300 ms are dropped, at
35 % it stalls for 400 ms and sends what it held in one burst, at 50 % the outlet dies and comes back 1 s later with the
same source_id. It says on standard output what it has done, and ends with the end marker.
"""

from __future__ import annotations

import sys
import time

import pylsl

from bci.lsl import info_from_spec
from bci.sources.simulated import SimulatedPerson
from bci.types import Channel, StreamSpec

CHUNK = 5


def main(name: str, seconds: float) -> None:
    person = SimulatedPerson(3, 1.0, session=7)
    sfreq_hz = person.sfreq_hz
    group = f"group-{name}"
    signal = StreamSpec(
        name=name, type="EEG", source_id=f"id-{name}", sfreq_hz=sfreq_hz, channels=person.spec.channels, group=group
    )
    markers = StreamSpec(
        name=f"{name}-markers", type="Markers", source_id=f"id-{name}-markers", format="string",
        channels=(Channel("marker", "Markers"),), group=group,
    )  # fmt: skip
    marker_outlet = pylsl.StreamOutlet(info_from_spec(markers))
    outlet = pylsl.StreamOutlet(info_from_spec(signal), CHUNK)
    while not (outlet.have_consumers() and marker_outlet.have_consumers()):
        time.sleep(0.02)
    start_s = pylsl.local_clock() + 0.2
    n = round(seconds * sfreq_hz)
    drop_at, stall_at, die_at = (round(part * n) // CHUNK * CHUNK for part in (0.2, 0.35, 0.5))
    n_drop, n_stall, n_dead = round(0.3 * sfreq_hz), round(0.4 * sfreq_hz), round(1.0 * sfreq_hz)
    at = 0
    while at < n:
        block = person.samples(CHUNK)
        for mark_at, label in person.markers():
            marker_outlet.push_sample([label], start_s + mark_at / sfreq_hz)
        stamps_s = [start_s + (at + k) / sfreq_hz for k in range(CHUNK)]
        due_s = stamps_s[-1] if not stall_at <= at < stall_at + n_stall else start_s + (stall_at + n_stall) / sfreq_hz
        while (rest_s := due_s - pylsl.local_clock()) > 0:
            time.sleep(min(rest_s, 0.05))
        if at == die_at:
            outlet = None
            print("died", flush=True)
        if at == die_at + n_dead:
            outlet = pylsl.StreamOutlet(info_from_spec(signal), CHUNK)
            print("back", flush=True)
        if at == stall_at:
            print("stall", flush=True)
        if drop_at <= at < drop_at + n_drop:
            if at == drop_at:
                print("drop", flush=True)
        elif outlet is not None:
            outlet.push_chunk(block, stamps_s)
        at += CHUNK
    marker_outlet.push_sample(["rolandic:end"], start_s + n / sfreq_hz)
    print("end", flush=True)
    until_s = time.monotonic() + 5
    while marker_outlet.have_consumers() and time.monotonic() < until_s:
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
