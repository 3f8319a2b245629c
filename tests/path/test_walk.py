"""The whole walk of a new user, by the window alone: stream, calibration, session, arm, command, stop, replay."""

from __future__ import annotations

import time

import psutil
import pytest
from pyqtgraph.Qt import QtCore

from bci.gui.cues import CueScreen
from bci.gui.start.calibrate import LABELS
from bci.gui.start.streams import Streams
from bci.host.runtime import published
from calibration.paradigm import imagery
from tests.helpers.live import Listener

SOON_MS, LATER_MS = 60_000, 240_000  # on a machine that does other things
N_PER_CLASS = 10


def short_cues(n_per_class, imagery_s, seed, theme):
    """As the page makes them, without the pauses that a person needs."""
    times = {"imagery_s": imagery_s, "rest_s": (0.6, 0.9), "lead_s": 3.0, "pause_s": 0.0}
    return CueScreen(imagery(LABELS, n_per_class, seed, **times), theme)


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def start(qtbot, tmp_path):
    from bci.gui.start.window import Start
    from bci.gui.theme import DARK

    settings = QtCore.QSettings(str(tmp_path / "window.ini"), QtCore.QSettings.IniFormat)
    window = Start(tmp_path / "lab", DARK, settings, Streams(), make_cues=short_cues)
    window.show()
    yield window
    if (session := window.run.job) is not None:
        session.close()
    window.close()
    window.deleteLater()
    assert [p.cmdline() for p in psutil.Process().children() if "bci" in p.cmdline()] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_nothing_to_a_replayed_session_by_the_window_alone(start, qtbot, listener):
    def wait(is_so, timeout_ms=SOON_MS):
        qtbot.waitUntil(lambda: bool(is_so()), timeout=timeout_ms)

    # a stream and a person
    start.connect_page.simulate.click()
    wait(lambda: start.picked.described is not None)
    start.connect_page.subject.setEditText("P01")

    # calibrate: the simulated person does what the cues on the screen say
    page = start.calibrate
    start.turn_to(1)
    page.trials.setValue(N_PER_CLASS)
    page.imagery.setValue(3.0)
    page.begin.click()
    wait(lambda: page.cues is not None and page.cues.isVisible())
    cues = page.cues
    wait(lambda: not page.is_busy, LATER_MS)
    assert [label for label, _ in cues.onsets if label in LABELS] == [t.label for t in cues.paradigm.trials]
    assert page.result.isVisibleTo(page), page.steps.shown
    assert page.bar.score is not None, page.result.text.text()
    assert page.bar.score.n == 2 * N_PER_CLASS
    assert page.bar.score.accuracy > 0.5

    # run, armed by hand
    page.go_on.click()
    start.run.device.setEditText(listener.url)
    start.run.begin.click()
    session = start.run.folder
    wait(lambda: start.run.job is None or published("engine"))
    assert start.run.job is not None, start.run.result.text.text()
    armed_s = time.monotonic()
    while start.run.lines.shown != [("ok", "arm: done")]:  # not before predictions can be trusted
        assert time.monotonic() - armed_s < SOON_MS / 1000, start.run.lines.shown
        start.run.controls["arm"].click()
        wait(lambda: start.run.control_job is None)
        qtbot.wait(500)

    # a command, and the emergency stop by the space bar
    wait(lambda: listener.commands(), LATER_MS)
    at_s = time.monotonic()
    qtbot.keyClick(start.run.device.lineEdit(), QtCore.Qt.Key_Space)
    wait(lambda: listener.neutrals(at_s))
    wait(lambda: start.stopped.text().startswith("stopped"))
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
