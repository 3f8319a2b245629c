"""The parts of a session's page about the signal and the program: streams, latency, channels, alarms, versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bci.recording.runs import RunRecord
from bci.report.facts.verdicts import Report
from bci.report.page import figures
from bci.report.page.html import Child, Element, e, facts, figure, folded, icon, section, table, table_by_run
from bci.report.text import STAGE_NAMES
from bci.report.words import NBSP, clock, count, listed, milliseconds, number, percent, seconds

# --- before it began --------------------------------------------------------------------------------------------------


def preflight(r: Report, runs: Sequence[RunRecord]) -> Element | None:
    """What was found of the streams at the start, where there was something to say."""
    if not r["preflight"]:
        return None
    n = sum(f.get("level") != "ok" for f in r["preflight"])
    lead = f"{count(n, 'finding')} that somebody should look at." if n else "Nothing to remark."
    shown = table_by_run(len(runs), "Findings", {"": "at", "stream": "t", "what": ""}, r["preflight"], _finding_cells)
    return section("At the start", shown, lead=lead)


def _finding_cells(f: dict[str, Any]) -> list[Child]:
    level = {"ok": "ok", "warn": "warn", "fail": "bad"}.get(f.get("level", ""), "none")
    return [e("span", icon(level), str(f.get("level", "–"))), str(f.get("stream", "–")), str(f.get("text", "–"))]


# --- streams ---------------------------------------------------------------------------------------------------------


def streams(r: Report, runs: Sequence[RunRecord]) -> Element:
    """Completeness and times of every stream; the gap ledger."""
    columns = {
        "stream": "t", "type": "", "arrived": "n", "expected": "n", "complete": "n", "on disk": "n", "rate": "n",
        "jitter": "n", "clock offset": "n", "drift": "n",
    }  # fmt: skip
    shown: list[Child] = [
        table_by_run(len(runs), "Streams that the session listened to", columns, r["streams"], _stream_cells)
    ]
    if r["gaps"]:
        columns = {"until": "at", "stream": "t", "verdict": "w", "for": "n", "samples missing": "n", "why": "t"}
        caption = "Every irregularity of the stamps, judged"
        shown += [e("h3", "Gap ledger"), table_by_run(len(runs), caption, columns, r["gaps"], _gap_cells)]
    lead = (
        "Expected is what arrived and what the gap ledger misses. Jitter: 95 % of the raw stamps lie within so much of "
        "even spacing. Clock offset: what is added to the sender's time."
    )
    if stamped := [s["name"] for s in r["streams"] if s["stamps"] == "arrival"]:
        lead += f" {', '.join(stamped)} has no times of its own: its stamps are times of arrival."
    return section("Streams", *shown, lead=lead)


def _stream_cells(s: dict[str, Any]) -> list[Child]:
    measured = s["clock"] or {"median_ms": None, "drift_ppm": None}
    rate = f"{number(s['effective_hz'], 5)} of {number(s['sfreq_hz'], 5)} Hz" if s["sfreq_hz"] else "irregular"
    return [
        s["name"], s["type"], f"{s['n']:,}", "–" if s["n_expected"] is None else f"{s['n_expected']:,}",
        percent(s["completeness"], 2), f"{s['n_recorded']:,}", rate, milliseconds(s["jitter_ms"]),
        _with_unit(measured["median_ms"], "ms"), _with_unit(measured["drift_ppm"], "ppm"),
    ]  # fmt: skip


def _gap_cells(g: dict[str, Any]) -> list[Child]:
    verdict = {"late": "late, nothing missing", "lost": "lost", "unknown": "unknown"}[g["verdict"]]
    about = "about " if g["verdict"] == "unknown" else ""
    n = "cannot be told" if g["n_about"] is None else f"{about}{g['n_about']:,}"
    return [clock(g["t_s"]), g["stream"], verdict, seconds(g["duration_s"]), n, g["reason"] or "–"]


def _with_unit(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{number(value, 2)}{NBSP}{unit}"


# --- latency ---------------------------------------------------------------------------------------------------------


def latency(r: Report, runs: Sequence[RunRecord]) -> Element | None:
    """Where the time went."""
    stages = {name: row for name, row in r["latency_ms"].items() if row}
    if "total" not in stages:
        return None
    low = max(min(row["p50"] for row in stages.values()), 1e-3)
    high = max(row["max"] for row in stages.values())
    columns = {"stage": "", "median": "n", "95 %": "n", "99 %": "n", "slowest": "n", "": ""}
    rows = [
        [
            STAGE_NAMES.get(name, name),
            *(milliseconds(row[p]) for p in ("p50", "p95", "p99", "max")),
            figures.range_bar(row, low, high),
        ]
        for name, row in stages.items()
    ]
    marks = [(stages["total"]["p50"], "median"), (stages["total"]["p95"], "95 %")]
    marks += [(r["hop_ms"], "a decision every")] if r["hop_ms"] else []
    histogram = r["latency_histogram"]
    drawing = figures.latency_histogram(histogram["edges_ms"], histogram["counts"], marks)
    lead = "From the last sample of a decision to the gate, stage by stage."
    if r.get("signal_delay_ms") is not None:
        delay = milliseconds(r["signal_delay_ms"])
        lead += f" The {delay} that filters and decoder look back by design are not in it."
    both = e(
        "div",
        table("Stage by stage; bars from the median to 95 %, lines to the slowest", columns, rows),
        figure("How often which latency occurred, sample to gate.", drawing),
        class_="cols",
    )
    return section("Latency", both, lead=lead)


# --- channels --------------------------------------------------------------------------------------------------------


def signal(r: Report, runs: Sequence[RunRecord]) -> Element | None:
    """What each channel was worth."""
    found, rows = r["signal"], r["signal"]["channels"]
    if not rows:
        return None
    used = set(r["decoder_info"]["channels"])
    columns = {
        "channel": "",
        "used": "",
        "amplitude": "n",
        "mains hum": "n",
        "flat": "n",
        "saturated": "n",
        "problem": "",
    }
    bad = [c for c in rows if c["problems"]]
    shown = (bad or rows[:8])[:24]
    caption = "Channels with a problem" if bad else "The first channels"
    summary = e(
        "div",
        table(caption, columns, (_channel_cells(c, used) for c in shown)),
        _signal_facts(found),
        class_="stack",
    )
    everything = None
    if len(rows) > len(shown):
        whole = table("Every channel", columns, (_channel_cells(c, used) for c in rows))
        everything = folded(f"All {count(len(rows), 'channel')}", whole)
    drawing = figures.head(rows, [_channel_words(c) for c in rows])
    if drawing is not None:
        seen = figure("From above. The darker, the larger the signal; red: a problem.", drawing)
        summary = e("div", summary, seen, class_="cols")
    return section("Signal", summary, everything, lead=_signal_words(found, bad))


def _signal_words(found: dict[str, Any], bad: list[dict[str, Any]]) -> str:
    rows = found["channels"]
    text = f"{len(rows) - len(bad)} of {count(len(rows), 'channel')} without a problem"
    if bad:
        problems = listed(sorted({p for c in bad for p in c["problems"]}))
        text += f"; {listed([c['label'] for c in bad], 6)}: {problems}"
    return (
        f"{text}. From {count(found['n_seconds'], 'second')} of the raw signal; flat and saturated by the rules of the "
        f"live path, amplitude is the robust standard deviation within a second."
    )


def _signal_facts(found: dict[str, Any]) -> Element:
    by_unit: dict[str, list[float]] = {}
    for c in found["channels"]:
        if c["amplitude"] is not None:
            by_unit.setdefault(c["unit"], []).append(c["amplitude"])
    pairs: list[tuple[str, Child]] = [
        ("typical amplitude", amplitude(float(np.median(values)), unit)) for unit, values in by_unit.items()
    ]
    mains = "cannot be seen at this rate" if found["mains_hz"] is None else f"{number(found['mains_hz'])}{NBSP}Hz"
    return facts([*pairs, ("mains", mains)])


def _channel_cells(c: dict[str, Any], used: set[str]) -> list[Child]:
    problem = e("span", icon("bad"), ", ".join(c["problems"])) if c["problems"] else "–"
    return [
        c["label"], "yes" if c["label"] in used else "no", amplitude(c["amplitude"], c["unit"]),
        amplitude(c["line_noise"], c["unit"]), percent(c["share_flat"]), percent(c["share_saturated"]), problem,
    ]  # fmt: skip


def _channel_words(c: dict[str, Any]) -> str:
    return "; ".join([f"{c['label']}: {amplitude(c['amplitude'], c['unit'])}", *c["problems"]])


def amplitude(value: float | None, unit: str) -> str:
    """A signal's size with its unit; fields and gradients as people in MEG say them."""
    factor, shown = {"uV": (1, "µV"), "T": (1e15, "fT"), "T/m": (1e13, "fT/cm")}.get(unit, (1, unit))
    return f"{number(None if value is None else value * factor, trim=False)}{NBSP}{shown}".rstrip()


