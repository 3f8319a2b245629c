"""A dark screen that shows one thing after another, frame by frame, and says over LSL when each of them was there."""

from __future__ import annotations

import uuid

import pylsl
from msgspec.structs import replace
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.cues import draw
from bci.gui.theme import DARK, Theme
from bci.lsl import info_from_spec
from bci.types import CUES, marker_spec

MARKERS = CUES
FALLBACK_HZ = 60.0  # of a screen that does not tell its rate
QUESTION_S = 4.0
EXPOSED_S = 2.0  # to wait for the window system; a screen that never says that it shows something is taken as it is


def best_screen() -> QtGui.QScreen:
    """The second screen, which the person sees; the only one where there is no other."""
    primary = QtGui.QGuiApplication.primaryScreen()
    return next((s for s in QtGui.QGuiApplication.screens() if s is not primary), primary)


def rate_hz(screen: QtGui.QScreen) -> float:
    """Refresh rate."""
    return screen.refreshRate() if screen.refreshRate() > 1 else FALLBACK_HZ


class Stage(QtWidgets.QWidget):
    """Full screen, on the second screen where there is one. Esc twice ends it, F11 makes it a window and back.

    The space bar does nothing here: it is the emergency stop of the whole application.

    Parameters
    ----------
    theme
        Of cards and buttons. The ground stays dark in each theme: a bright one would flash at begin and end.
    group : str
        Of the marker stream: streams of the same group are recorded together.

    Signals
    -------
    finished(bool)
        Once: True when all was shown, False when it was ended before.

    Attributes
    ----------
    onsets : list of (label, stamp_s)
        Of each marker that was sent, on the LSL clock.
    n_frames, n_dropped : int
        Frames that were due and were in time, and that were not.
    n_unseen : int
        Onsets that the window system did not paint (minimised, covered by a lock screen).
    paint_s : list of float
        How long the painting of each onset took.
    """

    finished = QtCore.pyqtSignal(bool)

    def __init__(self, theme: Theme, group: str = ""):
        super().__init__()
        self.theme, self.group = theme, group
        self.setWindowTitle("rolandic – cues")
        self.setAttribute(QtCore.Qt.WA_OpaquePaintEvent)
        self.setFocusPolicy(QtCore.Qt.StrongFocus)
        self.setStyleSheet("")
        self.resize(1280, 800)
        # announced now, not at the first cue: a recorder must have it before anything is shown
        spec = replace(marker_spec(MARKERS), source_id=f"{MARKERS}-{group or uuid.uuid4().hex[:12]}", group=group)
        self.outlet = pylsl.StreamOutlet(info_from_spec(spec))
        self.onsets: list[tuple[str, float]] = []
        self.paint_s: list[float] = []
        self.n_frames = self.n_dropped = self.n_unseen = 0
        self.is_over = False
        self._patch_is_on = False
        self._was_painted = False
        self._asked_s: float | None = None
        self._last_s: float | None = None
        self._due_s = 0.0
        self._timer = QtCore.QTimer(self)
        self._timer.setTimerType(QtCore.Qt.PreciseTimer)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._tick)

    # --- what a stage shows (of each kind) ---------------------------------------------------------------------------

    def advance(self, now_s: float) -> tuple[QtGui.QRegion | None, str | None]:
        """Go on to ``now_s``: what must be painted anew (None: nothing), and the onset of this frame if it is one.

        An onset "" is one without a marker.
        """
        raise NotImplementedError

    def began(self, stamp_s: float) -> None:
        """The onset that `advance` announced is on the screen since ``stamp_s``."""

    def paint(self, painter: QtGui.QPainter, view: draw.View) -> None:
        """Draw the whole screen; the ground is there already."""
        raise NotImplementedError

    def go_on(self) -> None:
        """Enter was pressed."""

    # --- from the beginning to the end -------------------------------------------------------------------------------

    @property
    def refresh_hz(self) -> float:
        """Of the screen that it is on, or will be."""
        handle = self.windowHandle()
        return rate_hz(handle.screen() if handle else best_screen())

    def begin(self, is_full_screen: bool = True) -> None:
        """Show it, and begin."""
        if is_full_screen:
            self.winId()  # makes the handle: some window systems go by its screen, others by the place
            self.windowHandle().setScreen(best_screen())
            self.setGeometry(best_screen().geometry())
            self.showFullScreen()
        else:
            self.show()
        self.activateWindow()
        self.setFocus()
        self._start()

    def _start(self) -> None:
        self._due_s = pylsl.local_clock()
        self._timer.start(0)

    def end(self, is_complete: bool) -> None:
        """Close it; `finished` tells."""
        if self.is_over:
            return
        self.is_over = True
        self._timer.stop()
        self.close()
        self.finished.emit(is_complete)

    def closeEvent(self, event: QtGui.QCloseEvent) -> None:  # noqa: D102, N802
        event.accept()
        self.end(False)

    # --- every frame -------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now_s, frame_s = pylsl.local_clock(), 1 / self.refresh_hz
        if self._last_s is None and not self._is_exposed() and now_s - self._due_s < EXPOSED_S:
            self._timer.start(5)
            return
        if self._last_s is not None:
            self.n_dropped += max(0, round((now_s - self._last_s) / frame_s) - 1)
        self._last_s = now_s
        self.n_frames += 1
        region, onset = self.advance(now_s)
        if self.is_over:
            return
        if self._asked_s is not None and now_s - self._asked_s > QUESTION_S:
            self._asked_s, region = None, QtGui.QRegion(self.rect())
        if onset is not None:
            self._show_onset(onset, now_s)
        elif region is not None:
            self.repaint(region)
        self._due_s = max(self._due_s + frame_s, pylsl.local_clock())
        self._timer.start(max(0, round(1000 * (self._due_s - pylsl.local_clock()))))

    def _is_exposed(self) -> bool:
        handle = self.windowHandle()
        return handle is not None and handle.isExposed()

    def _show_onset(self, onset: str, now_s: float) -> None:
        self._patch_is_on = not self._patch_is_on
        self._was_painted = False
        self.repaint()  # painted and handed to the window system when this returns
        stamp_s = pylsl.local_clock()
        self.n_unseen += not self._was_painted
        self.paint_s.append(stamp_s - now_s)
        if onset:
            self.outlet.push_sample([onset], stamp_s)
            self.onsets.append((onset, stamp_s))
        self.began(stamp_s)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        painter = QtGui.QPainter(self)
        painter.setRenderHints(QtGui.QPainter.Antialiasing | QtGui.QPainter.TextAntialiasing)
        painter.fillRect(self.rect(), QtGui.QColor(DARK.ground))
        view = draw.View(QtCore.QRectF(self.rect()))
        self.paint(painter, view)
        draw.patch(painter, view, self._patch_is_on)
        if self._asked_s is not None:
            draw.question(painter, view)
        painter.end()
        self._was_painted = True

    # --- keys --------------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: D102, N802
        key = event.key()
        if key == QtCore.Qt.Key_F11:
            self.showNormal() if self.isFullScreen() else self.showFullScreen()
        elif key == QtCore.Qt.Key_Escape and not event.isAutoRepeat():
            if self._asked_s is not None:
                self.end(False)
                return
            self._asked_s = pylsl.local_clock()  # what is shown goes on meanwhile: a question spoils no trial
        elif key in (QtCore.Qt.Key_Return, QtCore.Qt.Key_Enter):
            self.go_on()
        elif self._asked_s is not None:
            self._asked_s = None
        self.update()
