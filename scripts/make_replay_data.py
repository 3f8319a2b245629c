"""Make `replay_data/`: one short session of the simulated person, from a seed, so that replay works out of the box.

    python scripts/make_replay_data.py

Signal and cues follow from the seed to the bit; arrival times are those of the run that recorded it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SEED = 5
FOLDER = Path(__file__).parents[1] / "replay_data"
SESSION = "sub-simulated/ses-1"


def bci(*arguments: str) -> None:
    """Run a verb inside the folder, so that only relative names get into the recording."""
    subprocess.run([sys.executable, "-m", "bci", *arguments, "--quiet"], check=True, cwd=FOLDER)


def main() -> None:
    """Calibrate, run, verify, describe."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    person = ["--seed", str(SEED), "--skill", "1"]
    bci("simulate", *person, "--trials", "40", "--out", "calibration.xdf")
    bci("simulate", *person, "--trials", "6", "--session", "1", "--out", "live.xdf")
    labels = ["--labels", "left=left", "right=right"]
    bci("train", "calibration.xdf", *labels, "--decoder", "bandpower", "--out", "model")
    run = ["--recording", "live.xdf", "--model", "model", "--session", SESSION, "--arm", "--device", "null:"]
    bci("run", *run, "--threshold", "0.7")
    report = (f"{SESSION}/report.json", f"{SESSION}/report.html")  # `bci report` makes them from the rest
    for extra in ("calibration.xdf", "live.xdf", *report):
        (FOLDER / extra).unlink()
    shutil.rmtree(FOLDER / "model")
    done = subprocess.run(
        [sys.executable, "-m", "bci", "replay", SESSION, "--verify", "--json", "-"],
        check=True, cwd=FOLDER, capture_output=True,
    )  # fmt: skip
    result = json.loads(done.stdout)
    files = sorted(p for p in (FOLDER / SESSION).rglob("*") if p.is_file())
    manifest = {
        "made_by": "scripts/make_replay_data.py",
        "what": "a simulated person, 21 channels, 250 Hz, six cues, armed, decoded live by `bandpower`",
        "seed": SEED,
        "session": SESSION,
        **{k: result[k] for k in ("n_samples", "n_hops", "n_trials", "accuracy", "n_commands", "model_hash")},
        "files": {
            p.relative_to(FOLDER).as_posix(): {
                "bytes": p.stat().st_size,
                "sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
            }
            for p in files
        },
    }
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=2) + os.linesep)


if __name__ == "__main__":
    main()
