"""What a report's page must be: one whole HTML document that needs nothing else, and that can be read without eyes."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "br", "hr", "img", "input", "link"}
OUTSIDE = re.compile(r"^\s*(?:https?:|ftp:|file:|javascript:|//)|url\(|@import|data:", re.IGNORECASE)
REFERENCES = ("src", "href", "xlink:href", "action", "data", "poster", "srcset", "style")


class _Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.problems, self.open, self.text, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"<{tag}> has an attribute twice")
        if tag in ("script", "link", "iframe", "object", "embed", "img", "base", "form"):
            self.problems.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on"):
                self.problems.append(f"<{tag} {name}>")
            if name in REFERENCES and OUTSIDE.search(value or ""):
                self.problems.append(f"<{tag} {name}={value!r}> leads outside")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.problems.append(f"<{tag}/> is no end in HTML")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes another")

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] == "style" and OUTSIDE.search(data):
            self.problems.append("the style sheet leads outside")


def _parsed(html):
    page = _Page()
    page.feed(html)
    page.close()
    return page


def problems(html):
    """Everything that is wrong with a page."""
    page = _parsed(html)
    found = page.problems + [f"<{tag}> is left open" for tag in page.open]
    if not html.lower().startswith("<!doctype html>"):
        found.append("no doctype")
    for tag, attributes in page.tags:
        if tag == "svg" and not (attributes.get("aria-label") or attributes.get("aria-hidden") == "true"):
            found.append("a drawing says nothing")
        if tag == "th" and "scope" not in attributes:
            found.append("a heading of a table without a scope")
        if any(
            "nan" in (attributes.get(name) or "").lower() for name in ("d", "x", "y", "cx", "cy", "width", "height")
        ):
            found.append(f"<{tag}> is nowhere: {attributes}")
    tags = [tag for tag, _ in page.tags]
    if tags.count("table") != tags.count("caption"):
        found.append("a table without a caption")
    if tags.count("h1") != 1:
        found.append(f"{tags.count('h1')} h1")
    return found


def text_of(html):
    """What is to be read, drawings and their tips included, in one line; no-break spaces as spaces."""
    page = _parsed(html)
    return re.sub(r"\s+", " ", " ".join(page.text)).replace("\u00a0", " ")


def headings(html):
    """The parts of a page."""
    return [re.sub(r"<[^>]+>", "", h) for h in re.findall(r"<section><h2>(.*?)</h2>", html)]


FULLER = {"recording", "recording_parts", "streams", "gaps", "preflight"}  # keys that say more in report.json


def reported(session: Path, told: dict[str, Any], is_whole: bool = True) -> dict[str, Any]:
    """The report in a session's folder, its page checked; of a whole recording with the numbers that the run told."""
    report = json.loads((session / "report.json").read_text())
    html = (session / "report.html").read_text()
    assert problems(html) == []
    assert report["verdicts"][0]["text"].split(".")[0].replace("\u00a0", " ") in text_of(html)
    if is_whole:
        same = (told.keys() & report.keys()) - FULLER
        assert len(same) > 25
        assert {key: report[key] for key in same} == {key: told[key] for key in same}
    return report
