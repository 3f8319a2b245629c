"""Real EEG, live: for every person train on R04 and R08, stream R12 from another process, and decode it over LSL.

    python scripts/live_on_real_eeg.py ../shared/data/motor_imagery_64ch --jobs 3

Prints a table (Markdown): trial accuracy beside chance, whether anything was lost, and whether an offline pass that
starts from the EDF gives the same bits. Finished people are kept in --work and not run again.
"""

from __future__ import annotations

import argparse
import json
import lzma
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np


def bci(*arguments: str, timeout_s: float = 300) -> dict:
    """Run one verb and return its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "bci", *arguments, "--json", "-"], capture_output=True, text=True, timeout=timeout_s
    )
    if not done.stdout:
        raise RuntimeError(f"bci {' '.join(arguments)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def one_person(person: str, data: Path, work: Path, decoder: str) -> dict:
    """Train, stream, run, replay, and compare with an offline pass over the EDF."""
    folder = work / f"{person}-{decoder}"
    kept = folder / "result.json"
    if kept.exists():
        return json.loads(kept.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    for run in ("R04", "R08", "R12"):
        edf = folder / f"{person}{run}.edf"
        edf.write_bytes(lzma.decompress((data / f"{person}{run}.edf.xz").read_bytes()))
    model, session = folder / "model", folder / "session"
    train = [str(folder / f"{person}{run}.edf") for run in ("R04", "R08")]
    bci("train", *train, "--labels", "T1=left", "T2=right", "--decoder", decoder, "--out", str(model))
    test, name = str(folder / f"{person}R12.edf"), f"real-{person}-{decoder}"
    sender = subprocess.Popen([sys.executable, "-m", "bci", "stream", test, "--name", name, "--wait", "--quiet"])
    try:
        options = ["--model", str(model), "--session", str(session), "--arm", "--device", "null:", "--wait", "30"]
        live = bci("run", "--stream", name, *options)
    finally:
        sender.terminate()
        sender.wait(20)
    verify = bci("replay", str(session), "--verify")
    result = {
        "person": person, "decoder": decoder, "live": live, "verify": verify,
        "offline": offline_difference(session / "session.xdf", model, test),
    }  # fmt: skip
    kept.write_text(json.dumps(result))
    return result


def offline_difference(recorded: Path, model: Path, edf: str) -> dict:
    """Predictions recorded live against those of a pass that starts from the EDF file."""
    from bci.build import build_session, fit_to_stream, load
    from bci.config import SessionConfig
    from bci.offline.stream import play, primary_stream
    from bci.recording.replay import HOP_LABELS
    from bci.recording.xdf import read_xdf
    from bci.sources.files import load_recording
    from bci.types import Prediction

    recording, loaded = load_recording(edf), load(model)
    stream = primary_stream(recording)
    pipeline = fit_to_stream(loaded, stream.spec)
    session = build_session(SessionConfig(), stream.spec, {loaded.hash: pipeline}, loaded.hash)
    offline = np.array([o.p for o in play(session, stream, recording) if isinstance(o, Prediction)])
    hops = next(s for s in read_xdf(recorded).streams if s.spec.name == "bci-hops")
    live = np.ascontiguousarray(np.asarray(hops.samples)[:, len(HOP_LABELS) :])
    n = len(stream.stamps_s)
    return {
        "n_live": len(live),
        "n_offline": len(offline),
        "n_expected": n // pipeline.block,
        "bitwise": bool(live.shape == offline.shape and (live.view(np.uint64) == offline.view(np.uint64)).all()),
    }


def table(results: list[dict]) -> str:
    """Markdown."""
    lines = [
        "| person | decoder | trials | accuracy | chance band (95 %) | lost | predictions (= floor(n / hop)) "
        "| = offline from EDF | replay |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        live, offline, verify = r["live"], r["offline"], r["verify"]
        low, high = live["chance_band"]
        same = "bit for bit" if offline["bitwise"] else "DIFFERENT"
        count = f"{offline['n_live']} ({'yes' if offline['n_live'] == offline['n_expected'] else 'NO'})"
        lines.append(
            f"| {r['person']} | {r['decoder']} | {live['n_trials']} | {live['accuracy']:.3f} | {low:.2f}-{high:.2f} | "
            f"{live['n_samples_lost']} | {count} | {same} | {verify['n_differences']} differences |"
        )
    mean = np.mean([r["live"]["accuracy"] for r in results])
    lines.append(f"\nMean accuracy over {len(results)} sessions: {mean:.3f} (chance 0.50).")
    return "\n".join(lines)


def main() -> None:
    """Run all people, several at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "rolandic-live")
    parser.add_argument("--decoder", default="riemann")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    people = sorted({p.name[:4] for p in options.data.glob("S*R12.edf.xz")})
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda p: one_person(p, options.data, options.work, options.decoder), people))
    print(table(results))


if __name__ == "__main__":
    main()
