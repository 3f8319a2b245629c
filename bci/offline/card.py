"""The model card."""

from __future__ import annotations

from typing import Any

from bci.signal.preprocessing import PreprocessingSpec
from decoders.spec import DecoderSpec


def card(spec: DecoderSpec, pre: PreprocessingSpec, info: dict[str, Any]) -> str:
    """The model card: what it is for, what it was trained on, how it did, and what that does not show."""
    scores = info["scores"]
    low, high = scores["chance_band"]
    files = "\n".join(
        f"- {f['file']} (subject {f['subject']}, run {f['run']}, SHA-256 {f['sha256'][:16]}…)"
        for f in info["trained_on"]
    )
    people = sorted({f["subject"] for f in info["trained_on"]})
    band = f"{pre.bandpass_hz[0]:g}–{pre.bandpass_hz[1]:g} Hz" if pre.bandpass_hz else "none"
    held_out = scores.get("held_out", [])
    spread = (
        f"| spread over held-out parts | {min(held_out):.3f} to {max(held_out):.3f} in {len(held_out)} parts |\n"
        if held_out
        else ""
    )
    error = (
        f"| calibration error | {scores['ece_before']:.3f} before, {scores['ece']:.3f} after the temperature |\n"
        if "ece" in scores
        else ""
    )
    return f"""# {spec.name}: {" / ".join(spec.classes)}

| | |
|---|---|
| decision | {info["decide_at_s"]:g} s after the cue, from {info["window_s"]:g} s of signal, every {spec.hop_s:.3g} s |
| input | {len(spec.channels)} channels at {spec.sfreq_hz:g} Hz in {spec.unit}; band {band}, reference {pre.reference} |
| channels | {", ".join(spec.channels)} |
| people | {len(people)}: {", ".join(people[:20])}{" …" if len(people) > 20 else ""} |
| trials | {", ".join(f"{c} {n}" for c, n in info["n_trials"].items())}; {info["n_left_out"]} left out |
| held-out accuracy | {scores["accuracy"]:.3f} ({scores["split"]}) |
{spread}| chance | {scores["chance"]:.2f}, 95 % band {low:.2f}–{high:.2f} |
| temperature | {scores["temperature"]:.3g} |
{error}| seed | {info["seed"]} |

Intended use: telling {" from ".join(spec.classes)} in people and with electrodes as in training, under the supervision
of a person who can stop it. For another person calibrate anew, and evaluate on that person's own recordings first.

Trained on:
{files}

Limits: the score is of the training recordings' own held-out parts, of these people and this montage. It says nothing
about other people, other amplifiers or another day. It does not show that the brain was decoded and not the eyes or the
order of cues: `bci evaluate --control` does. Not a medical device.
"""
