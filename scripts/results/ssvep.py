"""Flicker on a Muse: accuracy of `cca` and `trca` against how long the flicker has been looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from muse_to_xdf import CHANNELS, xdf_of
from numpy.typing import NDArray
from page import Row, Section, add, has

from bci.offline.train import Design, TrainSettings, preprocess
from bci.sources.files import load_recording
from calibration.stats import chance_band
from calibration.trials import Trials
from decoders import load_class
from decoders.spec import DecoderSpec

LENGTHS_S = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
HEAD = CHANNELS[:4]
# runs, channels, decoders, reference by length
ROWS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], dict[float, str]]] = {
    "s1, electrode at POz": ("s1_ses1", CHANNELS[4:], ("cca", "trca"),
                             {0.5: ".740", 1: ".939", 1.5: ".962", 2: ".961", 3: ".945"}),
    "s1, all five": ("s1_ses1", CHANNELS, ("cca", "trca"),
                     {0.5: ".603", 1: ".916", 1.5: ".947", 2: ".992", 3: ".984"}),
    "s1, the four of the head": ("s1_ses1", HEAD, ("cca", "trca"),
                                 {0.5: ".588", 1: ".679", 1.5: ".779", 2: ".828", 3: ".938"}),
    "s3, POz, saturated": ("s3_ses2", CHANNELS[4:], ("cca",),
                           {0.5: ".375", 1: ".312", 1.5: ".562", 2: ".667", 3: ".667"}),
    "s4, the four of the head, no response": ("s4_ses1", HEAD, ("cca",),
                                              {0.5: ".294", 1: ".235", 1.5: ".235", 2: ".353", 3: ".312"}),
}  # fmt: skip


def compute(data: Path, work: Path, path: Path) -> None:
    """Each set of channels at each length, a row a run."""
    for name, (start, channels, decoders, _) in ROWS.items():
        runs = [xdf_of(p, work / "muse") for p in sorted((data / "muse" / "ssvep").glob(f"{start}*.npz"))]
        for length_s in LENGTHS_S:
            if all(has(path, row=name, decoder=d, length_s=length_s) for d in decoders):
                continue
            for decoder in decoders:
                spec, trials = epochs(runs, channels, decoder, length_s)
                said = answer(decoder, spec, trials)
                add(path, ({"row": name, "decoder": decoder, "length_s": length_s, "run": run,
                            "n_trials": int((trials.run == run).sum()),
                            "n_right": int((said == trials.y)[trials.run == run].sum())}
                           for run in np.unique(trials.run).tolist()))  # fmt: skip
                print(f"{name}, {length_s:g} s, {decoder}: {np.mean(said == trials.y):.3f}", flush=True)


def epochs(
    runs: list[Path], channels: tuple[str, ...], decoder: str, length_s: float
) -> tuple[DecoderSpec, Trials]:  # fmt: skip
    """Every marker's epoch, by the live preprocessing (5-50 Hz and a notch at 60 Hz, causal)."""
    settings = TrainSettings(
        labels={"1": "30Hz", "2": "20Hz"}, decoder=decoder, channels=channels, bandpass_hz=(5.0, 50.0), notch_hz=60.0,
        epoch_s=(0.0, length_s),
    )  # fmt: skip
    recordings = [load_recording(str(run)) for run in runs]
    design = Design.of(recordings[0], settings)
    return design.spec, design.cut([preprocess(r, design.preprocessing, settings, design.spec) for r in recordings])


def answer(decoder: str, spec: DecoderSpec, trials: Trials) -> NDArray[np.integer]:
    """The class of every trial: `trca` learns from the other runs, `cca` has nothing to learn."""
    family: Any = load_class(decoder)
    said = np.empty(len(trials.y), int)
    for run in np.unique(trials.run):
        test = trials.run == run
        train = ~test if decoder == "trca" else test
        fitted = family.fit(spec, trials.x[train], trials.y[train], seed=0)
        said[test] = family.restore(spec, fitted.weights).predict(trials.x[test], fitted.params).argmax(axis=1)
    return said


def tables(rows: list[Row]) -> str:
    """A line a set and decoder, a column a length, the references below each set."""
    lines = []
    for name, (_, _, decoders, reference) in ROWS.items():
        n = 0
        for decoder in decoders:
            cells = []
            for length_s in LENGTHS_S:
                mine = [r for r in rows if (r["row"], r["decoder"], float(r["length_s"])) == (name, decoder, length_s)]
                n = max(n, sum(int(r["n_trials"]) for r in mine))
                right, of = (sum(int(r[key]) for r in mine) for key in ("n_right", "n_trials"))
                cells.append(f"{right / of:.3f}" if of else "")
            low, high = chance_band(n, 0.5)
            lines.append(f"| {name} | `{decoder}` | {' | '.join(cells)} | {n} | {low:.2f}–{high:.2f} |")
        cells = [reference.get(length_s, "").replace(".", "0.", 1) for length_s in LENGTHS_S]
        lines.append(f"| | *reference* | {' | '.join(cells)} | | |")
    return TEXT.format(lines="\n".join(lines))


TEXT = """## Flicker: accuracy against stimulation length, Muse

30 against 20 Hz. 5–50 Hz and a notch at 60 Hz, causal, through the live preprocessing; the epoch begins at the marker.
`cca` (two harmonics) learns nothing; `trca` is trained on the other three runs of the session. Chance is .5, guessing
as in the last column (95 %). A run's last trial may be too short for the longer epochs. Reference: the data's CCA on a
signal filtered forth and back, which a live decoder cannot do.

| | | 0.5 s | 1 s | 1.5 s | 2 s | 2.5 s | 3 s | trials | guessing |
|---|---|---|---|---|---|---|---|---|---|
{lines}"""

SECTION = Section("ssvep", "three minutes", compute, tables)
