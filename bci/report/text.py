"""What a person reads when a session ends, and the same as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from bci.host.engine import Engine
    from bci.host.recorder import RecorderReport
    from bci.pipeline import Pipeline
    from bci.scoring import Scorer
    from decoders.checkpoint import Model


def live_report(
    engine: Engine, model: Model, pipeline: Pipeline, recorded: RecorderReport, model_path: str
) -> dict[str, Any]:
    """The report of a live session; keys are stable (design §12)."""
    counts = engine.counts
    return {
        "n_samples": counts.n_samples[0],
        "n_samples_lost": counts.n_lost,
        "n_gaps": counts.n_gaps,
        "n_late": counts.n_late,
        "n_segments": counts.n_segments,
        "n_hops": engine.session.n_hops,
        **engine.scorer.summary(),
        "latency_ms": engine.stopwatch.ledger.report(),
        "age_ms": engine.stopwatch.ages.report().get("age"),
        "max_backlog_samples": counts.max_backlog_samples,
        "signal_delay_ms": 1000 * pipeline.signal_delay_s,
        "stamp_uncertainty_ms": 1000 * engine.session.timeline.fit.uncertainty_s,
        "streams": [
            {"name": s.spec.name, "type": s.spec.type, "n": n, "stamps": s.spec.stamps}
            for s, n in zip(engine.sources, counts.n_samples, strict=True)
        ],
        "gaps": [msgspec.to_builtins(g) for g in counts.gaps],
        "preflight": [msgspec.to_builtins(f) for f in engine.findings],
        "troubles": list(counts.troubles),
        "recorder": engine.recorder.trouble() or "ok",
        "n_unrecorded": recorded.n_lost,
        "n_unconfirmed": recorded.n_unconfirmed,
        "ended_because": engine.ended_because,
        "recording": recorded.parts[0],
        "recording_parts": list(recorded.parts),
        "model": model_path,
        "model_hash": model.hash,
        "decoder": model.spec.name,
    }


def replay_report(
    scorer: Scorer,
    pipeline: Pipeline,
    *,
    n_samples: int,
    n_hops: int,
    n_lost: int,
    n_gaps: int,
    latency_ms: dict[str, Any] | None = None,
    has_sent: bool = True,
) -> dict[str, Any]:
    """The part of a replay's report that it shares with a live one.

    Parameters
    ----------
    latency_ms
        As it was recorded; a replay has none of its own.
    has_sent
        Whether what devices were sent belongs to these decisions; a replay asks no device.
    """
    said = scorer.summary() if has_sent else scorer.summary() | {"n_commands_sent": None, "n_commands_refused": None}
    return {
        "n_samples": n_samples,
        "n_samples_lost": n_lost,
        "n_gaps": n_gaps,
        "n_hops": n_hops,
        **said,
        "latency_ms": latency_ms,
        "signal_delay_ms": 1000 * pipeline.signal_delay_s,
    }


def report_text(report: dict[str, Any]) -> str:
    """A report for people: what was decided, what was lost, how late it was."""
    lines = [*_decisions(report), *_samples(report), *_latency(report), *_troubles(report)]
    for key, name in (("recording", "recording"), ("model", "model"), ("ended_because", "ended because")):
        if report.get(key):
            lines.append(f"{name:<16}{report[key]}")
    return "\n".join(lines)


def _decisions(r: dict[str, Any]) -> list[str]:
    lines = []
    if r["n_trials"]:
        score = r["score"]
        low, high = score["band"]
        verdict = "above chance" if score["value"] > high else "NOT better than chance"
        lines.append(
            f"{'trials':<16}{r['n_trials']}, {score['kind']} {score['value']:.3f} (chance {score['chance']:.2f}, "
            f"95 % band {low:.2f}-{high:.2f}: {verdict}), abstained {r['n_abstained']}"
        )
        others = [f"accuracy {r['accuracy']:.3f}"] if score["kind"] == "AUC" else []
        others += [f"kappa {r['kappa']:.2f}"]
        others += [f"AUC {r['auc']:.3f}"] if score["kind"] != "AUC" and r.get("auc") is not None else []
        lines.append(f"{'':<16}{', '.join(others)}, ITR {r['itr_bits_per_min']:.1f} bits/min")
    else:
        lines.append(f"{'trials':<16}none (no cue of the model's classes in a marker stream)")
    text = f"{r['n_commands']} asked, {_sent(r['n_commands_sent'])}"
    if r["n_commands_refused"]:
        text += f", {r['n_commands_refused']} refused by the device host"
    if r["n_false_commands"] is not None:
        text += f", {r['n_false_commands']} false"
    if r["false_commands_per_min"] is not None:
        text += f" ({r['false_commands_per_min']:.2f} a minute)"
    if r["time_to_command_s"] is not None:
        text += f", time to command {r['time_to_command_s']:.2f} s"
    if r["n_epochs"] or r["n_expired"]:
        lines.append(f"{'markers':<16}{r['n_epochs']} answered, {r['n_expired']} expired")
    return [*lines, f"{'commands':<16}{text}"]


def _sent(n: int | None) -> str:
    return "none sent (no device was asked)" if n is None else f"{n} sent"


def _samples(r: dict[str, Any]) -> list[str]:
    lost = (
        "nothing lost"
        if not r["n_samples_lost"] and not r["n_gaps"]
        else f"{r['n_samples_lost']} LOST in {r['n_gaps']} gaps"
    )
    late = f", {r['n_late']} stalls (late, not lost)" if r.get("n_late") else ""
    arrival = [repr(s["name"]) for s in r.get("streams", ()) if s["stamps"] == "arrival"]
    return [
        f"{'samples':<16}{r['n_samples']}, {lost}{late}",
        *([f"{'stamps':<16}times of arrival: {', '.join(arrival)} has none of its own"] if arrival else []),
        f"{'hops':<16}{r['n_hops']}, {r['n_predictions']} predictions, {r['n_trusted_predictions']} trusted"
        + (f" ({_flagged(r['n_flagged'])})" if r.get("n_flagged") else ""),
    ]


def _flagged(n_flagged: dict[str, int]) -> str:
    return ", ".join(f"{flag.replace('_', ' ')} {n}" for flag, n in n_flagged.items())


def _latency(r: dict[str, Any]) -> list[str]:
    if not r.get("latency_ms"):
        return []
    lines = [f"{'latency (ms)':<16}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}"]
    for stage, row in r["latency_ms"].items():
        if row is None or row["p50"] is None:
            continue
        lines.append(
            f"  {STAGE_NAMES.get(stage, stage):<14}" + "".join(f"{row[k]:8.2f}" for k in ("p50", "p95", "p99", "max"))
        )
    if r.get("age_ms"):
        age = r["age_ms"]
        backlog = f"backlog at most {r['max_backlog_samples']} samples"
        lines.append(f"{'age of data':<16}p50 {age['p50']:.1f} ms, max {age['max']:.1f} ms at the gate; {backlog}")
    lines.append(f"{'signal delay':<16}{r['signal_delay_ms']:.0f} ms (filters and decoder; not latency)")
    return lines


def _troubles(r: dict[str, Any]) -> list[str]:
    said = [f"{f['stream']}: {f['text']}" for f in r.get("preflight", ()) if f["level"] != "ok"]
    said += r.get("troubles", ())
    for key, what in (("n_unrecorded", "NOT recorded"), ("n_unconfirmed", "perhaps not recorded")):
        said += [f"{n} samples of {name!r} {what}" for name, n in r.get(key, {}).items()]
    if len(r.get("recording_parts", ())) > 1:
        said.append(f"recorded in {len(r['recording_parts'])} parts: {', '.join(r['recording_parts'])}")
    if r.get("recorder", "ok") != "ok":
        said.append(f"recorder: {r['recorder']}")
    return [f"{'trouble' if n == 0 else '':<16}{line}" for n, line in enumerate(said)]


STAGE_NAMES = {
    "arrival": "to arrival",
    "dequeued": "waiting",
    "filtered": "filters",
    "decoded": "decoder",
    "gated": "gate",
    "sent": "to device host",
    "own": "our share",
    "total": "sample to gate",
}
