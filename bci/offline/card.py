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
    bands_hz = pre.bands_hz or (pre.bandpass_hz or (None, None),)
    edges = (("" if edge is None else f"{edge:g}" for edge in band_hz) for band_hz in bands_hz)
    band = ", ".join("–".join(pair) for pair in edges) if any(bands_hz[0]) else "all"
    n_channels = len(spec.channels) // spec.n_bands
    labels = [c.rsplit(" ", 1)[0] if spec.n_bands > 1 else c for c in spec.channels[:n_channels]]  # without the band
    recentring = f"a step every {spec.recentre_hops * spec.hop_s:.3g} s" if spec.recentre_hops else "none"
    people = sorted({f["subject"] for f in info["trained_on"]})
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
| input | {n_channels} channels at {spec.sfreq_hz:g} Hz in {spec.unit}; {band} Hz, reference {pre.reference} |
| recentring | {recentring} |
| channels | {", ".join(labels)} |
| people | {len(people)}: {", ".join(people[:20])}{" …" if len(people) > 20 else ""} |
| trials | {", ".join(f"{c} {n}" for c, n in info["n_trials"].items())}; {info["n_left_out"]} left out |
| held-out accuracy | {scores["accuracy"]:.3f} ({scores["split"]}) |
{spread}| chance | {scores["chance"]:.2f}, 95 % band {low:.2f}–{high:.2f} |
| temperature | {scores["temperature"]:.3g} |
{error}{_gate_row(info.get("gate"))}| seed | {info["seed"]} |

Intended use: telling {" from ".join(spec.classes)} in people and with electrodes as in training, under the supervision
of a person who can stop it. For another person calibrate anew, and evaluate on that person's own recordings first.

Trained on:
{files}
{_gate_curve(info.get("gate"))}
Limits: the score is of the training recordings' own held-out parts, of these people and this montage. It says nothing
about other people, other amplifiers or another day. It does not show that the brain was decoded and not the eyes or the
order of cues: `bci evaluate --control` does. Not a medical device.
"""


def _gate_row(gate: dict[str, Any] | None) -> str:
    """A row of the card: what the gate shall be, and what runs without a part in the choice show of it."""
    if gate is None:
        return ""
    return (
        f"| gate | threshold {gate['threshold']:g} for {gate['dwell_s']:g} s; {gate['n_false']} false commands in "
        f"{gate['rest_min']:.1f} min of held-out rest, at most {gate['upper95_per_min']:.2g} a minute (95 %) |\n"
    )


def _gate_curve(gate: dict[str, Any] | None) -> str:
    """What another threshold would have meant: commands, wrong ones, and false ones at rest."""
    if gate is None:
        return ""
    rows = "\n".join(
        f"| {row['threshold']:g} | {_share(row['coverage'])} | {_share(row['risk'])} | {row['rate_per_min']:.2g} |"
        for row in gate["risk_coverage"]
    )
    return f"""
Risk and coverage of the gate on held-out runs, held for {gate["dwell_s"]:g} s:

| threshold | cues with a command | of these, wrong | false commands a minute at rest |
|---|---|---|---|
{rows}
"""


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
