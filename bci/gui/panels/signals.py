"""Signals: all traces, with scale, display filters, groups, markers, and a pause that scrolls over the last minutes."""

from __future__ import annotations

import numpy as np
from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.errors import RolandicError
from bci.gui.panels.base import Panel, Shared, row, soft
from bci.gui.panels.sweep import HEAD, Sweep
from bci.gui.signal_model import nice
from bci.gui.theme import rgb

FILTERS: dict[str, tuple[float | None, float | None] | None] = {
    "no filter": None, "0.5 Hz and above": (0.5, None), "1 – 40 Hz": (1.0, 40.0), "8 – 30 Hz": (8.0, 30.0),
}  # fmt: skip
NOTCHES = {"no notch": None, "50 Hz": 50.0, "60 Hz": 60.0}
SECONDS = (5, 10, 20, 30)


class Signals(Panel):
    """The traces panel."""

    title = "Signals"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        self.sweep = Sweep(shared.theme)
        self.sweep.clicked.connect(self._mark)
        self.names = _Names(self)
        self.group = _combo([], "Which channels are shown", self._changed)
        self.filter = _combo(
            list(FILTERS), "For the screen only: neither decoder nor recording sees it", self._refilter
        )
        self.notch = _combo(list(NOTCHES), "Mains filter, for the screen only", self._refilter)
        self.seconds = _combo([f"{s} s" for s in SECONDS], "Width of the screen in seconds", self._changed)
        self.seconds.setCurrentIndex(1)
        self.said = soft()
        self.pause = QtWidgets.QPushButton("Pause")
        self.pause.setCheckable(True)
        self.pause.setToolTip("Hold the traces and scroll back over the last minutes; the session goes on (P)")
        self.pause.setShortcut("P")
        self.pause.toggled.connect(self._paused)
        smaller, larger = QtWidgets.QPushButton("–"), QtWidgets.QPushButton("+")
        for button, by, key in ((smaller, 2.0, "Ctrl+-"), (larger, 0.5, "Ctrl+=")):
            button.setToolTip(f"Traces {'smaller' if by > 1 else 'larger'} ({key})")
            button.setShortcut(key)
            button.setFixedWidth(34)
            button.clicked.connect(lambda _, by=by: self._rescale(by))
        fit = QtWidgets.QPushButton("Fit")
        fit.setToolTip("Choose the scale from the signal (F)")
        fit.setShortcut("F")
        fit.clicked.connect(lambda: self._rescale(None))
        self.slider = QtWidgets.QScrollBar(QtCore.Qt.Horizontal)
        self.slider.valueChanged.connect(self._scrolled)
        self.slider.hide()
        self.box.addLayout(
            row(self.group, self.seconds, self.filter, self.notch, smaller, larger, fit, self.pause, None, self.said)
        )
        area = QtWidgets.QHBoxLayout()
        area.setSpacing(4)
        area.addWidget(self.names)
        area.addWidget(self.sweep, 1)
        self.box.addLayout(area, 1)
        self.box.addWidget(self.slider)
        self.scales: dict[str, float] = {}
        self._fitted = 0

    def signal_changed(self) -> None:
        """Take the channels of the stream that has come."""
        signal = self.shared.signal
        self.group.blockSignals(True)
        self.group.clear()
        if signal is not None:
            types = list(dict.fromkeys(signal.types))
            self.group.addItems(
                [f"all {len(signal.labels)}", *types] if len(types) > 1 else [f"all {len(signal.labels)}"]
            )
            for a in range(0, len(signal.labels), 16) if len(signal.labels) > 24 else ():
                self.group.addItem(f"{a + 1} – {min(a + 16, len(signal.labels))}")
            self.group.setCurrentIndex(0)
        self.group.blockSignals(False)
        self.scales, self._fitted = {}, 0
        self._changed()

    def frame(self) -> None:
        """New columns; the scale is chosen once there is something to choose it from."""
        signal = self.shared.signal
        if signal is None:
            return
        if self._fitted < 2 and signal.raw.n > (0.3, 3.0)[self._fitted] * signal.sfreq_hz:
            self._fitted += 1
            self._rescale(None)
        self.sweep.markers = list(self.shared.state.markers)[-60:]
        self.sweep.advance()

    def refresh(self) -> None:
        """What the channels are worth, and the scales in words."""
        if (signal := self.shared.signal) is None:
            self.said.setText("no signal yet")
            return
        self.names.update()
        shown = dict.fromkeys(signal.types[i] for i in self.sweep.rows)
        unit = dict(zip(signal.types, signal.units, strict=True))
        self.said.setText("    ".join(f"{t}: {self.scales.get(t, 0):.3g} {_unit(unit[t])} a row" for t in shown))

    # --- choices -----------------------------------------------------------------------------------------------------

    def _rows(self) -> list[int]:
        signal = self.shared.signal
        if signal is None:
            return []
        choice = self.group.currentText()
        if choice in signal.types:
            return [i for i, t in enumerate(signal.types) if t == choice]
        if "–" in choice:
            first, last = (int(part) for part in choice.split("–"))
            return list(range(first - 1, last))
        return list(range(len(signal.labels)))

    def _changed(self) -> None:
        signal, theme = self.shared.signal, self.shared.theme
        self.sweep.seconds = float(SECONDS[self.seconds.currentIndex()])
        if signal is None:
            self.sweep.show_ring(None, [], [], np.ones(0))
            return
        rows = self._rows()
        for t in dict.fromkeys(signal.types):
            self.scales.setdefault(t, signal.scale_of(t))
        scale = np.array([self.scales[signal.types[i]] for i in rows])
        colours = [rgb(theme.trace) if n % 2 else rgb(theme.accent) for n in range(len(rows))]
        self.sweep.dimmed = {k for k, i in enumerate(rows) if i in signal.bad}
        self.sweep.show_ring(signal.shown, rows, colours, scale)
        self.names.update()
        self.refresh()

    def _refilter(self) -> None:
        if self.shared.signal is None:
            return
        try:
            self.shared.signal.set_filter(FILTERS[self.filter.currentText()], NOTCHES[self.notch.currentText()])
        except RolandicError as error:
            self.filter.setCurrentIndex(0)
            self.said.setText(str(error))
        self._rescale(None)

    def _rescale(self, by: float | None) -> None:
        if (signal := self.shared.signal) is None:
            return
        shown = {signal.types[i] for i in self._rows()}
        for t in shown:
            self.scales[t] = signal.scale_of(t) if by is None else nice(self.scales.get(t, 1.0) * by * 0.99)
        self._changed()

    def _mark(self, channel: int) -> None:
        if (signal := self.shared.signal) is not None:
            signal.bad ^= {channel}
            self._changed()

    # --- pause -------------------------------------------------------------------------------------------------------

    def _paused(self, on: bool) -> None:
        signal = self.shared.signal
        self.pause.setText("Go on" if on else "Pause")
        self.slider.setVisible(on)
        if on and signal is not None and signal.shown.n:
            ring = signal.shown
            held_s = (ring.n - ring.oldest) / ring.sfreq_hz
            self._until_s = ring.end_s
            self.slider.setRange(0, max(0, round(1000 * (held_s - self.sweep.seconds))))
            self.slider.setPageStep(round(1000 * self.sweep.seconds))
            self.slider.setValue(self.slider.maximum())
            self._scrolled()
        else:
            self.sweep.end_s = None
            self.sweep.redraw()

    def _scrolled(self) -> None:
        if self.pause.isChecked():
            self.sweep.end_s = self._until_s - (self.slider.maximum() - self.slider.value()) / 1000
            self.sweep.redraw()


