"""The cue screen: it shows what the paradigm says and sends what it shows; flicker needs a person's word first."""

from __future__ import annotations

import json

import numpy as np
import pylsl
import pytest
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.__main__ import main
from bci.errors import RolandicError, SourceError
from bci.gui.cues import CueScreen, draw
from bci.gui.cues.delay import DARK_S, LIGHT_S, DelayPage, Sensor
from bci.gui.state import SessionState
from bci.gui.theme import DARK
from bci.lsl import info_from_spec
from bci.signal.display_delay import LATE_S
from bci.sources.schedule import playable
from bci.types import CUES, Channel, RecordedStream, StreamSpec, marker_spec
from calibration.flicker import FlickerError
from calibration.paradigm import flicker, imagery
from tests.helpers.keys import type_into

QUICK = {"lead_s": 0.2, "rest_s": (0.2, 0.3), "cue_s": 0.2, "imagery_s": 0.4, "pause_s": 0.2}
LIMIT_MS = 60_000  # a busy machine is no failure


def quick(n_per_class=2, **more):
    return imagery(("left", "right"), n_per_class, 1, **(QUICK | {"block_per_class": 1} | more))


def inlet(group):
    found = pylsl.resolve_byprop("source_id", f"{CUES}-{group}", 1, 20.0)
    assert found, "the markers are not announced"
    opened = pylsl.StreamInlet(found[0])
    opened.open_stream(timeout=20.0)
    return opened


def received(opened, n):
    """The first n markers; fewer where no more come."""
    rows, stamps = [], []
    while len(rows) < n:
        more, their = opened.pull_chunk(timeout=10.0, max_samples=n - len(rows))
        if not their:
            break
        rows += more
        stamps += their
    return [(row[0], stamp_s) for row, stamp_s in zip(rows, stamps, strict=True)]


def press(widget, key):
    for kind in (QtCore.QEvent.KeyPress, QtCore.QEvent.KeyRelease):
        QtCore.QCoreApplication.sendEvent(widget, QtGui.QKeyEvent(kind, key, QtCore.Qt.NoModifier))


def picture(screen, phase, now_s=100.0):
    """The pixels of a phase, (height, width, 3)."""
    screen.resize(800, 600)
    while screen._at < phase:
        screen._skips = True
        screen.advance(now_s)
        screen.began(now_s)
    image = screen.grab().toImage().convertToFormat(QtGui.QImage.Format_RGB32)
    bits = image.constBits()
    bits.setsize(image.byteCount())
    return np.frombuffer(bits, np.uint8).reshape(image.height(), image.width(), 4)[:, :, :3].copy()


# --- a run -----------------------------------------------------------------------------------------------------------


def test_what_is_shown_is_what_is_sent(qtbot, unique_name):
    paradigm = quick()
    screen = CueScreen(paradigm, DARK, group=unique_name)
    markers = inlet(unique_name)  # there before anything is shown
    with qtbot.waitSignal(screen.finished, timeout=LIMIT_MS) as ended:
        screen.begin()
    assert ended.args == [True]
    assert tuple(label for label, _ in screen.onsets) == paradigm.markers
    assert received(markers, len(screen.onsets)) == screen.onsets
    assert markers.info().desc().child("rolandic").child_value("group") == unique_name
    assert (screen.n_unseen, screen.isVisible()) == (0, False)
    shown_s = np.diff([stamp_s for _, stamp_s in screen.onsets])
    due_s = []
    for _, phase in paradigm.phases:  # from marker to marker
        if phase.marker:
            due_s.append(0.0)
        due_s[-1] += phase.duration_s
    assert (shown_s > np.array(due_s[:-1]) - 2 / screen.refresh_hz).all()  # never shorter than it should be


def test_a_group_is_no_must(qtbot):
    one, other = (CueScreen(quick(), DARK).outlet.get_info().source_id() for _ in range(2))
    assert one.startswith(CUES)
    assert one != other


def test_escape_asks_and_asked_twice_ends_it(qtbot):
    screen = CueScreen(quick(50), DARK)
    screen.begin()
    qtbot.waitUntil(lambda: len(screen.onsets) >= 1, timeout=LIMIT_MS)
    press(screen, QtCore.Qt.Key_Escape)
    assert not screen.is_over
    n = screen.n_frames
    qtbot.waitUntil(lambda: screen.n_frames > n + 5, timeout=LIMIT_MS)  # it goes on meanwhile
    press(screen, QtCore.Qt.Key_A)
    press(screen, QtCore.Qt.Key_Escape)
    assert not screen.is_over
    with qtbot.waitSignal(screen.finished, timeout=LIMIT_MS) as ended:
        press(screen, QtCore.Qt.Key_Escape)
    assert ended.args == [False]
    assert 1 <= len(screen.onsets) < len(screen.paradigm.markers)


