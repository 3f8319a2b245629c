"""How often the alarms of artefact and drift sound on real recordings, with reason and without.

    python scripts/alarms.py DATA [--people N]

DATA holds ``motor_imagery_21ch`` and ``streams``. Within a person: calibrated on R04 and R08, judged on R12, 8-30 Hz,
16 channels without the frontal ones. Prints the section of docs/results.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from imagery_data import LABELS, RAW_HZ, SIXTEEN, read
from numpy.typing import NDArray

from bci.config import AlarmSection
from bci.offline.stream import primary_stream
from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
from bci.sources.files import load_recording
from bci.types import Channel, StreamSpec
from calibration.drift import Baseline, Watch, baseline

HOP_S = 0.1
SETTLING_S = 2.0
JAW = "streams/openbci/OpenBCI_GUI-v6-blinks-jawClench-alpha.txt.xz"
QUIET_S, JAW_S = (17.0, 28.0), ((9.0, 15.0), (82.0, 89.0))
OTHER_S = ((3.5, 7.0), (29.0, 76.0))  # blinks; eyes closed


def hops_of(x: NDArray[np.floating], stream: StreamSpec, channels: Sequence[str]) -> NDArray[np.float32]:
    """(n_hops, channels, hop) of raw samples (channels, n), once the filter has settled."""
    spec = PreprocessingSpec(
        channels=tuple(channels), sfreq_hz=stream.sfreq_hz, hop=round(HOP_S * stream.sfreq_hz), bandpass_hz=(8.0, 30.0)
    )
    preprocessing = Preprocessing(spec, stream)
    n = preprocessing.block
    preprocessing.start(x[:, 0])
    hops = [hop for k in range(0, x.shape[1] - n + 1, n) for hop, _ in preprocessing.step(x[:, k : k + n])]
    return np.stack(hops)[round(SETTLING_S / HOP_S) :]


def scores(known: Baseline, hops: NDArray[np.float32]) -> NDArray[np.float64]:
    """Artefact and drift at every hop (n, 2)."""
    watch, limit = Watch(known, HOP_S), AlarmSection().artefact_sd
    found = []
    for hop in hops:
        watch.step(hop, limit)
        found.append((watch.artefact, watch.drift))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--people", type=int, default=1000)
    asked = parser.parse_args()
    limits = AlarmSection()
    stream = StreamSpec(name="imagery", sfreq_hz=RAW_HZ, channels=tuple(Channel(c, "EEG", "uV") for c in LABELS))
    runs = []
    for path in sorted((asked.data / "motor_imagery_21ch").glob("S*.npz"))[: asked.people]:
        raw, _ = read(path)
        runs.append([hops_of(raw[r].astype(np.float64), stream, SIXTEEN) for r in (4, 8, 12)])
    own = [scores(baseline(person[:2], HOP_S), person[2]) for person in runs]
    half = len(runs) // 2
    pooled = baseline([run for person in runs[:half] for run in person[:2]], HOP_S)
    foreign = [scores(pooled, person[2]) for person in runs[half:]]
    louder = [scores(baseline(person[:2], HOP_S), 3 * person[2]) for person in runs]
    rows = [
        line("own R12, as it is", own, limits),
        line("own R12, three times as loud", louder, limits),
        line(f"R12 of {len(foreign)} others, calibrated on {half}", foreign, limits),
    ]
    recording = load_recording(str(asked.data / JAW))
    signal = primary_stream(recording, None)
    channels = [c.label for c in signal.spec.channels if c.type.upper() == "EEG"]
    hops = hops_of(np.asarray(signal.samples, np.float64).T, signal.spec, channels)
    t_s = SETTLING_S + HOP_S * np.arange(1, len(hops) + 1)
    known = baseline([hops[(t_s > QUIET_S[0]) & (t_s < QUIET_S[1])]], HOP_S)
    found = scores(known, hops)[:, 0] > limits.artefact_sd
    for name, spans in (("jaw clenched", JAW_S), ("blinks, eyes closed", OTHER_S)):
        inside = np.any([(t_s > a) & (t_s < b) for a, b in spans], axis=0)
        first = [t_s[found & (t_s > a) & (t_s < b)][:1] - a for a, b in spans]
        after = ", ".join(f"{f[0]:.1f} s" for f in first if len(f)) or "never"
        rows.append(f"| {name} (OpenBCI, 8 channels) | {found[inside].mean():.1%} | first after {after} | |")
    print(f"| {len(runs)} people | hops above the limit of artefact ({limits.artefact_sd:g}) | sessions with one |"
          f" sessions above the limit of drift ({limits.drift_sd:g}) |\n|---|---|---|---|")  # fmt: skip
    print("\n".join(rows))


def line(name: str, found: list[NDArray[np.float64]], limits: AlarmSection) -> str:
    """One row of the table."""
    loud = [s[:, 0] > limits.artefact_sd for s in found]
    drifted = [s[:, 1].max() > limits.drift_sd for s in found]
    worst = [s[:, 1].max() for s in found]
    return (
        f"| {name} | {np.mean(np.concatenate(loud)):.2%} | {np.mean([a.any() for a in loud]):.0%} | "
        f"{np.mean(drifted):.0%} (largest score: median {np.median(worst):.2f}, 95 % {np.quantile(worst, 0.95):.2f}) |"
    )


if __name__ == "__main__":
    main()
