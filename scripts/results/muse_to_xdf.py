"""Muse recordings (npz of the eeg-notebooks data) as XDF files that `bci stream`, `train` and `evaluate` read.

    python scripts/results/muse_to_xdf.py DATA/muse/p300/s1_ses1_run1.npz ... --out FOLDER

Stamps stay as recorded. A marker stands at the stamp of its sample, so that its place among jittered or backward stamps
is as it would have come over LSL; the index that was recorded is the answer that `muse_live.py` compares with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from bci.sources.save import save_xdf
from bci.types import Channel, RecordedStream, StreamSpec, marker_spec

CHANNELS = ("TP9", "AF7", "AF8", "TP10", "Right AUX")
UV_PER_COUNT = 0.48828125
SFREQ_HZ = 256.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in arguments.recordings:
        print(convert(path, arguments.out / f"{xdf_name(path)}.xdf"))


def xdf_name(path: Path) -> str:
    """``p300/s1_ses1_run2`` as `bci` tells people and runs apart: ``sub-s1_p300_ses1_run2``."""
    subject, _, run = path.stem.partition("_")
    return f"sub-{subject}_{path.parent.name}_{run}"


def xdf_of(path: Path, folder: Path) -> Path:
    """The recording as XDF in this folder, made once."""
    out = folder / f"{xdf_name(path)}.xdf"
    folder.mkdir(parents=True, exist_ok=True)
    return out if out.exists() else convert(path, out)


def convert(path: Path, out: Path) -> Path:
    """Write one recording."""
    with np.load(path) as z:
        samples = (z["adc"].T * UV_PER_COUNT).astype(np.float32)
        stamps_s = (int(z["t0_ms"]) + np.cumsum(z["dt_ms"].astype(np.int64))) / 1000.0
        marked = np.flatnonzero(z["marker"])
        labels = [str(code) for code in z["marker"][marked]]
    channels = tuple(Channel(label, "AUX" if label == "Right AUX" else "EEG", "uV") for label in CHANNELS)
    eeg = StreamSpec(name="Muse", type="EEG", source_id=xdf_name(path), sfreq_hz=SFREQ_HZ, channels=channels)
    markers = RecordedStream(marker_spec("Markers"), labels, stamps_s[marked])
    return save_xdf(out, [RecordedStream(eeg, samples, stamps_s), markers])


if __name__ == "__main__":
    main()
