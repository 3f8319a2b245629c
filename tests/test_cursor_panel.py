"""The cursor panel: what the device's stream says, scored and drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyqtgraph.Qt import QtGui

from bci.devices.cursor import LABELS
from bci.devices.cursor_task import RING, Task, TaskSettings, steer, target
from bci.gui import cursor_score
from bci.gui.cursor_score import CursorScore
from bci.gui.link import Link
from bci.gui.panels.base import Shared
from bci.gui.panels.cursor import Cursor
from bci.gui.state import SessionState
from bci.gui.theme import DARK

DT_S = 0.05


def test_the_columns_are_those_of_the_device():
    names = ("x", "y", "vx", "vy", "tx", "ty", "radius", "hits", "misses", "left")
    here = {name: getattr(cursor_score, name.upper()) for name in names}
    said = ("x", "y", "vx", "vy", "target_x", "target_y", "target_radius", "n_hits", "n_misses", "left_s")
    assert [LABELS[here[name]] for name in names] == list(said)


def steered(score, settings, seconds, velocity):
    """Play the task as the device does, and let the score hear of it."""
    task = Task(now_s=0.0, began_s=0.0)
    for k in range(round(seconds / DT_S)):
        now_s = k * DT_S
        task = steer(settings, task, velocity(settings, task), now_s + 1, now_s)
        row = [task.x, task.y, *task.velocity, *target(settings, task), settings.radius, task.n_hits, task.n_misses,
               settings.trial_s - (now_s - task.began_s)]  # fmt: skip
        score.receive(np.array([row]), np.array([now_s]))
    return task


def straight(settings, task):
    tx, ty = target(settings, task)
    dx, dy = tx - task.x, ty - task.y
    away = math.hypot(dx, dy)
    return (0.0, 0.0) if away < 0.02 else (0.5 * dx / max(away, 0.5), 0.5 * dy / max(away, 0.5))


def test_a_straight_way_is_wholly_efficient():
    score, settings = CursorScore(), TaskSettings()
    task = steered(score, settings, 30.0, straight)
    assert (score.n_hits, score.n_misses) == (task.n_hits, 0)
    assert len(score.attempts) == task.n_hits - 1  # of the first, the beginning was not seen
    assert 0.97 < score.efficiency <= 1.0  # the first step may still be one to the target before
    bits = math.log2(RING / (2 * settings.radius) + 1)
    assert score.bits_per_s == pytest.approx(bits / score.time_to_target_s, rel=1e-6)
    assert 1.0 < score.time_to_target_s < 3.0


def test_misses_cost_time_and_a_way_round_costs_efficiency():
    score = CursorScore()
    steered(score, TaskSettings(trial_s=1.0), 5.5, lambda settings, task: (0.0, 0.0))
    assert (score.n_hits, score.n_misses) == (0, 5)
    assert score.bits_per_s == 0.0
    assert math.isnan(score.time_to_target_s)

    def round_about(settings, task):
        vx, vy = straight(settings, task)
        turn = 1.2 if math.hypot(vx, vy) > 0.3 else 0.0
        return vx * math.cos(turn) - vy * math.sin(turn), vx * math.sin(turn) + vy * math.cos(turn)

    bent = CursorScore()
    steered(bent, TaskSettings(), 40.0, round_about)
    assert bent.n_hits > 2
    assert bent.efficiency < 0.95


def test_a_device_that_begins_anew_is_no_hit():
    score = CursorScore()
    row = [0.0] * 10
    row[cursor_score.HITS], row[cursor_score.TX], row[cursor_score.RADIUS] = 7, 0.75, 0.2
    score.receive(np.array([row]), np.array([1.0]))
    row[cursor_score.HITS] = 0
    score.receive(np.array([row]), np.array([2.0]))
    row[cursor_score.HITS] = 5  # and a loss is not five
    score.receive(np.array([row]), np.array([3.0]))
    assert (score.n_hits, len(score.attempts)) == (5, 0)


def test_the_panel_draws_cursor_and_target(qtbot):
    panel = Cursor(Shared(SessionState(), DARK, Link()))
    qtbot.addWidget(panel)
    panel.resize(500, 320)
    panel.show()
    panel.refresh()
    assert panel.scores["targets hit"].text() == "–"
    steered(panel.shared.state.cursor, TaskSettings(), 20.0, straight)
    panel.refresh()
    panel.frame()
    score = panel.shared.state.cursor
    assert panel.scores["targets hit"].text() == f"{score.n_hits} of {score.n_hits}"
    assert panel.scores["path efficiency"].text() in ("99 %", "100 %")
    assert panel.scores["throughput"].text().endswith("bit/s")
    field = panel.field
    shown, unit = field.grab().toImage(), min(field.width(), field.height()) / 2.24
    x, y = field.width() / 2 + score.x * unit, field.height() / 2 - score.y * unit
    assert QtGui.QColor(shown.pixel(round(x), round(y))).name() == DARK.accent
    tx, ty = field.width() / 2 + score.target[0] * unit, field.height() / 2 - score.target[1] * unit
    rim = QtGui.QColor(shown.pixel(round(tx), round(ty - score.radius * unit)))
    assert (rim.red(), rim.blue()) == (pytest.approx(0xE6, abs=60), pytest.approx(0, abs=60))


def test_the_window_takes_a_cursor_of_any_name(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("ROLANDIC_SETTINGS", str(tmp_path / "window.ini"))
    from bci.gui import app as gui
    from bci.gui.window import Window
    from bci.types import Channel, StreamSpec
    from tests.test_view import NoFeed

    class Stream:
        is_raw = False
        spec = StreamSpec(name="practice", type="Cursor", channels=tuple(Channel(label) for label in LABELS))

    window = Window(NoFeed(), Link(), DARK, gui.settings())
    window.timer.stop()
    window.feed.came = [(Stream(), np.array([[0.1, 0.2, 0, 0, 0.75, 0, 0.2, 3, 1, 9.0]]), np.array([5.0]))]
    window.frame()
    assert (window.shared.state.cursor.n_hits, window.shared.state.cursor.x) == (3, pytest.approx(0.1))
    assert "Cursor" in window.panels
    window.close()
