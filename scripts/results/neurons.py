"""Continuous decoding of real neurons: R² by fold of `ridge`, `kalman` and the networks, one contiguous fold left out.

Mihi: two days of a monkey's reaches, hand velocity from motor cortex (rates, square roots). Linear track: a rat's place
along the track (first principal component of its position) from hippocampus, moving bins only, 250 ms. A decoder runs
over the whole recording hop by hop, as it would live, and is scored on the fifth that it was not trained on.
"""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from page import Row, Section, add, column, has

from decoders import load_class
from decoders.engine import use_one_thread
from decoders.spec import Fitted, Request
from decoders.training.regression import correlation, r_squared

N_FOLDS = 5
STRETCH = 16  # hops of a training example
NETWORK_S = 1.6  # the shortest window that every network has room in
CLASSICAL = ("ridge", "kalman")
DECODERS = (*CLASSICAL, "lstm", "gru", "tcn", "transformer")
N_SEEDS = 3


def compute(data: Path, work: Path, path: Path) -> None:
    """Every decoder on every set, a row a seed, fold and output."""
    use_one_thread()
    for title, (load, window_s) in SETS.items():
        rates, wanted, sfreq_hz = load(data / "neurons")
        for name in DECODERS:
            for seed in range(1 if name in CLASSICAL else N_SEEDS):
                if has(path, set=title, decoder=name, seed=seed):
                    continue
                r2, r = scored(name, rates, wanted, sfreq_hz, window_s, seed)
                add(path, ({"set": title, "decoder": name, "seed": seed, "fold": k, "output": o, "r2": float(r2[k, o]),
                            "r": float(r[k, o])} for k in range(N_FOLDS) for o in range(r2.shape[1])))  # fmt: skip
                print(f"{title} {name} {seed}: {r2.mean(axis=0).round(3)}", flush=True)


def tables(rows: list[Row]) -> str:
    """R² of each decoder, means over seeds."""
    text = INTRODUCTION
    for title in SETS:
        text += (
            f"\n\n{title}:\n\n| | R², mean of folds | fold 1 | 2 | 3 | 4 | 5 | r |\n|---|---|---|---|---|---|---|---|"
        )
        for name in DECODERS:
            mine = [row for row in rows if (row["set"], row["decoder"]) == (title, name)]
            if not mine:
                continue
            outputs = sorted({row["output"] for row in mine})

            def mean(column_name: str, rows: list[Row] = mine, **wanted: str) -> float:
                return float(np.mean(column((r for r in rows if wanted.items() <= r.items()), column_name)))

            r2, r = (", ".join(f"{mean(c, output=o):.3f}" for o in outputs) for c in ("r2", "r"))
            folds = " | ".join(
                ", ".join(f"{mean('r2', fold=str(k), output=o):.2f}" for o in outputs) for k in range(N_FOLDS)
            )
            text += f"\n| `{name}` | **{r2}** | {folds} | {r} |"
    return text


def scored(name: str, rates: NDArray, wanted: NDArray, sfreq_hz: float, window_s: float, seed: int) -> Any:
    """R² and r of each fold: (folds, outputs) each."""
    fold = np.arange(len(rates)) * N_FOLDS // len(rates)
    r2, r = [], []
    for k in range(N_FOLDS):
        rest = fold != k
        signal = standard(rates, rest)
        memory_s = window_s if name in CLASSICAL else max(window_s, NETWORK_S)
        said = run(*fit(name, signal, wanted, rest, sfreq_hz, memory_s, seed), signal)
        r2.append(r_squared(wanted[~rest], said[~rest]))
        r.append(correlation(wanted[~rest], said[~rest]))
    return np.array(r2), np.array(r)


