"""Decoder: what it says, how near a command is, and which model says it."""

from __future__ import annotations

import math

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.panels.base import Panel, Shared, row, soft
from bci.gui.theme import CATEGORIES

SHOWN_S = 20.0


class Decoder(Panel):
    """Class probabilities over time, with threshold, dwell and what was not decided."""

    title = "Decoder"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        self.model, self.said = soft(), soft()
        self.said.setToolTip(
            "Drift: how far half a minute of signal is from calibration, in its deviations; above: alarm"
        )
        self.now = _Bars(shared)
        self.view = self.plot("probability", "s")
        self.view.setYRange(0, 1, padding=0.02)
        self.view.setXRange(-SHOWN_S, 0, padding=0)
        self.threshold = pg.InfiniteLine(
            0.8, angle=0, pen=pg.mkPen(shared.theme.soft, width=1, style=QtCore.Qt.DashLine)
        )
        self.view.addItem(self.threshold)
        self.curves: list[pg.PlotDataItem] = []
        self.abstained = pg.ScatterPlotItem(size=5, brush=shared.theme.warn, pen=None, symbol="s")
        self.abstained.setToolTip("not trusted: priming, gaps, artefacts, bad channels")
        self.view.addItem(self.abstained)
        self.box.addLayout(row(self.model, None, self.said))
        self.box.addWidget(self.now)
        self.box.addWidget(self.view, 1)

    def refresh(self) -> None:
        """Curves of the last seconds."""
        state = self.shared.state
        if len(self.curves) != len(state.classes):
            for curve in self.curves:
                self.view.removeItem(curve)
            self.curves = [
                self.view.plot(pen=pg.mkPen(colour, width=2))
                for _, colour in zip(state.classes, CATEGORIES, strict=False)
            ]
        self.now.update()
        self.model.setText(f"model {state.model or 'unknown'}")
        share = state.n_flagged / state.n_hops if state.n_hops else 0.0
        drift = f", drift {state.drift:.1f} of {state.drift_limit:g}" if math.isfinite(state.drift_limit) else ""
        self.said.setText(f"{state.n_hops} hops, {share:.0%} not trusted{drift}")
        if not state.hops or not self.isVisible():
            return
        end_s = state.hops[-1][0]
        rows = [(s - end_s, p, flags) for s, p, flags in state.hops if s > end_s - SHOWN_S]
        t_s = np.array([r[0] for r in rows])
        for k, curve in enumerate(self.curves):
            curve.setData(t_s, np.array([r[1][k] if not r[2] else np.nan for r in rows]), connect="finite")
        flagged = t_s[[bool(r[2]) for r in rows]]
        self.abstained.setData(flagged, np.full(len(flagged), 0.02))
        self.threshold.setValue(state.threshold)


class _Bars(QtWidgets.QWidget):
    """One bar a class with the threshold in it, and the dwell as it fills."""

    def __init__(self, shared: Shared):
        super().__init__()
        self._shared = shared
        self.setMinimumHeight(96)
        self.setToolTip("Probability of each class now; the line is the threshold, the ring how long it has been held")

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802
        state, theme = self._shared.state, self._shared.theme
        if not state.classes:
            return
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        p = state.hops[-1][1] if state.hops else np.full(len(state.classes), 1 / len(state.classes))
        trusted = bool(state.hops) and not state.hops[-1][2]
        ring = 74
        width = self.width() - ring - 16
        height = self.height() / len(state.classes)
        for k, (name, colour) in enumerate(zip(state.classes, CATEGORIES, strict=False)):
            top = k * height
            bar = QtCore.QRectF(74, top + 4, width - 130, height - 8)
            painter.setPen(QtCore.Qt.NoPen)
            painter.setBrush(QtGui.QColor(theme.raised))
            painter.drawRoundedRect(bar, 4, 4)
            painter.setBrush(QtGui.QColor(colour if trusted else theme.line))
            painter.drawRoundedRect(QtCore.QRectF(bar.x(), bar.y(), bar.width() * float(p[k]), bar.height()), 4, 4)
            painter.setPen(QtGui.QPen(QtGui.QColor(theme.text), 2))
            x = bar.x() + bar.width() * state.threshold
            painter.drawLine(QtCore.QPointF(x, bar.y() - 2), QtCore.QPointF(x, bar.bottom() + 2))
            painter.setPen(QtGui.QColor(theme.text))
            painter.drawText(QtCore.QRectF(0, top, 68, height), QtCore.Qt.AlignVCenter | QtCore.Qt.AlignRight, name)
            painter.drawText(
                QtCore.QRectF(bar.right() + 8, top, 60, height),
                QtCore.Qt.AlignVCenter,
                f"{p[k]:.2f}" if trusted else "–",
            )
        name, held_s = state.dwell()
        part = min(1.0, held_s / state.dwell_s) if state.dwell_s else float(bool(name))
        side = min(ring - 12, self.height() - 8)
        circle = QtCore.QRectF(self.width() - ring, (self.height() - side) / 2, side, side)
        painter.setBrush(QtCore.Qt.NoBrush)
        painter.setPen(QtGui.QPen(QtGui.QColor(theme.raised), 7))
        painter.drawEllipse(circle)
        if name:
            painter.setPen(QtGui.QPen(QtGui.QColor(CATEGORIES[state.classes.index(name)]), 7))
            painter.drawArc(circle, 90 * 16, -round(360 * 16 * part))
        painter.setPen(QtGui.QColor(theme.soft))
        painter.drawText(circle, QtCore.Qt.AlignCenter, name or "dwell")
        painter.end()
