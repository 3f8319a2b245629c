"""Cursor: the simulated device `cursor:`, its targets, and how well it is steered."""

from __future__ import annotations

import math
from itertools import pairwise

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.panels.base import Panel, Shared
from bci.gui.theme import Theme

TRAIL = 60  # points of the way that are shown
EDGE = 1.12  # of the square that is shown, around -1 to 1


class Cursor(Panel):
    """The square in which it moves, and beside it the scores."""

    title = "Cursor"
    tip = "What the device cursor: does; hits, misses and throughput are counted from when this window was opened"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        self.field = _Field(shared)
        self.scores: dict[str, QtWidgets.QLabel] = {}
        self._cells: list[QtWidgets.QWidget] = []
        for name, tip in SCORES.items():
            number, word = QtWidgets.QLabel("–"), QtWidgets.QLabel(name)
            number.setObjectName("big")
            word.setObjectName("soft")
            cell = QtWidgets.QWidget()
            cell.setToolTip(tip)
            column = QtWidgets.QVBoxLayout(cell)
            column.setContentsMargins(0, 0, 0, 6)
            column.setSpacing(0)
            column.addWidget(number)
            column.addWidget(word)
            self._cells.append(cell)
            self.scores[name] = number
        self._grid = QtWidgets.QGridLayout()
        self._grid.setHorizontalSpacing(14)
        self._body = QtWidgets.QBoxLayout(QtWidgets.QBoxLayout.LeftToRight)
        self._body.setSpacing(16)
        self._body.addWidget(self.field, 1)
        self._body.addLayout(self._grid)
        self.box.addLayout(self._body, 1)
        self._arrange(is_tall=False)

    def _arrange(self, is_tall: bool) -> None:
        """Scores beside the square, or below it in a dock that is higher than wide."""
        self._is_tall = is_tall
        self._body.setDirection(QtWidgets.QBoxLayout.TopToBottom if is_tall else QtWidgets.QBoxLayout.LeftToRight)
        for k, cell in enumerate(self._cells):
            self._grid.addWidget(cell, *(divmod(k, 3) if is_tall else (k, 0)))
        self._grid.setRowStretch(len(self._cells), 0 if is_tall else 1)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:  # noqa: D102, N802
        super().resizeEvent(event)
        if (is_tall := self.height() > self.width()) != self._is_tall:
            self._arrange(is_tall)

    def frame(self) -> None:
        """It moves with every frame."""
        if self.isVisible() and self.shared.state.cursor.seen_s != self.field.shown_s:
            self.field.shown_s = self.shared.state.cursor.seen_s
            self.field.update()

    def refresh(self) -> None:
        """The numbers."""
        score = self.shared.state.cursor
        if not self.isVisible() or score.target is None:
            return
        n = score.n_hits + score.n_misses
        texts = (
            f"{score.n_hits} of {n}", _number(score.time_to_target_s, ".1f", " s"),
            _number(100 * score.efficiency, ".0f", " %"), _number(score.bits_per_s, ".2f", " bit/s"),
            _number(score.left_s, ".0f", " s"),
        )  # fmt: skip
        for label, text in zip(self.scores.values(), texts, strict=True):
            label.setText(text)


SCORES = {
    "targets hit": "Since the device was opened",
    "time to target": "Mean over hits, with the time that a target must be held",
    "path efficiency": "Straight way over the way taken, mean over hits; 100 % is a straight line",
    "throughput": "Fitts' throughput: bits of difficulty of the targets hit, over all the time",
    "left for this one": "Then it is a miss",
}


class _Field(QtWidgets.QWidget):
    def __init__(self, shared: Shared):
        super().__init__()
        self._shared = shared
        self.shown_s = math.nan
        self.setMinimumSize(180, 180)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802
        score, theme = self._shared.state.cursor, self._shared.theme
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        side = min(self.width(), self.height())
        unit = side / (2 * EDGE)
        painter.translate(self.width() / 2, self.height() / 2)
        painter.setPen(QtGui.QPen(QtGui.QColor(theme.line), 1))
        painter.setBrush(QtGui.QColor(theme.raised))
        painter.drawRoundedRect(QtCore.QRectF(-unit, -unit, 2 * unit, 2 * unit), 6, 6)
        if score.target is None:
            painter.setPen(QtGui.QColor(theme.soft))
            said = "No cursor here.\nRun a session with\n--device cursor:"
            painter.drawText(QtCore.QRectF(-unit, -unit, 2 * unit, 2 * unit), QtCore.Qt.AlignCenter, said)
            painter.end()
            return
        _target(painter, theme, unit, score.target, score.radius, math.dist((score.x, score.y), score.target))
        points = [QtCore.QPointF(x * unit, -y * unit) for x, y in score.path[-TRAIL:]]
        for k, (a, b) in enumerate(pairwise(points)):  # it fades towards its beginning
            colour = QtGui.QColor(theme.accent)
            colour.setAlphaF(0.15 + 0.6 * (k + 1) / len(points))
            painter.setPen(QtGui.QPen(colour, 2, cap=QtCore.Qt.FlatCap))
            painter.drawLine(a, b)
        at = QtCore.QPointF(score.x * unit, -score.y * unit)
        vx, vy = score.velocity
        if math.hypot(vx, vy) > 0.01:
            painter.setPen(QtGui.QPen(QtGui.QColor(theme.text), 2))
            painter.drawLine(at, at + QtCore.QPointF(0.3 * vx * unit, -0.3 * vy * unit))
        painter.setPen(QtGui.QPen(QtGui.QColor(theme.panel), 2))
        painter.setBrush(QtGui.QColor(theme.accent))
        painter.drawEllipse(at, 0.06 * unit, 0.06 * unit)
        painter.end()


def _target(
    painter: QtGui.QPainter, theme: Theme, unit: float, target: tuple[float, float], radius: float, distance: float
) -> None:
    """A ring; filled while the cursor is inside."""
    fill = QtGui.QColor(theme.armed)
    fill.setAlphaF(0.45 if distance <= radius else 0.12)
    painter.setPen(QtGui.QPen(QtGui.QColor(theme.armed), 2.5))
    painter.setBrush(fill)
    painter.drawEllipse(QtCore.QPointF(target[0] * unit, -target[1] * unit), radius * unit, radius * unit)


def _number(value: float, how: str, unit: str) -> str:
    return f"{value:{how}}{unit}" if math.isfinite(value) else "–"
