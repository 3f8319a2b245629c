"""Keys as a keyboard sends them: to the window of the window system, which gives them to the widget with the focus."""

from __future__ import annotations

from PyQt5.QtTest import QTest
from pyqtgraph.Qt import QtCore, QtWidgets


def type_into(widget: QtWidgets.QWidget, key: int = QtCore.Qt.Key_Space) -> None:
    """Press and release a key while ``widget`` has the focus."""
    window = widget.window()
    window.activateWindow()
    widget.setFocus()
    QTest.keyClick(window.windowHandle(), key)
