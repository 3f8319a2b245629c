"""The page of a report: whole, self-contained, with nothing from outside in it but text; and what it says."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.recording.folder import SessionFolder
from bci.recording.runs import read_runs
from bci.report.facts import session as facts_of_session
from bci.report.facts.session import session_facts
from bci.report.page import figures
from bci.report.page.html import e, page
from bci.report.page.session import session_page
from bci.report.page.signal import amplitude
from bci.report.page.timeline import row_length_s
from bci.report.write import finite, session_report
from bci.types import Channel, StreamSpec
from tests.helpers.fault_sender import fitted_model, wave
from tests.helpers.pages import headings, problems, text_of
from tests.helpers.recorded import MARKERS, Run

TOML = "[gate]\nthreshold = 0.6\ndwell_s = 0.06\nrefractory_s = 0.2\n"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></svg><b>",
    "<!-- & &lt; ]]>",
    "\x00\x1b[31m\u202e\n\t",
    "https://example.org/x.js",
    "x" * 3000,
    "",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fitted_model(tmp_path_factory.mktemp("page") / "model")


def eventful(folder, model, **options):
    """Everything that a page can show: cues, commands, refusals, gaps, trouble, notes."""
    run = Run(folder, model, TOML, **options)
    run.clock(0.01)
    run.play(2.0)
    run.control("arm")
    for label in ("left", "right", "right"):
        run.cue(label)
        run.play(1.0)
    run.silence(3.0, "unknown", "reconnected")
    run.play(3.0)
    run.control("arm")
    run.refuse = "of arming 1, now 2"
    run.play(3.0)
    run.silence(0.3, "lost")
    run.control("note", "a note")
    run.play(1.0)
    return run


# --- the page --------------------------------------------------------------------------------------------------------


def test_a_page_is_whole_and_needs_nothing_else(model, tmp_path):
    eventful(tmp_path / "sub-P01" / "ses-2", model).end()
    report, html = session_report(SessionFolder(tmp_path / "sub-P01" / "ses-2"))
    assert problems(html) == []
    assert headings(html) == [
        "What happened", "Right or wrong", "Commands", "Streams", "Latency", "Signal", "Alarms and notes",
        "Decoder and program",
    ]  # fmt: skip
    text = text_of(html)
    assert "P01, session 2" in text
    for verdict in report["verdicts"]:
        assert " ".join(verdict["text"].replace("\u00a0", " ").split()) in text
    for words in ("a note", "of arming 1, now 2", "reconnected", "3.0 s missing", "is silent", "udp", "numpy"):
        assert words in text or words == "udp"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (("</section>", ""), "closes another"),
        (("<h1>", '<script src="https://x.org/a.js"></script><h1>'), "<script>"),
        (("<h1>", '<h1><img src="//x.org/a.png">'), "<img>"),
        (("<h1>", '<h1 onclick="x()">'), "onclick"),
        (("<style>", "<style>@import url(https://x.org/a.css);"), "leads outside"),
        (("<h1>", '<h1 style="background: url(a.png)">'), "leads outside"),
        (("<caption>", "<b>"), "closes another"),
        (('scope="col"', ""), "without a scope"),
        (("aria-label", "data-label"), "says nothing"),
        (("<!doctype html>", ""), "doctype"),
        (("</main>", "</main><p>"), "left open"),
        (('d="M', 'd="Mnan '), "nowhere"),
    ],
)
def test_the_check_of_pages_sees_what_is_wrong(broken, why, model, tmp_path):
    run = Run(tmp_path, model, TOML)
    run.play(2.0)
    run.end()
    _, html = session_report(SessionFolder(tmp_path))
    assert problems(html) == []
    assert any(why in problem for problem in problems(html.replace(*broken, 1))), problems(html.replace(*broken, 1))


def test_nothing_from_outside_becomes_markup(model, tmp_path):
    name, label = HOSTILE[0], HOSTILE[1]
    channels = (Channel("n", "EEG", "uV"), *(Channel(c, "EEG", "uV") for c in ("L", "R", "ref")))
    more = tuple(Channel(text, text, text, (0.01 * i, 0.02, 0.05)) for i, text in enumerate(HOSTILE))
    spec = StreamSpec(name=name, source_id=label, sfreq_hz=250.0, channels=channels + more, hostname=HOSTILE[3])
    markers = StreamSpec(name=HOSTILE[4], type="Markers", format="string", channels=MARKERS.channels)
    noise = np.random.default_rng(0).normal(0, 10, (5000, len(more))).astype(np.float32)

    def signal(first, n):
        return np.hstack([wave(first, n), noise[first : first + n]])

    folder = tmp_path / "ses <b>"
    run = eventful(folder, model, spec=spec, markers=markers, signal=signal)
    for text in HOSTILE:
        run.cue(text)
        run.control("note", text, by=text)
    run.refuse = HOSTILE[1]
    run.play(2.0)
    run.end(HOSTILE[5])
    runs = read_runs(SessionFolder(folder))
    classes = ("rest", "<i>left</i>", 'r"ight')
    names = dict(zip(runs[0].classes, classes, strict=True))
    hostile = replace(runs[0], classes=classes)
    report = finite(session_facts(SessionFolder(folder), [hostile]))
    for command in report["commands"]:
        command["name"] = names[command["name"]]
        command["sent"] = [*HOSTILE, "\ud800"]
    report |= {"decoder": HOSTILE[0], "model_hash": HOSTILE[1], "devices": list(HOSTILE), "versions": {"python": "<b>"}}
    html = session_page(report, [hostile])
    assert problems(html) == []
    text = text_of(html)
    assert "<script>alert(1)</script>" in text
    assert '"><img src=x onerror=alert(1)>' in text
    assert "&lt; ]]>" in text
    assert "\x00" not in html
    html.encode()  # no lone surrogate is left
    # tags by their kinds: none that we do not use ourselves
    kinds = set(re.findall(r"<([a-zA-Z][a-zA-Z0-9]*)", html))
    assert not kinds & {"script", "img", "b", "i", "link", "iframe"}


@pytest.mark.parametrize("case", ["no cues", "no commands", "killed", "nothing", "two runs", "no model"])
def test_a_page_of_every_kind_of_session(case, model, tmp_path):
    run = Run(tmp_path, model, TOML)
    if case != "nothing":
        run.play(3.0)
        run.control("arm" if case != "no commands" else "note")
        run.play(2.0)
    if case in ("no commands", "no model"):
        run.cue("left")
        run.play(2.0)
    if case in ("killed", "two runs"):
        run.die()
    else:
        run.end()
    if case == "two runs":
        again = Run(tmp_path, model, TOML, start_s=2000.0)
        again.play(2.0)
        again.recorder.flush()
        again.recorder.restart()
        again.play(1.0)
        again.end()
    if case == "no model":
        for path in (tmp_path / "models").rglob("spec.json"):
            path.unlink()
    report, html = session_report(SessionFolder(tmp_path))
    assert problems(html) == []
    assert "nan" not in text_of(html).lower().replace("nanovolt", "")
    parts = headings(html)
    assert ("Right or wrong" in parts) == (report["n_trials"] > 0)
    assert ("Commands" in parts) == (report["n_commands"] > 0)
    assert ("Run 2" in text_of(html)) == (case == "two runs")


def test_a_truncated_recording_says_so(model, tmp_path):
    eventful(tmp_path, model).end()
    path = tmp_path / "session.xdf"
    path.write_bytes(path.read_bytes()[:-9_999])
    _, html = session_report(SessionFolder(tmp_path))
    assert problems(html) == []
    assert "The recording is damaged or cut" in text_of(html)


def test_numbers_on_the_page_are_those_of_the_file(model, tmp_path):
    eventful(tmp_path, model).end()
    report, html = session_report(SessionFolder(tmp_path))
    text = text_of(html)
    assert json.loads(json.dumps(report)) == report
    assert f"{report['n_commands']} commands asked for by the gate, {report['n_commands_sent']} sent" in text
    for stream in report["streams"]:
        assert f"{stream['n']:,}" in text
    assert len(re.findall(r'class="f\d"><title>\d', html)) >= report["n_commands_sent"]


def test_many_rows_are_bounded_and_the_page_says_so(model, tmp_path, monkeypatch):
    run = Run(tmp_path, model, TOML)
    run.play(2.0)
    run.control("arm")
    run.play(90.0)
    for k in range(250):
        run.control("note", f"note {k}")
    run.end()
    report, html = session_report(SessionFolder(tmp_path))
    assert report["n_commands"] > 250
    assert len(html) < 1_000_000
    assert "the first 200 of 252; report.json has more" in text_of(html)
    assert report["left_out"] == {}
    monkeypatch.setattr(facts_of_session, "MAX_LISTED", 50)
    cut, html = session_report(SessionFolder(tmp_path))
    assert cut["left_out"] == {"commands": report["n_commands"] - 50, "notes": 202}
    assert cut["verdicts"] == report["verdicts"]  # they know all
    assert "202 more entries of notes" in text_of(html)


# --- its parts -------------------------------------------------------------------------------------------------------


def test_elements_escape_text_and_attributes():
    html = page("<t>", e("h1", "a < b & c"), e("p", ["x", None, e("b", "y"), "z"], title='"<>&', data_n=1.23456))
    assert "<title>&lt;t&gt;</title>" in html
    assert "<h1>a &lt; b &amp; c</h1>" in html
    assert '<p title="&quot;<&gt;&amp;" data-n="1.23">x<b>y</b>z</p>' in html  # in quotes < is but a letter


@given(st.lists(st.floats(0, 1), min_size=2, max_size=400), st.integers(5, 50))
def test_a_thinned_line_keeps_its_extremes_and_is_bounded(values, width):
    y = np.array(values)
    x = np.linspace(0, width, len(y))
    thin_x, thin_y = figures.thinned(x, y, width)
    assert len(thin_x) <= max(2 * width, 2 * (width + 1))
    assert (thin_y.min(), thin_y.max()) == (y.min(), y.max())
    assert np.all(np.diff(thin_x) >= 0)
    assert set(zip(thin_x, thin_y, strict=True)) <= set(zip(x, y, strict=True))


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 200)), min_size=1, max_size=30))
def test_a_path_leads_through_its_points(points):
    d = figures.path_of(*np.array(points).T)
    steps = [tuple(map(float, step.split())) for step in re.split("[Ml]", d)[1:]]
    walked = np.cumsum(steps, axis=0)
    assert np.allclose(walked, points, atol=0.051)


@pytest.mark.parametrize(
    ("duration_s", "row_s"),
    [(0.2, 1.0), (125, 125), (180, 180), (200, 120), (1800, 180), (3600, 600), (3603, 600.5), (86400, 14400)],
)
def test_a_long_run_is_broken_into_at_most_ten_rows(duration_s, row_s):
    assert row_length_s(duration_s) == row_s
    assert duration_s / row_s <= 10


def test_sensors_are_placed_as_on_a_head():
    def sensor(label, x, y, z, problems=()):
        return {"label": label, "position_m": [x, y, z], "problems": list(problems), "amplitude": 10.0, "unit": "uV"}

    channels = [
        sensor("Cz", 0, 0, 0.1), sensor("Fpz", 0, 0.1, 0), sensor("T8", 0.1, 0, 0, ["flat"]),
        {"label": "no place", "position_m": None, "problems": [], "amplitude": 10.0, "unit": "uV"},
    ]  # fmt: skip
    drawing = figures.head(channels, ["a", "b", "c", "d"])
    places = {
        next(g.iter("text")).text: (float(next(g.iter("circle")).get("cx")), float(next(g.iter("circle")).get("cy")))
        for g in drawing.iter("g")
    }
    assert places["Cz"] == (180, 180)
    assert places["Fpz"][0] == 180
    assert places["Fpz"][1] < 100  # the nose is up
    assert places["T8"][0] > 260  # and right is right
    assert "no place" not in places
    assert figures.head(channels[:2] + channels[3:], ["a", "b", "d"]) is None


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (32.14, "uV", "32.1 µV"), (3.27e-13, "T", "327 fT"), (1.25e-11, "T/m", "125 fT/cm"), (0.5, "", "0.500"),
        (2.0, "furlong", "2.00 furlong"), (None, "uV", "– µV"),
    ],
)  # fmt: skip
def test_signals_are_said_in_the_units_of_the_field(value, unit, words):
    assert amplitude(value, unit).replace("\u00a0", " ") == words
