"""Spectrum: power of the chosen channels over frequency, and of the bands."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import QtWidgets

from bci.gui.panels.base import Panel, Shared, row, soft
from bci.gui.signal_model import BANDS_HZ
from bci.gui.theme import CATEGORIES

N_CURVES = 4


class Spectrum(Panel):
    """Welch's estimate over the last four seconds."""

    title = "Spectrum"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        self.view = self.plot("dB (unit²/Hz)", "Hz")
        self.view.showGrid(x=True, y=True, alpha=0.12)
        self.choices = [QtWidgets.QComboBox() for _ in range(N_CURVES)]
        for combo, colour in zip(self.choices, CATEGORIES, strict=False):
            combo.setToolTip("Channel of the curve of this colour")
            combo.setStyleSheet(f"QComboBox {{ border-left: 4px solid {colour}; }}")
        self.curves = [self.view.plot(pen=pg.mkPen(colour, width=2)) for colour in CATEGORIES[:N_CURVES]]
        for low, _ in BANDS_HZ.values():
            line = pg.InfiniteLine(low, pen=pg.mkPen(shared.theme.line, width=1))
            self.view.addItem(line)
        self.bars = pg.BarGraphItem(x=[], height=[], width=0.16)
        self.bands = self.plot("dB", "")
        self.bands.addItem(self.bars)
        self.bands.getAxis("bottom").setTicks([list(enumerate(BANDS_HZ))])
        self.bands.setFixedWidth(230)
        self.box.addLayout(row(*self.choices, None, soft("last 4 s")))
        plots = QtWidgets.QHBoxLayout()
        plots.addWidget(self.view, 1)
        plots.addWidget(self.bands)
        self.box.addLayout(plots, 1)

    def signal_changed(self) -> None:
        """Take the channels; over the motor cortex and behind, where they are."""
        labels = list(self.shared.signal.labels) if self.shared.signal else []
        wanted = [w for w in ("C3", "C4", "Cz", "Oz", "O1", "Pz") if w in labels] + labels
        for combo, first in zip(self.choices, list(dict.fromkeys(wanted))[:N_CURVES] + ["–"] * N_CURVES, strict=False):
            combo.clear()
            combo.addItems(["–", *labels])
            combo.setCurrentText(first)

    def refresh(self) -> None:
        """Curves and bars of now."""
        if (signal := self.shared.signal) is None or not self.isVisible():
            return
        rows = [combo.currentIndex() - 1 for combo in self.choices]
        chosen = [r for r in rows if r >= 0]
        if not chosen:
            return
        hz, power = signal.spectrum(chosen)
        if not len(hz):
            return
        decibel = 10 * np.log10(np.maximum(power, 1e-30))
        top = min(60.0, signal.sfreq_hz / 2)
        inside = (hz >= 1) & (hz <= top)
        xs, heights, colours = [], [], []
        floor = float(decibel[inside].min())
        k = 0
        for number, (curve, r) in enumerate(zip(self.curves, rows, strict=True)):
            if r < 0:
                curve.setData([], [])
                continue
            curve.setData(hz[inside], decibel[inside, k])
            for b, (low, high) in enumerate(BANDS_HZ.values()):
                part = (hz >= low) & (hz < high)
                if part.any():
                    xs.append(b + 0.18 * (number - 1.5))
                    heights.append(float(decibel[part, k].mean()))
                    colours.append(CATEGORIES[number])
            k += 1
        self.view.setXRange(1, top, padding=0)
        self.bars.setOpts(x=xs, y0=floor, height=np.array(heights) - floor, width=0.16, brushes=colours, pens=colours)
        self.bands.setXRange(-0.5, len(BANDS_HZ) - 0.5, padding=0)
        self.bands.setYRange(floor, max([*heights, floor + 1]), padding=0.05)
