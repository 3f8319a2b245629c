"""Every recording through `bci stream`, LSL and `bci record`, and back: is all there, bit for bit, with its own times?

    python scripts/roundtrip_formats.py ../shared/data

Takes the files of streams/, meg_fif/ and muse/raw_csv/ below the folder, plays each at up to --speed times its pace
(stamps stay spaced as recorded), records all its streams, reads the result with pyxdf (no de-jittering, no clock
synchronisation) and prints a table (Markdown). Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bci.errors import RolandicError
from bci.ports import END_MARKER
from bci.sources.files import load_recording
from bci.sources.schedule import pace, playable
from bci.types import RecordedStream

FOLDERS = ("streams", "meg_fif", "muse/raw_csv")
NO_RECORDINGS = (".md", ".eeg", ".vmrk", "SHA256SUMS")
MAX_STAMP_ERROR_S = 1e-6
LIMIT_S = 120.0
LSL_CONFIG = "[ports]\nIPv6=disable\n[multicast]\nResolveScope=machine\n[lab]\nSessionID={}\n[log]\nlevel=-3\n"


@dataclass
class Row:
    """One stream of a recording, as it was and as it came back."""

    file: str
    stream: str
    format: str
    n: int
    n_recorded: int
    is_equal: bool  # samples bit for bit, or labels
    stamp_error_s: float  # largest difference between a step of the stamps and the same step in the file

    @property
    def is_good(self) -> bool:
        """Whether nothing differs."""
        return self.is_equal and self.n == self.n_recorded and self.stamp_error_s <= MAX_STAMP_ERROR_S


def recordings(data: Path) -> list[Path]:
    """What is to be read back, below ``data``."""
    found = [path for folder in FOLDERS for path in sorted((data / folder).rglob("*")) if path.is_file()]
    return [path for path in found if not path.name.endswith(NO_RECORDINGS)]


def round_trip(path: Path, folder: Path, speed: float) -> list[Row]:
    """Stream and record one file; a row for each of its streams.

    Raises
    ------
    RolandicError
        The file cannot be read.
    RuntimeError
        A verb failed or did not end.
    """
    from bci.sources.player import outlet_specs  # imports pylsl, which reads its configuration at once

    streams, primary = playable(load_recording(path).streams)
    length_s = float(pace(streams, primary)[primary][-1])
    name = f"roundtrip-{uuid.uuid4().hex[:8]}"
    names = [spec.name for spec in outlet_specs([s.spec for s in streams], primary, name, "")]
    out, described = folder / f"{name}.xdf", folder / f"{name}.json"
    record = [part for each in names for part in ("--stream", each)]
    with (
        bci("stream", path, "--name", name, "--wait", "--speed", min(speed, max(1.0, length_s / 3)),
            "--quiet", "--json", described) as sender,
        bci("record", *record, "--out", out, "--wait", 60, "--quiet") as recorder,
    ):  # fmt: skip
        try:
            for process, what in ((recorder, "bci record"), (sender, "bci stream")):
                finish(process, what)
        finally:
            sender.kill()
            recorder.kill()
    sent = json.loads(described.read_text())
    return list(compare(path.name, streams, names, sent["shift_s"], out))


def bci(*arguments: object) -> subprocess.Popen[str]:
    """Start one verb."""
    return subprocess.Popen([sys.executable, "-m", "bci", *map(str, arguments)], stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], what: str) -> None:
    """Wait for its orderly end."""
    try:
        _, said = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{what} did not end within {LIMIT_S:g} s") from None
    if process.returncode:
        raise RuntimeError(f"{what}: {said.strip()}")


def compare(
    file: str, streams: list[RecordedStream], names: list[str], shift_s: float, recorded: Path
) -> Iterable[Row]:
    """What pyxdf reads from ``recorded`` beside what was played."""
    import pyxdf

    with np.errstate(all="ignore"):  # pyxdf divides by durations that may be 0
        loaded, _ = pyxdf.load_xdf(recorded, dejitter_timestamps=False, synchronize_clocks=False)
    by_name = {stream["info"]["name"][0]: stream for stream in loaded}
    for stream, name in zip(streams, names, strict=False):  # a marker stream that only says the end may be added
        came = by_name[name]
        samples, stamps_s = came["time_series"], np.asarray(came["time_stamps"], float)
        if isinstance(stream.samples, list):
            kept = [i for i, row in enumerate(samples) if row != [END_MARKER]]
            is_equal = [samples[i][0] for i in kept] == stream.samples
            stamps_s = stamps_s[kept]
        else:
            samples = np.asarray(samples).astype(stream.samples.dtype, casting="no" if len(samples) else "unsafe")
            is_equal = samples.tobytes() == stream.samples.tobytes()
        yield Row(
            file, stream.spec.name, stream.spec.format, len(stream.stamps_s), len(stamps_s), is_equal,
            stamp_error_s(stream.stamps_s, stamps_s, shift_s),
        )  # fmt: skip


def stamp_error_s(played_s: np.ndarray, recorded_s: np.ndarray, shift_s: float) -> float:
    """The largest error of a step between two stamps, and of a stamp beside those of the other streams."""
    if len(played_s) != len(recorded_s):
        return np.inf
    steps_s = np.diff(recorded_s) - np.diff(played_s)
    return float(np.max(np.abs([*steps_s, *(recorded_s - played_s - shift_s)]), initial=0.0))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--speed", type=float, default=20.0)
    arguments = parser.parse_args()
    print("| file | stream | format | n | recorded | equal | largest stamp error (s) |")
    print("|---|---|---|---|---|---|---|")
    is_good = True
    with tempfile.TemporaryDirectory(prefix="rolandic-") as folder:
        config = Path(folder) / "lsl_api.cfg"
        config.write_text(LSL_CONFIG.format(uuid.uuid4().hex))
        os.environ["LSLAPICFG"] = str(config)
        for path in recordings(arguments.data):
            try:
                rows = round_trip(path, Path(folder), arguments.speed)
            except RolandicError as error:
                print(f"| {path.name} | refused: {str(error).removeprefix(f'{path}: ')} | | | | | |", flush=True)
                continue
            for r in rows:
                equal = "yes" if r.is_equal else "NO"
                print(
                    f"| {r.file} | {r.stream} | {r.format} | {r.n} | {r.n_recorded} | {equal} | {r.stamp_error_s:.1e} |"
                )
            sys.stdout.flush()
            is_good &= all(row.is_good for row in rows)
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
