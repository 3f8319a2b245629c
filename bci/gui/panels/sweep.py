"""The traces: a sweep drawn into one image, new columns only, so that a frame costs the same at any sampling rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.ring import SignalRing
from bci.gui.theme import Theme, rgb

GAP_PX = 14  # between the newest column and the oldest
HEAD = 18  # height of the strip of marker labels


class Sweep(QtWidgets.QWidget):
    """All rows of one ring over ``seconds``, newest column beside the oldest.

    Signals
    -------
    clicked(int)
        A row was clicked.
    """

    clicked = QtCore.pyqtSignal(int)

    def __init__(self, theme: Theme):
        super().__init__()
        self.setMinimumSize(320, 160)
        self.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Expanding)
        self.theme, self.ring = theme, None
        self.seconds = 10.0
        self.scale: NDArray = np.ones(0)  # units in a row's height, one a row
        self.rows: list[int] = []  # channels shown, from the top
        self.colours: list[int] = []
        self.dimmed: set[int] = set()
        self.markers: list[tuple[float, str]] = []
        self.end_s: float | None = None  # shown to its end when paused; None: live
        self._pixels = np.zeros((1, 1), np.uint32)
        self._image = QtGui.QImage()
        self._drawn = 0  # columns since grid point 0 that are on the image
        self._last: tuple[NDArray, NDArray] | None = None
        self._offset: NDArray = np.zeros(0)

    # --- what is shown -----------------------------------------------------------------------------------------------

    def show_ring(self, ring: SignalRing | None, rows: list[int], colours: list[int], scale: NDArray) -> None:
        """Another signal, choice of rows, or scale: all is drawn anew."""
        self.ring, self.rows, self.colours, self.scale = ring, rows, colours, np.asarray(scale, float)
        self.redraw()

    def redraw(self) -> None:
        """Draw the whole stretch that the ring holds."""
        w, h = max(8, self.width()), max(8, self.height() - HEAD)
        ratio = self.devicePixelRatioF()
        w, h = round(w * ratio), round(h * ratio)
        if self._pixels.shape != (h, w):
            self._pixels = np.empty((h, w), np.uint32)
            self._image = QtGui.QImage(self._pixels.data, w, h, 4 * w, QtGui.QImage.Format_RGB32)
            self._image.setDevicePixelRatio(ratio)
        self._pixels[:] = rgb(self.theme.panel)
        self._last = None
        ring = self.ring
        if ring is not None and ring.n > 1 and self.rows:
            window = self._recent(ring)
            self._offset = (
                np.nan_to_num(np.nanmedian(window[:, self.rows], axis=0)) if len(window) else np.zeros(len(self.rows))
            )
            newest = self._newest_column(ring)
            self._drawn = max(0, newest - self._n_columns + round(GAP_PX * ratio))
            self._draw_to(newest)
        self.update()

    def advance(self) -> None:
        """Draw what has come since; call it once a frame."""
        if self.ring is None or self.ring.n < 2 or not self.rows or self.end_s is not None:
            return
        newest = self._newest_column(self.ring)
        is_new = len(self._offset) != len(self.rows)  # the last redraw had no samples to find a middle from
        if is_new or newest - self._drawn > self._n_columns or newest < self._drawn:
            self.redraw()
        elif newest > self._drawn:
            self._draw_to(newest)
            self.update()

    @property
    def _n_columns(self) -> int:
        return self._pixels.shape[1]

    @property
    def _points_per_column(self) -> float:
        assert self.ring is not None
        return self.seconds * self.ring.sfreq_hz / self._n_columns

    def _recent(self, ring: SignalRing) -> NDArray:
        with np.errstate(all="ignore"):
            return ring.last(min(2.0, self.seconds))

    def _newest_column(self, ring: SignalRing) -> int:
        n = ring.n if self.end_s is None else round((self.end_s - ring.first_s) * ring.sfreq_hz)
        return int(n / self._points_per_column)

    def _draw_to(self, newest: int) -> None:
        assert self.ring is not None
        columns = np.arange(self._drawn, newest)
        edges = np.ceil(np.arange(self._drawn, newest + 1) * self._points_per_column).astype(np.int64)
        low, high = self.ring.columns(edges)
        low, high = low[:, self.rows], high[:, self.rows]
        x = columns % self._n_columns
        ahead = np.arange(newest, newest + round(GAP_PX * self.devicePixelRatioF())) % self._n_columns
        ground = rgb(self.theme.panel)
        self._pixels[:, x] = ground
        self._pixels[:, ahead] = ground
        empty = np.isnan(low).all(axis=1)
        self._pixels[:, x[empty]] = rgb(self.theme.gap)
        self._rows(x, low, high)
        self._drawn = newest

    def _rows(self, x: NDArray, low: NDArray, high: NDArray) -> None:
        """Vertical strokes from the smallest to the largest value, joined with the column before."""
        h, n = self._pixels.shape[0], len(self.rows)
        middle = (np.arange(n) + 0.5) * h / n
        per_unit = h / n / np.maximum(self.scale, 1e-30)
        top = middle - (high - self._offset) * per_unit
        bottom = middle - (low - self._offset) * per_unit
        if self._last is not None:
            before_top, before_bottom = self._last
        else:
            before_top, before_bottom = bottom[:1], top[:1]
        previous_top = np.concatenate((before_top, top[:-1]))
        previous_bottom = np.concatenate((before_bottom, bottom[:-1]))
        self._last = top[-1:].copy(), bottom[-1:].copy()
        with np.errstate(invalid="ignore"):
            y0, y1 = np.fmin(top, previous_bottom), np.fmax(bottom, previous_top)
        finite = np.isfinite(top) & np.isfinite(bottom)
        y0 = np.where(finite, np.clip(np.nan_to_num(y0), 0, h - 1), 1).astype(np.int32)
        y1 = np.where(finite, np.clip(np.nan_to_num(y1), 0, h - 1), 0).astype(np.int32) + 1
        pixels = self._pixels
        for k in range(n):
            colour = self.colours[k] if k not in self.dimmed else rgb(self.theme.line)
            starts, stops = y0[:, k].tolist(), y1[:, k].tolist()
            for at, first, last in zip(x.tolist(), starts, stops, strict=True):
                pixels[first:last, at] = colour

    # --- Qt ----------------------------------------------------------------------------------------------------------

    def column_of(self, stamp_s: float) -> float | None:
        """Where a time stands, in logical pixels; None where it is not shown."""
        ring = self.ring
        if ring is None or ring.n < 2:
            return None
        column = (stamp_s - ring.first_s) * ring.sfreq_hz / self._points_per_column
        if not self._drawn - self._n_columns + GAP_PX <= column <= self._drawn:
            return None
        return (column % self._n_columns) / self.devicePixelRatioF()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:  # noqa: D102, N802
        self.redraw()

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: D102, N802
        if self.rows and event.y() > HEAD:
            self.clicked.emit(
                self.rows[min(len(self.rows) - 1, (event.y() - HEAD) * len(self.rows) // (self.height() - HEAD))]
            )

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), QtGui.QColor(self.theme.panel))
        painter.drawImage(QtCore.QPointF(0, HEAD), self._image)
        painter.setPen(QtGui.QPen(QtGui.QColor(self.theme.accent), 1))
        font = painter.font()
        font.setPointSizeF(8)
        painter.setFont(font)
        taken = -1e9
        for stamp_s, label in self.markers:
            if (x := self.column_of(stamp_s)) is None:
                continue
            painter.drawLine(QtCore.QPointF(x, HEAD - 4), QtCore.QPointF(x, self.height()))
            if not -40 < x - taken < 40:
                painter.drawText(QtCore.QPointF(x + 3, HEAD - 5), label)
                taken = x
        if self.end_s is None and self.ring is not None and self.ring.n > 1:
            x = (self._drawn % self._n_columns) / self.devicePixelRatioF()
            painter.setPen(QtGui.QPen(QtGui.QColor(self.theme.soft), 1))
            painter.drawLine(QtCore.QPointF(x, HEAD), QtCore.QPointF(x, self.height()))
        painter.end()
