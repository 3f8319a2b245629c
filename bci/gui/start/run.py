"""The page that runs a session: which model, which devices; and the session while it runs."""

from __future__ import annotations

import time
from pathlib import Path

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.panels.base import row
from bci.gui.start import shelf, words
from bci.gui.start.connect import check_lines
from bci.gui.start.jobs import Job, MakeJob, Outcome
from bci.gui.start.picked import Picked
from bci.gui.start.widgets import Card, Choice, Combo, Entry, Lines, Page, Result, Working, button, label
from bci.gui.theme import Theme

DEVICES = {
    "null:": "nothing moves: to practise",
    "cursor:": "a cursor on the screen that the decoder moves to targets",
    "lsl:bci-commands-out": "commands as an LSL marker stream of this name",
    "udp://127.0.0.1:5005": "JSON lines by UDP",
    "osc://127.0.0.1:9000/bci": "Open Sound Control",
}
WINDOW = ("--window",)


class Run(Page):
    """Model, device, session."""

    started = QtCore.pyqtSignal()
    ended = QtCore.pyqtSignal()

    def __init__(self, picked: Picked, theme: Theme, make_job: MakeJob):
        super().__init__("Run", "A live session. It begins disarmed: nothing moves until you arm it in its window.")
        self.picked, self._make_job = picked, make_job
        self.job: Job | None = None
        self.check_job: Job | None = None
        self.view_job: Job | None = None
        self.folder: Path | None = None
        self._began_s = 0.0
        columns = QtWidgets.QHBoxLayout()
        columns.setSpacing(16)
        columns.addWidget(self._model_card(theme), 3)
        right = QtWidgets.QVBoxLayout()
        right.setSpacing(16)
        right.addWidget(self._device_card())
        right.addWidget(self._session_card(theme), 1)
        columns.addLayout(right, 2)
        self.box.addLayout(columns, 1)
        picked.changed.connect(self.refresh)
        self.refresh()

    def _model_card(self, theme: Theme) -> Card:
        card = Card("Model", "Whose decoder, and whether it fits the picked stream.")
        self.models = Choice(theme, words.NO_MODEL, 260)
        self.models.setAccessibleName("Models")
        self.models.picked.connect(lambda key: self.picked.pick(model=Path(key)))
        self.other = button("Another f&older…", "A model folder from elsewhere, as bci train writes it")
        self.other.clicked.connect(self._choose_model)
        self._others: list[Path] = []
        card.box.addWidget(self.models, 1)
        card.box.addLayout(row(self.other, None))
        return card

    def _device_card(self) -> Card:
        card = Card("Device", "What the commands move. A hardware cut-off within reach remains yours.")
        self.device = Combo()
        self.device.setEditable(True)
        self.device.addItems(list(DEVICES))
        self.device.setAccessibleName("Device")
        self.about = label("", "soft")
        self.device.editTextChanged.connect(self._about_device)
        self._about_device(self.device.currentText())
        card.box.addWidget(self.device)
        card.box.addWidget(self.about)
        return card

    def _session_card(self, theme: Theme) -> Card:
        card = Card("Session")
        self.where = label("", "soft")
        self.check = button("&Check all", "Looks at the stream, and whether the model fits, without starting anything")
        self.check.clicked.connect(self.start_check)
        self.begin = button("Start the sess&ion", "Opens the session's window; everything is recorded", "primary")
        self.begin.clicked.connect(self.start)
        self.end = button("&End the session", "In order: devices neutral, the recording finished, the report made")
        self.end.clicked.connect(self._ask_to_end)
        self.look = button("Its &window again", "Where it was closed; it controls the session, disarmed at first")
        self.look.clicked.connect(self.open_window)
        self.working = Working()
        self.working.cancelled.connect(self._cancel_check)
        self.running = label("", "result")
        self.result, self.lines = Result(theme), Lines(theme)
        self.report = button("Open the repor&t", "In the browser")
        self.report.clicked.connect(self._open_report)
        card.box.addWidget(self.where)
        card.box.addLayout(row(self.begin, self.check, self.end, self.look, None))
        for widget in (self.running, self.working, self.result, self.lines):
            card.box.addWidget(widget)
        card.box.addLayout(row(self.report, None))
        card.box.addStretch(1)
        self.report.hide()
        return card

    # --- what is picked ----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the models of now, and what is missing."""
        picked = self.picked
        found = [*shelf.models(picked.root, picked.subject), *map(shelf.read_model, self._others)]
        entries = [model_entry(m, picked) for m in found]
        key = str(picked.model) if picked.model is not None else ""
        if not any(e.key == key and e.is_enabled for e in entries):
            first = next((e.key for e in entries if e.is_enabled), "")
            if first != key:
                picked.pick(model=Path(first) if first else None)
                return  # `changed` comes back here
        self.models.show_entries(entries, key)
        missing = picked.missing(needs_model=True)
        is_busy = self.job is not None or self.check_job is not None
        self.begin.setVisible(self.job is None)
        self.check.setVisible(self.job is None)
        for each in (self.end, self.look, self.running):
            each.setVisible(self.job is not None)
        self.begin.setEnabled(not missing and not is_busy)
        self.check.setEnabled(not missing and not is_busy)
        if self.job is None:
            folder = "" if missing else f"It will be kept in {shelf.next_session(picked.root, picked.subject)}"
            self.where.setText(missing or folder)

    def tick(self) -> None:
        """How long the session has been running; a timer calls this."""
        if self.job is not None:
            self.running.setText(f"Running   {words.duration(time.monotonic() - self._began_s)}")

    def _about_device(self, url: str) -> None:
        self.about.setText(DEVICES.get(url, "as docs/devices.md describes it"))

    def _choose_model(self) -> None:
        if folder := QtWidgets.QFileDialog.getExistingDirectory(self, "A model folder"):
            self.add_model(Path(folder))

    def add_model(self, folder: Path) -> None:
        """List and pick a model from elsewhere."""
        if folder not in self._others:
            self._others.append(folder)
        if not shelf.read_model(folder).trouble:
            self.picked.pick(model=folder)
        self.refresh()

    # --- doing -------------------------------------------------------------------------------------------------------

    def start_check(self) -> None:
        """Preflight with the model."""
        self._forget()
        arguments = ["run", *self.picked.stream_options, "--model", self.picked.model, "--preflight-only"]
        self.check_job = self._make_job(arguments, self)
        self.check_job.ended.connect(self._checked)
        self.working.follow(self.check_job, "Looking at the stream, with the model …")
        self.refresh()
        self.check_job.start()

    def _checked(self, outcome: Outcome) -> None:
        self.check_job = None
        self.lines.show_lines(check_lines(outcome))
        self.refresh()

    def _cancel_check(self) -> None:
        if self.check_job is not None:
            self.check_job.cancel()

    def start(self) -> None:
        """Run a session with what is picked; it has a window of its own."""
        picked = self.picked
        assert picked.model is not None
        self._forget()
        self.folder = shelf.next_session(picked.root, picked.subject)
        arguments = ["run", *picked.stream_options, "--model", picked.model, "--subject", picked.subject]
        arguments += ["--session", self.folder, "--device", self.device.currentText().strip() or "null:", *WINDOW]
        self.job = self._make_job(arguments, self, is_tied=False)
        self.job.ended.connect(self._session_ended)
        self._began_s = time.monotonic()
        self.where.setText(f"Recorded into {self.folder}. Arm, command and stop in its own window.")
        self.running.setText("Starting …")
        self.refresh()
        self.job.start()
        self.started.emit()

    def open_window(self) -> None:
        """Another window on the running session, where its own was closed."""
        if self.job is None or self.view_job is not None:
            return
        self.view_job = self._make_job(["view", "--control", "--pid", self.job.pid], self)
        self.view_job.ended.connect(self._view_ended)
        self.view_job.start()

    def _view_ended(self, outcome: Outcome) -> None:
        self.view_job = None
        self.lines.show_lines([("fail", outcome.error)] if outcome.error else [])

    def _ask_to_end(self) -> None:
        text = "End the session? The devices go neutral, and the recording is finished."
        buttons = QtWidgets.QMessageBox.Yes | QtWidgets.QMessageBox.No
        if QtWidgets.QMessageBox.question(self, "End the session", text, buttons) == QtWidgets.QMessageBox.Yes:
            self.end_session()

    def end_session(self) -> None:
        """As Ctrl-C at its terminal."""
        if self.job is not None:
            self.job.cancel()

    def _session_ended(self, outcome: Outcome) -> None:
        self.job = None
        told = outcome.result
        if told:  # it ran, and left its report; an error may have ended it
            level = "ok" if not outcome.error and not told.get("n_samples_lost") else "warn"
            why = outcome.error or told.get("ended_because", "")
            self.result.show_result(level, "Session ended", f"{words.session_words(told)}. It ended because {why}.")
        else:
            self.result.show_failure("The session", outcome)
        self.report.setVisible(self.folder is not None and (self.folder / "report.html").exists())
        self.refresh()
        self.ended.emit()

    def _open_report(self) -> None:
        if self.folder is not None:
            open_file(self.folder / "report.html")

    def _forget(self) -> None:
        self.result.hide()
        self.report.hide()
        self.lines.show_lines([])

    @property
    def jobs(self) -> list[Job]:
        """All but the session, which may go on without this window."""
        return [job for job in (self.check_job, self.view_job) if job is not None]


