"""Quality: which channels are good, on a head and in words; and what was lost."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import QtWidgets

from bci.gui.panels.base import Panel, Shared, row, soft
from bci.gui.panels.scalp import flat

MAINS = {"mains 50 Hz": 50.0, "mains 60 Hz": 60.0}


class Quality(Panel):
    """Every channel's verdict over the last two seconds."""

    title = "Quality"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        self.mains = QtWidgets.QComboBox()
        self.mains.addItems(list(MAINS))
        self.mains.setToolTip("Mains frequency where you are")
        self.said, self.lost = QtWidgets.QLabel(), soft()
        self.head = pg.PlotWidget(background=shared.theme.panel)
        self.head.setAspectLocked(True)
        self.head.setMouseEnabled(False, False)
        self.head.setMenuEnabled(False)
        self.head.hideButtons()
        for side in ("left", "bottom"):
            self.head.hideAxis(side)
        angle = np.linspace(0, 2 * np.pi, 100)
        pen = pg.mkPen(shared.theme.line, width=2)
        self.head.plot(np.cos(angle), np.sin(angle), pen=pen)
        self.head.plot([-0.12, 0, 0.12], [0.993, 1.14, 0.993], pen=pen)
        self.head.setRange(xRange=(-1.25, 1.25), yRange=(-1.25, 1.25), padding=0)
        self.dots = pg.ScatterPlotItem(size=17, pen=pg.mkPen(shared.theme.panel, width=1))
        self.head.addItem(self.dots)
        self.names: list[pg.TextItem] = []
        self.list = QtWidgets.QListWidget()
        self.list.setMaximumWidth(250)
        self.box.addLayout(row(self.said, None, self.mains))
        body = QtWidgets.QHBoxLayout()
        body.addWidget(self.head, 1)
        body.addWidget(self.list)
        self.box.addLayout(body, 1)
        self.box.addWidget(self.lost)

    def signal_changed(self) -> None:
        """Places and names."""
        for name in self.names:
            self.head.removeItem(name)
        self.names = []
        signal = self.shared.signal
        if signal is None or signal.positions is None:
            self.dots.setData([], [])
            return
        self._places = flat(signal.positions)
        if len(signal.placed) <= 72:
            for (x, y), i in zip(self._places, signal.placed, strict=True):
                text = pg.TextItem(signal.labels[i], color=self.shared.theme.ground, anchor=(0.5, 0.5))
                font = text.textItem.font()
                font.setPointSizeF(5.5)
                font.setBold(True)
                text.setFont(font)
                text.setPos(x, y)
                self.head.addItem(text)
                self.names.append(text)

    def refresh(self) -> None:
        """Judge and show."""
        signal, theme, state = self.shared.signal, self.shared.theme, self.shared.state
        if signal is None:
            self.said.setText("no signal yet")
            return
        levels = self.shared.quality = signal.quality(MAINS[self.mains.currentText()])
        if not self.isVisible():
            return
        colour = {"ok": theme.good, "warn": theme.warn, "bad": theme.bad, "unknown": theme.soft}
        n_bad = sum(level == "bad" for level, _ in levels)
        n_warn = sum(level == "warn" for level, _ in levels)
        self.said.setText(f"{len(levels) - n_bad - n_warn} good, {n_warn} doubtful, {n_bad} without signal")
        if signal.positions is not None:
            self.dots.setData(
                self._places[:, 0],
                self._places[:, 1],
                brush=[pg.mkBrush(colour[levels[i][0]]) for i in signal.placed],
            )
        lines = [
            f"{'✕' if level == 'bad' else '!'}  {signal.labels[i]}: {text}"
            for i, (level, text) in enumerate(levels)
            if level in ("bad", "warn")
        ]
        if [self.list.item(k).text() for k in range(self.list.count())] != lines:
            self.list.clear()
            self.list.addItems(lines)
        lost = f"{state.n_lost} samples lost" if state.n_lost else "nothing lost"
        self.lost.setText(f"{lost}; {len(state.gaps)} irregularities judged. Impedance: the stream gives none.")
