"""`bci evaluate --control`: what the confounds of a cued experiment score by themselves, on the same splits.

``gaze``: the eyes alone; ``frontal``: the decoder on frontal channels; ``history``: the cue before and the place in the
run; ``shuffle``: the decoder on recordings whose (rest + cue) parts come in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.offline.protocols import Each, Protocol, cross_validate, splits
from bci.offline.resequenced import spliced
from bci.offline.score import Rows, score
from bci.offline.stream import primary_stream
from bci.offline.train import Design, TrainSettings, check_labels, preprocess
from bci.signal.montage import same_label
from bci.types import RecordedStream, Recording
from calibration import stats
from calibration.resequence import segment_starts
from calibration.trials import Trials

Control: TypeAlias = Literal["gaze", "frontal", "history", "shuffle"]
EYE_PAIRS = (("Fp1", "Fp2"), ("F7", "F8"))
EYE_HZ = (0.5, 8.0)
FRONTAL = ("Fp1", "Fp2", "F7", "F8", "Fz")
N_ORDERS = 5
_BIN_S = 0.25


def control(
    name: Control, recordings: Sequence[Recording], settings: TrainSettings, protocol: Protocol, *, each: Each = iter
) -> dict[str, Any]:
    """Score one control; the result is as those of `bci.offline.protocols.cross_validate`.

    Raises
    ------
    ConfigError
        The recordings lack the channels that it needs.
    """
    check_labels(recordings, settings)
    if name == "gaze":
        result = _gaze(recordings, settings, protocol)
    elif name == "history":
        result = _history(recordings, settings, protocol)
    elif name == "frontal":
        channels = _present(recordings[0], settings, FRONTAL)
        frontal = msgspec.structs.replace(settings, channels=channels, bipolar_pairs=())
        (result,) = cross_validate(recordings, frontal, protocol, each=each)
    else:
        orders = [reordered(recordings, settings, k) for k in range(N_ORDERS)]
        results = cross_validate(recordings, settings, protocol, orders=orders, each=each)
        result = mean_of_orders(results, settings.decide_at_s, settings.seed)
    return {"control": name, **result}


def reordered(
    recordings: Sequence[Recording], settings: TrainSettings, k: int
) -> list[tuple[Recording, NDArray[np.int64]]]:
    """The recordings in the ``k``-th random order of their parts, and of each new cue its old number."""
    rng = np.random.default_rng([settings.seed, k])
    return [_reordered(one, settings, rng) for one in recordings]


def _reordered(
    recording: Recording, settings: TrainSettings, rng: np.random.Generator
) -> tuple[Recording, NDArray[np.int64]]:
    if settings.trigger:
        raise ConfigError("--control shuffle moves markers, not a trigger channel; it cannot serve --trigger")
    stream = primary_stream(recording, settings.stream)
    marked = sorted(
        (float(t), label, m.spec)
        for m in recording.markers
        for t, label in zip(m.stamps_s, m.marker_labels, strict=True)
    )
    sample = np.searchsorted(stream.stamps_s, [t for t, _, _ in marked]).clip(0, len(stream.stamps_s) - 1)
    is_cue = np.array([label in settings.labels for _, label, _ in marked])
    starts = segment_starts(sample[is_cue], sample[~is_cue])
    order = rng.permutation(len(starts))
    signal, moved = spliced(stream, starts, order, stream.stamps_s)
    after = sorted((float(stream.stamps_s[moved[at]]), label) for at, (_, label, _) in zip(sample, marked, strict=True))
    markers = RecordedStream(marked[0][2], [label for _, label in after], np.array([t for t, _ in after]))
    return Recording(recording.path, (signal, markers), recording.sha256), order


def mean_of_orders(orders: Sequence[dict[str, Any]], decide_at_s: float, seed: int) -> dict[str, Any]:
    """One result of several on the same trials in other orders: each trial counts once, with its mean score."""
    first, classes = orders[0], tuple(orders[0]["classes"])
    rows: Rows = [row for one in orders for row in one["trials"]]
    pooled = score(rows, classes, decide_at_s, seed=seed)
    for part in (pooled, *pooled["per_subject"]):
        n = part["n_trials"] // len(orders)
        chance = stats.chance_level(
            [r["label"] for r in first["trials"] if part.get("subject", r["subject"]) == r["subject"]]
        )
        part |= {"n_trials": n, "chance_band": list(stats.chance_band(n, chance))}
    return first | pooled | {"means": [one["mean"] for one in orders], "ece": first["ece"], "curve": []}


def _present(recording: Recording, settings: TrainSettings, wanted: Sequence[str]) -> tuple[str, ...]:
    labels = {same_label(label): label for label in primary_stream(recording, settings.stream).spec.labels}
    found = tuple(labels[same_label(label)] for label in wanted if same_label(label) in labels)
    if len(found) < 2:
        raise ConfigError(
            f"{recording.path}: --control needs two or more of the frontal channels {', '.join(wanted)}; "
            f"there are {', '.join(found) or 'none'}"
        )
    return found


def _gaze(recordings: Sequence[Recording], settings: TrainSettings, protocol: Protocol) -> dict[str, Any]:
    """Slow differences of frontal pairs, in bins from the cue to the decision, scaled by the person's own past."""
    frontal = _present(recordings[0], settings, [label for pair in EYE_PAIRS for label in pair])
    by_name = {same_label(label): label for label in frontal}
    pairs = tuple(
        (by_name[same_label(a)], by_name[same_label(b)])
        for a, b in EYE_PAIRS
        if {same_label(a), same_label(b)} <= set(by_name)
    )
    if not pairs:
        raise ConfigError(f"{recordings[0].path}: --control gaze needs Fp1 and Fp2, or F7 and F8")
    eyes = msgspec.structs.replace(
        settings, decoder="riemann", bipolar_pairs=pairs, channels=None, bandpass_hz=EYE_HZ, bands_hz=(), notch_hz=None,
        recentre="none", mirror=False, reference="none", bad_channels=(), clip=None, window_s=settings.decide_at_s,
        plan=None, init="",
    )  # fmt: skip
    design = Design.of(recordings[0], eyes)
    trials = design.cut([preprocess(one, design.preprocessing, eyes, design.spec) for one in recordings])
    n_bin = max(1, round(_BIN_S * design.spec.sfreq_hz))
    window = trials.x[:, :, trials.x.shape[2] % n_bin :].astype(np.float64)
    binned = window.reshape(*window.shape[:2], -1, n_bin)
    power = (binned**2).mean(axis=(2, 3))
    scale = np.empty_like(power)
    for who in np.unique(person := trials.groups("person")):
        mine = np.flatnonzero(person == who)
        scale[mine] = np.cumsum(power[mine], axis=0) / np.arange(1, len(mine) + 1)[:, None]
    features = np.tanh(binned.mean(axis=3) / np.sqrt(scale[:, :, None]) / 2).reshape(len(power), -1)
    return _logistic(trials, features, recordings, settings, protocol, C=0.1)


