"""The start page with real streams and real children, as a new user walks through it without hardware."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bci.host.runtime import published
from tests.helpers.start_page import real_start

SHIPPED = Path(__file__).parents[2] / "replay_data" / "sub-simulated" / "ses-1"
SOON_MS, LATER_MS = 60_000, 180_000  # on a machine that does other things


@pytest.fixture
def start(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("ROLANDIC_SETTINGS", str(tmp_path / "window.ini"))
    with real_start(tmp_path) as window:
        yield window


def wait(qtbot, is_so, timeout_ms=SOON_MS):
    qtbot.waitUntil(lambda: bool(is_so()), timeout=timeout_ms)


def pick_simulated_person(qtbot, start):
    start.connect_page.simulate.click()
    wait(qtbot, lambda: start.picked.described is not None)
    start.connect_page.subject.setEditText("P01")


def test_a_real_stream_is_listed_watched_and_checked(start, qtbot):
    pick_simulated_person(qtbot, start)
    page = start.connect_page
    entry = next(e for e in page.list.entries if e.title == start.picked.stream.name)
    assert entry.detail == f"EEG  ·  21 channels  ·  250 Hz  ·  {socket.gethostname()}"
    assert "Cz" in start.picked.described.labels
    wait(qtbot, lambda: "samples a second" in page.data.text())
    assert start.streams.watched.rate_hz == pytest.approx(250, rel=0.2)
    page.check.click()
    wait(qtbot, lambda: page.check_job is None)
    assert [level for level, _ in page.lines.shown] == ["ok"]
    assert "21 channels, 250 Hz" in page.lines.shown[0][1]
    sender = page.senders[0]
    pid = sender.pid
    sender.cancel()
    wait(qtbot, lambda: page.senders == [])
    assert not psutil.pid_exists(pid)
    wait(qtbot, lambda: page.list.entries == [])
    assert "is not there any more" in page.data.text()


def test_children_end_with_a_window_that_is_killed(tmp_path, unique_name):
    """Their standard input ends, and they end in order."""
    code = (
        "import sys, time\nfrom pyqtgraph.Qt import QtCore\nfrom bci.gui.start.jobs import Job\n"
        "app = QtCore.QCoreApplication([])\njob = Job(sys.argv[1:]).start()\n"
        "job._process.waitForStarted()\nprint(job.pid, flush=True)\napp.exec_()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, "simulate", "--name", unique_name], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
    finally:
        parent.kill()
        parent.wait(20)
        parent.stdout.close()
    gone, alive = psutil.wait_procs([child], 40)
    for process in alive:
        process.kill()
    assert gone


def test_a_recorded_session_is_replayed_to_the_same_decisions(start, qtbot, tmp_path):
    folder = tmp_path / "lab" / "sub-P01" / "ses-1"
    shutil.copytree(SHIPPED, folder)
    start.turn_to(3)
    start.replay.list.pick(str(folder))
    start.replay.verify.click()
    assert start.replay.working.isVisible()
    wait(qtbot, lambda: start.replay.job is None, LATER_MS)
    assert start.replay.result.title.text().startswith("0 differences")
    assert "371 predictions and 14 commands" in start.replay.result.text.text()


def test_learn_from_recordings_run_a_session_and_replay_it(start, qtbot, tmp_path):
    recording = tmp_path / "calibration.xdf"
    subprocess.run(
        [sys.executable, "-m", "bci", "simulate", "--trials", "40", "--skill", "1", "--out", recording, "--quiet"],
        check=True, timeout=120,
    )  # fmt: skip
    pick_simulated_person(qtbot, start)
    page = start.calibrate
    page.use_recordings([recording])
    page.begin.click()
    wait(qtbot, lambda: not page.is_busy, LATER_MS)
    assert page.result.title.text() == "It works: better than guessing", page.result.text.text()
    assert start.picked.model.parent == tmp_path / "lab" / "sub-P01" / "models"
    page.go_on.click()
    start.run.check.click()
    wait(qtbot, lambda: start.run.check_job is None)
    assert [level for level, _ in start.run.lines.shown] == ["ok"], start.run.lines.shown
    start.run.begin.click()
    session = start.run.folder
    wait(qtbot, lambda: start.run.job is None or published("engine"))
    assert start.run.job is not None, start.run.result.text.text()
    qtbot.wait(3000)  # some signal to replay
    start.run.end_session()
    wait(qtbot, lambda: start.run.job is None)
    assert start.run.result.title.text() == "Session ended", start.run.result.text.text()
    assert "nothing lost" in start.run.result.text.text()
    assert start.run.report.isVisibleTo(start.run)
    told = json.loads((session / "run.json").read_text())
    assert told["n_samples"] > 250
    start.turn_to(3)
    start.replay.list.pick(str(session))
    start.replay.verify.click()
    wait(qtbot, lambda: start.replay.job is None, LATER_MS)
    assert start.replay.result.title.text() == "0 differences, bit for bit"
