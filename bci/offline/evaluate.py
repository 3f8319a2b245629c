"""`bci evaluate`: a model on recordings, through the session itself, one decision a cue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bci.config import channel_index
from bci.control.gate import GateSettings
from bci.errors import ConfigError
from bci.offline.score import Rows, score
from bci.offline.stream import play, primary_stream, subject_and_run, with_unit
from bci.pipeline import Pipeline
from bci.scoring import Scorer
from bci.session import Session
from bci.types import Flag, Prediction, Recording
from calibration.trials import Cue, decision_hop
from decoders.checkpoint import Model

CURVE_STEP_S = 0.25


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
        ``per_subject[{subject, n_trials, accuracy, ci95, chance_band, n_abstained, ece}]``, their ``mean``, its
        ``ci95`` (None below two people), ``spread`` (deviation) and ``worst_decile``; then over all trials
        ``accuracy, chance, chance_band, kappa, balanced_accuracy, precision, recall, f1, confusion, auc,
        itr_bits_per_min, n_trials, n_abstained``; ``ece`` before and after the temperature; ``curve[{time_s, mean}]``
        by time from the cue; and ``trials[{subject, run, index, label, p}]``. An abstention (``p`` is None) counts as
        wrong.

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
    rows: Rows = []
    right_at: dict[float, list[float]] = {}
    for recording in recordings:
        source = primary_stream(recording, stream)
        spec = with_unit(source.spec, unit)
        pipeline = Pipeline(model, spec, bad_channels)
        index = channel_index(spec, "--trigger", trigger)
        session = Session(spec, {model.hash: pipeline}, model.hash, GateSettings(classes=classes), trigger=index)
        scorer = Scorer.of(model, spec.sfreq_hz)
        said: list[tuple[int, str]] = []
        for output in play(session, source, recording):
            scorer.receive(output)
            if isinstance(output, Prediction) and output.marker < 0:
                trusted = "" if output.flags & ~Flag.ARTEFACT else classes[int(np.argmax(output.p))]
                said.append((output.sample_index, trusted))
        scorer.finish()
        if not pipeline.is_epoch_model:
            cued = [(trial.sample_index, trial.label) for trial in scorer.trials]
            _add_right(right_at, cued, said, decide_at_s, spec.sfreq_hz)
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
    temperature = float(np.asarray(model.params["temperature"]).reshape(-1)[0])
    return {
        "classes": list(classes),
        **score(rows, classes, decide_at_s, seed=seed, temperature=temperature),
        "curve": [{"time_s": t, "mean": float(np.mean(right))} for t, right in sorted(right_at.items())],
        "gate": model.info.get("gate"),
        "trials": rows,
    }


def _add_right(
    right_at: dict[float, list[float]],
    cued: Sequence[tuple[int, str]],
    said: Sequence[tuple[int, str]],
    decide_at_s: float,
    sfreq_hz: float,
) -> None:
    """For the curve: whether the newest trusted answer was right, so and so long after each cue."""
    sample_index = np.array([at for at, _ in said], int)
    for time_s in np.arange(CURVE_STEP_S, decide_at_s + 1e-9, CURVE_STEP_S).round(3).tolist():
        for at, label in cued:
            k = decision_hop(sample_index, Cue(label, at), time_s, sfreq_hz) if len(said) else None
            if k is not None and said[k][1]:
                right_at.setdefault(time_s, []).append(float(said[k][1] == label))
