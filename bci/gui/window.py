"""The main window: panels around the traces, and above them what matters at a glance, with the stop."""

from __future__ import annotations

import itertools
import math
import time
import traceback
from collections.abc import Callable
from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.errors import one_line
from bci.gui.feed import SILENT_S, Feed
from bci.gui.link import Link
from bci.gui.panels.base import Panel, Shared
from bci.gui.panels.commands import Commands
from bci.gui.panels.cursor import Cursor
from bci.gui.panels.decoder import Decoder
from bci.gui.panels.latency import Latency
from bci.gui.panels.log import Log
from bci.gui.panels.quality import Quality
from bci.gui.panels.scalp import Scalp
from bci.gui.panels.signals import Signals
from bci.gui.panels.spectrum import Spectrum
from bci.gui.signal_model import SignalModel
from bci.gui.state import SessionState
from bci.gui.theme import Theme, style_sheet

FRAME_MS = 33
WATCH_MS = 200
LAYOUT_VERSION = 1


class Window(QtWidgets.QMainWindow):
    """One session, live.

    Parameters
    ----------
    feed
        Its streams.
    link
        The way to it.
    settings
        Where layout and theme are remembered.
    """

    def __init__(self, feed: Feed, link: Link, theme: Theme, settings: QtCore.QSettings):
        super().__init__()
        self.feed, self.link, self.theme, self.settings = feed, link, theme, settings
        self.setWindowTitle("rolandic")
        self.asks = True  # whether the session shall go on, when the window closes
        self.resize(1500, 940)
        self.setStyleSheet(style_sheet(theme))
        self.setDockOptions(self.AllowNestedDocks | self.AllowTabbedDocks | self.AnimatedDocks)
        self.shared = Shared(SessionState(), theme, link)
        self.bar = StatusBar(self)
        self.n_frames = self.n_dropped = 0
        self._last_frame_s = time.monotonic()
        page = QtWidgets.QWidget()
        page.setObjectName("page")
        layout = QtWidgets.QVBoxLayout(page)
        layout.setContentsMargins(8, 8, 8, 4)
        layout.setSpacing(8)
        self.panels: dict[str, Panel] = {}
        self._broken: set[str] = set()
        signals = self._make(Signals)
        layout.addWidget(self.bar)
        layout.addWidget(signals, 1)
        self.setCentralWidget(page)
        self._docks: list[QtWidgets.QDockWidget] = []
        right, below = QtCore.Qt.RightDockWidgetArea, QtCore.Qt.BottomDockWidgetArea
        for kind, area in (
            *(((Commands, right),) if link.may_control else ()),
            (Decoder, right),
            (Log, right),
            (Cursor, right),
            (Spectrum, below),
            (Latency, below),
            (Quality, below),
            (Scalp, below),
        ):
            self._dock(kind, area)
        names = {d.objectName(): d for d in self._docks}
        for other in ("Latency",):
            self.tabifyDockWidget(names["Spectrum"], names[other])
        self.tabifyDockWidget(names["Quality"], names["Scalp"])
        self.tabifyDockWidget(names["Log"], names["Cursor"])
        quick = self.panels[Decoder.title]
        names["Spectrum"].raise_()
        names["Quality"].raise_()
        names["Log"].raise_()
        self.setCorner(QtCore.Qt.BottomRightCorner, right)
        self.resizeDocks([names["Decoder"], names["Spectrum"], names["Quality"]], [420, 620, 420], QtCore.Qt.Horizontal)
        self.resizeDocks([names["Spectrum"]], [290], QtCore.Qt.Vertical)
        if link.may_control:
            column = [names[name] for name in ("Commands", "Decoder", "Log")]
            self.resizeDocks(column, [360, 320, 180], QtCore.Qt.Vertical)
        self._turns = itertools.cycle(
            [p for other in self.panels.values() if other is not quick for p in (quick, other)]
        )
        self._menu()
        if (geometry := settings.value("geometry")) is not None:
            self.restoreGeometry(geometry)
        if (arrangement := settings.value("arrangement")) is not None:
            self.restoreState(arrangement, LAYOUT_VERSION)
        self.timer = QtCore.QTimer(self)
        self.timer.setTimerType(QtCore.Qt.PreciseTimer)
        self.timer.timeout.connect(self.frame)
        self.timer.start(FRAME_MS)

    # --- building ----------------------------------------------------------------------------------------------------

    def _make(self, kind: Callable[[Shared], Panel]) -> Panel:
        panel = kind(self.shared)
        self.panels[panel.title] = panel
        return panel

    def _dock(self, kind: Any, area: Any) -> None:
        dock = QtWidgets.QDockWidget(kind.title, self)
        dock.setObjectName(kind.__name__)
        dock.setWidget(self._make(kind))
        dock.setFeatures(dock.DockWidgetMovable | dock.DockWidgetFloatable | dock.DockWidgetClosable)
        self.addDockWidget(area, dock)
        self._docks.append(dock)

    def _menu(self) -> None:
        view = self.menuBar().addMenu("&View")
        for dock in self._docks:
            view.addAction(dock.toggleViewAction())
        view.addSeparator()
        other = "light" if self.theme.name == "dark" else "dark"
        view.addAction(f"{other.title()} theme (from the next start)", lambda: self.settings.setValue("theme", other))
        view.addAction("Forget this layout (from the next start)", self._forget)

    def _forget(self) -> None:
        for key in ("geometry", "arrangement"):
            self.settings.remove(key)
        self._keeps = False

    # --- every frame -------------------------------------------------------------------------------------------------

    def frame(self) -> None:
        """Take what has come and show it. Nothing that fails in here ends the window."""
        now_s = time.monotonic()
        self.n_dropped += max(0, round((now_s - self._last_frame_s) * 1000 / FRAME_MS) - 1)
        self._last_frame_s = now_s
        self.n_frames += 1
        self._guard("streams", self._take)
        for panel in self.panels.values():
            self._guard(panel.title, panel.frame)
        if self.n_frames % 3 == 0:
            self._guard("status", self.bar.refresh)
        else:  # one panel a frame: all at once would hold up the traces
            panel = next(self._turns)
            self._guard(panel.title, panel.refresh)

    def _take(self) -> None:
        for stream, rows, stamps_s in self.feed.poll():
            if stream.is_raw:
                if self.shared.signal is None or self.shared.signal.spec.uid != stream.spec.uid:
                    self._new_signal(SignalModel(stream.spec))
                assert self.shared.signal is not None
                self.shared.signal.receive(rows, stamps_s)
                continue
            if stream.spec.type == "Cursor":
                self.shared.state.cursor.receive(rows, stamps_s)
                continue
            self.shared.state.receive(stream.spec.name, rows, stamps_s)
        state = self.shared.state
        if not state.classes and {"bci-events", "bci-hops"} <= self.feed.streams.keys():
            state.describe(self.feed.streams["bci-events"].metadata, list(self.feed.streams["bci-hops"].spec.labels))

    def _new_signal(self, signal: SignalModel) -> None:
        self.shared.signal = signal
        for panel in self.panels.values():
            self._guard(panel.title, panel.signal_changed)

    def _guard(self, name: str, call: Callable[[], None]) -> None:
        if name in self._broken:
            return
        try:
            call()
        except Exception as error:
            traceback.print_exc()
            self._broken.add(name)
            self.bar.say(f"the panel {name} failed and rests ({one_line(error)}); the others and the session go on")

    def ask_about_session(self) -> str:
        """What shall become of the session when its window closes: "leave", "end" or "stay"."""
        box = QtWidgets.QMessageBox(self)
        box.setWindowTitle("Close the window")
        box.setText("The session is running.")
        box.setInformativeText("It can go on without a window: it records and decodes, disarmed.")
        leave = box.addButton("Leave it running", QtWidgets.QMessageBox.AcceptRole)
        end = box.addButton("End the session", QtWidgets.QMessageBox.DestructiveRole)
        box.addButton("Stay", QtWidgets.QMessageBox.RejectRole)
        box.setDefaultButton(leave)
        box.exec_()
        return {leave: "leave", end: "end"}.get(box.clickedButton(), "stay")

    def closeEvent(self, event: QtGui.QCloseEvent) -> None:  # noqa: D102, N802
        if self.link.is_controller and self.asks and self.feed.quiet_s < SILENT_S:
            wanted = self.ask_about_session()
            if wanted == "stay":
                event.ignore()
                return
            if wanted == "end":
                self.link.send("end")
        if getattr(self, "_keeps", True):
            self.settings.setValue("geometry", self.saveGeometry())
            self.settings.setValue("arrangement", self.saveState(LAYOUT_VERSION))
        self.timer.stop()
        self.link.close()
        self.feed.close()
        event.accept()