def _history(recordings: Sequence[Recording], settings: TrainSettings, protocol: Protocol) -> dict[str, Any]:
    """The cue before, apart for odd and even places in the run; the first cue of a run has none and is left out."""
    design = Design.of(recordings[0], settings)
    trials = design.cut([preprocess(one, design.preprocessing, settings, design.spec) for one in recordings])
    after = np.flatnonzero(trials.index > 0)
    before = [_place_of(trials, int(trials.run[i]), int(trials.index[i]) - 1) for i in after]
    known = np.array([at >= 0 for at in before])
    after, before = after[known], np.array(before)[known]
    features = np.zeros((len(after), 2, len(trials.classes)))
    features[np.arange(len(after)), trials.index[after] % 2, trials.y[before]] = 1.0
    which = np.isin(np.arange(len(trials.y)), after)
    return _logistic(trials.of(which), features.reshape(len(after), -1), recordings, settings, protocol, C=1.0)


def _place_of(trials: Trials, run: int, index: int) -> int:
    at = np.flatnonzero((trials.run == run) & (trials.index == index))
    return int(at[0]) if len(at) else -1


def _logistic(
    trials: Trials, features: NDArray[np.float64], recordings: Sequence[Recording], settings: TrainSettings,
    protocol: Protocol, *, C: float,
) -> dict[str, Any]:  # fmt: skip
    """Score a regression on features on the same splits as a decoder."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from bci.offline.stream import subject_and_run

    names = [subject_and_run(one.path) for one in recordings]
    rows: Rows = []
    for where, train, test in splits(trials, protocol, [run for _, run in names]):
        if len(set(trials.y[train].tolist())) < 2:
            raise ConfigError(f"--control: {where} has trials of one class only to learn from")
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=2000))
        model.fit(features[train], trials.y[train])
        p = np.zeros((int(test.sum()), len(trials.classes)))
        p[:, model.classes_] = model.predict_proba(features[test])
        for i, one in zip(np.flatnonzero(test), p, strict=True):
            subject, run = names[trials.run[i]]
            label = trials.classes[trials.y[i]]
            rows.append(
                {"subject": subject, "run": run, "index": int(trials.index[i]), "label": label, "p": one.tolist()}
            )
    rows.sort(key=lambda r: (r["subject"], r["run"], r["index"]))
    scores = score(rows, trials.classes, settings.decide_at_s, seed=settings.seed)
    return {
        "protocol": protocol, "decoder": "logistic regression", "seed": settings.seed,
        "classes": list(trials.classes), **scores, "curve": [], "trials": rows,
    }  # fmt: skip
