"""The page that measures how long after its marker light is there: a flashing patch, and a photodiode over LSL."""

from __future__ import annotations

import threading

import numpy as np
import pylsl
from pyqtgraph.Qt import QtCore, QtGui

from bci.errors import RolandicError, SourceError
from bci.gui.cues import draw
from bci.gui.cues.stage import Stage
from bci.gui.theme import DARK as T
from bci.gui.theme import Theme
from bci.lsl import find_stream, spec_from_xml
from bci.signal.display_delay import LATE_S, DisplayDelay, display_delay

LIGHT_S = 0.45
DARK_S = (0.6, 0.8)  # random, so that nothing else in the signal keeps step; below 1 flash a second
LIGHT, DARK = "light", "dark"
MAX_SAMPLES = 4096


class Sensor:
    """One channel of a stream: its samples and their stamps on this machine's clock.

    Raises
    ------
    SourceError
        There is no such stream or channel (the message lists what there is).
    """

    def __init__(self, stream: str, channel: str, wait_s: float = 10.0):
        info, _ = find_stream(stream, wait_s=wait_s)
        self._inlet = pylsl.StreamInlet(info, max_buflen=30, processing_flags=pylsl.proc_clocksync)
        spec = spec_from_xml(self._inlet.info(timeout=wait_s).as_xml())
        if spec.format == "string" or channel not in spec.labels:
            raise SourceError(f"stream {stream!r} has no channel {channel!r}; it has {', '.join(spec.labels[:40])}")
        self._index = spec.labels.index(channel)
        self.name = f"{spec.name}, channel {channel}"
        # all that the clock's correction needs is asked for here, so that no frame waits for it
        threading.Thread(target=self._inlet.time_correction, kwargs={"timeout": wait_s}, daemon=True).start()
        self._inlet.open_stream(timeout=wait_s)
        self._values: list[float] = []
        self._stamps_s: list[float] = []

    def pull(self) -> None:
        """Take what has come; never waits."""
        rows, stamps = self._inlet.pull_chunk(timeout=0.0, max_samples=MAX_SAMPLES)
        self._values += [row[self._index] for row in rows]
        self._stamps_s += stamps

    @property
    def signal(self) -> tuple[np.ndarray, np.ndarray]:
        """All values and stamps so far."""
        return np.array(self._values, float), np.array(self._stamps_s, float)