# --- alarms, program -------------------------------------------------------------------------------------------------


def alarms(r: Report, runs: Sequence[RunRecord]) -> Element | None:
    """Trouble, and what people did."""
    shown: list[Child] = []
    if r["alarms"]:
        columns = {"from": "at", "for": "n", "effect": "w", "reason": ""}
        shown.append(table_by_run(len(runs), "Trouble", columns, r["alarms"], _alarm_cells))
    if r["notes"]:
        columns = {"at": "at", "what": "", "text": "", "by": "t"}
        shown.append(table_by_run(len(runs), "Controls and notes", columns, r["notes"], _note_cells))
    if not shown:
        return None
    n = len(r["alarms"])
    return section("Alarms and notes", *shown, lead=f"{count(n, 'alarm')}." if n else "No alarm.")


def _alarm_cells(a: dict[str, Any]) -> list[Child]:
    effect = {"bad": "neutral", "warn": "warning"}.get(a["level"], a["level"])
    reasons = "; ".join(a["reasons"])
    return [clock(a["t_s"]), seconds(a["duration_s"]), e("span", icon(a["level"]), effect), reasons]


def _note_cells(n: dict[str, Any]) -> list[Child]:
    return [clock(n["t_s"]), n["action"], n["text"] or "–", n["by"] or "–"]


