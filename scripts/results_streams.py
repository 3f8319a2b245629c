"""Networks over whole runs without reset against the same with a reset before each trial, by what they learnt from.

    python scripts/results_streams.py DATA/motor_imagery_21ch --work WORK [--train 14] [--test 20] [--seeds 1]

Fitted to the first people, tested on the next ones: left against right, 16 channels without the frontal ones, 8-30 Hz,
80 Hz, no alignment to the person tested. *Reset*: a fresh memory 3 s before each decision. *Whole run*: one memory from
the first sample of the run to its last, as live. Every fit is kept in WORK/answers.json, and a second call goes on from
there. Prints the section of docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imagery_data import LABELS, RAW_HZ, SIXTEEN, read
from numpy.typing import NDArray

from bci.offline.train import Design, TrainSettings, preprocess
from bci.types import Channel, RecordedStream, Recording, StreamSpec
from calibration import stats
from calibration.fit import decide, fit_to
from calibration.trials import HopRun, Trials, decision_hop
from decoders import load_class
from decoders.spec import Fitted
from decoders.training.streams import learns_from_streams

FAMILIES = ("lstm", "gru", "rnn", "cnn_lstm", "tcn", "eegnet", "transformer")
RUNS = (4, 8, 12)
LABELLED = {"T1": "left", "T2": "right"}


def recordings_of(path: Path) -> list[Recording]:
    """The runs of one person."""
    raw, events = read(path)
    signal = StreamSpec(name="eeg", sfreq_hz=RAW_HZ, channels=tuple(Channel(c, "EEG", "uV") for c in LABELS))
    marks = StreamSpec(name="cues", type="Markers", channels=(Channel("cues", "Markers"),), format="string")
    found = []
    for run in RUNS:
        x = raw[run].T.astype(np.float32)
        onsets = [(onset / RAW_HZ, f"T{code}") for r, onset, _, code in events.tolist() if r == run]
        streams = (
            RecordedStream(signal, x, np.arange(len(x)) / RAW_HZ),
            RecordedStream(marks, [label for _, label in onsets], np.array([t for t, _ in onsets])),
        )
        found.append(Recording(f"{path.stem}R{run:02d}.npz", streams))
    return found


def settings_of(decoder: str, seed: int) -> TrainSettings:
    return TrainSettings(labels=LABELLED, decoder=decoder, sfreq_hz=80.0, channels=SIXTEEN, seed=seed)


def over_whole_runs(design: Design, fitted: Fitted, runs: list[HopRun], trials: Trials) -> NDArray[np.float64]:
    """Logits at the decisions, of one memory a run; ``forward`` is the fold of the live step."""
    network: Any = load_class(design.spec.name).restore(design.spec, fitted.weights)
    params = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in fitted.params.items()}
    found = np.zeros((len(trials.y), len(design.spec.classes)))
    for number, run in enumerate(runs):
        x = torch.from_numpy(np.ascontiguousarray(run.hops.transpose(1, 0, 2)).reshape(1, run.hops.shape[1], -1))
        with torch.inference_mode():
            logits, _ = network.forward(x, network.initial_state(1), params)
        for i in np.flatnonzero(trials.run == number):
            cue = run.cues[trials.index[i]]
            found[i] = logits[0, decision_hop(run.sample_index, cue, design.settings.decide_at_s, run.sfreq_hz)].numpy()
    return found


def answers_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def fit_all(a: argparse.Namespace, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit and test what is not in the file yet; the answers, and facts about the data."""
    found, paths = answers_of(path), sorted(a.data.glob("S*.npz"))
    taught = [one for p in paths[: a.train] for one in recordings_of(p)]
    tested = [one for p in paths[a.train : a.train + a.test] for one in recordings_of(p)]
    # the preprocessing is that of all families: at 80 Hz, hops of 8 samples
    first = Design.of(taught[0], settings_of(FAMILIES[0], 0))
    runs, test_runs = (
        [preprocess(one, first.preprocessing, first.settings, first.spec) for one in some] for some in (taught, tested)
    )
    facts: dict[str, Any] = {}
    for seed in range(a.seeds):
        streams = None
        for family in FAMILIES:
            design = Design.of(taught[0], settings_of(family, seed))
            trials, test = design.trials(taught, runs), design.cut(test_runs)
            facts = {"n_taught": len(trials.y), "n_tested": len(test.y), "y": test.y.tolist()}
            facts["person"] = test.groups("person").tolist()
            for way in ("streams", "trials") if learns_from_streams(design.spec) else ("trials",):
                key = f"{family}/{way}/{seed}"
                if key in found:
                    continue
                began = time.process_time()
                streams = streams or trials.streams  # those of one seed are the same for all families
                some = replace(trials, streams=streams if way == "streams" else None)
                fitted = fit_to(design.spec, some, np.ones(len(trials.y), bool), seed=seed)
                reset = decide(load_class(family), design.spec, fitted, test.x)
                whole = over_whole_runs(design, fitted, test_runs, test)
                seconds = time.process_time() - began
                found[key] = {"reset": reset.tolist(), "whole": whole.tolist(), "cpu_s": seconds}
                part = path.with_suffix(".part")
                part.write_text(json.dumps({**found, "facts": facts}))
                part.replace(path)
                scored = [float((logits.argmax(axis=1) == test.y).mean()) for logits in (reset, whole)]
                print(f"{key:24s} reset {scored[0]:.3f} whole {scored[1]:.3f}  {seconds:.0f} s", flush=True)
    return found, facts