def model_entry(model: shelf.ModelEntry, picked: Picked) -> Entry:
    """A model of the list: what it is, how good it was, and why it does not fit."""
    if model.trouble:
        return Entry(str(model.path), model.name, str(model.path), "fail", model.trouble, is_enabled=False)
    score = words.score_of(model.scores)
    right = words.percent(score.accuracy) if score else ""
    what, n, made = " / ".join(model.classes), len(model.channels), f"{model.made:%d %b %Y}"
    detail = f"{what}  ·  {model.decoder}  ·  {n} channel{'s' * (n != 1)}  ·  {made}"
    if why := shelf.why_unfit(model, picked.described):
        return Entry(
            str(model.path),
            model.name,
            detail,
            "fail",
            f"does not fit: {why.partition('; there are')[0]}",
            right,
            is_enabled=False,
        )
    if picked.described is None:
        return Entry(str(model.path), model.name, detail, right=right)
    if score is not None and score.level != "ok":
        return Entry(str(model.path), model.name, detail, "warn", "fits; not shown to be better than guessing", right)
    return Entry(str(model.path), model.name, detail, "ok", "fits the stream", right)


def open_file(path: Path) -> None:
    """With the program that the desktop has for it."""
    QtGui.QDesktopServices.openUrl(QtCore.QUrl.fromLocalFile(str(path.absolute())))