def test_closing_it_ends_it_once(qtbot):
    screen = CueScreen(quick(50), DARK)
    outcomes = []
    screen.finished.connect(outcomes.append)
    screen.begin()
    qtbot.waitUntil(lambda: screen.n_frames > 2, timeout=LIMIT_MS)
    screen.close()
    screen.close()
    n = screen.n_frames
    qtbot.wait(50)
    assert (outcomes, screen.n_frames) == ([False], n)


def test_enter_ends_a_pause_and_nothing_else(qtbot):
    screen = CueScreen(quick(lead_s=3000.0), DARK)
    picture(screen, 0)
    screen.advance(101.0)
    assert screen.phase.kind == "pause"
    press(screen, QtCore.Qt.Key_Return)
    screen.advance(102.0)
    assert screen.phase.kind == "rest"
    screen.began(102.0)
    press(screen, QtCore.Qt.Key_Return)
    screen.advance(102.01)
    assert screen.phase.kind == "rest"


# --- pictures --------------------------------------------------------------------------------------------------------


def test_cues_differ_by_their_shape_alone(qtbot):
    screens = {}
    for k, trial in enumerate(quick(lead_s=0).trials[:2]):
        screen = CueScreen(quick(lead_s=0, pause_s=0), DARK)
        screens[trial.label] = picture(screen, 3 * k + 1)
    arrow = {name: shown[140:400, 100:700].astype(int) for name, shown in screens.items()}
    assert np.abs(arrow["left"] - arrow["right"]).max() > 100
    mirrored = np.abs(arrow["left"] - arrow["right"][:, ::-1]).max(axis=2) > 60
    assert mirrored.mean() < 0.005  # but for the rims of its edges
    columns = np.flatnonzero((arrow["left"] > 200).all(axis=2).any(axis=0))
    assert columns.mean() == pytest.approx(300, abs=3)  # in the middle, where eyes rest


def test_the_patch_flips_with_each_onset_and_only_then(qtbot):
    screen = CueScreen(quick(), DARK)
    states, began = [], screen.began
    screen.began = lambda stamp_s: (began(stamp_s), states.append(screen._patch_is_on))
    screen.begin(is_full_screen=False)
    qtbot.waitUntil(lambda: len(states) >= 6, timeout=LIMIT_MS)
    screen.end(False)
    assert states == [k % 2 == 0 for k in range(len(states))]
    for is_on in (False, True):
        screen._patch_is_on = is_on
        pixel = QtGui.QColor(screen.grab().toImage().pixel(5, screen.height() - 5))
        assert pixel.red() == 255 * is_on


@pytest.mark.parametrize(("label", "angle"), [("left", 180), ("right_hand", 0), ("feet", 270), ("both hands", 90),
                                              ("tongue", None), ("T1", None)])  # fmt: skip
def test_a_class_without_a_direction_is_a_word(label, angle, qtbot):
    assert draw.direction(label) == angle
    assert picture(CueScreen(imagery((label, "other"), 1, 0, **QUICK), DARK), 2).max() > 200


def state_of(p, flags=0):
    state = SessionState(classes=("left", "right"))
    state.hops.append((pylsl.local_clock(), np.array(p), flags))
    return state


def test_feedback_shows_what_the_decoder_says(qtbot):
    bars = {}
    for name, state in (("left", state_of([0.9, 0.1])), ("right", state_of([0.1, 0.9])),
                        ("none", SessionState()), ("flagged", state_of([0.9, 0.1], flags=1))):  # fmt: skip
        screen = CueScreen(quick(lead_s=0), DARK, state=state)
        shown = picture(screen, 2, pylsl.local_clock())
        blue = (shown[:, :, 0] > 180) & (shown[:, :, 2] < 140)  # rows of pixels are blue, green, red
        bars[name] = np.flatnonzero(blue.any(axis=0))
    assert bars["left"].max() <= 401
    assert bars["right"].min() >= 399
    assert len(bars["left"]) == pytest.approx(0.8 * 0.72 * 600 / 2, abs=4)
    assert (len(bars["none"]), len(bars["flagged"])) == (0, 0)


def test_feedback_at_the_end_says_whether_it_was_right(qtbot):
    told = {}
    for p in ([0.9, 0.1], [0.1, 0.9]):
        screen = CueScreen(quick(lead_s=0, feedback_s=0.5), DARK, state=state_of(p))
        picture(screen, 3, pylsl.local_clock())
        screen.state.hops.append((pylsl.local_clock(), np.array([0.5, 0.5]), 0))  # after the trial
        told[p[0]] = screen._outcome
    cued = screen.label
    assert told[0.9] == ("left  90%", cued == "left")
    assert told[0.1] == ("right  90%", cued == "right")
    screen = CueScreen(quick(lead_s=0, feedback_s=0.5), DARK)
    picture(screen, 3)
    assert screen._outcome == ("nothing was decoded", None)


