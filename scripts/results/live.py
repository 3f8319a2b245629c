"""Real EEG, live: for every person train on R04 and R08, stream R12 from another process, and decode it over LSL.

Trial accuracy beside chance, whether anything was lost, and whether an offline pass that starts from the EDF gives the
same bits. Finished people are kept in WORK/live and not run again.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from page import Row, Section, add, column, has
from verbs import bci

DECODER = "riemann"
N_JOBS = 2


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


def compute(data: Path, work: Path, path: Path) -> None:
    """Every person that is not there yet, several at a time."""
    folder = data / "motor_imagery_64ch"
    people = [p for p in sorted({p.name[:4] for p in folder.glob("S*R12.edf.xz")}) if not has(path, person=p)]
    with ThreadPoolExecutor(N_JOBS) as pool:
        for r in pool.map(lambda p: one_person(p, folder, work / "live", DECODER), people):
            live, offline = r["live"], r["offline"]
            row = {"person": r["person"], "decoder": r["decoder"], "n_trials": live["n_trials"],
                   "accuracy": live["accuracy"], "low": live["chance_band"][0], "high": live["chance_band"][1],
                   "n_lost": live["n_samples_lost"], "n_live": offline["n_live"], "n_expected": offline["n_expected"],
                   "is_bitwise": offline["bitwise"], "n_differences": r["verify"]["n_differences"]}  # fmt: skip
            add(path, [row])


def tables(rows: list[Row]) -> str:
    """A line a person."""
    lines = [
        "| person | decoder | trials | accuracy | chance band (95 %) | lost | predictions (= floor(n / hop)) "
        "| = offline from EDF | replay |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        same = "bit for bit" if r["is_bitwise"] == "True" else "DIFFERENT"
        count = f"{r['n_live']} ({'yes' if r['n_live'] == r['n_expected'] else 'NO'})"
        lines.append(
            f"| {r['person']} | {r['decoder']} | {r['n_trials']} | {float(r['accuracy']):.3f} | "
            f"{float(r['low']):.2f}-{float(r['high']):.2f} | {r['n_lost']} | {count} | {same} | "
            f"{r['n_differences']} differences |"
        )
    mean = np.mean(column(rows, "accuracy"))
    lines.append(f"\nMean accuracy over {len(rows)} sessions: {mean:.3f} (chance 0.50).")
    return "\n".join(lines)


SECTION = Section("live", "ten minutes in real time, over LSL", compute, tables)
