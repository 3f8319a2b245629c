"""HTML and SVG as a tree: whatever comes from outside becomes text or an attribute, never markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bci.recording.xdf import clean_xml
from bci.report.page.style import STYLE

Element = ET.Element
MAX_ROWS = 200
Child = str | Element | None | Iterable["Child"]


def e(tag: str, *children: Child, **attributes: Any) -> Element:
    """An element. In names of attributes ``_`` stands for ``-``, and one at the end is left out (``class_``).

    Children are text, elements, or iterables of them; None is nothing, neither as a child nor as an attribute.
    Numbers in attributes are written short: a hundredth of a pixel is enough.
    """
    node = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            node.set(name.rstrip("_").replace("_", "-") if name != "viewBox" else name, _attribute(value))
    for child in children:
        _append(node, child)
    return node


def _attribute(value: Any) -> str:
    return short(value) if isinstance(value, float) else clean_xml(str(value))


def short(value: float) -> str:
    """A coordinate, without digits that nobody sees."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def _append(node: Element, child: Child) -> None:
    if child is None:
        return
    if isinstance(child, Element):
        node.append(child)
    elif isinstance(child, str):
        text = clean_xml(child)
        if len(node):
            node[-1].tail = (node[-1].tail or "") + text
        else:
            node.text = (node.text or "") + text
    else:
        for each in child:
            _append(node, each)


def page(title: str, *body: Child) -> str:
    """A whole document that needs nothing but itself."""
    head = e(
        "head",
        e("meta", charset="utf-8"),
        e("meta", name="viewport", content="width=device-width, initial-scale=1"),
        e("meta", name="color-scheme", content="light dark"),
        # nothing is fetched, whatever a stream is called
        e("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        e("title", title),
        e("style", STYLE),
    )
    document = e("html", head, e("body", e("main", *body)), lang="en")
    return "<!doctype html>\n" + ET.tostring(document, encoding="unicode", method="html") + "\n"


def section(title: str, *children: Child, lead: Child = None) -> Element:
    """A part of the page with its heading, and a sentence that says what is to be seen."""
    return e("section", e("h2", title), e("p", lead, class_="lead") if lead is not None else None, *children)


def table(caption: str, columns: dict[str, str], rows: Iterable[Iterable[Child]], class_: str | None = None) -> Element:
    """A table that a screen reader can read. ``columns``: heading -> class of the column ("" or "n" for numbers)."""
    classes = list(columns.values())
    head = e("tr", (e("th", name, scope="col", class_=c or None) for name, c in columns.items()))
    body = (
        e("tr", (
            e("th", cell, scope="row", class_=c or None) if k == 0 else e("td", cell, class_=c or None)
            for k, (cell, c) in enumerate(zip(row, classes, strict=True))
        ))
        for row in rows
    )  # fmt: skip
    inner = e("table", e("caption", caption), e("thead", head), e("tbody", body), class_=class_)
    return e("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def table_by_run(
    n_runs: int,
    caption: str,
    columns: dict[str, str],
    items: Sequence[dict[str, Any]],
    cells: Callable[[dict[str, Any]], list[Child]],
) -> Element:
    """A table of what a report lists, at most `MAX_ROWS`; says of which run each is when there are several."""
    if len(items) > MAX_ROWS:
        caption = f"{caption}: the first {MAX_ROWS} of {len(items)}; report.json has more"
    rows = ([*([str(item["run"])] if n_runs > 1 else []), *cells(item)] for item in items[:MAX_ROWS])
    return table(caption, {**({"run": "at"} if n_runs > 1 else {}), **columns}, rows)


def facts(pairs: Iterable[tuple[str, Child]]) -> Element:
    """Names and values."""
    return e("dl", (e("div", e("dt", name), e("dd", value)) for name, value in pairs), class_="facts")


def folded(summary: str, *children: Child) -> Element:
    """What most people need not see."""
    return e("details", e("summary", summary), *children)


def figure(caption: Child, drawing: Element, wide: bool = False) -> Element:
    """A drawing with what it shows."""
    box = e("div", drawing, class_="scroll") if wide else drawing
    return e("figure", box, e("figcaption", caption))


def icon(level: str) -> Element:
    """A sign for ok, warn, bad, or none, which differs in shape and not in colour only."""
    strokes = {"ok": "M5 10.5 8.5 14 15 6.5", "warn": "M10 5v6.5M10 14.6v.4", "bad": "M6 6l8 8M14 6l-8 8"}
    return e(
        "svg",
        e("circle", cx=10, cy=10, r=9),
        e("path", d=strokes.get(level, "M6 10h8")),
        viewBox="0 0 20 20", class_=f"icon {level}", aria_hidden="true",
    )  # fmt: skip