def program(r: Report, runs: Sequence[RunRecord]) -> Element:
    """Decoder, settings, versions, files: what somebody needs who wants to do it again."""
    d, gate, versions = r["decoder_info"], r["gate"], r["versions"]
    band, libraries = d["bandpass_hz"], versions.get("libraries", {})
    pairs: list[tuple[str, Child]] = [
        ("decoder", r["decoder"] or "–"),
        ("model", e("code", r["model_hash"][:16] or "–")),
        ("classes", ", ".join(d["classes"])),
        ("trained on", listed(d["trained_on"], 6) or "–"),
        ("channels used", str(d["n_channels"] or "–")),
        ("band", f"{number(band[0])} to {number(band[1])} Hz" if band else "–"),
        ("window", seconds(d["window_s"])),
        ("a decision every", seconds(d["hop_s"])),
        ("models taken over", str(d["n_swaps"])),
        ("predictions", _predictions(r)),
        ("threshold, held for", f"{number(gate['threshold'])}, {seconds(gate['dwell_s'])}"),
        ("pause after a command", seconds(gate["refractory_s"])),
        ("devices", listed(r["devices"]) or "–"),
        ("program", f"rolandic {libraries.get('rolandic', '–')}"),
        ("Python, system", " ".join(versions.get(key, "–") for key in ("python", "system", "machine"))),
        ("libraries", ", ".join(f"{name} {v}" for name, v in libraries.items() if name != "rolandic") or "–"),
    ]
    files = (
        [p["file"], f"{p['n_bytes']:,}", f"{p['n_bytes_damaged']:,}", run["ended_because"] or "broke off"]
        for run in r["runs"]
        for p in run["parts"]
    )
    shown = table("Files", {"file": "", "bytes": "n", "unreadable": "n", "the run ended because": ""}, files)
    return section("Decoder and program", e("div", facts(pairs), shown, class_="stack wide"))


def _predictions(r: Report) -> str:
    flags = [f"{name.replace('_', ' ')} {n:,}" for name, n in (r.get("n_flagged") or {}).items()]
    why = f" ({listed(flags)})" if flags else ""
    return f"{r['n_predictions']:,}, {r['n_trusted_predictions']:,} trusted{why}"
