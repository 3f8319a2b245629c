"""The whole walk of a new user, by the window alone: stream, calibration, session, arm, command, stop, replay.

With ROLANDIC_PICTURES=FOLDER it keeps a picture of every step there, as CI does under Xvfb.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bci.gui.cues import CueScreen
from bci.gui.start.calibrate import LABELS
from bci.host.runtime import published
from calibration.paradigm import imagery
from tests.helpers.keys import type_into
from tests.helpers.live import Listener
from tests.helpers.start_page import real_start
from tests.helpers.window import DrivenWindow

SOON_MS, LATER_MS = 60_000, 240_000  # on a machine that does other things
N_PER_CLASS = 10


def short_cues(n_per_class, imagery_s, seed, theme):
    """As the page makes them, without the pauses that a person needs."""
    times = {"imagery_s": imagery_s, "rest_s": (0.6, 0.9), "lead_s": 3.0, "pause_s": 0.0}
    return CueScreen(imagery(LABELS, n_per_class, seed, **times), theme)


def picture(name):
    """Where a picture of this step goes; None where none is wanted."""
    if not (folder := os.environ.get("ROLANDIC_PICTURES")):
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return str(Path(folder).resolve() / f"{name}.png")


def keep(widget, name):
    if path := picture(name):
        widget.grab().save(path)


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def start(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("ROLANDIC_SETTINGS", str(tmp_path / "window.ini"))
    with real_start(tmp_path, make_cues=short_cues) as window:
        yield window


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_nothing_to_a_replayed_session_by_the_window_alone(start, qtbot, listener, request):
    def wait(is_so, timeout_ms=SOON_MS):
        qtbot.waitUntil(lambda: bool(is_so()), timeout=timeout_ms)

    # a stream and a person
    start.connect_page.simulate.click()
    wait(lambda: start.picked.described is not None)
    start.connect_page.subject.setEditText("P01")
    keep(start, "1-connect")

    # calibrate: the simulated person does what the cues on the screen say
    page = start.calibrate
    start.turn_to(1)
    page.trials.setValue(N_PER_CLASS)
    page.imagery.setValue(3.0)
    page.begin.click()
    wait(lambda: page.cues is not None and page.cues.isVisible())
    cues = page.cues
    wait(lambda: len(cues.onsets) > 2 or not page.is_busy, LATER_MS)
    keep(cues, "2-cues")
    wait(lambda: not page.is_busy, LATER_MS)
    assert [label for label, _ in cues.onsets if label in LABELS] == [t.label for t in cues.paradigm.trials]
    assert page.result.isVisibleTo(page), page.steps.shown
    assert page.bar.score is not None, page.result.text.text()
    assert page.bar.score.n == 2 * N_PER_CLASS
    assert page.bar.score.accuracy > 0.5
    keep(start, "3-calibrated")

    # run: the session has a window of its own; the one that is driven here takes over from it, and arms
    page.go_on.click()
    start.run.device.setEditText(listener.url)
    start.run.begin.click()
    session = start.run.folder
    wait(lambda: start.run.job is None or published("engine"))
    assert start.run.job is not None, start.run.result.text.text()
    driven = DrivenWindow(start.run.job.pid)
    request.addfinalizer(driven.close)
    driven.wait_until(lambda s: s["is_controller"] or "looking" not in s["refusal"], "an answer of the engine")
    driven.say("click Take over")

    def may_arm(state):
        if state["gate"] == "stopped":  # a machine that holds a device host up for half a second has had it replaced
            driven.say("click Release the stop")
        return state["is_controller"] and state["can_arm"]

    driven.wait_until(may_arm, "control of the session")
    armed_s = time.monotonic()
    while not listener.commands():  # it refuses until predictions can be trusted
        assert time.monotonic() - armed_s < LATER_MS / 1000, driven.state()
        if driven.state()["gate"] not in ("armed", "dwell", "refractory"):
            driven.say("click Arm")
        qtbot.wait(500)

    keep(start, "4-run")
    if path := picture("5-session"):
        driven.say(f"picture {path}")
        driven.state()

    # the emergency stop by the space bar of the start page
    at_s = time.monotonic()
    type_into(start.run.device.lineEdit())
    wait(lambda: listener.neutrals(at_s))
    wait(lambda: start.stopped.text().startswith("stopped"))
    keep(start, "6-stopped")
    n_commands = len(listener.commands())
    qtbot.wait(2000)
    assert len(listener.commands()) == n_commands
    start.run.end_session()
    wait(lambda: start.run.job is None)
    assert start.run.result.title.text() == "Session ended", start.run.result.text.text()

    # replay
    start.turn_to(3)
    start.replay.list.pick(str(session))
    start.replay.verify.click()
    wait(lambda: start.replay.job is None, LATER_MS)
    assert start.replay.result.title.text() == "0 differences, bit for bit"
    keep(start, "7-replayed")