class StatusBar(QtWidgets.QWidget):
    """Gate, health and age of data in words, and the stop."""

    def __init__(self, window: Window):
        super().__init__()
        self._window = window
        self.setFixedHeight(58)
        self.gate, self.health, self.age = (QtWidgets.QLabel() for _ in range(3))
        for label in (self.gate, self.health, self.age):
            label.setObjectName("big")
        self.why = QtWidgets.QLabel()
        self.why.setObjectName("soft")
        self.why.setWordWrap(True)
        self.stop = QtWidgets.QPushButton("STOP   (space)")
        self.stop.setObjectName("stop")
        self.stop.setToolTip("Emergency stop: straight to the devices, from anywhere in this window (space bar)")
        self.stop.setMinimumSize(200, 52)
        self.stop.setFocusPolicy(QtCore.Qt.NoFocus)
        self.stop.clicked.connect(window.link.stop)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(4, 0, 0, 0)
        layout.setSpacing(18)
        layout.addWidget(self.gate)
        layout.addWidget(self.health)
        layout.addWidget(self.age)
        layout.addWidget(self.why, 1)
        layout.addWidget(self.stop)
        self._said, self._said_until_s = "", 0.0
        window.link.answered.connect(self._answered)

    def say(self, text: str, seconds: float = 20.0) -> None:
        """Show a line for a while."""
        self._said, self._said_until_s = text, time.monotonic() + seconds

    def _answered(self, ok: bool, text: str) -> None:
        self.say(f"emergency stop: {text}")

    def refresh(self) -> None:
        """The words of now."""
        state, theme, feed = self._window.shared.state, self._window.theme, self._window.feed
        is_lost = feed.quiet_s > SILENT_S
        gate = "no session" if math.isinf(feed.quiet_s) else "session silent" if is_lost else state.gate
        colours = {
            "armed": theme.armed, "dwell": theme.armed, "refractory": theme.armed, "stopped": theme.stop,
            "recovering": theme.warn, "session silent": theme.bad,
        }  # fmt: skip
        words = {"dwell": "ARMED – dwell", "refractory": "ARMED – sent", "unknown": "disarmed"}
        self._pill(
            self.gate,
            words.get(gate, gate.upper() if gate in ("armed", "stopped") else gate),
            colours.get(gate, theme.soft),
        )
        health = (
            "unknown" if is_lost else "ok" if state.health == "unknown" else state.health
        )  # changes are what is said
        level = {"ok": theme.good, "warn": theme.warn, "bad": theme.bad}
        words = {"ok": "health good", "warn": "health: see why", "bad": "health BAD", "unknown": "health –"}
        self._pill(self.health, words.get(health, health), level.get(health, theme.soft))
        age = f"{1000 * state.age_s:.0f} ms old" if math.isfinite(state.age_s) and not is_lost else "no data"
        self._pill(self.age, age, theme.soft if state.age_s < 0.3 else theme.warn)
        why = "; ".join(state.health_reasons) or "; ".join(state.gate_reasons)
        if feed.trouble:
            why = feed.trouble if not why else f"{why}; {feed.trouble}"
        if is_lost and (link := self._window.link).may_control and not link.is_controller:
            why = f"{feed.trouble}; {link.refusal}"
        if time.monotonic() < self._said_until_s:
            why = self._said
        self.why.setText(why)

    @staticmethod
    def _pill(label: QtWidgets.QLabel, text: str, colour: str) -> None:
        label.setText(text)
        label.setStyleSheet(f"color: {colour};")


