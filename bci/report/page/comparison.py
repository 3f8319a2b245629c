"""The page that compares sessions: a picture with a column each, and the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bci.report.facts.comparison import Row, band, say, summary
from bci.report.page.figures import svg
from bci.report.page.html import Child, Element, e, figure, icon, page, section, table
from bci.report.words import count, milliseconds, number, percent, seconds, when


def comparison_page(c: dict[str, Any]) -> str:
    """The document, as text."""
    rows = c["sessions"]
    title = f"{c['subject'] or 'One person'}, {count(len(rows), 'session')}"
    times = dict.fromkeys(x for x in (when(rows[0]["started"]), when(rows[-1]["started"])) if x)
    head = e(
        "header",
        e("p", "Sessions compared", class_="eyebrow"),
        e("h1", title),
        e("p", " to ".join(times), class_="meta"),
    )
    words = e("div", (e("p", line) for line in summary(c)), class_="summary")
    lead = "A column a session, in the order of time. Grey: what guessing gives in 95 of 100 sessions of that length."
    caption = (
        "Filled dots are better than chance, hollow ones are not. Latency: from the median to 95 % of the decisions, "
        "sample to gate. Commands: those sent; the part that fits no cue is hollow."
    )
    end = "Made by rolandic from the recordings. Accuracy is that of the decisions as they were made in each session."
    picture = figure(caption, columns(rows), wide=True)
    return page(
        f"{title} · compared",
        head,
        words,
        section("Session by session", picture, lead=lead),
        section("In numbers", *_tables(rows)),
        e("footer", end),
    )


def _tables(rows: Sequence[Row]) -> list[Element]:
    decisions = {
        "session": "", "began": "w", "decoder": "", "trials": "n", "right": "n", "AUC": "n", "guessing gives": "n",
        "better than chance": "", "no answer": "n", "kappa": "n",
    }  # fmt: skip
    moved = {
        "session": "", "lasted": "n", "armed": "n", "asked": "n", "sent": "n", "refused": "n", "not as cued": "n",
        "a minute": "n",
    }  # fmt: skip
    came = {
        "session": "", "samples": "n", "missing": "n", "complete": "n", "gaps": "n", "stalls": "n", "median": "n",
        "95 %": "n", "too old": "n", "alarms": "n", "channels with a problem": "n",
    }  # fmt: skip
    return [
        table("Decisions", decisions, map(_decision_cells, rows)),
        table("Commands", moved, map(_command_cells, rows)),
        table("Signal and time", came, map(_signal_cells, rows)),
    ]


def _decision_cells(r: Row) -> list[Child]:
    better = e("span", icon(r["levels"]["chance"]), r["answers"]["chance"])
    return [
        r["session"], when(r["started"]), r["decoder"] or "–", str(r["n_trials"]), percent(r["accuracy"]),
        number(r["auc"]), band(r["score"]) if r["score"] else "–", better, str(r["n_abstained"]), number(r["kappa"], 2),
    ]  # fmt: skip


def _command_cells(r: Row) -> list[Child]:
    counts = (r[key] for key in ("n_commands", "n_commands_sent", "n_commands_refused", "n_false_commands"))
    asked = ["–" if n is None else str(n) for n in counts]
    return [
        r["session"],
        seconds(r["duration_s"]),
        seconds(r["armed_s"]),
        *asked,
        number(r["false_commands_per_min"], 2),
    ]


def _signal_cells(r: Row) -> list[Child]:
    latency = r["latency_ms"] or {"p50": None, "p95": None}
    return [
        r["session"], f"{r['n_samples']:,}", f"{r['n_missing_about']:,}", percent(r["completeness"], 2),
        str(r["n_gaps"]), str(r["n_late"]), milliseconds(latency["p50"]), milliseconds(latency["p95"]),
        "–" if r["n_too_old"] is None else str(r["n_too_old"]), str(r["n_alarms"]),
        f"{r['n_channels_with_a_problem']} of {r['n_channels']}",
    ]  # fmt: skip


# --- the picture -----------------------------------------------------------------------------------------------------

WIDTH, LEFT, LANE, SPACE = 1056.0, 150.0, 120.0, 38.0


def columns(rows: Sequence[Row]) -> Element:
    """Accuracy, completeness, latency and commands of each session, one below the other."""
    step = min((WIDTH - LEFT) / len(rows), 190.0)
    middles = [LEFT + step * (k + 0.5) for k in range(len(rows))]
    lanes = (_accuracy_lane, _complete_lane, _latency_lane, _command_lane)
    drawn = [
        e("g", lane(rows, middles, min(step * 0.5, 46.0)), transform=f"translate(0 {n * (LANE + SPACE) + 14:g})")
        for n, lane in enumerate(lanes)
    ]
    height = len(lanes) * (LANE + SPACE) + 22
    every = max(1, math.ceil(46 / step))
    names = [
        e("text", r["session"][: max(3, int(step * every / 7))], x=x, y=height - 8, class_="mid strong")
        for r, x in list(zip(rows, middles, strict=True))[::every]
    ]
    label = f"Accuracy, completeness, latency and commands of {count(len(rows), 'session')}"
    return svg(WIDTH, height, label, drawn, names)


def _frame(name: str, ticks: Sequence[tuple[float, str]], right: float) -> list[Element]:
    """Lines across a lane at shares (0 to 1) of its height, with their names."""
    drawn = [e("text", name, x=0, y=LANE / 2 + 4, class_="strong")]
    for share, word in ticks:
        y = LANE * (1 - share)
        drawn.append(e("line", x1=LEFT, x2=right, y1=y, y2=y, class_="axis"))
        drawn.append(e("text", word, x=LEFT - 10, y=y + 4, class_="end"))
    return drawn


def _bar(tip: str, x: float, width: float, low: float, high: float, class_: str) -> Element:
    """From one share of the lane's height to another."""
    height = max(LANE * (high - low), 1.0)
    top = LANE * (1 - low) - height
    return e("rect", e("title", tip), x=x - width / 2, width=width, y=top, height=height, rx=2, class_=class_)


