"""The start window: pages on the right, what is picked on the left, and the stop while a session runs."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.config import RecordingSection
from bci.gui import app as gui
from bci.gui.link import Link
from bci.gui.start import shelf
from bci.gui.start.calibrate import Calibrate, MakeCues, make_cues
from bci.gui.start.connect import Connect
from bci.gui.start.jobs import Job, MakeJob
from bci.gui.start.picked import Picked
from bci.gui.start.replay import Replay
from bci.gui.start.run import Run
from bci.gui.start.streams import Streams
from bci.gui.start.widgets import Badge, button, label, start_style
from bci.gui.theme import DARK, THEMES, Theme
from bci.gui.window import SpaceStops

LOOK_MS = 400


class Start(QtWidgets.QMainWindow):
    """The start window.

    Parameters
    ----------
    root
        Folder of people, models and sessions.
    streams, make_job, make_cues
        What reaches out of this process; tests put their own here.

    Signals
    -------
    closed()
        Nothing that it started runs any more.
    """

    closed = QtCore.pyqtSignal()

    def __init__(
        self,
        root: Path,
        theme: Theme,
        settings: QtCore.QSettings,
        streams: Streams,
        make_job: MakeJob = Job,
        make_cues: MakeCues = make_cues,
    ):
        super().__init__()
        self.settings, self.theme, self.streams = settings, theme, streams
        self.setWindowTitle("rolandic")
        self.setStyleSheet(start_style(theme))
        self.resize(1240, 820)
        self.link = Link()
        self._space: SpaceStops | None = None
        self.picked = Picked(root)
        self.connect_page = Connect(self.picked, streams, theme, make_job)
        self.calibrate = Calibrate(self.picked, theme, make_job, make_cues)
        self.run = Run(self.picked, theme, make_job)
        self.replay = Replay(self.picked, theme, make_job)
        self.pages = (self.connect_page, self.calibrate, self.run, self.replay)
        self.stack = QtWidgets.QStackedWidget()
        for page in self.pages:
            self.stack.addWidget(page)
        page = QtWidgets.QWidget()
        page.setObjectName("page")
        layout = QtWidgets.QHBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._side())
        layout.addWidget(self.stack, 1)
        self.setCentralWidget(page)
        self.calibrate.finished.connect(self.run.refresh)
        self.calibrate.wants_run.connect(lambda: self.turn_to(2))
        self.run.started.connect(self._session_began)
        self.run.ended.connect(self._session_ended)
        self.picked.changed.connect(self._show_picked)
        self._show_picked()
        self.turn_to(0)
        if (geometry := settings.value("start_geometry")) is not None:
            self.restoreGeometry(geometry)
        self.timer = QtCore.QTimer(self)
        self.timer.timeout.connect(self.look)
        self.timer.start(LOOK_MS)

    # --- building ----------------------------------------------------------------------------------------------------

    def _side(self) -> QtWidgets.QWidget:
        side = QtWidgets.QWidget()
        side.setObjectName("side")
        side.setAttribute(QtCore.Qt.WA_StyledBackground)
        side.setFixedWidth(236)
        box = QtWidgets.QVBoxLayout(side)
        box.setContentsMargins(0, 24, 0, 20)
        box.setSpacing(2)
        brand = label("rolandic", "brand", wraps=False)
        brand.setContentsMargins(20, 0, 0, 18)
        box.addWidget(brand)
        self.nav: list[QtWidgets.QPushButton] = []
        for i, text in enumerate(("1   Co&nnect", "2   C&alibrate", "3   &Run", "     Re&play")):
            each = button(text, name="nav")
            each.setCheckable(True)
            each.setAutoExclusive(True)
            each.clicked.connect(lambda _, i=i: self.turn_to(i))
            self.nav.append(each)
            box.addWidget(each)
        box.addStretch(1)
        self.stop = button("STOP   (space)", "Emergency stop: straight to the devices of this machine", "stop")
        self.stop.setFocusPolicy(QtCore.Qt.NoFocus)
        self.stop.setMinimumHeight(56)
        self.stop.clicked.connect(self.link.stop)
        self.stopped = label("", "soft")
        self.link.answered.connect(lambda ok, text: self.stopped.setText(text))
        inner = QtWidgets.QVBoxLayout()
        inner.setContentsMargins(18, 0, 18, 0)
        inner.setSpacing(10)
        inner.addWidget(self.stop)
        inner.addWidget(self.stopped)
        self._shown: dict[str, tuple[Badge, QtWidgets.QLabel]] = {}
        for name in ("Signal", "Person", "Model"):
            badge, value = Badge(self.theme, size=16), label("", "", wraps=False)
            grid = QtWidgets.QGridLayout()
            grid.setHorizontalSpacing(10)
            grid.setVerticalSpacing(0)
            grid.addWidget(badge, 0, 0, 2, 1)
            grid.addWidget(label(name, "soft", wraps=False), 0, 1)
            grid.addWidget(value, 1, 1)
            grid.setColumnStretch(1, 1)
            inner.addLayout(grid)
            self._shown[name] = (badge, value)
        self.folder = button("", "Where people, models and sessions are kept; click for another folder", "link")
        self.folder.clicked.connect(self._choose_root)
        other = "light" if self.theme.name == "dark" else "dark"
        self.other_theme = button(f"{other.title()} theme", "From the next start", "link")
        self.other_theme.clicked.connect(self._change_theme)
        inner.addWidget(self.folder)
        inner.addWidget(self.other_theme)
        box.addLayout(inner)
        self.stop.hide()
        self.stopped.hide()
        return side

    # --- showing -----------------------------------------------------------------------------------------------------

    def turn_to(self, number: int) -> None:
        """Show a page, with what is on disk now."""
        self.nav[number].setChecked(True)
        self.stack.setCurrentIndex(number)
        for page in (self.calibrate, self.run, self.replay):
            page.refresh()
        first = (self.connect_page.list, self.calibrate.by_screen, self.run.models, self.replay.list)[number]
        first.setFocus()

    def look(self) -> None:
        """Show what has changed; a timer calls this."""
        if self.run.job is None:
            self.connect_page.refresh()
        self.run.tick()

    def _show_picked(self) -> None:
        p = self.picked
        values = {
            "Signal": p.stream.name if p.stream is not None else "",
            "Person": p.subject if shelf.is_subject(p.subject) else "",
            "Model": p.model.name if p.model is not None else "",
        }
        for name, value in values.items():
            badge, shown = self._shown[name]
            badge.set("ok" if value else "")
            shown.setText(shown.fontMetrics().elidedText(value or "not picked", QtCore.Qt.ElideRight, 170))
            shown.setToolTip(value)
        text = f"Folder: {p.root.absolute().name}"
        self.folder.setText(text)
        self.folder.setToolTip(f"{p.root.absolute()}\nWhere people, models and sessions are kept; click for another")

    def _choose_root(self) -> None:
        if folder := QtWidgets.QFileDialog.getExistingDirectory(self, "Folder of people, models and sessions"):
            self.settings.setValue("root", folder)
            self.picked.pick(root=Path(folder), model=None)
            self.connect_page.read_subjects()
            self.turn_to(self.stack.currentIndex())

    def _change_theme(self) -> None:
        other = "light" if self.theme.name == "dark" else "dark"
        self.settings.setValue("theme", other)
        self.other_theme.setText(f"{other.title()} from the next start")

    # --- a session ---------------------------------------------------------------------------------------------------

    def _session_began(self) -> None:
        """The space bar is the stop here too, and nothing of ours reads the stream meanwhile."""
        self.streams.watch("")
        self.stop.show()
        self.stopped.setText("")
        self.stopped.show()
        self._space = SpaceStops(self.link, self)

    def _session_ended(self) -> None:
        if self._space is not None:
            self._space.close()
            self._space = None
        self.stop.hide()
        self.stopped.hide()
        if self.picked.stream is not None:
            self.streams.watch(self.picked.stream.uid)
        self.connect_page.read_subjects()
        self.replay.refresh()
        if self.isHidden():  # it was closed while the session ran
            self.close()

    def leave(self) -> None:
        """Close without asking; a session goes on, and this process waits for its end."""
        self.hide()
        if self.run.job is None:
            self.close()

    def closeEvent(self, event: QtGui.QCloseEvent) -> None:  # noqa: D102, N802
        if self.run.job is not None and not self._may_close():
            event.ignore()
            return
        self.settings.setValue("start_geometry", self.saveGeometry())
        self.timer.stop()
        jobs = [job for page in self.pages for job in page.jobs]
        self.calibrate.cancel()
        for job in jobs:
            job.blockSignals(True)
            job.cancel()
        for job in jobs:
            job.close()
        self.streams.close()
        event.accept()
        self.closed.emit()

    def _may_close(self) -> bool:
        """Ask what becomes of the session. It goes on: this window hides, and closes when the session has ended."""
        box = QtWidgets.QMessageBox(self)
        box.setWindowTitle("A session runs")
        box.setText("A session runs. It is recorded, and has a window of its own.")
        box.setInformativeText("This window can close without it; streams that were started here end with the session.")
        goes_on = box.addButton("Close, the session goes on", QtWidgets.QMessageBox.AcceptRole)
        ends = box.addButton("End the session", QtWidgets.QMessageBox.DestructiveRole)
        box.addButton("Stay", QtWidgets.QMessageBox.RejectRole)
        box.exec_()
        if box.clickedButton() is goes_on:
            self.hide()
        elif box.clickedButton() is ends:
            self.hide()
            self.run.end_session()
        return False  # once it has ended, `_session_ended` closes


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Show the start window until it is closed; what was picked last."""
    parser = argparse.ArgumentParser(prog="python -m bci.gui.start")
    parser.add_argument("--theme", choices=sorted(THEMES))
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args(arguments)
    app = gui.make_application()
    app.setQuitOnLastWindowClosed(False)  # hidden while a session goes on
    kept = gui.settings()
    theme = THEMES.get(asked.theme or kept.value("theme", "dark"), DARK)
    root = asked.root or Path(kept.value("root", "") or RecordingSection().root)
    window = Start(root, theme, kept, Streams())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: window.leave())
    window.closed.connect(app.quit)
    window.show()
    app.exec_()
    picked = window.picked
    return {
        "root": str(picked.root), "stream": picked.stream.name if picked.stream is not None else "",
        "subject": picked.subject, "model": str(picked.model or ""),
    }  # fmt: skip
