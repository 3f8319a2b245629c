"""What panels share: a frame with a title, and an update that can fail without taking the window with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.state import SessionState
from bci.gui.theme import Theme

if TYPE_CHECKING:
    from bci.gui.link import Link
    from bci.gui.signal_model import SignalModel


@dataclass
class Shared:
    """What every panel may look at. ``signal`` is None until the signal stream is there."""

    state: SessionState
    theme: Theme
    link: Link
    signal: SignalModel | None = None
    quality: list[tuple[str, str]] = field(default_factory=list)  # of each channel: level, and what is wrong


class Panel(QtWidgets.QWidget):
    """A panel. ``title`` names it; `refresh` is called some times a second, `frame` thirty times."""

    title = ""
    tip = ""

    def __init__(self, shared: Shared):
        super().__init__()
        self.setObjectName("panel")
        self.setAttribute(QtCore.Qt.WA_StyledBackground)
        self.shared = shared
        self.setToolTip(self.tip)
        self.box = QtWidgets.QVBoxLayout(self)
        self.box.setContentsMargins(10, 8, 10, 8)
        self.box.setSpacing(6)

    def refresh(self) -> None:
        """Show what the state says now."""

    def frame(self) -> None:
        """Show what has come since the last frame."""

    def signal_changed(self) -> None:
        """The signal stream is there, or another one is."""

    def plot(self, left: str, bottom: str) -> pg.PlotWidget:
        """A plot in the window's colours, without what needs a mouse."""
        theme = self.shared.theme
        plot = pg.PlotWidget(background=theme.panel)
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(False, False)
        plot.hideButtons()
        for side, label in (("left", left), ("bottom", bottom)):
            axis = plot.getAxis(side)
            axis.setPen(theme.line)
            axis.setTextPen(theme.soft)
            axis.setStyle(tickLength=-4, tickFont=small())
            plot.setLabel(side, label, color=theme.soft, **{"font-size": "8pt"})
        plot.getPlotItem().layout.setContentsMargins(0, 4, 8, 0)
        return plot


def small() -> QtGui.QFont:
    """The font of axes."""
    font = QtGui.QFont()
    font.setPointSizeF(8)
    return font


def soft(text: str = "") -> QtWidgets.QLabel:
    """A label that steps back."""
    label = QtWidgets.QLabel(text)
    label.setObjectName("soft")
    return label


def row(*widgets: QtWidgets.QWidget | None) -> QtWidgets.QHBoxLayout:
    """Widgets side by side; None is a stretch."""
    layout = QtWidgets.QHBoxLayout()
    layout.setSpacing(8)
    for widget in widgets:
        if widget is None:
            layout.addStretch(1)
        else:
            layout.addWidget(widget)
    return layout
