"""Smoothing of jittered stamps with losses: ours beside liblsl's own flags, on a generator whose truth is known.

    python scripts/compare_dejitter.py --json -

250 Hz, stamps late by a half-normal 2 ms, and 0.1, 1 and 5 s lost on the way. Every method gets the same raw stamps in
the same run; liblsl's come through a real outlet and inlet on this machine. A second table is for senders that stamp in
bursts: there the line lies at the mean lateness, and the stated uncertainty has to cover the error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import uuid

import numpy as np
from numpy.typing import NDArray

from bci.signal.gaps import GapDetector
from bci.signal.timeline import Timeline
from bci.types import Chunk

SFREQ_HZ = 250.0
LOSSES = ((20.0, 0.1), (90.0, 1.0), (160.0, 5.0))  # when, how long, in seconds
DURATION_S = 230.0
Stamps = NDArray[np.float64]


def generate(
    seed: int, sigma_s: float = 0.002, batch: int = 1, duration_s: float = DURATION_S, losses: tuple = LOSSES
) -> tuple[Stamps, Stamps]:
    """True times and raw stamps of the samples that arrive; ``batch`` samples share the stamp of their last one."""
    rng = np.random.default_rng(seed)
    n = int(duration_s * SFREQ_HZ) // batch * batch
    true_s = 1000.0 + np.arange(n) / SFREQ_HZ * (1 + 20e-6)  # the sender's quartz runs 20 ppm off
    raw_s = np.repeat(true_s[batch - 1 :: batch] + np.abs(rng.normal(0.0, sigma_s, n // batch)), batch)
    arrives = np.ones(n, dtype=bool)
    for at_s, lost_s in losses:
        first = round(at_s * SFREQ_HZ) // batch * batch
        arrives[first : first + round(lost_s * SFREQ_HZ)] = False
    return true_s[arrives], raw_s[arrives]


def ours(raw_s: Stamps, chunk: int = 8) -> tuple[Stamps, Stamps, list[str]]:
    """Smoothed stamp and stated uncertainty of every sample (NaN where none was computed), and the verdicts."""
    detector, timeline = GapDetector(0, SFREQ_HZ), Timeline(0, 1, SFREQ_HZ, block=1)
    smooth_s, uncertain_s = np.full(len(raw_s), np.nan), np.full(len(raw_s), np.nan)
    verdicts = []

    def compute() -> None:
        while timeline.n_ready:
            block = timeline.next_block()
            if not block.n_filled:
                smooth_s[block.sample_index] = block.stamp_s
                uncertain_s[block.sample_index] = timeline.fit.uncertainty_s

    for first in range(0, len(raw_s), chunk):
        stamps_s = raw_s[first : first + chunk]
        event = Chunk(0, first, np.zeros((len(stamps_s), 1), np.float32), stamps_s, 0.0)
        for gap in detector.receive(event):
            verdicts.append(f"{gap.verdict} {gap.n}")
            timeline.gap(gap)
        timeline.chunk(event)
        compute()
    for gap in detector.finish():
        timeline.gap(gap)
    compute()
    return smooth_s, uncertain_s, [v for v in verdicts if not v.startswith("open")]


def liblsl(raw_s: Stamps, flags: int) -> Stamps:
    """The same stamps through an outlet and an inlet with post-processing flags."""
    import pylsl

    name = f"dejitter-{uuid.uuid4().hex[:8]}"
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo(name, "EEG", 1, SFREQ_HZ, pylsl.cf_double64, name), 32, 3600)
    found = pylsl.resolve_byprop("name", name, timeout=10)
    if not found:
        sys.exit("the outlet of this process cannot be found; is multicast to this machine possible?")
    inlet = pylsl.StreamInlet(found[0], max_buflen=3600, processing_flags=flags)
    inlet.open_stream(10)
    pulled: list[float] = []
    numbers: list[float] = []
    deadline_s = time.monotonic() + 60
    for first in range(0, len(raw_s), 500):
        part = raw_s[first : first + 500]
        outlet.push_chunk(np.arange(first, first + len(part), dtype=np.float64)[:, None], part.tolist())
    while len(pulled) < len(raw_s) and time.monotonic() < deadline_s:
        samples, stamps = inlet.pull_chunk(timeout=1.0, max_samples=5000, min_samples=1)
        pulled += list(stamps)
        numbers += [s[0] for s in samples]
    inlet.close_stream()
    if numbers != list(range(len(raw_s))):
        sys.exit(f"liblsl delivered {len(numbers)} of {len(raw_s)} samples")
    return np.array(pulled)


def errors_ms(true_s: Stamps, smooth_s: Stamps) -> dict[str, float | list[float]]:
    """Worst error overall, and for each loss: at once, in the first 100 ms, and a minute later."""
    off_ms = (smooth_s - true_s) * 1000
    after = np.flatnonzero(np.diff(true_s) > 1.5 / SFREQ_HZ) + 1
    n_100ms, n_minute = round(0.1 * SFREQ_HZ), round(60 * SFREQ_HZ)
    far = np.ones(len(off_ms), dtype=bool)
    for i in [0, *after]:
        far[i : i + n_100ms] = False

    def worst(values: Stamps) -> float:
        return float(np.nanmax(np.abs(values)))

    return {
        "max_ms": worst(off_ms[far]),
        "first_100ms_ms": [worst(off_ms[i : i + n_100ms]) for i in after],
        "right_after_ms": [float(off_ms[i]) for i in after],
        "minute_later_ms": [float(off_ms[i + n_minute]) for i in after],
    }


def compare(seed: int, with_liblsl: bool = True) -> list[dict]:
    """One row a method, on the same raw stamps."""
    true_s, raw_s = generate(seed)
    smooth_s, _, verdicts = ours(raw_s)
    rows = [
        {"method": "raw stamps", **errors_ms(true_s, raw_s)},
        {"method": "rolandic", **errors_ms(true_s, smooth_s), "verdicts": verdicts},
    ]
    if with_liblsl:
        import pylsl

        flags = {
            "liblsl dejitter": pylsl.proc_dejitter,
            "liblsl dejitter+monotonize": pylsl.proc_dejitter | pylsl.proc_monotonize,
            "liblsl monotonize": pylsl.proc_monotonize,
        }
        rows += [{"method": name, **errors_ms(true_s, liblsl(raw_s, flag))} for name, flag in flags.items()]
    return rows


def bursts(seed: int) -> list[dict]:
    """Error curve of burst-stamped senders without losses: is the truth within what is stated?"""
    rows = []
    for batch in (2, 4, 8, 16):
        true_s, raw_s = generate(seed, batch=batch, duration_s=120.0, losses=())
        smooth_s, uncertain_s, verdicts = ours(raw_s, chunk=batch)
        off_s = smooth_s - true_s
        at = {
            f"{s:g}_s": round(float(off_s[round(s * SFREQ_HZ)]) * 1000, 3)
            for s in (0.0, 0.1, 0.5, 1.0, 5.0, 30.0, 110.0)
        }
        known = off_s[round(SFREQ_HZ) :]
        rows.append(
            {
                "batch": batch,
                "error_ms_at": at,
                "max_ms": float(np.nanmax(np.abs(known))) * 1000,
                "uncertainty_ms": float(np.nanmedian(uncertain_s[round(SFREQ_HZ) :])) * 1000,
                "part_within": float(np.mean(np.abs(known) <= uncertain_s[round(SFREQ_HZ) :])),
                "verdicts": verdicts,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="PATH|-")
    arguments = parser.parse_args()
    if "LSLAPICFG" not in os.environ:
        import pylsl.util

        pylsl.util.set_config_content("[multicast]\nResolveScope=machine\n[log]\nlevel=-2\n")
    result = {"seed": arguments.seed, "rows": compare(arguments.seed), "bursts": bursts(arguments.seed)}
    if arguments.json == "-":
        print(json.dumps(result))
        return
    if arguments.json:
        with open(arguments.json, "w") as file:  # noqa: PTH123
            json.dump(result, file, indent=2)
    print("error in ms          method  overall   after 0.1, 1, 5 s lost: first 100 ms | at once | a minute later")
    for row in result["rows"]:
        cells = [
            " ".join(f"{v:9.2f}" for v in row[key]) for key in ("first_100ms_ms", "right_after_ms", "minute_later_ms")
        ]
        print(f"{row['method']:>28} {row['max_ms']:8.2f}   {' | '.join(cells)}")
    print(
        "\nburst-stamped: samples a stamp, worst error after 1 s, stated uncertainty, part of samples within it, curve"
    )
    for row in result["bursts"]:
        curve = ", ".join(f"{k.replace('_', ' ')} {v:.1f}" for k, v in row["error_ms_at"].items())
        print(
            f"{row['batch']:>3}  {row['max_ms']:6.1f}  {row['uncertainty_ms']:6.1f}  {row['part_within']:.3f}  {curve}"
        )


if __name__ == "__main__":
    main()