def standard(rates: NDArray, rest: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Rates (bins, units) at mean 0, deviation 1 of what is not left out; a unit that is silent there has no scale."""
    mean, scale = rates[rest].mean(axis=0), rates[rest].std(axis=0)
    return ((rates - mean) / np.where(scale > 0, scale, 1)).astype(np.float32)


def fit(
    name: str, signal: NDArray, wanted: NDArray, rest: NDArray, sfreq_hz: float, window_s: float, seed: int
) -> tuple[Any, Fitted]:
    """The decoder, fitted to overlapping stretches of what is not left out."""
    family = load_class(name)
    channels = tuple(f"unit{i}" for i in range(signal.shape[1]))
    outputs = tuple(f"v{i}" for i in range(wanted.shape[1]))
    spec = family.design(
        Request(channels=channels, sfreq_hz=sfreq_hz, hop=1, outputs=outputs, window_s=window_s, unit="z")
    )
    n = max(STRETCH, spec.context)
    step = 1 if name in CLASSICAL else 2
    starts = [a for a in range(0, len(signal) - n + 1, step) if rest[a : a + n].all()]
    x = np.stack([signal[a : a + n].T for a in starts])
    y = np.stack([wanted[a : a + n] for a in starts])
    if name == "ridge":  # each target once
        x, y = x[:, :, -spec.context :], y[:, -1:]
    elif name != "kalman":
        y = y[:, -STRETCH // 2 :]  # what comes before is for the memory to fill
    fitted = family.fit(spec, x, y, seed=seed)
    return family.restore(spec, fitted.weights), fitted


def run(decoder: Any, fitted: Fitted, signal: NDArray) -> NDArray[np.float64]:
    """Outputs at every hop of the recording, from a fresh state."""
    x, params = signal.T[None], dict(fitted.params)
    if decoder.spec.backend == "torch":
        import torch

        with torch.inference_mode():
            params = {key: torch.from_numpy(np.asarray(value, np.float32)) for key, value in params.items()}
            outputs, _ = decoder.forward(torch.from_numpy(np.ascontiguousarray(x)), decoder.initial_state(1), params)
            return outputs[0].double().numpy()
    outputs, _ = decoder.forward(x, decoder.initial_state(1), params)
    return outputs[0]


def mihi(data: Path, day: str) -> tuple[NDArray, NDArray, float]:
    """Square roots of rates (bins, units), velocity (bins, 2); a bin is 200 ms, as the data's README infers."""
    from scipy.io import loadmat

    content = loadmat(data / "dad_mihi_demo.mat")
    return np.sqrt(content[f"Y{day}"].astype(float)), content[f"X{day}"].astype(float), 5.0


def linear_track(data: Path) -> tuple[NDArray, NDArray, float]:
    """Square roots of counts in 250 ms (bins, units), place on the first principal component (bins, 1); moving only."""
    z = np.load(data / "hippocampus_linear_track.npz")
    t_s = (int(z["pos_t0"]) + np.cumsum(z["pos_dt"].astype(np.int64))) / 30000.0
    ends = np.cumsum(np.r_[0, z["spike_count"]])
    spikes = [np.cumsum(z["spike_dt"][a:b].astype(np.int64)) / 30000.0 for a, b in itertools.pairwise(ends)]
    edges = np.arange(t_s[0], t_s[-1], 0.25)
    counts = np.stack([np.histogram(s, edges)[0] for s in spikes], axis=1)
    centre_s = (edges[:-1] + edges[1:]) / 2
    place = np.stack([np.interp(centre_s, t_s, z[axis].astype(float)) for axis in ("x", "y")], axis=1)
    speed = np.linalg.norm(np.gradient(place, 0.25, axis=0), axis=1)
    minute = ((centre_s - centre_s[0]) // 60).astype(int)
    busy = np.bincount(minute, speed > 40) / np.maximum(np.bincount(minute), 1) > 0.2
    keep = (speed > 40) & busy[minute]
    rate_hz = counts[keep].mean(axis=0) * 4
    counts, place = counts[keep][:, (rate_hz > 0.03) & (rate_hz < 20)], place[keep] - place[keep].mean(axis=0)
    first = np.linalg.svd(place, full_matrices=False)[2][0]
    return np.sqrt(counts), (place @ first)[:, None], 4.0


SETS = {  # what is loaded, and the memory of the decoders in s
    "Mihi, day `te`: velocity x, y": (partial(mihi, day="te"), 0.8),
    "Mihi, day `tr`: velocity x, y": (partial(mihi, day="tr"), 0.2),
    "Linear track: place": (linear_track, 1.25),
}
INTRODUCTION = """## Continuous decoding: neurons

Mihi: hand velocity of a monkey from 187 and 174 units of motor cortex, two days, bins of 200 ms. Linear track: place of
a rat from 29 units of hippocampus, moving bins of 250 ms. Five contiguous folds, one left out at a time; each decoder
runs over the recording bin by bin, as it would live. R² by fold (x, y), networks as means of three seeds, none tuned
here. Reference of the data (ridge): `te` .668, .783 with 4 bins, `tr` .578, .523 with one, track .45."""

SECTION = Section("neurons", "half an hour", compute, tables)
