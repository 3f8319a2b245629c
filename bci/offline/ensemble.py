"""`bci ensemble`: models that take the same preprocessed signal, combined into one that averages what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bci.errors import ModelError
from decoders.checkpoint import Model, load_model, save_model
from decoders.ensemble import combine
from decoders.spec import DecoderError


def ensemble(paths: Sequence[str], out: str) -> dict[str, Any]:
    """Combine model folders into one at ``out``.

    Returns
    -------
    dict
        ``model, model_hash, members`` (decoder and hash of each), ``classes``.

    Raises
    ------
    ModelError
        A folder is no model, the models do not fit each other, or ``out`` cannot be written.
    """
    try:
        models = [load_model(path) for path in paths]
        spec, fitted, onnx = combine(models)
        info = _info(models)
        digest = save_model(out, spec, fitted, models[0].preprocessing, info, _card(models, paths), onnx)
    except DecoderError as error:
        raise ModelError(str(error)) from None
    members = [{"decoder": m.spec.name, "hash": m.hash} for m in models]
    return {"model": out, "model_hash": digest, "members": members, "classes": list(spec.classes)}


def _info(models: Sequence[Model]) -> dict[str, Any]:
    """Of all members: what they were trained on, and the latest time that one of them decides at."""
    labels: dict[str, str] = {}
    for model in models:
        for marker, name in model.info.get("labels", {}).items():
            if labels.setdefault(marker, name) != name:
                raise ModelError(f"marker {marker} cues {labels[marker]} in one model and {name} in another")
    trained_on = {t["sha256"]: t for m in models for t in m.info.get("trained_on", [])}
    return {
        "labels": labels,
        "decide_at_s": max(float(m.info.get("decide_at_s", 0.0)) for m in models),
        "window_s": max(float(m.info.get("window_s") or 0.0) for m in models),
        "baseline": models[0].info.get("baseline"),  # of the same signal
        "members": [{"decoder": m.spec.name, "hash": m.hash, "scores": m.info.get("scores")} for m in models],
        "trained_on": list(trained_on.values()),
        "versions": models[0].info.get("versions", {}),
    }


def _card(models: Sequence[Model], paths: Sequence[str]) -> str:
    rows = "\n".join(
        f"| {m.spec.name} | {m.hash[:12]} | {_accuracy(m)} | {Path(path).name} |"
        for m, path in zip(models, paths, strict=True)
    )
    return f"""# ensemble: {" / ".join(models[0].spec.classes or models[0].spec.outputs)}

The mean of the logits of its members, each divided by its own temperature.

| member | hash | held-out accuracy | from |
|---|---|---|---|
{rows}

The ensemble itself was not scored on held-out trials: run `bci evaluate`. What it was trained on, and the limits, stand
in the cards of its members. Not a medical device.
"""


def _accuracy(model: Model) -> str:
    scores = model.info.get("scores") or {}
    return f"{scores['accuracy']:.3f}" if "accuracy" in scores else "-"