class _Names(QtWidgets.QWidget):
    """Labels beside the rows; what is bad stands out."""

    def __init__(self, panel: Signals):
        super().__init__()
        self._panel = panel
        self.setFixedWidth(64)
        self.setToolTip("Click a trace to mark its channel as bad; for the screen only")

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: N802
        panel, theme = self._panel, self._panel.shared.theme
        signal, rows = panel.shared.signal, panel.sweep.rows
        if signal is None or not rows:
            return
        levels = panel.shared.quality
        painter = QtGui.QPainter(self)
        height = (self.height() - HEAD) / len(rows)
        font = painter.font()
        font.setPointSizeF(max(5.0, min(9.0, 0.62 * height)))
        painter.setFont(font)
        step = max(1, int(np.ceil(8 / max(height, 0.1))))
        for k in range(0, len(rows), step):
            i = rows[k]
            level = levels[i][0] if i < len(levels) else "ok"
            colour = {"bad": theme.bad, "warn": theme.warn}.get(level, theme.soft)
            painter.setPen(QtGui.QColor(theme.line if i in signal.bad else colour))
            box = QtCore.QRectF(0, HEAD + k * height, self.width() - 4, height * step)
            name = signal.labels[i] + (" ✕" if level == "bad" else "")
            painter.drawText(box, QtCore.Qt.AlignRight | QtCore.Qt.AlignVCenter, name)
        painter.end()


def _combo(items: list[str], tip: str, changed: object) -> QtWidgets.QComboBox:
    combo = QtWidgets.QComboBox()
    combo.addItems(items)
    combo.setToolTip(tip)
    combo.currentIndexChanged.connect(lambda _: changed())  # type: ignore[operator]
    return combo


def _unit(unit: str) -> str:
    return unit.replace("uV", "µV")
