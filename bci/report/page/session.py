"""The page of one session: the four answers, the picture, then the particulars. It shows numbers and computes none.

A part that a session does not have is None and left out. To add one, write a function from report and runs to a section
and put it into `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bci.recording.runs import RunRecord
from bci.report.facts.verdicts import Report
from bci.report.page.decisions import commands, score
from bci.report.page.html import Child, Element, e, icon, page, section
from bci.report.page.signal import alarms, latency, preflight, program, signal, streams
from bci.report.page.timeline import legend, timeline
from bci.report.words import count, listed, number, seconds, when


def session_page(report: Report, runs: Sequence[RunRecord]) -> str:
    """The document, as text."""
    return page(f"{_title(report)} · session report", [make(report, runs) for make in SECTIONS])


def _title(r: Report) -> str:
    return f"{r['subject']}, session {r['session']}" if r["subject"] else f"Session {r['session']}"


def heading(r: Report, runs: Sequence[RunRecord]) -> Element:
    """Whose session, when, what."""
    primary = next((s for s in r["streams"] if s["is_primary"]), None)
    what = [when(r["started"]), seconds(r["duration_s"])]
    if primary is not None:
        what.append(f"{primary['name']}: {count(primary['n_channels'], 'channel')} at {number(primary['sfreq_hz'])} Hz")
    if r["decoder"]:
        what.append(f"decoder {r['decoder']} ({' / '.join(r['decoder_info']['classes'])})")
    return e(
        "header",
        e("p", "Session report", class_="eyebrow"),
        e("h1", _title(r)),
        e("p", " · ".join(x for x in what if x), class_="meta"),
    )


def answers(r: Report, runs: Sequence[RunRecord]) -> Element:
    """Lost, late, chance, moved."""
    cards = (
        e(
            "li",
            e("h2", v["question"]),
            e("p", icon(v["level"]), v["answer"], class_="answer"),
            e("p", v["text"]),
            class_="verdict",
        )
        for v in r["verdicts"]
    )
    return e("ul", cards, class_="verdicts")


def picture(r: Report, runs: Sequence[RunRecord]) -> Element:
    """One timeline a run."""
    shown: list[Child] = []
    for n, run in enumerate(runs, 1):
        if len(runs) > 1:
            ended = r["runs"][n - 1]["ended_because"]
            how = f"ended because {ended}" if ended else "broke off"
            shown.append(e("h3", f"Run {n}, {when(run.parts[0].wall_time)}: {how}"))
        shown.append(e("div", timeline(run, r, n), class_="scroll"))
    classes = r["decoder_info"]["classes"]
    how = f" Above the middle {classes[0]} is more likely, below it {classes[1]}." if len(classes) == 2 else ""
    lead = f"Time since the start runs to the right.{how} Hold the pointer over anything for its words."
    if r["left_out"]:
        more = listed([f"{count(n, 'more entry', 'more entries')} of {key}" for key, n in r["left_out"].items()])
        lead += f" Not shown: {more}."
    return section("What happened", legend(r), shown, lead=lead)


def end(r: Report, runs: Sequence[RunRecord]) -> Element:
    """Where the numbers are from."""
    return e(
        "footer",
        "Made by rolandic from the recording. The same numbers, and more of them, are in report.json. ",
        f"Recording: {listed(r['recording_parts'])}.",
    )


SECTIONS: tuple[Callable[[Report, Sequence[RunRecord]], Element | None], ...] = (
    heading, answers, picture, score, commands, preflight, streams, latency, signal, alarms, program, end,
)  # fmt: skip
