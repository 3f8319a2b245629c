"""What the window shows: the ring and its columns, what it gathers of a session, and that nothing ends it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.gui.ring import SignalRing
from bci.gui.signal_model import SignalModel, nice
from bci.gui.state import SessionState
from bci.types import Channel, StreamSpec

SFREQ_HZ = 100.0


def stamps(first, n, start_s=50.0):
    return start_s + (first + np.arange(n)) / SFREQ_HZ


# --- the ring --------------------------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(1, 70), min_size=1, max_size=40))
def test_the_ring_holds_the_newest_samples_however_they_came(sizes):
    ring = SignalRing(2, SFREQ_HZ, seconds=2.0)
    n = sum(sizes)
    samples = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    at = 0
    for size in sizes:
        ring.write(samples[at : at + size], stamps(at, size))
        at += size
    assert ring.n == n
    np.testing.assert_array_equal(ring.read(ring.oldest, ring.n), samples[-200:])
    np.testing.assert_array_equal(ring.last(0.5), samples[-50:])


def test_a_loss_is_a_hole_and_jitter_is_none():
    ring = SignalRing(1, SFREQ_HZ, seconds=10.0)
    ring.write(np.ones((100, 1)), stamps(0, 100))
    ring.write(np.ones((10, 1)), stamps(103, 10))  # 30 ms late
    assert ring.n == 110
    ring.write(np.ones((10, 1)), stamps(160, 10))
    held = ring.read(0, ring.n)[:, 0]
    assert 45 < np.isnan(held).sum() <= 50
    assert np.isnan(held[110:155]).all()


def test_no_spike_is_hidden_in_a_column():
    ring = SignalRing(1, SFREQ_HZ, seconds=10.0)
    x = np.zeros((1000, 1))
    x[417] = 99.0
    ring.write(x, stamps(0, 1000))
    low, high = ring.columns(np.arange(0, 1001, 50))
    assert high.max() == 99.0
    assert high[:, 0].argmax() == 417 // 50
    assert (low == 0).all()


# --- the signal ------------------------------------------------------------------------------------------------------


def model(unit="V", n=3):
    channels = tuple(Channel(label, "EEG", unit) for label in ("C3", "Cz", "C4")[:n])
    return SignalModel(StreamSpec(name="eeg", sfreq_hz=SFREQ_HZ, channels=channels))


def test_units_are_those_of_a_screen_and_quality_is_said_in_words():
    signal = model()
    rng = np.random.default_rng(0)
    x = rng.normal(0, 20e-6, (400, 3))
    x[:, 1] = 0.0
    t_s = np.arange(400) / SFREQ_HZ
    x[:, 2] += 500e-6 * np.sin(2 * np.pi * 40 * t_s)
    signal.receive(x, stamps(0, 400))
    assert signal.units == ("uV",) * 3
    assert 15 < np.nanstd(signal.raw.last(2.0)[:, 0]) < 25
    levels = signal.quality(mains_hz=40.0)
    assert levels[0] == ("ok", "good")
    assert levels[1] == ("bad", "flat: no signal")
    assert levels[2][0] == "warn"
    assert levels[2][1].startswith("mains:")
    assert signal.scale_of("EEG") in (200.0, 500.0)


def test_a_filter_is_for_the_screen_alone():
    signal = model("uV")
    signal.receive(np.full((300, 3), 1000.0) + np.random.default_rng(0).normal(0, 1, (300, 3)), stamps(0, 300))
    signal.set_filter((1.0, None), None)
    signal.receive(np.full((100, 3), 1000.0), stamps(300, 100))
    assert np.abs(signal.shown.last(1.0)).max() < 20
    assert signal.raw.last(1.0).min() > 900
    signal.set_filter(None, None)
    assert signal.shown is signal.raw


@pytest.mark.parametrize(("value", "expected"), [(3.0, 5.0), (0.11, 0.2), (1.0, 1.0), (7e-12, 1e-11)])
def test_scales_are_round(value, expected):
    assert nice(value) == pytest.approx(expected)


# --- the session -----------------------------------------------------------------------------------------------------


def test_a_session_is_gathered_from_its_own_streams():
    state = SessionState()
    config = "[gate]\nthreshold = 0.7\ndwell_s = 0.4"
    metadata = json.dumps({"config": config, "model_hash": "abc" * 20, "primary": {"name": "eeg"}})
    labels = ["hop", "sample_index", "stamp_s", "age_s", "flags", "marker", "marker_index", "p_left", "p_right"]
    state.describe(metadata, labels)
    assert (state.classes, state.threshold, state.dwell_s) == (("left", "right"), 0.7, 0.4)
    rows = [[k, 10 * k, 10 + 0.1 * k, 0.02, 1 if k < 2 else 0, -1, -1, 0.2, 0.8] for k in range(6)]
    state.receive("bci-hops", rows, 10 + 0.1 * np.arange(6))
    assert (state.n_hops, state.n_flagged) == (6, 2)
    assert state.dwell() == ("right", pytest.approx(0.3))
    said = [
        {"kind": "gate", "state": "armed", "hop": 3, "reasons": ["by a person"], "arm_id": 1},
        {"kind": "health", "level": "bad", "reasons": ["stream 'eeg' is silent"]},
    ]
    state.receive("bci-health", [[json.dumps(line)] for line in said], np.array([20.0, 21.0]))
    events = [{"seq": 1, "event": {"kind": "marker", "stream": 1, "label": "T1", "stamp_s": 12.0}}]
    events += [{"seq": 2, "event": {"kind": "gap", "stream": 0, "verdict": "lost", "first_index": 9, "n": 75,
                                    "duration_s": 0.3, "reason": ""}}]  # fmt: skip
    state.receive("bci-events", [[json.dumps(line)] for line in events] + [["no json"]], np.array([22.0, 23.0, 24.0]))
    assert (state.gate, state.health, state.n_lost) == ("armed", "bad", 75)
    assert list(state.markers) == [(12.0, "T1")]
    assert [line.kind for line in state.lines] == ["gate", "health", "gap"]
    latency = [[k, 10.0, 10.01, 10.011, 10.012, 10.013, 10.014, 0.0] for k in range(3)]
    state.receive("bci-latency", latency, np.arange(3.0))
    p = state.stage_percentiles_ms()
    assert p[0, 0] == pytest.approx(10.0, abs=1e-6)
    assert state.late_hops() == (0, 3)
    late = [[3, 10.0, 10.01, 10.011, 10.9, 10.91, 10.92, 0.0]]
    state.receive("bci-latency", late, np.arange(1.0))
    assert state.late_hops() == (1, 4)
    assert np.isnan(p[5]).all()


# --- the window ------------------------------------------------------------------------------------------------------


class NoFeed:
    """A feed that gives what it is told."""

    def __init__(self):
        self.streams, self.trouble, self.came, self.quiet_s = {}, "no session is visible", [], float("inf")

    def poll(self):
        came, self.came = self.came, []
        return came

    def close(self):
        pass


@pytest.fixture
def window(qapp, tmp_path, monkeypatch):
    monkeypatch.setenv("ROLANDIC_SETTINGS", str(tmp_path / "window.ini"))
    from bci.gui import app as gui
    from bci.gui.link import Link
    from bci.gui.theme import DARK
    from bci.gui.window import Window

    application = gui.make_application()
    made = Window(NoFeed(), Link(), DARK, gui.settings())
    made.timer.stop()
    made.show()
    yield made
    made.close()
    application.processEvents()


class Raw:
    is_raw = True

    def __init__(self, n):
        places = ("C3", "Cz", "C4", "Fz", "Pz")
        channels = tuple(Channel(places[i] if i < 5 else f"x{i}", "EEG", "uV") for i in range(n))
        self.spec = StreamSpec(name="eeg", uid=f"u{n}", sfreq_hz=SFREQ_HZ, channels=channels)


@pytest.mark.parametrize("n_channels", [2, 5, 306])
def test_signals_are_drawn_and_a_panel_that_fails_rests_alone(window, n_channels):
    stream = Raw(n_channels)
    rng = np.random.default_rng(0)
    for k in range(12):
        window.feed.came = [(stream, rng.normal(0, 20, (50, n_channels)), stamps(50 * k, 50))]
        window.frame()
    sweep = window.panels["Signals"].sweep
    colours = np.unique(sweep._pixels)
    assert len(colours) >= 3  # ground, and traces of two colours
    window.panels["Spectrum"].refresh = None  # not callable: an error that nobody foresaw
    for _ in range(3 * len(window.panels)):  # each has its turn
        window.frame()
    assert "the panel Spectrum failed and rests" in window.bar._said
    n = window.n_frames
    window.frame()
    assert window.n_frames == n + 1


def test_the_first_samples_may_come_one_by_one(window):
    stream = Raw(5)
    for k in range(60):
        window.feed.came = [(stream, np.full((1, 5), float(k)), stamps(k, 1))]
        window.frame()
    assert window.bar._said == ""


def test_the_map_lies_on_the_head_and_shows_where_the_power_is(window):
    from pyqtgraph.Qt import QtWidgets

    rng = np.random.default_rng(0)
    alpha = 20 * np.sin(2 * np.pi * 10 * np.arange(2500) / SFREQ_HZ)[:, None] * (1.0, 0.0, 0.0, 0.0, 0.0)  # at C3
    window.feed.came = [(Raw(5), rng.normal(0, 2, (2500, 5)) + alpha, stamps(0, 2500))]
    window.frame()
    panel = window.panels["Map"]
    panel.parentWidget().raise_()
    QtWidgets.QApplication.processEvents()
    for _ in range(20):
        panel.refresh()
    box = panel.image.mapRectToParent(panel.image.boundingRect())
    assert (box.left(), box.top(), box.width(), box.height()) == pytest.approx((-1.15, -1.15, 2.3, 2.3))
    red, green, _ = panel.image.image[22, 36, :3]  # left of the middle: bright
    other = panel.image.image[50, 36, :3]
    assert int(red) + int(green) > int(other[0]) + int(other[1]) + 100


def test_the_space_bar_stops_wherever_the_focus_is(window):
    from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

    from bci.gui.window import SpaceStops
    from tests.helpers.keys import type_into

    stops = []
    window.link.stop = lambda: stops.append(1)
    keys = SpaceStops(window.link, window)
    dialog = QtWidgets.QDialog(window)
    dialog.setModal(True)
    field, button, clicked = QtWidgets.QLineEdit(dialog), QtWidgets.QPushButton("Arm", dialog), []
    button.clicked.connect(lambda: clicked.append(1))
    dialog.show()
    keys._watch()  # as it does by itself when a window gets the focus
    type_into(field)
    type_into(button)
    type_into(field, QtCore.Qt.Key_A)
    held = QtGui.QKeyEvent(QtCore.QEvent.KeyPress, QtCore.Qt.Key_Space, QtCore.Qt.NoModifier, " ", True)
    assert keys.eventFilter(field, held)  # and does not stop again
    assert (stops, field.text(), clicked) == ([1, 1], "a", [])
    keys.close()
    type_into(field)
    assert (stops, field.text()) == ([1, 1], "a ")
    dialog.close()


def test_pausing_holds_the_traces_and_scrolls_back(window):
    stream = Raw(5)
    for k in range(40):
        window.feed.came = [(stream, np.full((50, 5), float(k)), stamps(50 * k, 50))]
        window.frame()
    signals = window.panels["Signals"]
    signals.pause.setChecked(True)
    end_s = signals.sweep.end_s
    assert signals.slider.maximum() == 10_000  # 20 s are held, 10 s are shown
    signals.slider.setValue(0)
    assert signals.sweep.end_s == pytest.approx(end_s - 10.0)
    signals.pause.setChecked(False)
    assert signals.sweep.end_s is None
