"""The numbers of a report: one object, computed from what lies in the session's folder and nowhere else.

What only the running program knew (how many samples waited at most, what the recorder could not take) it has written to
``run.json`` as it ended; those keys are taken over as they stand. Everything that the recording tells is counted anew,
so that a report can be made for a run that was killed, too. The page shows these numbers and computes none.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

import numpy as np

from bci.config import default_dwell_s
from bci.host.books import STAGES, record_row
from bci.host.latency import Histogram, LatencyLedger
from bci.recording.folder import SessionFolder
from bci.recording.runs import RunRecord
from bci.report.facts import course, decisions
from bci.report.facts.channels import channels
from bci.report.facts.streams import gaps, streams
from bci.report.facts.verdicts import verdicts
from bci.scoring import Scorer, join
from bci.types import Health

FORMAT = 1
BINS_PER_DECADE = 12
MAX_LISTED = 10_000  # entries of each list: a stream that stutters for a day must not make a report that nobody opens


def session_facts(folder: SessionFolder, runs: Sequence[RunRecord]) -> dict[str, Any]:
    """The report of a session. Entries of its lists (``streams``, ``commands``, ...) say by ``run`` whose they are."""
    per_run = [_run_facts(folder, run, n) for n, run in enumerate(runs, 1)]
    scorers = [f.pop("scorer") for f in per_run]
    lists = {key: [x for f in per_run for x in f.pop(key)] for key in _LISTS}
    last, told = runs[-1], dict(runs[-1].told)
    config = _config(last)
    model = model_spec(folder, last.metadata.get("model_hash", ""))
    primary = [s for s in lists["streams"] if s["is_primary"]]
    ledger = [g for g in lists["gaps"] if g["is_primary"]]
    report: dict[str, Any] = {
        **told,  # first: whatever the recording tells replaces it
        "format": FORMAT,
        **_names(folder, config),
        "started": runs[0].parts[0].wall_time,
        "duration_s": sum(f["duration_s"] for f in per_run),
        "n_samples": sum(s["n"] for s in primary),
        "n_samples_lost": sum(g["n"] for g in ledger),
        "n_gaps": sum(g["verdict"] != "late" for g in ledger),
        "n_late": sum(g["verdict"] == "late" for g in ledger),
        "n_segments": sum(f["n_segments"] for f in per_run),
        "n_hops": sum(int((~r.is_epoch).sum()) for r in runs),
        **_score(scorers),
        **_latency(runs, config),
        "troubles": _troubles(runs),
        "n_unrecorded": _summed(runs, "n_unrecorded"),
        "n_unconfirmed": _summed(runs, "n_unconfirmed"),
        "ended_because": per_run[-1]["ended_because"],
        "armed_s": sum(f["armed_s"] for f in per_run),
        "highest_p_armed": max(
            (f["highest_p_armed"] for f in per_run if f["highest_p_armed"] is not None), default=None
        ),
        "command_delay_ms": _delays(lists["commands"]),
        "n_bytes_damaged": sum(p.n_bytes_damaged for r in runs for p in r.parts),
        "runs": per_run,
        **lists,
        "signal": channels(runs),
        "decoder": model.get("decoder", {}).get("name") or told.get("decoder"),
        "model_hash": last.metadata.get("model_hash", ""),
        "decoder_info": _decoder_info(model, last, lists["notes"]),
        "gate": _gate(config, last, model),
        "devices": list(config.get("devices", {}).get("urls", [])),
        "recording": str(runs[0].parts[0].path),
        "recording_parts": [str(p.path) for r in runs for p in r.parts],
        "versions": last.metadata.get("environment", {}),
    }
    report["verdicts"] = verdicts(report)  # of all there is
    report["left_out"] = {key: len(x) - MAX_LISTED for key, x in lists.items() if len(x) > MAX_LISTED}
    return report | {key: x[:MAX_LISTED] for key, x in lists.items()} | {"n_alarms": len(lists["alarms"])}


_LISTS = ("preflight", "streams", "gaps", "trials", "commands", "disarmings", "alarms", "notes", "expired")


def _run_facts(folder: SessionFolder, run: RunRecord, number: int) -> dict[str, Any]:
    start_s, end_s = run.start_s, run.end_s
    ledger = gaps(run, start_s)
    model, has_trigger = model_spec(folder, run.metadata.get("model_hash", "")), _has_trigger(run)
    scorer, trials, commands = decisions.score(run, model, start_s, has_trigger)
    states = course.gate_states(run, start_s, end_s)
    armed = course.armed(states)
    lists = {
        "preflight": [f for f in run.told.get("preflight", ()) if isinstance(f, dict)],
        "streams": [{"is_primary": n == 0, **s} for n, s in enumerate(streams(run, ledger))],
        "gaps": ledger,
        "trials": trials,
        "commands": commands,
        "disarmings": course.disarmings(run, states, start_s),
        "alarms": course.alarms(course.troubles(run, end_s), start_s),
        "notes": course.notes(run, start_s),
        "expired": course.expired(run, start_s),
    }
    return {
        "run": number,
        "started": run.parts[0].wall_time,
        "duration_s": end_s - start_s,
        "ended_because": course.ended_because(run),
        "armed_s": sum(until_s - from_s for from_s, until_s in armed),
        "highest_p_armed": decisions.highest_p(run, _rest(run), armed),
        "n_segments": course.n_segments(run),
        "n_events_missing": run.n_events_missing,
        "n_unread": run.n_unread,
        "parts": [{"file": p.path.name, "n_bytes": p.n_bytes, "n_bytes_damaged": p.n_bytes_damaged} for p in run.parts],
        "scorer": scorer,
        **{key: [{"run": number, **x} for x in found] for key, found in lists.items()},
    }


# --- where things stand ----------------------------------------------------------------------------------------------


def model_spec(folder: SessionFolder, model_hash: str) -> dict[str, Any]:
    """``spec.json`` of a model that the session used; {} if its folder is gone."""
    try:
        return json.loads((folder.model(model_hash) / "spec.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _config(run: RunRecord) -> dict[str, Any]:
    try:
        return tomllib.loads(run.metadata.get("config", ""))
    except tomllib.TOMLDecodeError:
        return {}


def _names(folder: SessionFolder, config: dict[str, Any]) -> dict[str, str | None]:
    """Whose session it is, by its folder (``sub-ID/ses-N``), else by what was configured; None if nobody said."""
    path = folder.path.absolute()
    by_folder = re.fullmatch(r"sub-(\w+)", path.parent.name)
    configured = config.get("recording", {}).get("subject")
    subject = by_folder[1] if by_folder else None if configured == "anonymous" else configured
    return {"subject": subject, "session": path.name.removeprefix("ses-")}


def _rest(run: RunRecord) -> str | None:
    """The class that commands nothing."""
    return _config(run).get("gate", {}).get("rest") or ("rest" if "rest" in run.classes else None)


def _has_trigger(run: RunRecord) -> bool:
    return bool(_config(run).get("stream", {}).get("trigger_channel"))


def _gate(config: dict[str, Any], run: RunRecord, model: dict[str, Any]) -> dict[str, Any]:
    keys = ("threshold", "dwell_s", "refractory_s", "max_age_s", "ttl_ms")
    default = {"dwell_s": default_dwell_s(model.get("decoder", {}).get("epoch") is not None)}
    return {key: config.get("gate", {}).get(key, default.get(key)) for key in keys} | {"rest": _rest(run)}


def _outer_edges(bands_hz: list[list[float]] | None) -> list[float] | None:
    return [min(low for low, _ in bands_hz), max(high for _, high in bands_hz)] if bands_hz else None


def _decoder_info(model: dict[str, Any], run: RunRecord, notes: list[dict[str, Any]]) -> dict[str, Any]:
    spec, info, filters = (model.get(key, {}) for key in ("decoder", "info", "preprocessing"))
    sfreq_hz = spec.get("sfreq_hz")
    name = run.streams[0].spec.name if run.streams else ""
    played = re.split(r"[/\\]", _config(run).get("stream", {}).get("recording", ""))[-1]
    trained_on = [t.get("file", "") for t in info.get("trained_on", [])]
    return {
        "classes": list(run.classes),
        "n_channels": len(filters.get("channels", [])),
        "channels": filters.get("channels", []),
        "bandpass_hz": filters.get("bandpass_hz") or _outer_edges(filters.get("bands_hz")),
        "notch_hz": filters.get("notch_hz"),
        "reference": filters.get("reference"),
        "window_s": info.get("window_s"),
        "hop_s": spec["hop"] / sfreq_hz if sfreq_hz and "hop" in spec else None,
        "sfreq_hz": sfreq_hz,
        "decide_at_s": float(info.get("decide_at_s", decisions.DECIDE_AT_S)),
        "trained_on": trained_on,
        "held_out": info.get("scores"),
        # an accuracy on what it was trained on would be worth nothing
        "is_perhaps_training_data": bool({name, played.split(".")[0]} & {t.split(".")[0] for t in trained_on} - {""}),
        "n_swaps": sum(n["action"] == "swap" for n in notes),
    }


# --- sums ------------------------------------------------------------------------------------------------------------


def _score(scorers: list[Scorer]) -> dict[str, Any]:
    """Of all runs together, if they had the same classes; else of the last."""
    alike = [s for s in scorers if s.classes == scorers[-1].classes]
    total = join(alike)
    return {
        **total.summary(),
        "is_epoch_model": total.is_epoch_model,
        "is_scored_whole": len(alike) == len(scorers),
    }


def _latency(runs: Sequence[RunRecord], config: dict[str, Any]) -> dict[str, Any]:
    """Percentiles by stage, with the ledger that the running program uses; a histogram; ages against their limit.

    Of a model that answers markers, the answers are what may be too old; the hops between them decide nothing.
    """
    ledger, ages = LatencyLedger(STAGES), LatencyLedger(("age",))
    for run in runs:
        for row in run.latency.tolist():
            record_row(ledger, row)
        for age_s in run.age_s.tolist():
            ages.record("age", age_s)
    is_epoch_model = any(run.is_epoch.any() for run in runs)
    decided_s = np.concatenate([run.age_s[run.is_epoch == is_epoch_model] for run in runs])
    steps_s = np.concatenate([np.diff(run.stamp_s[~run.is_epoch]) for run in runs])
    max_age_s = config.get("gate", {}).get("max_age_s")
    hop_s = float(np.median(steps_s)) if len(steps_s) else None
    return {
        "latency_ms": ledger.report(),
        "age_ms": ages.report().get("age"),
        "latency_histogram": _histogram(ledger.histograms["total"]),
        "hop_ms": None if hop_s is None else 1000 * hop_s,
        "n_decisions": len(decided_s),
        "n_too_old": None if max_age_s is None else int((decided_s > max_age_s).sum()),
        "n_behind": None if hop_s is None else int((decided_s > hop_s).sum()),
    }


def _histogram(found: Histogram) -> dict[str, list[float]]:
    """Counts in bins of equal width on a logarithmic scale, for the eye."""
    bins: dict[int, int] = {}
    for middle_s, count in found.buckets():
        at = int(np.floor(BINS_PER_DECADE * np.log10(1000 * middle_s)))
        bins[at] = bins.get(at, 0) + count
    span = range(min(bins), max(bins) + 1) if bins else range(0)
    return {
        "edges_ms": [10 ** (k / BINS_PER_DECADE) for k in [*span, *([span[-1] + 1] if bins else [])]],
        "counts": [bins.get(k, 0) for k in span],
    }


def _troubles(runs: Sequence[RunRecord]) -> list[str]:
    said: dict[str, None] = {}
    for run in runs:
        for _, health in run.said:
            if isinstance(health, Health):
                said |= dict.fromkeys(health.reasons)
    return list(said)


def _summed(runs: Sequence[RunRecord], key: str) -> dict[str, int]:
    """Samples by stream name, of what the runs told."""
    total: dict[str, int] = {}
    for run in runs:
        for name, n in (run.told.get(key) or {}).items():
            total[name] = total.get(name, 0) + n
    return total


def _delays(commands: list[dict[str, Any]]) -> dict[str, float] | None:
    """From the gate's proposal to the device having it."""
    delays = [c["delay_ms"] for c in commands if c["delay_ms"] is not None]
    return {"p50": float(np.median(delays)), "max": max(delays)} if delays else None
