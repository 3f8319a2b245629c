"""The panel Commands, clicked through against a link that remembers what it was told."""

import json

import numpy as np
import pytest
from pyqtgraph.Qt import QtCore

from bci.gui.window import SpaceStops
from tests.helpers.keys import type_into
from tests.test_view import NoFeed

LABELS = ["hop", "sample_index", "stamp_s", "age_s", "flags", "marker", "marker_index", "p_rest", "p_left", "p_right"]


class Link(QtCore.QObject):
    """As `bci.gui.link.Link`, without an engine."""

    answered = QtCore.pyqtSignal(bool, str)
    told = QtCore.pyqtSignal(str, bool, str)
    attached = QtCore.pyqtSignal(dict)

    def __init__(self):
        super().__init__()
        self.may_control = self.is_controller = True
        self.refusal = self.session = ""
        self.sent, self.n_stops = [], 0

    def send(self, action, value=""):
        self.sent.append((action, value))

    def take_over(self):
        self.send("take over")

    def stop(self):
        self.n_stops += 1

    def close(self):
        pass


@pytest.fixture
def link():
    return Link()


@pytest.fixture
def window(qtbot, link, tmp_path, monkeypatch):
    monkeypatch.setenv("ROLANDIC_SETTINGS", str(tmp_path / "window.ini"))
    from bci.gui import app as gui
    from bci.gui.theme import DARK
    from bci.gui.window import Window

    feed = NoFeed()
    feed.quiet_s = 0.0
    window = Window(feed, link, DARK, gui.settings())
    window.timer.stop()
    qtbot.addWidget(window, before_close_func=lambda w: setattr(w, "asks", False))
    metadata = json.dumps({"config": '[gate]\nthreshold = 0.7\nrest = "rest"', "model_hash": "abc", "primary": {}})
    window.shared.state.describe(metadata, LABELS)
    window.show()
    return window


@pytest.fixture
def panel(window):
    panel = window.panels["Commands"]
    panel.refresh()
    return panel


@pytest.fixture
def says(window, panel):
    """The session says something of itself."""

    def say(stream, **what):
        window.shared.state.receive(stream, [[json.dumps(what)]], np.array([20.0]))
        panel.refresh()

    return say


def click(qtbot, button):
    qtbot.mouseClick(button, QtCore.Qt.LeftButton)


def gate(says, state):
    says("bci-health", kind="gate", state=state, hop=3, reasons=[], arm_id=1)


def test_arm_command_by_hand_disarm_stop_and_release(qtbot, window, panel, link, says):
    gate(says, "disarmed")
    assert [b.text() for b in panel.by_hand] == ["left", "right"]
    assert not any(b.isEnabled() for b in panel.by_hand)
    click(qtbot, panel.by_hand[0])  # nothing, while disarmed
    click(qtbot, panel.arm)
    assert link.sent == [("arm", "lease")]  # lasts as long as the window is heard
    gate(says, "armed")
    assert not panel.arm.isEnabled()
    click(qtbot, panel.by_hand[1])
    gate(says, "refractory")
    assert not any(b.isEnabled() for b in panel.by_hand)
    click(qtbot, panel.disarm)
    assert link.sent[1:] == [("command", "right"), ("disarm", "")]
    click(qtbot, window.bar.stop)
    assert link.n_stops == 1
    gate(says, "stopped")
    assert not panel.arm.isVisible()
    click(qtbot, panel.reset)
    assert link.sent[-1] == ("reset", "")
    gate(says, "disarmed")
    assert panel.arm.isVisible()
    assert panel.arm.isEnabled()


def test_neutral_holds_and_goes_on(qtbot, panel, link, says, window):
    gate(says, "armed")
    click(qtbot, panel.hold)
    says("bci-events", seq=1, event={"kind": "control", "action": "pause", "value": "", "by": "window 1"})
    assert panel.hold.text() == "Go on"
    click(qtbot, panel.hold)
    assert link.sent == [("pause", ""), ("resume", "")]
    window.shared.state.receive("bci-hops", [[1, 10, 10.0, 0.02, 16, -1, -1, 0.2, 0.4, 0.4]], np.array([10.0]))
    panel.refresh()  # a window that came later sees by the flag that it is paused
    assert panel.hold.text() == "Go on"


def test_every_button_has_a_key_and_says_it_and_arming_is_no_accident(qtbot, window, panel, link, says):
    gate(says, "disarmed")
    buttons = [panel.arm, panel.disarm, panel.hold, panel.reset, *panel.by_hand]
    keys = [b.shortcut().toString() for b in buttons]
    assert all(keys)
    assert len(set(keys)) == len(keys)
    for button, key in zip(buttons, keys, strict=True):
        assert key in button.toolTip()
    assert panel.arm.focusPolicy() == QtCore.Qt.NoFocus
    assert keys[0].count("+") == 2
    for key in (QtCore.Qt.Key_Return, QtCore.Qt.Key_A):
        qtbot.keyClick(window, key)
    assert link.sent == []