class DelayPage(Stage):
    """So many flashes of the corner patch, and then what was found.

    Parameters
    ----------
    sensor
        Whose samples follow the patch.
    n_flashes
        About one a second.

    Attributes
    ----------
    result : DisplayDelay or None
    error : RolandicError or None
        Why there is none.
    """

    def __init__(self, sensor: Sensor, theme: Theme, *, n_flashes: int = 60, group: str = "", seed: int = 0):
        super().__init__(theme, group)
        self.sensor, self.n_flashes = sensor, n_flashes
        self.result: DisplayDelay | None = None
        self.error: RolandicError | None = None
        self._dark_s = np.random.default_rng(seed).uniform(*DARK_S, n_flashes + 1)
        self._until_s = 0.0
        self._n = 0  # onsets so far; the patch is on after each odd one
        self._is_waiting = False

    @property
    def light_stamps_s(self) -> list[float]:
        """When the patch was made bright."""
        return [stamp_s for label, stamp_s in self.onsets if label == LIGHT]

    def advance(self, now_s: float) -> tuple[QtGui.QRegion | None, str | None]:
        """The next step of the patch, or the result."""
        self.sensor.pull()
        if self._until_s == 0.0:
            self._until_s = now_s + 1.0  # of darkness, before the first
            return QtGui.QRegion(self.rect()), None
        if self.result is not None or self.error is not None or now_s < self._until_s - 0.5 / self.refresh_hz:
            return None, None
        if self._is_waiting:
            self._finish()
            return QtGui.QRegion(self.rect()), None
        self._n += 1
        if self._n == 2 * self.n_flashes:
            self._is_waiting = True
        return None, LIGHT if self._n % 2 else DARK

    def began(self, stamp_s: float) -> None:
        """Bright for a fixed time, dark for a random one; at the end, until the last samples have come."""
        if self._is_waiting:
            self._until_s = stamp_s + LATE_S + 0.3
        else:
            self._until_s = stamp_s + (LIGHT_S if self._n % 2 else float(self._dark_s[self._n // 2]))

    def _finish(self) -> None:
        try:
            self.result = display_delay(self.light_stamps_s, *self.sensor.signal)
        except RolandicError as error:
            self.error = error
        self.done.emit()

    done = QtCore.pyqtSignal()

    def go_on(self) -> None:
        """Enter leaves the result."""
        if self.result is not None or self.error is not None:
            self.end(self.result is not None)

    # --- picture -----------------------------------------------------------------------------------------------------

    def paint(self, painter: QtGui.QPainter, view: draw.View) -> None:
        """How far it is, or what was found."""
        part = min(1.0, self._n / (2 * self.n_flashes))
        draw.progress(painter, view, f"flash {(self._n + 1) // 2} of {self.n_flashes}", part)
        draw.text(painter, view.box(0, -38, 150, 10), "Display delay", 7.5 * view.h, T.text, bold=True)
        draw.text(painter, view.box(0, -30, 150, 5), f"photodiode: {self.sensor.name}", 3.2 * view.h, T.soft)
        if self.result is not None:
            self._paint_result(painter, view, self.result)
        elif self.error is not None:
            draw.text(painter, view.box(0, 0, 110, 30), "Nothing measured: " + str(self.error), 4.2 * view.h, T.warn)
            draw.text(painter, view.box(0, 40, 110, 5), "Enter closes this page", 3.2 * view.h, T.soft)
        else:
            said = "Fasten the photodiode on the patch in the lower left corner.\nIt flashes about once a second."
            draw.text(painter, view.box(0, -4, 120, 20), said, 4.2 * view.h, T.text)
        centre = draw.patch_box(view)
        draw.text(
            painter, QtCore.QRectF(centre.right() + view.h, centre.top(), 40 * view.h, centre.height()),
            "← photodiode here", 2.6 * view.h, T.soft,
            flags=int(QtCore.Qt.AlignLeft) | int(QtCore.Qt.AlignVCenter),
        )  # fmt: skip

    def _paint_result(self, painter: QtGui.QPainter, view: draw.View, found: DisplayDelay) -> None:
        columns = (
            (f"{found.median_ms:.1f} ms", "median", T.accent), (f"{found.p5_ms:.1f} – {found.p95_ms:.1f}",
             "5 % to 95 %, ms", T.text), (f"± {found.jitter_ms:.2f} ms", "jitter (SD)", T.text),
        )  # fmt: skip
        for k, (number, name, colour) in enumerate(columns):
            x = 44 * (k - 1)
            draw.text(painter, view.box(x, -14, 44, 9), number, 6.6 * view.h, colour, bold=True)
            draw.text(painter, view.box(x, -7.5, 44, 4), name, 2.8 * view.h, T.soft)
        self._paint_histogram(painter, view.box(0, 14, 110, 26), view, found)
        seen = f"{found.n_flashes - found.n_missed} of {found.n_flashes} flashes seen, {self.n_dropped} frames dropped"
        draw.text(painter, view.box(0, 36, 110, 5), seen, 3 * view.h, T.soft)
        draw.text(painter, view.box(0, 41, 110, 5), "Enter closes this page", 3 * view.h, T.soft)

    @staticmethod
    def _paint_histogram(painter: QtGui.QPainter, box: QtCore.QRectF, view: draw.View, found: DisplayDelay) -> None:
        low, high = min(found.delays_ms), max(found.delays_ms)
        low, high = np.floor(low - 1), np.ceil(high + 1)
        counts, _ = np.histogram(found.delays_ms, bins=int(np.clip(high - low, 6, 40)), range=(low, high))
        width = box.width() / len(counts)
        painter.setPen(QtCore.Qt.NoPen)
        painter.setBrush(QtGui.QColor(T.accent))
        for k, n in enumerate(counts):
            height = (box.height() - 5 * view.h) * n / counts.max()
            bottom = box.bottom() - 5 * view.h
            painter.drawRect(QtCore.QRectF(box.left() + k * width + 1, bottom - height, width - 2, height))
        painter.setPen(QtGui.QPen(QtGui.QColor(T.line), 2))
        y = box.bottom() - 5 * view.h
        painter.drawLine(QtCore.QPointF(box.left(), y), QtCore.QPointF(box.right(), y))
        for x, value, side in ((box.left(), low, QtCore.Qt.AlignLeft), (box.right(), high, QtCore.Qt.AlignRight)):
            place = QtCore.QRectF(min(x, box.right() - 20 * view.h), y + 0.5 * view.h, 20 * view.h, 4 * view.h)
            draw.text(painter, place, f"{value:.0f} ms", 2.6 * view.h, T.soft, flags=int(side))
