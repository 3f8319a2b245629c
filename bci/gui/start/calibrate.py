"""The page that makes a decoder for a person: cues and a recording, or recordings that are there, training, a score."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pyqtgraph.Qt import QtCore, QtWidgets

from bci.gui.cues import CueScreen
from bci.gui.panels.base import row
from bci.gui.start import shelf, words
from bci.gui.start.connect import RECORDINGS
from bci.gui.start.jobs import Job, MakeJob, Outcome
from bci.gui.start.picked import Picked
from bci.gui.start.widgets import Card, Combo, Count, Lines, Number, Page, Result, ScoreBar, Working, button, label
from bci.gui.theme import Theme
from bci.types import CUES
from calibration.paradigm import Paradigm, imagery

LABELS = ("left", "right")
TAIL_MS = 1000
WAIT_S = 30.0  # for the stream and the cues
DECODERS = {
    "Riemannian, four bands": [
        "--decoder", "riemann_fb", "--bands", "8-12", "11-16", "15-22", "20-30", "--recentre", "riemann",
    ],  # with what `shelf.recipe` adds to it
    "Riemannian, one band": ["--decoder", "riemann"],
    "Band power": ["--decoder", "bandpower"],
    "Network (EEGNet)": ["--decoder", "eegnet"],
}  # fmt: skip
MakeCues = Callable[[int, float, int, Theme], Any]


def make_cues(n_per_class: int, imagery_s: float, seed: int, theme: Theme) -> Any:
    """The screen with cues for left and right."""
    return CueScreen(paradigm_of(n_per_class, imagery_s, seed), theme)


def paradigm_of(n_per_class: int, imagery_s: float, seed: int) -> Paradigm:
    """Cues for left and right, as `Calibrate` shows them."""
    return imagery(LABELS, n_per_class, seed, imagery_s=imagery_s)


class Calibrate(Page):
    """Cues, recording, training, score."""

    finished = QtCore.pyqtSignal()  # a model was made
    wants_run = QtCore.pyqtSignal()

    def __init__(self, picked: Picked, theme: Theme, make_job: MakeJob, make_cues: MakeCues = make_cues):
        super().__init__(
            "Calibrate", "The person imagines movements on cue; a decoder learns what their signal does meanwhile."
        )
        self.picked, self._theme, self._make_job, self._make_cues = picked, theme, make_job, make_cues
        self.record_job: Job | None = None
        self.train_job: Job | None = None
        self.cues: Any = None
        self.recordings: list[Path] = []
        self._recording = self._model = Path()
        self._steps: list[tuple[str, str]] = []
        self._is_aborted = False
        self._begun = QtCore.QTimer(self)  # looks whether the recorder has made its file
        self._begun.setInterval(200)
        self._begun.timeout.connect(self._look_for_file)
        columns = QtWidgets.QHBoxLayout()
        columns.setSpacing(16)
        columns.addWidget(self._settings_card(), 4)
        columns.addWidget(self._work_card(theme), 5)
        self.box.addLayout(columns, 1)
        picked.changed.connect(self.refresh)
        self.refresh()

    # --- building ----------------------------------------------------------------------------------------------------

    def _settings_card(self) -> Card:
        card = Card("What to learn from")
        self.by_screen = QtWidgets.QRadioButton("C&ues on this screen: left hand, right hand")
        self.by_stream = QtWidgets.QRadioButton("Cues of another pro&gram, as LSL markers")
        self.by_files = QtWidgets.QRadioButton("Recordings that are &there already")
        self.by_screen.setChecked(True)
        self._modes = QtWidgets.QButtonGroup(self)
        for mode in (self.by_screen, self.by_stream, self.by_files):
            self._modes.addButton(mode)
            mode.toggled.connect(self.refresh)
            card.box.addWidget(mode)
        self.trials = _spin(2, 100, 20, "", "Cues for each hand; below 15 the score stays vague")
        self.imagery = Number()
        self.imagery.setRange(1.5, 8.0)
        self.imagery.setSingleStep(0.5)
        self.imagery.setValue(4.0)
        self.imagery.setSuffix(" s")
        self.imagery.setDecimals(1)
        self.imagery.setToolTip("How long the movement is imagined in each trial")
        self.minutes = Number()
        self.minutes.setRange(0.2, 120.0)
        self.minutes.setValue(6.0)
        self.minutes.setSuffix(" min")
        self.minutes.setDecimals(1)
        self.labels = QtWidgets.QLineEdit("left=left right=right")
        self.labels.setToolTip(
            "Which marker cues which class: MARKER=CLASS, with spaces between, such as T1=left T2=right"
        )
        self.files = button("Choose &files…", "One or more recordings of this person")
        self.files.clicked.connect(self._choose_files)
        self.decoder = Combo()
        self.decoder.addItems(list(DECODERS))
        self.decoder.setToolTip("The first scores best here for imagined movements of the hands (docs/results.md)")
        self.earlier = QtWidgets.QCheckBox("With the earlier calibrations of this person")
        self._rows: dict[str, QtWidgets.QWidget] = {}
        for key, text, widget in (
            ("trials", "Cues for each &hand", self.trials), ("imagery", "&Imagine for", self.imagery),
            ("minutes", "Rec&ord for", self.minutes), ("files", "Recordings", self.files),
            ("labels", "&Markers", self.labels), ("decoder", "&Decoder", self.decoder),
        ):  # fmt: skip
            name = QtWidgets.QLabel(text)
            name.setObjectName("soft")
            name.setBuddy(widget)
            name.setFixedWidth(146)
            widget.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Fixed)
            line = QtWidgets.QWidget()
            line.setLayout(row(name, widget))
            line.layout().setContentsMargins(0, 0, 0, 0)
            card.box.addWidget(line)
            self._rows[key] = line
        for spin in (self.trials, self.imagery):
            spin.valueChanged.connect(self.refresh)
        self.labels.textChanged.connect(self.refresh)
        card.box.addWidget(self.earlier)
        card.box.addStretch(1)
        return card

    def _work_card(self, theme: Theme) -> Card:
        card = Card("Calibration")
        self.advice = label("", "soft")
        self.begin = button("&Begin", name="primary")
        self.begin.clicked.connect(self.start)
        self.working = Working()
        self.working.cancelled.connect(self.cancel)
        self.steps, self.result, self.bar = Lines(theme), Result(theme), ScoreBar(theme)
        self.bar.hide()
        self.go_on = button("Run a &session with it", name="primary")
        self.go_on.clicked.connect(self.wants_run)
        self.go_on.hide()
        card.box.addWidget(self.advice)
        card.box.addLayout(row(self.begin, None))
        for widget in (self.working, self.steps, self.result, self.bar):
            card.box.addWidget(widget)
        card.box.addLayout(row(self.go_on, None))
        card.box.addStretch(1)
        return card

    def refresh(self) -> None:
        """Show what belongs to the way that is chosen, and what is missing."""
        shown = {
            "trials": self.by_screen, "imagery": self.by_screen, "minutes": self.by_stream, "files": self.by_files,
        }  # fmt: skip
        for key, mode in shown.items():
            self._rows[key].setVisible(mode.isChecked())
        self._rows["labels"].setVisible(not self.by_screen.isChecked())
        n_earlier = len(self._earlier())
        self.earlier.setText(f"With {n_earlier} earlier calibration{'s' * (n_earlier != 1)} of this person")
        self.earlier.setVisible(n_earlier > 0)
        n = len(self.recordings)
        self.files.setText(f"{n} chosen" if n else "Choose &files…")
        missing = self._missing()
        self.begin.setEnabled(not missing and not self.is_busy)
        self.advice.setText(missing or self._advice())

    def _missing(self) -> str:
        if self.by_files.isChecked():
            if not shelf.is_subject(self.picked.subject):
                return "Say whose recordings these are (Connect)."
            if not self.recordings:
                return "Choose the recordings."
        elif missing := self.picked.missing():
            return missing
        return "" if self.by_screen.isChecked() or len(_pairs(self.labels.text())) > 1 else (
            "Say which markers cue which classes, at least two: MARKER=CLASS, such as T1=left T2=right."
        )  # fmt: skip

    def _advice(self) -> str:
        if self.by_files.isChecked():
            return "The decoder is trained on what the recordings hold; training takes up to a minute."
        inputs = shelf.inputs_for(self.picked.described)
        which = f" It learns from the {len(inputs)} channels over the motor cortex." if inputs else ""
        if self.by_stream.isChecked():
            return f"Start the other program's cues once recording has begun.{which}"
        total_s = paradigm_of(self.trials.value(), self.imagery.value(), 0).duration_s
        return (
            f"About {words.duration(total_s)} min. Sit still, eyes on the cross. At each arrow imagine moving that "
            f"hand and how it feels, until the arrow goes. Esc ends it early.{which}"
        )

    def _choose_files(self) -> None:
        paths, _ = QtWidgets.QFileDialog.getOpenFileNames(self, "Recordings of this person", "", RECORDINGS)
        if paths:
            self.use_recordings([Path(p) for p in paths])

    def use_recordings(self, paths: Sequence[Path]) -> None:
        """Learn from these."""
        self.recordings = list(paths)
        self.by_files.setChecked(True)
        self.by_files.setFocus()
        self.refresh()

    def _earlier(self) -> list[Path]:
        folder = self.picked.root / f"sub-{self.picked.subject}" / "calibration"
        return sorted(folder.glob("*.xdf")) if self.picked.subject and folder.is_dir() else []

    # --- recording ---------------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether it records or trains."""
        return self.record_job is not None or self.train_job is not None

    @property
    def jobs(self) -> list[Job]:
        """What runs."""
        return [job for job in (self.record_job, self.train_job) if job is not None]

    def start(self) -> None:
        """Record with cues, then train; or train at once."""
        self._steps = []
        self.steps.show_lines([])
        self.result.hide()
        self.bar.show_score(None)
        self.go_on.hide()
        self._is_aborted = False
        used = self._earlier() if self.earlier.isChecked() else []
        self._recording, self._model = shelf.next_calibration(self.picked.root, self.picked.subject, date.today())
        if self.by_files.isChecked():
            self._train([*self.recordings, *used])
            return
        self._used = [*used, self._recording]
        stream = self.picked.stream
        assert stream is not None
        arguments: list[object] = ["record", "--stream", stream.name]
        if self.by_screen.isChecked():
            seed = len(self._earlier()) + 1  # another order each time, and known afterwards
            self.cues = self._make_cues(self.trials.value(), self.imagery.value(), seed, self._theme)
            self.cues.finished.connect(self._cues_finished)
            arguments += ["--stream", CUES]
        else:
            arguments += ["--seconds", 60 * self.minutes.value()]
        arguments += ["--out", self._recording, "--wait", WAIT_S]
        self.record_job = self._make_job(arguments, self)
        self.record_job.ended.connect(self._recorded)
        self.working.begin("Waiting for the stream …")
        self._begun.start()
        self.refresh()
        self.record_job.start()

    def _look_for_file(self) -> None:
        if not self._recording.exists():
            return
        self._begun.stop()
        self.working.begin("Recording …")
        if self.cues is not None:
            self.cues.begin()

    def _cues_finished(self, is_complete: bool) -> None:
        self._is_aborted = not is_complete
        self.cues = None
        if self.record_job is None:
            return
        if is_complete:  # the last trial's samples are still on their way
            self.working.begin("Finishing the recording …")
            QtCore.QTimer.singleShot(TAIL_MS, self.record_job.finish)
        else:
            self.record_job.cancel()

    def _recorded(self, outcome: Outcome) -> None:
        self.record_job = None
        self._begun.stop()
        self.working.hide()
        if self.cues is not None:  # the recorder ended first
            self.cues.finished.disconnect(self._cues_finished)
            self.cues.close()
            self.cues = None
        if self._is_aborted or not outcome.is_good:
            kept = f" What came until then is kept in {self._recording}." if self._recording.exists() else ""
            self.result.show_failure("The recording", outcome)
            self.result.text.setText(f"{self.result.text.text()}{kept}")
            self.refresh()
            return
        n = outcome.result.get("n_samples", {})
        n_markers = sum(k for name, k in n.items() if self.picked.stream is None or name != self.picked.stream.name)
        took = words.duration(outcome.result.get("seconds", 0))
        self._step("ok", f"Recorded {took} min with {n_markers} markers: {self._recording.name}")
        self._train(self._used)

    def cancel(self) -> None:
        """Stop what is being done."""
        if self.cues is not None:
            self.cues.finished.disconnect(self._cues_finished)
            self.cues.close()
            self.cues = None
        for job in self.jobs:
            job.cancel()

    # --- training ----------------------------------------------------------------------------------------------------

    def _train(self, recordings: Sequence[Path]) -> None:
        pairs = [f"{c}={c}" for c in LABELS] if self.by_screen.isChecked() else _pairs(self.labels.text())
        arguments: list[object] = ["train", *recordings, "--labels", *pairs, "--out", self._model]
        arguments += DECODERS[self.decoder.currentText()]
        if "riemann_fb" in arguments and {pair.partition("=")[2] for pair in pairs} == set(LABELS):
            arguments += shelf.recipe(self.picked.described)
        if self.by_screen.isChecked():
            arguments += timing(self.imagery.value())
        stream = None if self.by_files.isChecked() else self.picked.stream
        if stream is not None:
            arguments += ["--stream", stream.name] + (["--unit", self.picked.unit] if self.picked.unit else [])
            if inputs := shelf.inputs_for(self.picked.described):
                arguments += ["--channels", *inputs]
        self.train_job = self._make_job(arguments, self)
        self.train_job.ended.connect(self._trained)
        self.working.follow(self.train_job, "Learning, and testing on trials that were left out …")
        self.refresh()
        self.train_job.start()

    def _trained(self, outcome: Outcome) -> None:
        self.train_job = None
        if not outcome.is_good:
            self.result.show_failure("The training", outcome)
            self.refresh()
            return
        told = outcome.result
        left_out = f", {told['n_left_out']} left out" if told.get("n_left_out") else ""
        self._step("ok", f"Trained {told.get('decoder', '')} on {told.get('n_trials', 0)} trials{left_out}; the model "
                         f"{self._model.name} is in the list (Run)")  # fmt: skip
        score = words.score_of(told.get("held_out"))
        if score is not None:
            self.result.show_result(score.level, *words.score_words(score))
        self.bar.show_score(score)
        self.picked.pick(model=self._model)
        self.go_on.show()
        self.refresh()
        self.finished.emit()

    def _step(self, level: str, text: str) -> None:
        self._steps.append((level, text))
        self.steps.show_lines(self._steps)


def timing(imagery_s: float) -> list[object]:
    """When a trial is decided, and from how much signal: at its end, as `bci train` does by default for 4 s."""
    decide_s = min(3.5, imagery_s - 0.1)
    return ["--decide-at", f"{decide_s:g}", "--window", f"{max(1.0, decide_s - 0.5):g}"]


def _pairs(text: str) -> list[str]:
    """``MARKER=CLASS`` pairs of a line."""
    return re.findall(r"[^\s=]+=[^\s=]+", text)


def _spin(low: int, high: int, value: int, suffix: str, tip: str) -> Count:
    spin = Count()
    spin.setRange(low, high)
    spin.setValue(value)
    spin.setSuffix(suffix)
    spin.setToolTip(tip)
    return spin