# --- flicker ---------------------------------------------------------------------------------------------------------


def blinking(**more):
    return flicker((10, 12, 15), 1, 0, refresh_hz=60, **(QUICK | more))


def test_nothing_flickers_before_a_person_has_agreed(qtbot, unique_name):
    screen = CueScreen(blinking(), DARK, group=unique_name)
    screen.begin()
    warning = screen.warning
    assert warning.isVisible()
    assert not warning.go.isEnabled()
    qtbot.wait(200)
    warning._go()  # however the button was reached
    warning.go.click()
    assert (screen.n_frames, screen.onsets, screen.is_over) == (0, [], False)
    warning.read.setChecked(True)
    with qtbot.waitSignal(screen.finished, timeout=LIMIT_MS) as ended:
        warning.go.click()
    assert ended.args == [True]
    assert [label for label, _ in screen.onsets if label != "rest"] == [t.label for t in screen.paradigm.trials]


@pytest.mark.parametrize("how", [QtCore.Qt.Key_Escape, QtCore.Qt.Key_Return])
def test_who_does_not_agree_sees_nothing(how, qtbot):
    screen = CueScreen(blinking(), DARK)
    screen.begin()
    with qtbot.waitSignal(screen.finished, timeout=LIMIT_MS) as ended:
        press(screen.warning, how)  # Enter too soon: the way out has the focus
    assert ended.args == [False]
    assert (screen.n_frames, screen.onsets) == (0, [])


def test_the_space_bar_is_the_stop_of_everything_that_runs_here(qtbot, monkeypatch, capsys):
    from bci.gui.link import Link

    stops = []
    monkeypatch.setattr(Link, "stop", lambda self: stops.append(1))

    def keys():
        for screen in QtWidgets.QApplication.topLevelWidgets():
            if isinstance(screen, CueScreen) and screen.isVisible() and screen.n_frames:
                for key in (QtCore.Qt.Key_Space, QtCore.Qt.Key_Escape, QtCore.Qt.Key_Escape):
                    type_into(screen, key)

    timer = QtCore.QTimer()
    timer.timeout.connect(keys)
    timer.start(50)
    with pytest.raises(SystemExit):
        main(["cues", "--classes", "left", "right", "--quiet"])
    assert stops == [1]


def test_a_screen_that_is_too_slow_is_refused(qtbot):
    screen = CueScreen(flicker((10, 55), 1, 0, refresh_hz=144, **QUICK), DARK)
    with pytest.raises(FlickerError, match="a screen of 60 Hz shows at most 30 Hz"):
        screen.begin()
    assert not screen.isVisible()


def test_each_target_has_its_own_light(qtbot):
    screen = CueScreen(blinking(lead_s=0), DARK)
    picture(screen, 2, 100.0)
    lights = set()
    for k in range(6):
        screen._now_s = 100.0 + k / 60
        shown = screen.grab().toImage()
        view = draw.View(QtCore.QRectF(screen.rect()))
        spots = [box.center().toPoint() for box in draw.target_boxes(view, 3)]
        lights.add(tuple(QtGui.QColor(shown.pixel(spot)).red() for spot in spots))
    assert (255, 255, 255) in lights
    assert len(lights) == 6
    assert any(a != b != c for a, b, c in lights)


# --- the display's delay ---------------------------------------------------------------------------------------------


class FakeSensor:
    """A photodiode that follows the page's own markers after ``delay_s``."""

    name = "fake, channel light"
    page = None

    def __init__(self, delay_s):
        self.delay_s = delay_s

    def pull(self):
        pass

    @property
    def signal(self):
        light_s = np.array(self.page.light_stamps_s)
        t_s = np.arange(0, light_s[-1] + 2, 0.001)
        after = t_s[:, None] - light_s - self.delay_s
        return ((after > 0) & (after < LIGHT_S)).any(axis=1) + np.random.default_rng(0).normal(0, 0.01, len(t_s)), t_s


def flash(page, n):
    """Run the page on a clock of its own."""
    now_s = 10.0
    for _ in range(round(n * (LIGHT_S + DARK_S[1]) * 60) + 200):
        now_s += 1 / 60
        _, onset = page.advance(now_s)
        if onset is not None:
            page.onsets.append((onset, now_s))
            page.began(now_s)