class SpaceStops(QtCore.QObject):
    """The space bar is the stop wherever the focus is: in a note, on a button, in a dialog.

    It listens where keys arrive, at the windows of the window system, before any widget does. (A filter of the whole
    application would see every event of every object, also of styles that are half destroyed, and crash on them.)

    Parameters
    ----------
    link : Link
    parent : QObject
    """

    def __init__(self, link: Link, parent: QtCore.QObject):
        super().__init__(parent)
        self._link = link
        self._application = QtWidgets.QApplication.instance()
        self._application.focusWindowChanged.connect(self._watch)
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self._watch)
        self._timer.start(WATCH_MS)
        self._watch()

    def close(self) -> None:
        """Listen no more."""
        self._timer.stop()
        self._application.focusWindowChanged.disconnect(self._watch)
        for window in self._application.topLevelWindows():
            window.removeEventFilter(self)

    def _watch(self, _: object = None) -> None:
        """Every window that is there now, each once."""
        for window in self._application.topLevelWindows():
            window.removeEventFilter(self)
            window.installEventFilter(self)

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:  # noqa: D102, N802
        kind = event.type()
        if kind not in (QtCore.QEvent.KeyPress, QtCore.QEvent.KeyRelease):
            return False
        if event.key() != QtCore.Qt.Key_Space:  # type: ignore[attr-defined]
            return False
        if kind == QtCore.QEvent.KeyPress and not event.isAutoRepeat():  # type: ignore[attr-defined]
            self._link.stop()
        return True
