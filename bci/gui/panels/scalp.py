"""Map: power of a band over the head, as it is or against a baseline (event-related desynchronisation)."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtWidgets

from bci.gui.panels.base import Panel, Shared, row, soft
from bci.gui.signal_model import BANDS_HZ

SIDE = 72
HEAD = QtCore.QRectF(-1.15, -1.15, 2.3, 2.3)  # in radii of the head


class Scalp(Panel):
    """Spherical places projected onto the plane, interpolated by inverse distances; nose up."""

    title = "Map"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        self.band = QtWidgets.QComboBox()
        self.band.addItems([f"{name} {low}–{high} Hz" for name, (low, high) in BANDS_HZ.items()])
        self.band.setCurrentIndex(2)
        self.band.setToolTip("Band whose power is shown")
        self.base = QtWidgets.QPushButton("Baseline = now")
        self.base.setToolTip("Show changes against the power of this moment, in dB")
        self.base.setCheckable(True)
        self.base.toggled.connect(self._take_base)
        self.said = soft()
        self.view = pg.PlotWidget(background=shared.theme.panel)
        self.view.setAspectLocked(True)
        self.view.setMouseEnabled(False, False)
        self.view.setMenuEnabled(False)
        self.view.hideButtons()
        for side in ("left", "bottom"):
            self.view.hideAxis(side)
        self.image = pg.ImageItem()
        self.view.addItem(self.image)
        pen = pg.mkPen(shared.theme.text, width=2)
        angle = np.linspace(0, 2 * np.pi, 100)
        self.view.plot(np.cos(angle), np.sin(angle), pen=pen)
        self.view.plot([-0.12, 0, 0.12], [0.993, 1.14, 0.993], pen=pen)
        for side in (-1, 1):
            ear = np.linspace(-1.2, 1.2, 20)
            self.view.plot(side * (1 + 0.07 * np.cos(ear)), 0.22 * np.sin(ear), pen=pen)
        self.dots = pg.ScatterPlotItem(size=5, brush=shared.theme.text, pen=None)
        self.view.addItem(self.dots)
        self.view.setRange(xRange=(-1.2, 1.2), yRange=(-1.2, 1.2), padding=0)
        self.box.addLayout(row(self.band, self.base, None, self.said))
        self.box.addWidget(self.view, 1)
        self._weights: NDArray | None = None
        self._mask: NDArray | None = None
        self._base: NDArray | None = None
        self._range = (0.0, 1.0)

    def signal_changed(self) -> None:
        """Places of the channels."""
        signal = self.shared.signal
        self._weights = self._base = None
        if signal is None or signal.positions is None or len(signal.placed) < 4:
            return
        places = flat(signal.positions)
        self.dots.setData(places[:, 0], places[:, 1])
        self._weights, self._mask = weights(places)

    def _take_base(self, on: bool) -> None:
        signal = self.shared.signal
        self._base = signal.band_power(self._band) if on and signal is not None else None

    @property
    def _band(self) -> str:
        return list(BANDS_HZ)[self.band.currentIndex()]

    def refresh(self) -> None:
        """The picture of now."""
        signal = self.shared.signal
        if signal is None or not self.isVisible():
            return
        if self._weights is None:
            self.said.setText("needs four channels whose places are known")
            return
        power = signal.band_power(self._band)
        if not np.isfinite(power).all():
            return
        if self._base is not None:
            power = power - self._base
            limit = max(3.0, float(np.abs(power).max()))
            self._range = (-limit, limit)
            self.said.setText(f"change, ± {limit:.0f} dB")
        else:
            low, high = np.percentile(power, (2, 98))
            self._range = tuple(0.8 * a + 0.2 * b for a, b in zip(self._range, (low, max(high, low + 1)), strict=True))  # type: ignore[assignment]
            self.said.setText(f"{self._range[0]:.0f} to {self._range[1]:.0f} dB")
        name = "CET-D1" if self._base is not None else "viridis"
        grid = (self._weights @ power).reshape(SIDE, SIDE)
        table = pg.colormap.get(name).getLookupTable(nPts=256, alpha=False)
        index = np.clip((grid - self._range[0]) / (self._range[1] - self._range[0]) * 255, 0, 255).astype(int)
        picture = np.dstack((table[index], np.where(self._mask, 255, 0).astype(np.uint8)))
        self.image.setImage(picture.transpose(1, 0, 2), autoLevels=False, levels=None, rect=HEAD)


def flat(positions: NDArray) -> NDArray:
    """Azimuthal equidistant projection of places (n, 3) onto the plane (n, 2); the equator is the unit circle."""
    p = positions - np.array([0.0, 0.0, 0.04])
    p = p / np.linalg.norm(p, axis=1, keepdims=True)
    angle = np.arccos(np.clip(p[:, 2], -1, 1)) / (np.pi / 2)
    planar = np.maximum(np.hypot(p[:, 0], p[:, 1]), 1e-9)
    return np.column_stack((p[:, 0] / planar * angle, p[:, 1] / planar * angle))


def weights(places: NDArray) -> tuple[NDArray, NDArray]:
    """What each channel gives each pixel (SIDE², n), and which pixels lie on the head."""
    grid = np.linspace(-1.15, 1.15, SIDE)
    x, y = np.meshgrid(grid, grid)
    points = np.column_stack((x.ravel(), y.ravel()))
    distance = np.linalg.norm(points[:, None] - places[None], axis=2)
    w = 1 / np.maximum(distance, 0.03) ** 3
    return w / w.sum(axis=1, keepdims=True), (np.hypot(x, y) <= 1.0)
