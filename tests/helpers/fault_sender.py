"""A sender whose signal says what to do: `python -m tests.helpers.fault_sender NAME [N_MORE]`, until it is killed.

250 Hz, four channels: ``n`` counts samples from 0, ``L`` and ``R`` hold a 10 Hz wave that is ten times larger while the
command is left or right (0.6 s, with 0.4 s of rest after it), ``ref`` a small one. `fitted_model` tells them apart.
With more channels its shape is another, its name and source_id the same. The line ``nan`` on standard input spoils
``L`` for one chunk, ``end`` sends the end marker.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from bci.types import Channel, StreamSpec

SFREQ_HZ, CHUNK = 250.0, 5
CLASSES = ("rest", "left", "right")
LABELS = ("n", "L", "R", "ref")


def wave(first: int, n: int) -> np.ndarray:
    """Samples ``first`` to ``first + n`` (n, 4), float32 µV; the counter stays exact for 18 hours."""
    k = np.arange(first, first + n)
    part = (k / SFREQ_HZ) % 2.0
    sine = 5.0 * np.sin(2 * np.pi * 10.0 * k / SFREQ_HZ)
    left, right = part < 0.6, (part >= 1.0) & (part < 1.6)
    return np.column_stack([k, sine * (1 + 9 * left), sine * (1 + 9 * right), sine]).astype(np.float32)


def fitted_model(folder: Path, seed: int = 1, **preprocessing: Any) -> Path:
    """A `bandpower` model that hears the commands of `wave` within a few hops; another seed is another model."""
    from decoders import load_class
    from decoders.checkpoint import save_model
    from decoders.spec import Request

    family = load_class("bandpower")
    request = Request(channels=LABELS[1:], sfreq_hz=SFREQ_HZ, hop=CHUNK, classes=CLASSES, window_s=0.2, unit="uV")
    spec = family.design(request)
    y = np.arange(60) % 3
    sine = np.sin(2 * np.pi * 10.0 * np.arange(100) / SFREQ_HZ)
    amplitude = 5.0 * np.random.default_rng(seed).uniform(0.9, 1.1, (60, 3))
    amplitude[y == 1, 0] *= 10
    amplitude[y == 2, 1] *= 10
    fitted = family.fit(spec, (amplitude[:, :, None] * sine).astype(np.float32), y, seed=seed)
    preprocessing |= {"channels": LABELS[1:], "sfreq_hz": SFREQ_HZ, "hop": CHUNK}
    save_model(folder, spec, fitted, preprocessing, {"labels": {}, "decide_at_s": 0.5}, "# for tests of faults\n")
    return folder


def main(name: str, n_more: int) -> None:
    import pylsl

    from bci.lsl import info_from_spec

    labels = (*LABELS, *(f"more{i}" for i in range(n_more)))
    channels = tuple(Channel(label, "EEG", "uV") for label in labels)
    group = f"group-{name}"
    spec = StreamSpec(name=name, type="EEG", source_id=f"id-{name}", sfreq_hz=SFREQ_HZ, channels=channels, group=group)
    markers = StreamSpec(
        name=f"{name}-markers", type="Markers", source_id=f"id-{name}-markers", format="string",
        channels=(Channel("marker", "Markers"),), group=group,
    )  # fmt: skip
    marker_outlet = pylsl.StreamOutlet(info_from_spec(markers))
    outlet = pylsl.StreamOutlet(info_from_spec(spec), CHUNK)
    asked = threading.Event()
    bad = threading.Event()
    threading.Thread(
        target=lambda: [(bad if line == "nan\n" else asked).set() for line in sys.stdin], daemon=True
    ).start()
    while not outlet.have_consumers():
        time.sleep(0.01)
    start_s, k = pylsl.local_clock(), 0
    while not asked.is_set():
        while (rest_s := start_s + (k + CHUNK) / SFREQ_HZ - pylsl.local_clock()) > 0:
            time.sleep(rest_s)
        rows = np.zeros((CHUNK, len(labels)), np.float32)
        rows[:, : len(LABELS)] = wave(k, CHUNK)
        if bad.is_set():
            bad.clear()
            rows[:, 1] = np.nan
        outlet.push_chunk(rows, [start_s + (k + i) / SFREQ_HZ for i in range(CHUNK)])
        k += CHUNK
    marker_outlet.push_sample(["rolandic:end"])
    until_s = time.monotonic() + 10
    while marker_outlet.have_consumers() and time.monotonic() < until_s:
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
