"""The course of a run as one picture: cues, what the decoder said, commands, gate, trouble, gaps; on one time axis.

A long run is broken into rows, like lines of music. With two classes one line tells all: above the middle the first is
more likely, below it the second. With more, each class has its line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.recording.runs import RunRecord
from bci.report.facts import course
from bci.report.page.figures import N_COLOURS, colour, path_of, svg, thinned
from bci.report.page.html import Element, e, short
from bci.report.words import clock, number, percent, seconds

WIDTH, LEFT, RIGHT = 1056.0, 76.0, 38.0
PLOT = WIDTH - LEFT - RIGHT
ROWS_S = (20, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 14400)
MAX_ROWS = 10
MANY = 400  # cues or commands of a run: so many have no words of their own in the picture
SINGLE_S = 180.0  # up to this a run stands in one row
# lanes of a row: (top, height)
CUES, CHANCES, COMMANDS, GATE, TROUBLE = (2.0, 18.0), (26.0, 120.0), (151.0, 16.0), (174.0, 10.0), (192.0, 10.0)
AXIS_Y, ROW = 210.0, 250.0
_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_BREAK = 3.5  # hops: a longer hole in the predictions is not drawn over


@dataclass(frozen=True)
class Scale:
    """Time of one row, in s of the LSL clock, to x."""

    from_s: float
    until_s: float

    def x(self, t_s: Any) -> Any:
        """May lie outside of the row."""
        return LEFT + PLOT * (np.asarray(t_s) - self.from_s) / (self.until_s - self.from_s)

    def clip(self, from_s: float, until_s: float) -> tuple[float, float] | None:
        """X and width of the part of a stretch that lies in this row; at least a pixel wide."""
        a, b = max(from_s, self.from_s), min(until_s, self.until_s)
        if b < self.from_s or a > self.until_s or b < a:
            return None
        return float(self.x(a)), max(float(self.x(b) - self.x(a)), 1.0)

    def has(self, t_s: float) -> bool:
        """Whether a moment lies in this row."""
        return self.from_s <= t_s < self.until_s


def row_length_s(duration_s: float) -> float:
    """How much time a row holds."""
    if duration_s <= SINGLE_S:
        return max(duration_s, 1.0)
    row_s = next((r for r in ROWS_S if r >= SINGLE_S / 2 and duration_s <= MAX_ROWS * r), duration_s / MAX_ROWS)
    n_rows = round(duration_s / row_s)
    if 0 < duration_s - n_rows * row_s < 0.1 * row_s:  # no row for the rest of some seconds
        return duration_s / n_rows
    return float(row_s)


def timeline(run: RunRecord, report: dict[str, Any], number_: int) -> Element:
    """Draw run ``number_`` (from 1) with the trials, commands, gaps and alarms that ``report`` lists of it."""
    start_s, end_s = run.start_s, run.end_s
    row_s = row_length_s(end_s - start_s)
    n_rows = max(1, int(np.ceil((end_s - start_s) / row_s - 1e-9)))
    states = course.gate_states(run, start_s, end_s)
    mine = {
        key: [x for x in report[key] if x["run"] == number_]
        for key in ("trials", "commands", "gaps", "alarms", "notes")
    }
    rows = []
    for k in range(n_rows):
        scale = Scale(start_s + k * row_s, start_s + (k + 1) * row_s)
        drawn = [
            *_gaps(scale, mine["gaps"], start_s),
            *_cues(scale, mine["trials"], run.classes, report, start_s),
            *_probabilities(scale, run, report),
            *_commands(scale, mine["commands"], run.classes, start_s),
            *_gate(scale, states),
            *_alarms(scale, mine["alarms"], start_s),
            *_notes(scale, mine["notes"], start_s),
            *_axis(scale, start_s, min(end_s, scale.until_s)),
        ]
        rows.append(e("g", drawn, transform=f"translate(0 {short(k * ROW)})" if k else None))
    label = (
        f"Course of the session over {seconds(end_s - start_s)}: cues, probabilities, commands, gate, trouble and gaps"
    )
    return svg(WIDTH, n_rows * ROW - 8, label, rows)


# --- lanes -----------------------------------------------------------------------------------------------------------


_GAPS = {  # verdict -> on the picture, for the pointer
    "late": ("late", "nothing arrived; the samples came afterwards"),
    "lost": ("lost", "lost"),
    "unknown": ("missing", "missing; how much cannot be counted"),
}


def _gaps(scale: Scale, gaps: Sequence[dict[str, Any]], start_s: float) -> list[Element]:
    drawn: list[Element | None] = []
    named = 0.0  # where the last words stand
    for gap in gaps:
        # of a clock that jumped, the length says nothing about the time in which nothing arrived
        duration_s = gap["duration_s"] if gap["n_about"] is not None else 0.0
        end_s = start_s + gap["t_s"]
        at = scale.clip(end_s - duration_s, end_s)
        if not gap["is_primary"] or at is None:
            continue
        on_picture, words = _GAPS[gap["verdict"]]
        n = f", {gap['n']} samples" if gap["n"] else ""
        why = f" ({gap['reason']})" if gap["reason"] else ""
        word = f"{seconds(duration_s)} {on_picture}"
        drawn.append(_box(at, (0.0, AXIS_Y), "gap", f"{seconds(duration_s)}{n}: {words}{why}"))
        middle = at[0] + at[1] / 2
        if at[1] > 12 and middle - named > 8 * len(word):  # room for its words, which may stick out of it
            named = middle
            drawn.append(e("text", word, x=middle, y=CHANCES[0] + 14, class_="mid strong halo"))
    return [each for each in drawn if each is not None]


def _cues(
    scale: Scale, trials: Sequence[dict[str, Any]], classes: tuple[str, ...], report: dict[str, Any], start_s: float
) -> list[Element]:
    drawn = [_lane_label("cue", CUES)] if trials else []
    if len(trials) > MANY:
        return drawn + _cue_ticks(scale, trials, classes, start_s)
    decide_s = report["decoder_info"]["decide_at_s"]
    following = [*(t["t_s"] for t in trials[1:]), math.inf]
    for trial, next_s in zip(trials, following, strict=False):
        cue_s, name, is_right = start_s + trial["t_s"], trial["cued"], trial["is_right"]
        if (at := scale.clip(cue_s, min(cue_s + decide_s, start_s + next_s))) is None:
            continue
        c = colour(name, classes)
        sign, result = ("✓", "right") if is_right else ("✗", f"wrong: {trial['said']}")
        if trial["said"] is None:
            sign, result = "–", "no answer"
        on, y = ("on" if is_right else f"f{c} small"), CUES[0] + 13
        drawn.append(
            e(
                "g",
                e("title", f"{clock(trial['t_s'])} cue {name}; decided after {seconds(decide_s)}: {result}"),
                _box(at, CUES, f"f{c}" if is_right else f"hollow s{c}", rx=3),
                e("text", name, x=at[0] + 5, y=y, class_=on) if at[1] > 20 + 6.2 * len(name) else None,
                e("text", sign, x=at[0] + at[1] - 4, y=y, class_=f"end {on}") if at[1] > 14 else None,
            )
        )
    return drawn


def _cue_ticks(
    scale: Scale, trials: Sequence[dict[str, Any]], classes: tuple[str, ...], start_s: float
) -> list[Element]:
    """So many cues have no words: a line each, short where the answer was wrong."""
    ticks: dict[int, str] = {}
    for trial in trials:
        if scale.has(start_s + trial["t_s"]):
            c, height = colour(trial["cued"], classes), CUES[1] if trial["is_right"] else CUES[1] / 2
            x = float(scale.x(start_s + trial["t_s"]))
            ticks[c] = ticks.get(c, "") + f"M{short(x)} {short(CUES[0] + CUES[1])}v-{short(height)}"
    return [e("path", d=d, class_=f"line s{c}") for c, d in ticks.items()]


@dataclass(frozen=True)
class Chances:
    """Probability to y. Two classes: about one half, as far as something happens; else from 0 to 1."""

    low: float
    high: float

    @classmethod
    def of(cls, run: RunRecord, threshold: float | None) -> Chances:
        """The part of the scale that a run needs, the same in all its rows."""
        if len(run.classes) != 2:
            return cls(0.0, 1.0)
        p = run.p[run.is_trusted, 0]
        seen = float(np.abs(p[np.isfinite(p)] - 0.5).max(initial=0.1))
        reach = min(0.5, 1.15 * max(seen, abs((threshold or 0.5) - 0.5)))
        return cls(0.5 - reach, 0.5 + reach)

    def y(self, p: Any) -> Any:
        """From the top of the row."""
        top, height = CHANCES
        return top + height * (self.high - np.clip(np.asarray(p), self.low, self.high)) / (self.high - self.low)


def _probabilities(scale: Scale, run: RunRecord, report: dict[str, Any]) -> list[Element]:
    top, height = CHANCES
    drawn = [e("rect", x=LEFT, y=top, width=PLOT, height=height, class_="axis")]
    threshold, is_two = report["gate"]["threshold"], len(run.classes) == 2
    chances = Chances.of(run, threshold)
    for value in ([threshold, 1 - threshold] if is_two else [threshold]) if threshold is not None else ():
        y = float(chances.y(value))
        drawn.append(e("line", x1=LEFT, x2=LEFT + PLOT, y1=y, y2=y, class_="dash"))
        drawn.append(e("text", percent(threshold), x=LEFT + PLOT + 6, y=y + 4))
    if is_two:
        y = float(chances.y(0.5))
        drawn.append(e("line", x1=LEFT, x2=LEFT + PLOT, y1=y, y2=y, class_="zero"))
    for k, name in enumerate(run.classes):
        y = (top + 9 if k == 0 else top + height - 1) if is_two else top + 12 + 14 * k
        if y < top + height:
            drawn.append(e("text", _cut(name, 11), x=LEFT - 8, y=y, class_=f"end name f{colour(name, run.classes)}"))
    is_epoch = bool(run.is_epoch.any())
    is_here = (
        (run.stamp_s >= scale.from_s) & (run.stamp_s < scale.until_s) & run.is_trusted & (run.is_epoch == is_epoch)
    )
    x, p = scale.x(run.stamp_s[is_here]), np.nan_to_num(run.p[is_here])
    if is_epoch:
        return drawn + _points(x, p, chances)
    step_s = float(np.median(np.diff(run.stamp_s))) if len(run.hops) > 1 else 1.0
    ends = np.flatnonzero(np.diff(run.stamp_s[is_here]) > _BREAK * step_s) + 1
    for part_x, part_p in zip(np.split(x, ends), np.split(p, ends), strict=True):
        if len(part_x):
            drawn += _lines(part_x, part_p, chances)
    return drawn


def _points(x: NDArray[np.float64], p: NDArray[np.float64], chances: Chances) -> list[Element]:
    """Answers to markers: each a stem from the middle (two classes), or a point a class."""
    if p.shape[1] != 2:
        shapes = [
            [f"M{short(a)} {short(b)}h0" for a, b in zip(x, chances.y(p[:, k]), strict=True)] for k in range(p.shape[1])
        ]
        return [e("path", d="".join(shape), class_=f"dots s{k % N_COLOURS}") for k, shape in enumerate(shapes) if shape]
    middle = short(float(chances.y(0.5)))
    sides = (p[:, 0] >= 0.5, p[:, 0] < 0.5)
    shapes = [
        "".join(f"M{short(a)} {middle}V{short(b)}" for a, b in zip(x[side], chances.y(p[side, 0]), strict=True))
        for side in sides
    ]
    return [e("path", d=shape, class_=f"line s{k}") for k, shape in enumerate(shapes) if shape]


def _lines(x: NDArray[np.float64], p: NDArray[np.float64], chances: Chances) -> list[Element]:
    if p.shape[1] != 2:
        lines = (thinned(x, chances.y(p[:, k]), PLOT) for k in range(p.shape[1]))
        return [e("path", d=path_of(*line), class_=f"line s{k % N_COLOURS}") for k, line in enumerate(lines)]
    xs, ys = thinned(x, chances.y(p[:, 0]), PLOT)
    middle = float(chances.y(0.5))
    return [_area(xs, side(ys, middle), middle, k) for k, side in enumerate((np.minimum, np.maximum))]


def _area(x: NDArray[np.float64], y: NDArray[np.float64], middle: float, k: int) -> Element:
    """Between a line on one side of the middle and the middle; where it runs along it, its ends are enough."""
    away = np.concatenate([[True], y != middle, [True]])
    keep = away[:-2] | away[1:-1] | away[2:]
    d = f"{path_of(x[keep], y[keep])}V{short(middle)}H{short(float(x[0]))}Z"
    return e("path", d=d, class_=f"f{k} half")


def _commands(
    scale: Scale, commands: Sequence[dict[str, Any]], classes: tuple[str, ...], start_s: float
) -> list[Element]:
    drawn = [_lane_label("command", COMMANDS)]
    top, height = COMMANDS
    for command in commands:
        if not scale.has(start_s + command["t_s"]):
            continue
        x, c = float(scale.x(start_s + command["t_s"])), colour(command["name"], classes)
        is_up = len(classes) != 2 or command["name"] == classes[0]
        foot, tip = (top + height, top + 3) if is_up else (top, top + height - 3)
        shape = f"M{short(x - 5.5)} {short(foot)}L{short(x)} {short(tip)}L{short(x + 5.5)} {short(foot)}Z"
        words = e("title", _command_words(command)) if len(commands) <= MANY else None
        drawn.append(e("path", words, d=shape, class_=f"f{c}" if command["accepted"] else f"hollow s{c}"))
    return drawn


def _command_words(c: dict[str, Any]) -> str:
    outcome = {True: "sent", False: f"refused ({c['reason']})", None: "no answer"}[c["accepted"]]
    return f"{clock(c['t_s'])} {c['name']}, p = {number(c['p'])}: {outcome}"


_WITHIN = {"dwell": "fok half", "refractory": "fok"}  # holding; the pause after a command
_INSTEAD = {"recovering": ("fwarn", "coming back after trouble"), "stopped": ("fbad", "stopped")}


def _gate(scale: Scale, states: Sequence[course.Stretch]) -> list[Element]:
    """Armed or not, and why not; holding and pausing have no words of their own, for there may be thousands."""
    drawn = [_lane_label("armed", GATE), _box((LEFT, PLOT), GATE, "ffaint")]
    for from_s, until_s in course.armed(list(states)):
        drawn.append(_box(scale.clip(from_s, until_s), GATE, "fok pale", f"armed for {seconds(until_s - from_s)}"))
    for state, class_ in _WITHIN.items():
        at = [scale.clip(s.from_s, s.until_s) for s in states if s.state == state]
        shape = "".join(f"M{short(x)} {GATE[0]:g}h{short(w)}v{GATE[1]:g}h-{short(w)}z" for x, w in filter(None, at))
        drawn.append(e("path", d=shape, class_=class_) if shape else None)
    for s in states:
        if s.state in _INSTEAD:
            class_, word = _INSTEAD[s.state]
            tip = f"{word} for {seconds(s.until_s - s.from_s)}: {'; '.join(s.reasons)}"
            drawn.append(_box(scale.clip(s.from_s, s.until_s), GATE, class_, tip))
    return [each for each in drawn if each is not None]


def _alarms(scale: Scale, alarms: Sequence[dict[str, Any]], start_s: float) -> list[Element]:
    drawn = [_lane_label("trouble", TROUBLE), _box((LEFT, PLOT), TROUBLE, "ffaint")]
    for alarm in alarms:
        from_s = start_s + alarm["t_s"]
        tip = f"{clock(alarm['t_s'])} for {seconds(alarm['duration_s'])}: {'; '.join(alarm['reasons'])}"
        drawn.append(_box(scale.clip(from_s, from_s + alarm["duration_s"]), TROUBLE, f"f{alarm['level']}", tip))
    return [each for each in drawn if each is not None]


def _box(
    at: tuple[float, float] | None,
    lane: tuple[float, float],
    class_: str,
    tip: str | None = None,
    rx: int | None = None,
) -> Element | None:
    """A stretch of a lane; None if it lies in another row."""
    if at is None:
        return None
    words = e("title", tip) if tip else None
    return e("rect", words, x=at[0], width=at[1], y=lane[0], height=lane[1], rx=rx, class_=class_)


def _notes(scale: Scale, notes: Sequence[dict[str, Any]], start_s: float) -> list[Element]:
    """A tick on the axis for what people asked or noted."""
    drawn = []
    for note in notes:
        if scale.has(start_s + note["t_s"]):
            x = float(scale.x(start_s + note["t_s"]))
            text = f": {note['text']}" if note["text"] else ""
            tip = f"{clock(note['t_s'])} {note['action']}{text}" + (f" (by {note['by']})" if note["by"] else "")
            shape = f"M{short(x - 4)} {short(AXIS_Y + 5)}h8L{short(x)} {short(AXIS_Y - 2)}Z"
            drawn.append(e("path", e("title", tip), d=shape, class_="fink"))
    return drawn


def _axis(scale: Scale, start_s: float, end_s: float) -> list[Element]:
    step_s = next((t for t in _TICKS_S if PLOT * t / (scale.until_s - scale.from_s) >= 62), _TICKS_S[-1])
    last = float(scale.x(end_s))
    drawn = [e("line", x1=LEFT, x2=last, y1=AXIS_Y, y2=AXIS_Y, class_="zero")]
    first = int(np.ceil((scale.from_s - start_s) / step_s - 1e-9))
    for k in range(first, int((end_s - start_s) / step_s + 1e-9) + 1):
        x = float(scale.x(start_s + k * step_s))
        drawn.append(e("line", x1=x, x2=x, y1=AXIS_Y, y2=AXIS_Y + 4, class_="zero"))
        drawn.append(e("text", clock(k * step_s).removesuffix(".0"), x=x, y=AXIS_Y + 18, class_="mid"))
    return drawn


def _lane_label(text: str, lane: tuple[float, float]) -> Element:
    return e("text", text, x=LEFT - 8, y=lane[0] + lane[1] / 2 + 4, class_="end")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def legend(report: dict[str, Any]) -> Element:
    """What the signs mean, of those that appear."""

    def sign(class_: str, shape: str = "M1 2h14v8h-14z") -> Element:
        return e("svg", e("path", d=shape, class_=class_), viewBox="0 0 16 12", aria_hidden="true")

    entries = []
    if report["trials"]:
        entries += [(sign("f0"), "cue, decided right"), (sign("hollow s0"), "decided wrong (✗) or not at all (–)")]
    area, line = sign("f0 half", "M0 12C4 2 8 8 16 1V12Z"), sign("line s0", "M0 11C4 2 8 8 16 1")
    is_two = len(report["decoder_info"]["classes"]) == 2
    what = "probability of each answer to a marker" if report["is_epoch_model"] else "probability"
    entries.append((area if is_two else line, f"{what}, trusted predictions only"))
    if report["gate"]["threshold"] is not None:
        entries.append((sign("dash", "M0 6h16"), f"threshold {percent(report['gate']['threshold'])}"))
    if report["commands"]:
        entries += [(sign("f0", "M8 1l6 10h-12z"), "command sent")]
    if any(not c["accepted"] for c in report["commands"]):
        entries += [(sign("hollow s0", "M8 1l6 10h-12z"), "command refused")]
    if any(g["is_primary"] for g in report["gaps"]):
        entries.append((sign("gap"), "nothing arrived"))
    if report["armed_s"]:
        entries += [(sign("fok pale"), "armed"), (sign("fok"), "holding, pause after a command")]
    if report["alarms"]:
        entries.append((sign("fbad"), "trouble: neutral"))
    if report["notes"]:
        entries.append((sign("fink", "M3 11h10L8 2Z"), "control or note"))
    return e("ul", (e("li", drawing, word) for drawing, word in entries), class_="key")
