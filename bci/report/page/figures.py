"""Figures as inline SVG: small functions from numbers to a drawing. Colours are classes of the style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.report.page.html import Element, e, short
from bci.report.words import milliseconds, number, percent

N_COLOURS = 6
FEW = 280  # trials that are shown large


def colour(name: str, classes: Sequence[str]) -> int:
    """Number of a class's colour; of a name that is no class, the first."""
    return classes.index(name) % N_COLOURS if name in classes else 0


def svg(width: float, height: float, label: str, *children: Any, class_: str | None = None) -> Element:
    """A drawing of this size in its own units; ``label`` is what somebody who does not see it is told."""
    return e(
        "svg", *children, viewBox=f"0 0 {short(width)} {short(height)}", role="img", aria_label=label, class_=class_
    )


def path_of(x: ArrayLike, y: ArrayLike) -> str:
    """A line through points, in steps of a tenth."""
    points = np.round(10 * np.column_stack([x, y])).astype(int)
    if not len(points):
        return ""
    steps = np.diff(points, axis=0).tolist()
    tenth = (f"{a / 10:g} {b / 10:g}" for a, b in steps)
    return f"M{points[0, 0] / 10:g} {points[0, 1] / 10:g}" + "".join(f"l{step}" for step in tenth)


def thinned(x: NDArray[np.float64], y: NDArray[np.float64], width: float) -> tuple[NDArray, NDArray]:
    """At most two points a column of a pixel, its lowest and highest, in their order: looks the same, is bounded."""
    if len(x) <= 2 * width:
        return x, y
    column = np.floor(x - x[0]).astype(int)
    keep: list[int] = []
    edges = np.flatnonzero(np.diff(column, prepend=-1, append=column[-1] + 1))
    for a, b in pairwise(edges.tolist()):
        keep += sorted({a + int(np.argmin(y[a:b])), a + int(np.argmax(y[a:b]))})
    return x[keep], y[keep]


def _ticks(places: Sequence[tuple[float, str]], y: float) -> list[Element]:
    """Words below an axis; the first and the last do not stick out."""
    last = len(places) - 1
    return [
        e("text", word, x=x, y=y, class_="end" if k == last else "mid" if k else None)
        for k, (x, word) in enumerate(places)
    ]


# --- right or wrong --------------------------------------------------------------------------------------------------


def score(found: dict[str, Any], level: str) -> Element:
    """Accuracy or AUC as a dot over the range that guessing gives."""
    left, width, y = 8.0, 604.0, 34.0
    value, chance, (low, high), kind = found["value"], found["chance"], found["band"], found["kind"]
    say = percent if kind == "accuracy" else (lambda x: number(x, 2, trim=False))

    def at(share: float) -> float:
        return left + width * share

    return svg(
        620, 86,
        f"{kind} {say(value)}; guessing gives {say(low)} to {say(high)}",
        e("line", x1=at(0), x2=at(1), y1=y, y2=y, class_="zero"),
        e("rect", x=at(low), width=at(high) - at(low), y=y - 9, height=18, rx=3, class_="band"),
        e("line", x1=at(chance), x2=at(chance), y1=y - 9, y2=y + 9, class_="dash"),
        e("text", "grey: what guessing gives", x=min(max(at((low + high) / 2), 74), 546), y=y + 46, class_="mid"),
        e("circle", cx=at(value), cy=y, r=7.5, class_=f"f{level}"),
        e("text", f"{kind} {say(value)}", x=min(max(at(value), 48), 572), y=y - 15, class_="mid strong"),
        _ticks([(at(s), say(s)) for s in (0, 0.25, 0.5, 0.75, 1)], y + 28),
    )  # fmt: skip