def _accuracy_lane(rows: Sequence[Row], middles: Sequence[float], width: float) -> list[Child]:
    drawn: list[Child] = [_frame("right, or AUC", [(s, percent(s)) for s in (0, 0.5, 1)], middles[-1] + width)]
    for r, x in zip(rows, middles, strict=True):
        if (score := r["score"]) is None:
            drawn.append(e("text", "no cues", x=x, y=LANE / 2 - 4, class_="mid"))
            continue
        y, words = LANE * (1 - score["value"]), say(score)
        kind = "right" if score["kind"] == "accuracy" else "AUC"
        tip = f"{r['session']}: {words} {kind} of {count(r['n_trials'], 'trial')}; {r['answers']['chance']}"
        class_ = "f0" if r["levels"]["chance"] == "ok" else "hollow s0"
        low, high = score["band"]
        drawn.append(_bar(f"{r['session']}: guessing gives {band(score)}", x, width, low, high, "band"))
        drawn.append(e("circle", e("title", tip), cx=x, cy=y, r=6.5, class_=class_))
        drawn.append(e("text", words, x=x + 11, y=y + 4, class_="strong"))
    return drawn


def _complete_lane(rows: Sequence[Row], middles: Sequence[float], width: float) -> list[Child]:
    shares = [r["completeness"] for r in rows if r["completeness"] is not None]
    low = min([0.95, *(math.floor(20 * s) / 20 for s in shares)])
    drawn: list[Child] = [_frame("arrived", [(0, percent(low)), (1, percent(1.0))], middles[-1] + width)]
    for r, x in zip(rows, middles, strict=True):
        if r["completeness"] is None:
            continue
        share = (r["completeness"] - low) / (1 - low)
        tip = f"{r['session']}: {percent(r['completeness'], 2)}; anything lost? {r['answers']['lost']}"
        drawn.append(_bar(tip, x, width, 0, share, "f0 half"))
        if r["levels"]["lost"] != "ok":
            word = f"−{r['n_missing_about']:,}" if r["n_missing_about"] else r["answers"]["lost"]
            drawn.append(e("text", word, x=x, y=LANE * (1 - share) - 5, class_="mid strong"))
    return drawn


def _latency_lane(rows: Sequence[Row], middles: Sequence[float], width: float) -> list[Child]:
    found = [r["latency_ms"] for r in rows if r["latency_ms"]]
    low = math.floor(math.log10(max(min((x["p50"] for x in found), default=1.0), 1e-2)))
    high = max(math.ceil(math.log10(max((x["p95"] for x in found), default=10.0))), low + 1)

    def share(ms: float) -> float:
        return min(max((math.log10(max(ms, 1e-3)) - low) / (high - low), 0), 1)

    ticks = [(share(10.0**k), milliseconds(10.0**k)) for k in range(low, high + 1)]
    drawn: list[Child] = [_frame("latency", ticks, middles[-1] + width)]
    for r, x in zip(rows, middles, strict=True):
        if row := r["latency_ms"]:
            p50, p95, slowest = (milliseconds(row[key]) for key in ("p50", "p95", "max"))
            tip = f"{r['session']}: median {p50}, 95 % {p95}, slowest {slowest}"
            drawn.append(_bar(tip, x, width, share(row["p50"]), max(share(row["p95"]), share(row["p50"]) + 0.03), "f0"))
    return drawn


def _command_lane(rows: Sequence[Row], middles: Sequence[float], width: float) -> list[Child]:
    top = max([1, *(r["n_commands_sent"] for r in rows)])
    drawn: list[Child] = [_frame("commands", [(0, "0"), (1, str(top))], middles[-1] + width)]
    for r, x in zip(rows, middles, strict=True):
        n, false = r["n_commands_sent"], min(r["n_false_commands"] or 0, r["n_commands_sent"])
        tip = f"{r['session']}: {count(n, 'command')} sent"
        tip += f", {false} not as cued" if r["n_false_commands"] is not None else ""
        drawn.append(_bar(tip, x, width, 0, (n - false) / top, "f0"))
        if false:
            drawn.append(_bar(tip, x, width - 1.6, (n - false) / top, n / top, "hollow s0"))
        drawn.append(e("text", str(n), x=x, y=LANE * (1 - n / top) - 5, class_="mid strong"))
    return drawn
