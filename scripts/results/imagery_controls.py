"""What the imagery recordings give away without the motor cortex: where people look, and the order of cues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagery_data as data
import numpy as np
from numpy.typing import NDArray
from scipy import signal
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PAIRS = (("Fp1", "Fp2"), ("F7", "F8"))
GAZE_HZ = (0.5, 8.0)
BIN_S = 0.25


def gaze(folder: Path, cued: data.Cued) -> dict[str, Any]:
    """Frontal pairs of electrodes at 0.5-8 Hz alone: mean and deviation in bins of 0.25 s from the cue, causal."""
    found: list[NDArray[np.float64]] = []
    n, n_bin = round(data.DECIDE_AT_S * data.RAW_HZ), round(BIN_S * data.RAW_HZ)
    sos: Any = signal.butter(4, GAZE_HZ, "bandpass", fs=data.RAW_HZ, output="sos")
    for person, path in enumerate(sorted(folder.glob("S*.npz"))):
        runs, events = data.read(path)
        mine = []
        for run, raw in runs.items():
            pairs = np.stack([raw[data.LABELS.index(a)].astype(float) - raw[data.LABELS.index(b)] for a, b in PAIRS])
            eyes = signal.sosfilt(sos, pairs - pairs[:, :1], axis=1)
            onsets = [int(on) for r, on, _, code in events if r == run and code]
            here = (cued.person == person) & (cued.run == run)
            for place in cued.place[here]:
                bins = eyes[:, onsets[place] : onsets[place] + n].reshape(len(PAIRS), -1, n_bin)
                mine.append(np.stack([bins.mean(axis=2), bins.std(axis=2)]))
        stack = np.stack(mine)
        power = np.cumsum((stack**2).sum(axis=1).mean(axis=-1), axis=0)
        scale = np.sqrt(power / np.arange(1, len(stack) + 1)[:, None])  # of the person's own past
        found.append(np.tanh(stack[:, 0] / scale[:, :, None] / 2).reshape(len(stack), -1))
    features = np.concatenate(found)
    return _five_folds(cued, features, lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.1)))


def history(cued: data.Cued) -> dict[str, Any]:
    """The cue before, apart for odd and even places; cues from the second on."""
    before = np.r_[0, 2 * cued.y[:-1] - 1] * (cued.place > 0)
    is_even = cued.place % 2 == 0
    features = np.stack([before * is_even, before * ~is_even], axis=1).astype(float)
    return _five_folds(cued, features, LogisticRegression, cued.place > 0)


def _five_folds(
    cued: data.Cued, features: NDArray[np.float64], model: Any, among: NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    among = np.ones(len(cued.y), bool) if among is None else among
    said = np.zeros(len(cued.y), int)
    for name, (train, test) in data.splits(int(cued.person.max()) + 1).items():
        if name.startswith("fold"):
            trained = model().fit(features[np.isin(cued.person, train)], cued.y[np.isin(cued.person, train)])
            rows = np.isin(cued.person, test)
            said[rows] = trained.predict(features[rows])
    right = (said == cued.y)[among]
    people = cued.person[among]
    accuracy = {str(p): float(right[people == p].mean()) for p in np.unique(people)}
    return {"accuracy": accuracy, "n_trials": int(among.sum())}