def test_the_delay_page_finds_the_delay(qtbot):
    page = DelayPage(FakeSensor(0.037), DARK, n_flashes=8)
    page.sensor.page = page
    flash(page, 8)
    assert page.result.median_ms == pytest.approx(37, abs=1)
    assert page.result.n_flashes == 8
    light_s = np.array(page.light_stamps_s)
    assert (np.diff(light_s) > 1 / 3).all()  # never more than three flashes a second
    assert page.grab().width() > 0
    with qtbot.waitSignal(page.finished, timeout=LIMIT_MS) as ended:
        page.go_on()
    assert ended.args == [True]


def test_a_delay_page_without_light_says_what_to_do(qtbot):
    page = DelayPage(FakeSensor(LATE_S + 10.0), DARK, n_flashes=6)
    page.sensor.page = page
    flash(page, 6)
    assert page.result is None
    assert "put the photodiode on the patch" in str(page.error)
    assert page.grab().width() > 0


def test_the_sensor_is_a_channel_of_a_stream(unique_name):
    channels = (Channel("C3", "EEG", "uV"), Channel("light", "AUX", "V"))
    spec = StreamSpec(name=unique_name, source_id=unique_name, sfreq_hz=100.0, channels=channels)
    outlet = pylsl.StreamOutlet(info_from_spec(spec))
    with pytest.raises(SourceError, match="has no channel 'AUX7'; it has C3, light"):
        Sensor(unique_name, "AUX7")
    sensor = Sensor(unique_name, "light")
    assert outlet.wait_for_consumers(20.0)
    for k in range(5):
        outlet.push_sample([0.0, k], 50.0 + k)
    until_s = pylsl.local_clock() + 20.0
    while len(sensor.signal[0]) < 5 and pylsl.local_clock() < until_s:
        sensor.pull()
    assert sensor.signal[0].tolist() == [0, 1, 2, 3, 4]
    assert sensor.signal[1] == pytest.approx(50 + np.arange(5), abs=0.05)


# --- the command line, and what others make of the stream ------------------------------------------------------------


def test_the_verb_prints_every_onset(qtbot, capsys, tmp_path, unique_name):
    file = tmp_path / "paradigm.toml"
    file.write_text('labels = ["left", "right"]\nn_per_class = 1\nlead_s = 0\nrest_s = [0.2, 0.2]\nimagery_s = 0.4\n')
    main(["cues", "--config", str(file), "--group", unique_name, "--json", "-"])
    result = json.loads(capsys.readouterr().out)
    assert result["is_complete"]
    assert (result["n_cues_shown"], result["n_trials"], result["seed"]) == (2, 2, 0)
    assert sorted(o["label"] for o in result["onsets"]) == ["left", "rest", "rest", "right"]
    stamps_s = [o["stamp_s"] for o in result["onsets"]]
    assert stamps_s == sorted(stamps_s)
    assert result["n_dropped_frames"] >= 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say what to show"),
        (("--classes", "left", "right", "--flicker", "10"), "say what to show"),
        (("--classes", "left", "right", "--trials", "5"), "multiple of the 2 classes"),
        (("--classes", "left"), "must be two or more"),
        (("--classes", "a", "b", "--markers", "a"), "must be CLASS=MARKER"),
        (("--flicker", "10", "70"), "at most 60 Hz"),
        (("--measure-delay",), "say where the photodiode is"),
        (("--config", "nowhere.toml"), "nowhere.toml: No such file"),
    ],
)
def test_what_cannot_be_shown_is_exit_2_in_one_line(arguments, said, qtbot, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["cues", *arguments])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_cues_are_markers_for_everybody():
    cues, own = marker_spec(CUES), marker_spec("bci-events")
    assert (cues.is_own, own.is_own, cues.is_marker_stream) == (False, True, True)
    signal = RecordedStream(StreamSpec(name="eeg", sfreq_hz=100.0, channels=(Channel("C3"),)), np.zeros((9, 1)),
                            np.arange(9) / 100)  # fmt: skip
    streams, _ = playable([signal, *(RecordedStream(s, ["left"], np.array([0.05])) for s in (cues, own))], None)
    assert [s.spec.name for s in streams] == ["eeg", CUES]


def test_an_ended_run_is_no_success(qtbot, monkeypatch, capsys):
    from bci.gui.cues.screen import CueScreen as Screen

    monkeypatch.setattr(Screen, "advance", lambda self, now_s: (self.end(False), (None, None))[1])
    with pytest.raises(SystemExit) as stopped:
        main(["cues", "--classes", "left", "right", "--trials", "2", "--quiet"])
    assert stopped.value.code == RolandicError.exit_code
    assert "ended after 0 of 2 cues" in capsys.readouterr().err