def test_space_stops_and_types_nothing_and_a_note_goes_out_by_enter(qtbot, window, panel, link, says):
    gate(says, "armed")
    keys = SpaceStops(link, window)
    qtbot.keyClicks(panel.note, "C3_moist")
    type_into(panel.note)
    assert (panel.note.text(), link.n_stops) == ("C3_moist", 1)
    for widget in (panel.disarm, panel.by_hand[0], panel.threshold.slider):
        type_into(widget)
    assert (link.n_stops, link.sent) == (4, [])
    qtbot.keyClick(panel.note, QtCore.Qt.Key_Return)
    keys.close()
    assert link.sent == [("note", "C3 moist")]
    assert panel.note.text() == ""


def test_sliders_send_when_they_rest_and_show_what_the_session_has(qtbot, panel, link, says):
    gate(says, "disarmed")
    assert panel.threshold.value == pytest.approx(0.7)
    for value in (71, 75, 80):
        panel.threshold.slider.setValue(value)
    qtbot.waitUntil(lambda: bool(link.sent), timeout=10_000)
    panel.dwell.slider.setValue(12)
    qtbot.waitUntil(lambda: len(link.sent) == 2, timeout=10_000)
    assert link.sent == [("threshold", "0.80"), ("dwell", "0.60")]
    panel.refresh()
    assert panel.threshold.value == pytest.approx(0.8)  # not heard yet, but asked for
    assert panel.threshold.slider.minimum() == 34  # above chance
    link.told.emit("threshold", False, "the gate would not have it")
    panel.refresh()
    assert panel.threshold.value == pytest.approx(0.7)
    says("bci-events", seq=2, event={"kind": "control", "action": "threshold", "value": "0.9", "by": "terminal"})
    assert panel.threshold.value == pytest.approx(0.9)
    link.attached.emit({"threshold": 0.6, "dwell_s": 1.0})  # what had been changed before this window came
    panel.refresh()
    assert (panel.threshold.value, panel.dwell.value) == (pytest.approx(0.6), pytest.approx(1.0))


def test_what_was_sent_and_acknowledged_is_listed_in_ms(panel, says):
    says("bci-commands", kind="command", id=1, name="left", value=0.9, issued_s=20.0, ttl_ms=300, arm_id=1, hop=3)
    says("bci-commands", kind="receipt", command_id=1, accepted=True, reason="", sent=["udp: left"], sent_s=20.0021)
    says("bci-commands", kind="acknowledged", command_id=1, device="tcp:", heard_s=20.0105)
    says(
        "bci-commands", kind="command", id=2, name="right", value=1.0, issued_s=21.0, ttl_ms=300, arm_id=1, hop=4,
        by_hand=True,
    )  # fmt: skip
    says("bci-commands", kind="receipt", command_id=2, accepted=False, reason="not armed", sent=[], sent_s=0.0)
    rows = [[panel.sent.item(r, c).text() for c in range(4)] for r in range(panel.sent.rowCount())]
    assert rows == [["right (by hand)", "", "", "refused: not armed"], ["left", "2.1 ms", "10.5 ms", "udp: left"]]


def test_a_window_without_the_claim_can_only_stop_or_take_over(qtbot, window, panel, link, says):
    link.is_controller, link.refusal = False, "window 7 controls this session"
    gate(says, "armed")
    assert panel.who.text() == "window 7 controls this session"
    off = [panel.arm, panel.disarm, panel.hold, panel.note, panel.threshold.slider, *panel.by_hand]
    assert not any(w.isEnabled() for w in off)
    for widget in off:
        click(qtbot, widget)
    assert link.sent == []
    click(qtbot, window.bar.stop)
    assert link.n_stops == 1
    click(qtbot, panel.take_over)
    assert link.sent == [("take over", "")]


def test_what_the_gate_refuses_is_said(panel, link, says):
    gate(says, "disarmed")
    link.told.emit("arm", False, "the signal is silent")
    assert panel.answer.text() == "arm: the signal is silent"


@pytest.mark.parametrize(
    ("answer", "closes", "sent"), [("leave", True, []), ("stay", False, []), ("end", True, ["end"])]
)
def test_closing_asks_whether_the_session_goes_on(window, link, monkeypatch, answer, closes, sent):
    monkeypatch.setattr(type(window), "ask_about_session", lambda _: answer)
    assert window.close() is closes
    assert [action for action, _ in link.sent] == sent
    assert window.isVisible() is not closes


def test_a_view_has_no_such_panel(window, tmp_path):
    from bci.gui import app as gui
    from bci.gui.link import Link as RealLink
    from bci.gui.theme import DARK
    from bci.gui.window import Window

    view = Window(NoFeed(), RealLink(), DARK, gui.settings())
    view.timer.stop()
    assert "Commands" not in view.panels
    assert view.close()
