"""Networks over whole runs without reset against the same with a reset before each trial, by what they learnt from.

Fitted to the first people, tested on the next ones: left against right, 16 channels without the frontal ones, 8-30 Hz,
80 Hz, no alignment to the person tested. *Reset*: a fresh memory 3 s before each decision. *Whole run*: one memory from
the first sample of the run to its last, as live.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imagery_data import LABELS, RAW_HZ, SIXTEEN
from imagery_data import read as read_imagery
from numpy.typing import NDArray
from page import Row, Section, add, has

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
N_TAUGHT, N_TESTED, SEED = 14, 20, 0
LABELLED = {"T1": "left", "T2": "right"}


def recordings_of(path: Path) -> list[Recording]:
    """The runs of one person."""
    raw, events = read_imagery(path)
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


def compute(data: Path, work: Path, path: Path) -> None:
    """Fit and test what is not in the file yet; a row for each person tested."""
    paths = sorted((data / "motor_imagery_21ch").glob("S*.npz"))
    taught = [one for p in paths[:N_TAUGHT] for one in recordings_of(p)]
    tested = [one for p in paths[N_TAUGHT : N_TAUGHT + N_TESTED] for one in recordings_of(p)]
    # the preprocessing is that of all families: at 80 Hz, hops of 8 samples
    first = Design.of(taught[0], settings_of(FAMILIES[0], 0))
    runs, test_runs = (
        [preprocess(one, first.preprocessing, first.settings, first.spec) for one in some] for some in (taught, tested)
    )
    streams = None
    for family in FAMILIES:
        design = Design.of(taught[0], settings_of(family, SEED))
        trials, test = design.trials(taught, runs), design.cut(test_runs)
        person = test.groups("person")
        for way in ("streams", "trials") if learns_from_streams(design.spec) else ("trials",):
            if has(path, family=family, learnt_from=way):
                continue
            streams = streams or trials.streams  # the same for all families
            some = replace(trials, streams=streams if way == "streams" else None)
            fitted = fit_to(design.spec, some, np.ones(len(trials.y), bool), seed=SEED)
            logits = {
                "reset": decide(load_class(family), design.spec, fitted, test.x),
                "whole": over_whole_runs(design, fitted, test_runs, test),
            }
            said = {how: each.argmax(axis=1) for how, each in logits.items()}
            apart = float(np.abs(logits["whole"] - logits["reset"]).max())
            rows: list[dict[str, object]] = []
            for k in np.unique(person):
                mine = person == k
                rows.append(
                    {
                        "family": family, "learnt_from": way, "is_endless": design.spec.receptive_field is None,
                        "person": paths[N_TAUGHT + k].stem, "n_trials": int(mine.sum()),
                        "reset": float((said["reset"] == test.y)[mine].mean()),
                        "whole": float((said["whole"] == test.y)[mine].mean()),
                        "same": float((said["reset"] == said["whole"])[mine].mean()), "apart": f"{apart:.1e}",
                    }
                )  # fmt: skip
            add(path, rows)
            print(f"{family} {way}: {apart:.1e}", flush=True)


def tables(rows: list[Row]) -> str:
    """Means over people; the interval draws people."""
    n_people = len({row["person"] for row in rows})
    n_trials = sum(int(r["n_trials"]) for r in rows if (r["family"], r["learnt_from"]) == ("tcn", "trials"))
    low, high = stats.chance_band(n_trials, 0.5)
    lines = [
        "## Networks without a reset, as they run live",
        "",
        f"Fitted to the runs of {N_TAUGHT} people, tested on {n_people} others ({n_trials} trials; chance .50,",
        f"guessing {low:.2f}–{high:.2f}), one seed, no alignment. *Reset*: a fresh memory before each trial.",
        "*Whole run*: one memory from the first sample of a run to its last. Recurrent networks learn from streams",
        "([decision 14](decisions/0014-streams-to-learn-from.md)), the others from trials.",
        "",
        "| network | memory | learnt from | reset before each trial | whole run | points (95 %) | same answer "
        "| largest difference of a logit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key in dict.fromkeys((row["family"], row["learnt_from"]) for row in rows):
        mine = [row for row in rows if (row["family"], row["learnt_from"]) == key]
        reset, whole, same = (np.array([float(row[k]) for row in mine]) for k in ("reset", "whole", "same"))
        a, b = stats.bootstrap_ci(whole - reset, seed=0)
        points = f"{100 * (whole - reset).mean():+.1f} ({100 * a:+.1f} to {100 * b:+.1f})"
        memory = "endless" if mine[0]["is_endless"] == "True" else "finite"
        lines.append(
            f"| `{key[0]}` | {memory} | {key[1]} | {reset.mean():.3f} | **{whole.mean():.3f}** | "
            f"{points} | {same.mean():.1%} | {mine[0]['apart']} |"
        )
    return "\n".join(lines)


SECTION = Section("streams", "half an hour", compute, tables)