def trial_strip(trials: Sequence[dict[str, Any]], classes: Sequence[str], tips: Sequence[str]) -> Element:
    """One square a trial, in order: the colour of what was cued; hollow when another answer was given, or none.

    Few trials are large, with a cross in what was wrong and words for the pointer; many are small.
    """
    is_few = len(trials) <= FEW
    size, per_row, gap = (20.0, 28, 4.0) if is_few else (7.0, 80, 1.5)
    boxes = []
    for k, (trial, tip) in enumerate(zip(trials, tips, strict=True)):
        x, y, side = size * (k % per_row) + 1, size * (k // per_row) + 1, size - gap
        c, right = colour(trial["cued"], classes), trial["is_right"]
        class_ = f"f{c}" if right else f"hollow s{c}" if is_few else f"f{c} pale"
        box = e("rect", x=x, y=y, width=side, height=side, rx=3 if is_few else None, class_=class_)
        if is_few:
            cross = e("path", d=f"M{short(x + 4)} {short(y + 4)}l8 8m0 -8l-8 8", class_=f"line s{c}")
            box = e("g", e("title", tip), box, cross if not right and trial["said"] is not None else None)
        boxes.append(box)
    n_right = sum(t["is_right"] for t in trials)
    rows = math.ceil(len(trials) / per_row)
    return svg(size * per_row, size * rows, f"{n_right} of {len(trials)} trials right, in their order", boxes)


# --- how late --------------------------------------------------------------------------------------------------------


def latency_histogram(edges_ms: Sequence[float], counts: Sequence[int], marks: Sequence[tuple[float, str]]) -> Element:
    """How often which latency occurred, over a logarithmic scale; ``marks`` are (ms, name) of vertical lines."""
    width, height, base = 430.0, 250.0, 216.0
    low = math.floor(math.log10(min([edges_ms[0], *(m for m, _ in marks)])))
    high = math.ceil(math.log10(max([edges_ms[-1], *(m for m, _ in marks)])) + 1e-9)

    def at(ms: float) -> float:
        return 8 + (width - 16) * (math.log10(ms) - low) / max(high - low, 1)

    top = max(counts)
    bars = [
        e(
            "rect",
            e("title", f"{milliseconds(a)} to {milliseconds(b)}: {n} decisions"),
            x=at(a) + 0.5, width=max(at(b) - at(a) - 1, 1), y=base - 150 * n / top, height=150 * n / top, class_="f0",
        )
        for a, b, n in zip(edges_ms[:-1], edges_ms[1:], counts, strict=True) if n
    ]  # fmt: skip
    lines = []
    for k, (ms, name) in enumerate(sorted(marks)):
        x = at(ms)
        y = 14 + 16 * k
        anchor = "end" if x > width - 150 else None
        lines.append(e("line", x1=x, x2=x, y1=y + 4, y2=base, class_="dash"))
        lines.append(e("text", f"{name} {milliseconds(ms)}", x=x + (-4 if anchor else 4), y=y, class_=anchor))
    return svg(
        width, height, "Histogram of the time from the last sample of a decision to the decision",
        bars, lines,
        e("line", x1=8, x2=width - 8, y1=base, y2=base, class_="zero"),
        _ticks([(at(10.0**k), milliseconds(10.0**k)) for k in range(low, high + 1)], base + 18),
    )  # fmt: skip


def range_bar(row: dict[str, float], low_ms: float, high_ms: float) -> Element:
    """Median to 95 % of one stage as a bar, to its slowest as a line, on a logarithmic scale that all stages share."""

    def at(ms: float) -> float:
        span = math.log(high_ms / low_ms) or 1.0
        return 2 + 156 * min(max(math.log(max(ms, low_ms) / low_ms) / span, 0), 1)

    return e(
        "svg",
        e("line", x1=at(row["p50"]), x2=at(row["max"]), y1=7, y2=7, class_="line s0 half"),
        e("rect", x=at(row["p50"]), width=max(at(row["p95"]) - at(row["p50"]), 3), y=3, height=8, rx=2, class_="f0"),
        viewBox="0 0 160 14", width=160, height=14, aria_hidden="true",
    )  # fmt: skip


# --- signal quality --------------------------------------------------------------------------------------------------


def head(channels: Sequence[dict[str, Any]], tips: Sequence[str]) -> Element | None:
    """The sensors from above, nose up: the darker, the larger its signal; those with a problem in red.

    None when fewer than three have a place.
    """
    placed = [(c, tip) for c, tip in zip(channels, tips, strict=True) if c["position_m"] is not None]
    if len(placed) < 3:
        return None
    size, centre, radius = 360.0, 180.0, 138.0
    is_crowded = len(placed) > 80
    sizes: dict[str, list[float]] = {}
    for channel, _ in placed:
        sizes.setdefault(channel["unit"], []).append(channel["amplitude"] or 0.0)
    dots = []
    for channel, tip in sorted(placed, key=lambda pair: bool(pair[0]["problems"])):
        x, y, z = channel["position_m"]
        flat = math.hypot(x, y)
        angle = math.atan2(flat, z) / (math.pi / 2)  # 1 at the height of the ears
        across = radius * min(angle, 1.2) / flat if flat else 0.0
        cx, cy, bad = centre + across * x, centre - across * y, bool(channel["problems"])
        dots.append(
            e(
                "g",
                e("title", tip),
                e("circle", cx=cx, cy=cy, r=4 if is_crowded else 10.5, class_="dot"),
                e("circle", cx=cx, cy=cy, r=4 if is_crowded else 10.5, class_="fbad" if bad else "f0",
                  fill_opacity=None if bad else _shade(channel["amplitude"], sizes[channel["unit"]])),
                None if is_crowded else
                e("text", channel["label"], x=cx, y=cy + 2.8, class_="mid on tiny" if bad else "mid tiny"),
            )
        )  # fmt: skip
    n_bad = sum(bool(c["problems"]) for c, _ in placed)
    return svg(
        size, size, f"{len(placed)} sensors seen from above; {n_bad} with a problem",
        e("path", d=f"M{centre - 15:g} {centre - radius + 3:g}L{centre:g} {centre - radius - 17:g}"
                    f"L{centre + 15:g} {centre - radius + 3:g}", class_="zero"),
        e("path", d=f"M{centre - radius:g} {centre - 24:g}q-12 24 0 48M{centre + radius:g} {centre - 24:g}q12 24 0 48",
          class_="zero"),
        e("circle", cx=centre, cy=centre, r=radius, class_="plate"),
        dots,
    )  # fmt: skip


def _shade(amplitude: float | None, peers: Sequence[float]) -> float:
    """0.05 for half of the typical amplitude or less, 0.55 for twice as much or more."""
    typical = float(np.median(peers))
    octaves = math.log2(amplitude / typical) if amplitude and typical else -1.0
    return 0.3 + 0.25 * min(max(octaves, -1.0), 1.0)


# --- commands --------------------------------------------------------------------------------------------------------

BEFORE_S, AFTER_S = 2.0, 1.0


def spark(
    t_s: NDArray[np.float64],
    p: NDArray[np.float64],
    threshold: float | None,
    dwell_s: float,
    c: int,
    is_line: bool = True,
) -> Element:
    """The probability of a command's class around it (0 s): the stretch that it was held is filled.

    ``is_line`` is False for a model that answers markers: its answers are single points.
    """
    width, height = 150.0, 30.0

    def x_of(t: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(width * (np.asarray(t) + BEFORE_S) / (BEFORE_S + AFTER_S))

    shown = [*p[np.isfinite(p)].tolist(), *([] if threshold is None else [threshold]), 0.5]
    low, high = min(shown) - 0.02, max(shown) + 0.02

    def y_of(value: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(2 + (height - 4) * (high - np.asarray(value)) / (high - low))

    is_held = (t_s >= -dwell_s - 1e-6) & (t_s <= 1e-6)
    x, y = x_of(t_s), y_of(p)
    held = ""
    if is_line and is_held.sum() > 1:
        held = f"{path_of(x[is_held], y[is_held])}V{short(height)}H{short(float(x[is_held][0]))}Z"
    points = (f"M{short(float(a))} {short(float(b))}h0" for a, b in zip(x, y, strict=True))
    curve = path_of(x, y) if is_line else "".join(points)
    return e(
        "svg",
        e("path", d=held, class_=f"f{c} pale") if held else None,
        e("line", x1=0, x2=width, y1=float(y_of(threshold)), y2=float(y_of(threshold)), class_="dash")
        if threshold is not None else None,
        e("line", x1=float(x_of(0)), x2=float(x_of(0)), y1=0, y2=height, class_="zero"),
        e("path", d=curve, class_=f"line s{c}" if is_line else f"dots s{c}"),
        viewBox=f"0 0 {short(width)} {short(height)}", width=150, height=30, role="img",
        aria_label=f"probability from {number(BEFORE_S)} s before to {number(AFTER_S)} s after",
    )  # fmt: skip
