"""Log: what the session did and was told, newest first."""

from __future__ import annotations

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.panels.base import Panel, Shared

MAX_LINES = 300


class Log(Panel):
    """Gate, health, commands and what devices answered, gaps, markers that got no answer, notes."""

    title = "Log"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        self.list = QtWidgets.QListWidget()
        self.list.setWordWrap(True)
        self.list.setFocusPolicy(QtCore.Qt.ClickFocus)
        self.box.addWidget(self.list, 1)
        self._last: object = None

    def refresh(self) -> None:
        """Add what is new."""
        state, theme = self.shared.state, self.shared.theme
        lines = list(state.lines)
        if not lines or lines[-1] is self._last:
            return
        start = next((k + 1 for k in range(len(lines) - 1, -1, -1) if lines[k] is self._last), 0)
        self._last = lines[-1]
        colour = {"ok": theme.good, "warn": theme.warn, "bad": theme.bad}
        for line in lines[start:]:
            item = QtWidgets.QListWidgetItem(f"{line.kind}   {line.text}")
            item.setForeground(QtGui.QColor(colour.get(line.level, theme.text)))
            self.list.insertItem(0, item)
        while self.list.count() > MAX_LINES:
            self.list.takeItem(self.list.count() - 1)
