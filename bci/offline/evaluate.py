"""`bci evaluate`: a model on recordings, through the session itself, one decision a cue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bci.config import channel_index
from bci.control.gate import GateSettings
from bci.errors import ConfigError
from bci.offline.stream import play, primary_stream, subject_and_run, with_unit
from bci.pipeline import Pipeline
from bci.scoring import Scorer
from bci.session import Session
from bci.types import Recording
from calibration import stats
from decoders.checkpoint import Model


def evaluate(
    model: Model,
    recordings: Iterable[Recording],
    *,
    stream: str | None = None,
    unit: str | None = None,
    trigger: str = "",
    bad_channels: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Score ``model`` on the cues of each recording.

    Parameters
    ----------
    model : Model
    recordings : iterable of Recording
    stream, unit
        Name of the signal stream, and the unit of channels that say none.
    trigger
        Label of a channel whose changes are markers.
    bad_channels
        Inputs of the model to rebuild from the others.
    seed : int
        Of the bootstrap over people.

    Returns
    -------
    dict
        ``per_subject[{subject, n_trials, accuracy}]``, their ``mean`` and its ``ci95`` (None below two people), then
        over all trials ``accuracy, chance, chance_band, kappa, auc, itr_bits_per_min, n_trials, n_abstained``, and
        ``trials[{subject, run, index, label, p}]``. An abstention (``p`` is None) counts as wrong.

    Raises
    ------
    ConfigError
        A recording has no cue of the model's classes.
    ModelError
        The model does not fit a recording.
    """
    labels = dict(model.info.get("labels", {})) | {c: c for c in model.spec.classes}
    decide_at_s = float(model.info.get("decide_at_s", 3.5))
    classes = tuple(model.spec.classes)
    rows: list[dict[str, Any]] = []
    for recording in recordings:
        source = primary_stream(recording, stream)
        spec = with_unit(source.spec, unit)
        pipeline = Pipeline(model, spec, bad_channels)
        index = channel_index(spec, "--trigger", trigger)
        session = Session(spec, {model.hash: pipeline}, model.hash, GateSettings(classes=classes), trigger=index)
        scorer = Scorer.of(model, spec.sfreq_hz)
        for output in play(session, source, recording):
            scorer.receive(output)
        scorer.finish()
        if not scorer.trials:
            found = sorted({label for m in recording.markers for label in m.marker_labels})
            raise ConfigError(
                f"{recording.path}: no cue of {', '.join(classes)} (markers {', '.join(labels)}); "
                f"there are {', '.join(found[:20]) or 'no markers'}"
            )
        subject, run = subject_and_run(recording.path)
        rows += [
            {"subject": subject, "run": run, "index": t.index, "label": t.label, "p": list(t.p) or None}
            for t in scorer.trials
        ]
    return {"classes": list(classes), **score(rows, classes, decide_at_s, seed=seed), "trials": rows}


def score(rows: list[dict[str, Any]], classes: tuple[str, ...], decide_at_s: float, *, seed: int) -> dict[str, Any]:
    """Everything that `evaluate` says about its trials."""
    cued = np.array([classes.index(r["label"]) for r in rows])
    said = np.array([int(np.argmax(r["p"])) if r["p"] else -1 for r in rows])
    subjects = np.array([r["subject"] for r in rows])
    per_subject = [
        {
            "subject": str(s),
            "n_trials": int((subjects == s).sum()),
            "accuracy": stats.accuracy(cued[subjects == s], said[subjects == s]),
        }
        for s in np.unique(subjects)
    ]
    accuracies = [s["accuracy"] for s in per_subject]
    chance = stats.chance_level(cued.tolist())
    accuracy = stats.accuracy(cued, said)
    decided = said >= 0
    scores = np.array([r["p"][1] if r["p"] else 0.5 for r in rows])
    return {
        "per_subject": per_subject,
        "mean": float(np.mean(accuracies)),
        "ci95": list(stats.bootstrap_ci(accuracies, seed=seed)) if len(accuracies) > 1 else None,
        "accuracy": accuracy,
        "chance": chance,
        "chance_band": list(stats.chance_band(len(rows), chance)),
        "kappa": stats.kappa(cued, said),
        "auc": stats.auc(cued[decided] == 1, scores[decided]) if len(classes) == 2 else None,
        "itr_bits_per_min": stats.itr_bits_per_min(accuracy, len(classes), decide_at_s, chance),
        "n_trials": len(rows),
        "n_abstained": int((~decided).sum()),
    }
