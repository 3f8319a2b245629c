"""The card that must be acknowledged before anything flickers."""

from __future__ import annotations

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.theme import Theme, style_sheet
from calibration.flicker import WARNING


class FlickerWarning(QtWidgets.QFrame):
    """Over the whole stage. The way out has the focus: Enter pressed too soon shows nothing.

    Signals
    -------
    acknowledged()
        The box was ticked, and a person goes on.
    refused()
    """

    acknowledged = QtCore.pyqtSignal()
    refused = QtCore.pyqtSignal()

    def __init__(self, parent: QtWidgets.QWidget, theme: Theme):
        super().__init__(parent)
        self.setObjectName("page")
        t, h = theme, min(parent.height(), parent.width()) / 100  # readable from 2 m, as all on a stage
        self.setStyleSheet(
            style_sheet(theme)
            + f"""
            QFrame#page {{ background: {t.ground}; }}
            QFrame#card {{ background: {t.panel}; border: 1px solid {t.line}; border-left: 8px solid {t.warn};
                           border-radius: 8px; }}
            QLabel#head {{ font-size: {4.6 * h:.0f}px; font-weight: 600; color: {t.warn}; }}
            QLabel#body {{ font-size: {2.9 * h:.0f}px; }}
            QCheckBox {{ font-size: {2.9 * h:.0f}px; spacing: 12px; padding: 6px; }}
            QCheckBox::indicator {{ width: 22px; height: 22px; border: 2px solid {t.soft}; border-radius: 4px;
                                    background: {t.raised}; }}
            QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent}; }}
            QCheckBox:focus {{ border: 1px solid {t.accent}; border-radius: 4px; }}
            QPushButton {{ font-size: {2.9 * h:.0f}px; padding: 12px 26px; }}
            """
        )
        head, body = QtWidgets.QLabel("⚠  Flicker"), QtWidgets.QLabel(WARNING)
        head.setObjectName("head")
        body.setObjectName("body")
        body.setWordWrap(True)
        self.read = QtWidgets.QCheckBox("I have &read this, and none of it is true of me")
        self.stop = QtWidgets.QPushButton("&Do not show it")
        self.go = QtWidgets.QPushButton("&Show the flicker")
        self.go.setObjectName("primary")
        self.go.setEnabled(False)
        for button in (self.stop, self.go):
            button.setAutoDefault(True)
        self.read.toggled.connect(self.go.setEnabled)
        self.go.clicked.connect(self._go)
        self.stop.clicked.connect(self.refused)
        card = QtWidgets.QFrame()
        card.setObjectName("card")
        card.setMaximumWidth(round(105 * h))
        inside = QtWidgets.QVBoxLayout(card)
        inside.setContentsMargins(40, 32, 40, 32)
        inside.setSpacing(22)
        inside.addWidget(head)
        inside.addWidget(body)
        inside.addWidget(self.read)
        buttons = QtWidgets.QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.stop)
        buttons.addWidget(self.go)
        inside.addLayout(buttons)
        outer = QtWidgets.QVBoxLayout(self)
        outer.addStretch(1)
        middle = QtWidgets.QHBoxLayout()
        middle.addStretch(1)
        middle.addWidget(card, 20)
        middle.addStretch(1)
        outer.addLayout(middle)
        outer.addStretch(1)
        parent.installEventFilter(self)
        self.setGeometry(parent.rect())
        self.show()

    def _go(self) -> None:
        if self.read.isChecked():
            self.acknowledged.emit()

    def showEvent(self, event: QtGui.QShowEvent) -> None:  # noqa: D102, N802
        self.stop.setFocus()
        super().showEvent(event)

    def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:  # noqa: D102, N802
        if event.type() == QtCore.QEvent.Resize:
            self.setGeometry(self.parentWidget().rect())
        return False

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: D102, N802
        if event.key() == QtCore.Qt.Key_Escape:
            self.refused.emit()
            return
        if event.key() in (QtCore.Qt.Key_Return, QtCore.Qt.Key_Enter) and isinstance(
            self.focusWidget(), QtWidgets.QPushButton
        ):
            self.focusWidget().click()
            return
        super().keyPressEvent(event)