def table(found: dict[str, Any], facts: dict[str, Any], n_seeds: int) -> str:
    """Means over people and seeds; the interval draws people."""
    y, person = np.array(facts["y"]), np.array(facts["person"])
    lines = [
        "| network | memory | learnt from | reset before each trial | whole run, no reset | difference (95 %) | "
        "same answer | largest difference of a logit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        endless = f"{family}/streams/0" in found
        for way in ("trials", "streams") if endless else ("trials",):
            rows = [found[key] for seed in range(n_seeds) if (key := f"{family}/{way}/{seed}") in found]
            if not rows:
                continue
            logits = {how: np.array([row[how] for row in rows]) for how in ("reset", "whole")}
            said = {how: each.argmax(axis=2) for how, each in logits.items()}
            by_person = {
                how: np.array([(each == y)[:, person == p].mean() for p in np.unique(person)])
                for how, each in said.items()
            }
            difference = by_person["whole"] - by_person["reset"]
            low, high = stats.bootstrap_ci(difference, seed=0)
            apart = np.abs(logits["whole"] - logits["reset"]).max()
            lines.append(
                f"| `{family}` | {'endless' if endless else 'finite'} | {way} | {by_person['reset'].mean():.3f} | "
                f"{by_person['whole'].mean():.3f} | {100 * difference.mean():+.1f} points ({100 * low:+.1f} to "
                f"{100 * high:+.1f}) | {(said['whole'] == said['reset']).mean():.1%} | {apart:.1g} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--train", type=int, default=14)
    parser.add_argument("--test", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only-print", action="store_true", help="What is in WORK/answers.json, and fit nothing.")
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    path = a.work / "answers.json"
    if a.only_print:
        found = answers_of(path)
        facts = found.pop("facts")
    else:
        found, facts = fit_all(a, path)
    chance = stats.chance_level(facts["y"])
    low, high = stats.chance_band(facts["n_tested"], chance)
    print(
        f"\n{a.train} people taught ({facts['n_taught']} trials), {a.test} others tested ({facts['n_tested']} trials, "
        f"chance {chance:.2f}, 95 % band {low:.2f}-{high:.2f}), {a.seeds} seeds\n"
    )
    print(table(found, facts, a.seeds))


if __name__ == "__main__":
    main()
