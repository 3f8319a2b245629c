"""The start page against streams and children that do what a test says: what it shows, starts and asks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pyqtgraph.Qt import QtCore, QtWidgets

from bci.gui.start import shelf
from bci.gui.start.jobs import Job, outcome
from tests.helpers.keys import type_into
from tests.helpers.start_page import FakeCues, FakeJob, FakeStreams, eeg, marker_spec, undescribed

SHIPPED = Path(__file__).parents[1] / "replay_data" / "sub-simulated" / "ses-1"


@pytest.fixture
def root(tmp_path):
    """One person with a session and a model."""
    folder = tmp_path / "lab"
    shutil.copytree(SHIPPED, folder / "sub-P01" / "ses-1")
    shutil.copytree(next((SHIPPED / "models").iterdir()), folder / "sub-P01" / "models" / "first")
    return folder


@pytest.fixture
def labels():
    spec = json.loads(next((SHIPPED / "models").glob("*/spec.json")).read_text())
    return tuple(spec["preprocessing"]["channels"])


@pytest.fixture
def start(qtbot, root, labels, tmp_path):
    from bci.gui.start.window import Start
    from bci.gui.theme import DARK

    FakeJob.all.clear()
    settings = QtCore.QSettings(str(tmp_path / "window.ini"), QtCore.QSettings.IniFormat)
    cues = FakeCues()
    window = Start(root, DARK, settings, FakeStreams(eeg(labels=labels)), FakeJob, lambda *_: cues)
    window.cue_screen = cues
    qtbot.addWidget(window, before_close_func=lambda w: setattr(w.run, "job", None))
    window.timer.stop()
    window.show()
    window.look()
    return window


def pick_all(start):
    start.connect_page.list.pick("u1")
    start.connect_page.subject.setEditText("P01")
    start.look()


def visible_text(widget):
    return " ".join(label.text() for label in widget.findChildren(QtWidgets.QLabel) if label.isVisible())


# --- connect ---------------------------------------------------------------------------------------------------------


def test_streams_come_and_go_and_say_what_they_are(start):
    page = start.connect_page
    assert [(e.title, e.detail) for e in page.list.entries] == [("eeg", "EEG  ·  21 channels  ·  250 Hz  ·  lab-pc")]
    start.streams.specs.append(marker_spec("cues"))
    start.look()
    assert [(e.title, e.is_enabled) for e in page.list.entries] == [("eeg", True), ("cues", False)]
    start.streams.specs = []
    start.look()
    assert page.list.entries == []
    assert "Is the amplifier's LSL app running" in page.list._empty
    assert not page.check.isEnabled()


def test_a_stream_that_is_picked_is_watched_and_picked_again_when_its_sender_was_restarted(start, labels):
    pick_all(start)
    assert start.streams.watched_uid == "u1"
    assert start.picked.described.labels == labels
    assert "sending 250 samples a second" in start.connect_page.data.text()
    start.streams.specs = []
    start.streams.watched = None
    start.look()
    assert "'eeg' is not there any more" in start.connect_page.data.text()
    start.streams.specs = [eeg(uid="u2", labels=labels)]
    start.look()
    assert start.picked.stream.uid == start.streams.watched_uid == "u2"


def test_a_stream_without_a_unit_asks_for_it(start, labels):
    start.streams.specs = [eeg(uid="u9", labels=labels, unit="")]
    pick_all(start)
    start.connect_page.list.pick("u9")
    start.look()
    assert start.connect_page.unit.isVisible()
    assert "in which unit" in start.picked.missing()
    start.connect_page.unit.setCurrentText("µV")
    assert start.picked.missing() == ""
    assert start.picked.stream_options == ["--stream", "eeg", "--source-id", "amplifier-1", "--unit", "uV"]


def test_the_check_shows_the_worst_first_and_can_be_cancelled(start):
    pick_all(start)
    start.connect_page.check.click()
    job = FakeJob.all[-1]
    assert job.arguments == ["run", "--stream", "eeg", "--source-id", "amplifier-1", "--preflight-only"]
    assert not start.connect_page.check.isEnabled()
    found = [
        {"level": "ok", "stream": "eeg", "text": "21 channels"},
        {"level": "fail", "stream": "eeg", "text": "flat"},
    ]
    job.end(1, {"findings": found})
    assert start.connect_page.lines.shown == [("fail", "eeg: flat"), ("ok", "eeg: 21 channels")]
    start.connect_page.check.click()
    start.connect_page.working.cancel.click()
    assert FakeJob.all[-1].is_cancelled
    FakeJob.all[-1].end(1)
    assert start.connect_page.lines.shown == [("info", "cancelled")]


def test_a_simulated_person_is_started_and_picked_and_ends_with_the_window(start, labels):
    start.connect_page.simulate.click()
    job = FakeJob.all[-1]
    assert job.arguments[0] == "simulate"
    assert job.is_tied
    start.streams.specs.append(eeg(name=job.option("--name"), uid="u5", labels=labels))
    start.look()
    assert start.picked.stream.uid == "u5"
    start.close()
    assert job.is_cancelled
    assert not job.is_running
    assert start.streams.is_closed


def test_a_recording_that_cannot_be_played_says_why(start, tmp_path):
    start.connect_page.play_recording(tmp_path / "no.edf")
    FakeJob.all[-1].end(1, error="no.edf: no such file")
    assert start.connect_page.trouble.shown[0][0] == "fail"
    assert "no such file" in start.connect_page.trouble.shown[0][1]


def test_names_that_bids_does_not_allow_cannot_be_typed(start, qtbot):
    field = start.connect_page.subject.lineEdit()
    field.setFocus()
    qtbot.keyClicks(field, "P-0 2/..")
    assert start.picked.subject == "P02"


# --- calibrate -------------------------------------------------------------------------------------------------------


def test_calibration_records_with_cues_trains_and_shows_the_score_beside_chance(start, root, qtbot):
    pick_all(start)
    page = start.calibrate
    page.imagery.setValue(2.0)
    page.begin.click()
    record = FakeJob.all[-1]
    assert record.arguments[:5] == ["record", "--stream", "eeg", "--stream", "bci-cues"]
    out = Path(record.option("--out"))
    assert out == root / "sub-P01" / "calibration" / "sub-P01_run-1.xdf"
    page._look_for_file()
    assert not start.cue_screen.has_begun  # nobody is cued before it records
    out.touch()
    page._look_for_file()
    assert start.cue_screen.has_begun
    start.cue_screen.finished.emit(True)
    qtbot.waitUntil(lambda: record.is_finishing)
    assert not record.is_cancelled
    record.end(0, {"seconds": 64.0, "n_samples": {"eeg": 16000, "bci-cues": 20}})
    train = FakeJob.all[-1]
    assert train.arguments[0] == "train"
    assert (train.arguments[1], train.option("--decide-at"), train.option("--window")) == (str(out), "1.9", "1.4")
    held_out = {"accuracy": 0.825, "chance": 0.5, "chance_band": [0.35, 0.65], "n_trials": 40}
    model = Path(train.option("--out"))
    shutil.copytree(root / "sub-P01" / "models" / "first", model)
    train.end(0, {"decoder": "riemann_fb", "n_trials": 40, "n_left_out": 0, "held_out": held_out})
    assert page.result.title.text() == "It works: better than guessing"
    text = page.result.text.text().replace("\u00a0", " ")
    assert "33 of 40" in text
    assert "Guessing gets 50 %, and with luck up to 65 %" in text
    assert page.bar.isVisibleTo(page)
    page.go_on.click()
    assert start.stack.currentWidget() is start.run
    assert start.picked.model == model
    assert start.run.models.key == str(model)


def test_a_calibration_that_is_aborted_trains_nothing_and_says_what_is_kept(start):
    pick_all(start)
    start.calibrate.begin.click()
    record = FakeJob.all[-1]
    Path(record.option("--out")).touch()
    start.calibrate._look_for_file()
    start.cue_screen.finished.emit(False)
    assert record.is_cancelled
    record.end(0, {"seconds": 4.0, "n_samples": {}})
    assert FakeJob.all[-1] is record
    assert start.calibrate.result.title.text() == "The recording: cancelled"
    assert "is kept in" in start.calibrate.result.text.text()
    assert start.calibrate.begin.isEnabled()


def test_a_recorder_that_fails_closes_the_cue_screen_and_says_why(start):
    pick_all(start)
    start.calibrate.begin.click()
    FakeJob.all[-1].end(1, error="no LSL stream with name 'eeg' within 30 s")
    assert start.cue_screen.is_closed
    assert "No LSL stream with name 'eeg'" in start.calibrate.result.text.text()


def test_recordings_that_are_there_need_no_stream(start, tmp_path):
    start.connect_page.subject.setEditText("P09")
    page = start.calibrate
    page.by_files.setChecked(True)
    assert "Choose the recordings" in page.advice.text()
    page.use_recordings([tmp_path / "a.edf", tmp_path / "b.edf"])
    page.labels.setText("T1=left")
    assert not page.begin.isEnabled()
    page.labels.setText("T1=left T2=right")
    page.begin.click()
    arguments = FakeJob.all[-1].arguments
    assert arguments[:6] == [
        "train",
        str(tmp_path / "a.edf"),
        str(tmp_path / "b.edf"),
        "--labels",
        "T1=left",
        "T2=right",
    ]
    assert "--stream" not in arguments
    FakeJob.all[-1].end(1, error="only 3 trials")
    assert page.result.text.text() == "Only 3 trials"


# --- run -------------------------------------------------------------------------------------------------------------


def test_models_say_whether_they_fit_the_stream(start, root, labels):
    assert start.run.models.entries[0].level == ""  # nobody knows yet
    pick_all(start)
    assert [(e.note, e.right.replace("\u00a0", " ")) for e in start.run.models.entries] == [("fits the stream", "82 %")]
    start.streams.specs = [eeg(uid="u7", labels=labels[2:])]
    start.look()
    entry = start.run.models.entries[0]
    assert (entry.is_enabled, entry.note) == (False, f"does not fit: channels {labels[0]}, {labels[1]} are missing")
    assert start.picked.model is None
    assert not start.run.begin.isEnabled()
    assert start.run.where.text() == "Pick a model first."


def test_a_session_runs_as_a_child_that_outlives_the_window_and_space_stops_meanwhile(start, root, qtbot):
    stops = []
    start.link.stop = lambda: stops.append(1)
    pick_all(start)
    start.turn_to(2)
    start.run.device.setEditText("udp://127.0.0.1:5005")
    assert not start.stop.isVisible()
    start.run.begin.click()
    job = next(j for j in FakeJob.all if j.arguments[:1] == ["run"])
    assert not job.is_tied
    assert job.option("--model") == str(root / "sub-P01" / "models" / "first")
    assert job.option("--session") == str(root / "sub-P01" / "ses-2")
    assert job.option("--device") == "udp://127.0.0.1:5005"
    assert start.stop.isVisible()
    assert start.streams.watched_uid == ""
    assert "--window" in job.arguments
    start.run.look.click()
    assert FakeJob.all[-1].arguments == ["view", "--control", "--pid", str(job.pid)]
    FakeJob.all[-1].end(1, error="no session runs here")
    assert start.run.lines.shown == [("fail", "no session runs here")]
    type_into(start.run.device.lineEdit())
    assert (stops, start.run.device.currentText()) == ([1], "udp://127.0.0.1:5005")
    job.end(0, {"n_samples_lost": 0, "n_commands_sent": 3, "ended_because": "stopped by the user"})
    assert not start.stop.isVisible()
    assert "3 commands sent" in start.run.result.text.text()
    assert start.streams.watched_uid == "u1"
    type_into(start.run.device.lineEdit())
    assert stops == [1]


def test_a_session_that_cannot_start_says_why(start):
    pick_all(start)
    start.run.begin.click()
    next(j for j in FakeJob.all if j.arguments[:1] == ["run"]).end(1, error="udp://x: no such host; name one that is")
    assert start.run.result.title.text() == "The session: not done"
    assert start.run.result.text.text().startswith("Udp://x: no such host")
    assert start.run.begin.isEnabled()


@pytest.mark.parametrize("answer", ["Close, the session goes on", "End the session", "Stay"])
def test_closing_while_a_session_runs_asks(start, answer, monkeypatch):
    def choose(box):
        button = next(b for b in box.buttons() if b.text() == answer)
        monkeypatch.setattr(QtWidgets.QMessageBox, "clickedButton", lambda _: button)

    monkeypatch.setattr(QtWidgets.QMessageBox, "exec_", choose)
    pick_all(start)
    start.run.begin.click()
    job = start.run.job
    start.close()
    assert job.is_running
    assert job.is_cancelled == (answer == "End the session")
    assert start.isHidden() == (answer != "Stay")
    assert not start.streams.is_closed
    job.end(0, {"n_samples_lost": 0})
    assert start.streams.is_closed == (answer != "Stay")


# --- replay ----------------------------------------------------------------------------------------------------------


def test_replay_shows_progress_and_says_what_came_of_it(start, root):
    page = start.replay
    assert [e.title for e in page.list.entries] == ["P01 · ses-1"]
    assert "14 commands sent" in page.list.entries[0].detail
    assert not page.verify.isEnabled()
    page.list.pick(str(root / "sub-P01" / "ses-1"))
    page.verify.click()
    job = FakeJob.all[-1]
    assert job.arguments == ["replay", str(root / "sub-P01" / "ses-1"), "--verify"]
    job.progressed.emit("replaying", 40, 100)
    assert (page.working.bar.value(), page.working.bar.maximum()) == (40, 100)
    job.end(0, {"n_differences": 0, "bitwise": True, "n_predictions": 371, "n_commands": 14})
    assert page.result.title.text() == "0 differences, bit for bit"
    page.verify.click()
    first = {"kind": "prediction", "index": 7}
    FakeJob.all[-1].end(1, {"n_differences": 3, "first_difference": first, "n_predictions": 371, "n_commands": 14})
    assert (page.result.badge.level, page.result.title.text()) == ("fail", "3 differences")
    assert "prediction 7" in page.result.text.text()


def test_a_report_is_made_where_there_is_none_and_opened(start, root, monkeypatch):
    opened = []
    monkeypatch.setattr("bci.gui.start.replay.open_file", opened.append)
    folder = root / "sub-P01" / "ses-1"
    start.replay.list.pick(str(folder))
    start.replay.report.click()
    job = FakeJob.all[-1]
    assert job.arguments == ["report", str(folder)]
    (folder / "report.html").touch()
    job.end(0)
    assert opened == [folder / "report.html"]
    start.replay.report.click()
    assert len(opened) == 2


def test_a_folder_that_holds_no_session_is_refused_in_words(start, tmp_path):
    start.replay.add_session(tmp_path)
    assert "holds no session.xdf" in start.replay.result.text.text()


# --- keyboard --------------------------------------------------------------------------------------------------------


def test_every_page_is_reached_by_keyboard(start):
    for nav, page in zip(start.nav, start.pages, strict=True):
        assert "&" in nav.text()
        nav.click()
        assert start.stack.currentWidget() is page
        named = [*page.findChildren(QtWidgets.QAbstractButton), *start.nav]
        named += [w for w in page.findChildren(QtWidgets.QLabel) if w.buddy() is not None]
        mnemonics = [w.text()[w.text().index("&") + 1].lower() for w in named if "&" in w.text()]
        assert sorted(set(mnemonics)) == sorted(mnemonics), f"two of one Alt key on {type(page).__name__}"


def test_tab_and_enter_do_what_a_mouse_does(start, qtbot):
    pick_all(start)
    page = start.connect_page
    page.list.setFocus()
    for _ in range(12):
        if page.check.hasFocus():
            break
        qtbot.keyClick(start.focusWidget(), QtCore.Qt.Key_Tab)
    assert page.check.hasFocus()
    qtbot.keyClick(page.check, QtCore.Qt.Key_Return)
    assert FakeJob.all[-1].arguments[-1] == "--preflight-only"


# --- what lies on disk -----------------------------------------------------------------------------------------------


def test_models_inside_sessions_are_copies_and_broken_ones_say_so(root):
    (root / "sub-P01" / "models" / "broken").mkdir()
    (root / "sub-P01" / "models" / "broken" / "spec.json").write_text("{")
    found = {m.path.name: m for m in shelf.models(root, "P01")}
    assert set(found) == {"first", "broken"}
    assert (found["first"].decoder, found["first"].classes) == ("bandpower", ("left", "right"))
    assert "cannot be read" in found["broken"].trouble
    assert shelf.why_unfit(found["first"], undescribed(eeg())) == ""  # its channels have no names yet


def test_folders_are_numbered_on(root):
    from datetime import date

    assert shelf.subjects(root) == ["P01"]
    assert shelf.next_session(root, "P01").name == "ses-2"
    assert shelf.next_session(root, "new") == root / "sub-new" / "ses-1"
    recording, model = shelf.next_calibration(root, "P01", date(2026, 11, 27))
    recording.touch()
    model.mkdir()
    again = shelf.next_calibration(root, "P01", date(2026, 11, 27))
    assert [p.name for p in (recording, model, *again)] == [
        "sub-P01_run-1.xdf", "hands-2026-11-27", "sub-P01_run-2.xdf", "hands-2026-11-27-2",
    ]  # fmt: skip


def test_a_cap_with_many_channels_is_learnt_from_over_the_motor_cortex():
    few = eeg(labels=tuple(f"E{i}" for i in range(32)))
    assert shelf.inputs_for(few) == shelf.inputs_for(None) == ()
    motor = ("FC3", "FC4", "C5", "C3", "Cz", "C4", "CP3", "cp4")
    assert shelf.inputs_for(eeg(labels=(*motor, *few.labels))) == motor


def test_left_and_right_are_mirrored_where_the_electrodes_have_partners():
    assert shelf.recipe(None) == []
    assert shelf.recipe(eeg()) == ["--sfreq", "80", "--mirror"]
    assert shelf.recipe(eeg(labels=("C3", "Cz"))) == ["--sfreq", "80"]
    assert shelf.recipe(eeg(sfreq_hz=1000 / 3.0001)) == ["--mirror"]


# --- children --------------------------------------------------------------------------------------------------------


def test_a_real_child_gives_progress_a_result_and_the_last_line_of_its_errors(qtbot, root, tmp_path):
    job = Job(["replay", root / "sub-P01" / "ses-1", "--verify"])
    seen = []
    job.progressed.connect(lambda *said: seen.append(said))
    with qtbot.waitSignal(job.ended, timeout=120_000) as ended:
        job.start()
    done = ended.args[0]
    assert (done.code, done.error, done.result["n_differences"]) == (0, "", 0)
    assert seen[-1][1] == seen[-1][2] > 0
    assert 10 < len(seen) < 120
    wrong = Job(["replay", tmp_path / "none"])
    with qtbot.waitSignal(wrong.ended, timeout=120_000) as ended:
        wrong.start()
    assert ended.args[0].code == 1
    assert str(tmp_path) in ended.args[0].error


def test_what_a_child_leaves_is_read_whatever_it_is():
    assert outcome(0, b"no json", []).result == {}
    assert outcome(1, b"", ["warning", "bci: no stream"]).error == "no stream"
    assert "exit code 3" in outcome(3, b"", []).error
