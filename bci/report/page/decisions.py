"""The parts of a session's page that are about decisions: right or wrong, and commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bci.recording.runs import RunRecord
from bci.report.facts.verdicts import Report
from bci.report.page import figures
from bci.report.page.html import MAX_ROWS, Child, Element, e, facts, figure, folded, icon, section, table, table_by_run
from bci.report.words import clock, count, listed, milliseconds, number, percent, seconds

N_AT_ONCE = 8  # commands that are shown; the others are folded


def score(r: Report, runs: Sequence[RunRecord]) -> Element | None:
    """Accuracy beside chance, trial by trial."""
    if not r["n_trials"]:
        return None
    verdict, classes = r["verdicts"][2], r["decoder_info"]["classes"]
    held_out = (r["decoder_info"]["held_out"] or {}).get("accuracy")
    strip = figures.trial_strip(r["trials"], classes, [_trial_words(t) for t in r["trials"]])
    left = e(
        "div",
        figures.score(r["score"], verdict["level"]),
        e("h3", "Trial by trial"),
        figure("Filled: right. Hollow or pale: another answer (✗), or none. The colour is that of the cue.", strip),
    )
    right = e(
        "div",
        table("By cue", {"cued": "", "trials": "n", "right": "n", "decided": ""}, _by_cue(r["trials"], classes)),
        facts(
            [
                ("accuracy", percent(r["accuracy"])),
                ("AUC", number(r["auc"])),
                ("without an answer", str(r["n_abstained"])),
                ("Cohen's kappa", number(r["kappa"], 2)),
                ("information rate", f"{number(r['itr_bits_per_min'], 2)} bits/min"),
                ("chance", percent(r["chance"])),
                *([("when trained, held out", percent(held_out))] if held_out is not None else []),
            ]
        ),
        class_="stack",
    )
    return section("Right or wrong", e("div", left, right, class_="cols"), lead=_how_scored(r))


def _how_scored(r: Report) -> str:
    verdict = r["verdicts"][2]
    answer = "Better than chance" if verdict["level"] == "ok" else verdict["answer"]
    whole = "" if r["is_scored_whole"] else " Runs with other classes are not counted."
    after = seconds(r["decoder_info"]["decide_at_s"])
    how = f"One decision a cue, {after} after it, by what the decoder had said up to then."
    if r["is_epoch_model"]:
        how = f"One decision a marker, from its own epoch, which ends {after} after it."
    return (
        f"{answer}. {how} Each trial is scored before anybody can learn from it; no accuracy on training data is shown."
        f"{_expired(r)}{whole}"
    )


def _expired(r: Report) -> str:
    if not r["n_expired"]:
        return ""
    reasons = Counter(x["reason"] for x in r["expired"])
    return f" {count(r['n_expired'], 'marker')} expired: {listed([reason for reason, _ in reasons.most_common()], 2)}."


def _by_cue(trials: Sequence[dict[str, Any]], classes: Sequence[str]) -> list[list[Child]]:
    rows: list[list[Child]] = []
    for name in classes:
        said = [t["said"] for t in trials if t["cued"] == name]
        counted = [f"{said.count(c)} × {c or 'no answer'}" for c in (*classes, None) if c in said]
        rows.append([name, str(len(said)), str(said.count(name)), listed(counted) or "–"])
    return rows


def _trial_words(t: dict[str, Any]) -> str:
    said = "no answer" if t["said"] is None else f"{t['said']} ({number(t['p'][t['said']])})"
    return f"{clock(t['t_s'])} cue {t['cued']}: {said}"


def commands(r: Report, runs: Sequence[RunRecord]) -> Element | None:
    """What was asked of the devices, and what went out."""
    if not r["n_commands"]:
        return None
    has_cues = r["n_false_commands"] is not None
    columns = {
        "time": "at", "command": "", "p": "n", "probability around it": "", **({"cue then": "w"} if has_cues else {}),
        "outcome": "w", "after": "n", "sent text, or reason": "t",
    }  # fmt: skip
    listed_ = r["commands"][:MAX_ROWS]
    n = N_AT_ONCE if len(listed_) > N_AT_ONCE + 4 else len(listed_)
    tables = [
        table_by_run(len(runs), caption, columns, some, lambda c: _cells(c, r, runs[c["run"] - 1], has_cues))
        for caption, some in (("In their order", listed_[:n]), (f"From number {n + 1} on", listed_[n:]))
        if some
    ]
    more = f"{r['n_commands'] - n} more" + (
        f"; report.json lists those after {MAX_ROWS}" if r["n_commands"] > MAX_ROWS else ""
    )
    return section("Commands", tables[0], [folded(more, t) for t in tables[1:]], lead=_how_sent(r))


def _how_sent(r: Report) -> str:
    text = (
        f"{count(r['n_commands'], 'command')} asked for by the gate, {r['n_commands_sent']} sent, "
        f"{r['n_commands_refused']} refused by the device host."
    )
    if delay := r["command_delay_ms"]:
        text += f" From asked to sent {milliseconds(delay['p50'])} (median), {milliseconds(delay['max'])} at most."
    if r["time_to_command_s"] is not None:
        text += f" From a cue to its first right command {seconds(r['time_to_command_s'])} (median)."
    return text + " The curves run from 2 s before to 1 s after; filled: how long the class was held."


def _cells(c: dict[str, Any], r: Report, run: RunRecord, has_cues: bool) -> list[Child]:
    level, word = {True: ("ok", "sent"), False: ("bad", "refused"), None: ("warn", "no answer")}[c["accepted"]]
    cue = [e("span", icon("warn" if c["is_false"] else "ok"), c["cued"] or "none")] if has_cues else []
    detail = e("code", "; ".join(c["sent"])) if c["sent"] else c["reason"] or "–"
    outcome = e("span", icon(level), word)
    return [
        clock(c["t_s"]), c["name"], number(c["p"], trim=False), _curve(c, r, run), *cue, outcome,
        milliseconds(c["delay_ms"]), detail,
    ]  # fmt: skip


def _curve(c: dict[str, Any], r: Report, run: RunRecord) -> Element | str:
    if c["name"] not in run.classes:
        return "–"
    is_epoch, gate = bool(run.is_epoch.any()), r["gate"]
    t_s = run.judged_s - run.start_s - c["t_s"]
    near = (t_s >= -figures.BEFORE_S) & (t_s <= figures.AFTER_S) & (run.is_epoch == is_epoch)
    p = np.nan_to_num(run.p[near, run.classes.index(c["name"])])
    colour = figures.colour(c["name"], run.classes)
    return figures.spark(t_s[near], p, gate["threshold"], gate["dwell_s"], colour, is_line=not is_epoch)
