"""Commands: what moves, and who says so: arm, neutral, threshold, dwell, and what was sent."""

from __future__ import annotations

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.panels.base import Panel, Shared, row, soft


class Commands(Panel):
    """The controls of the gate, and the session's log."""

    title = "Commands"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        link = shared.link
        self.arm = _button("Arm", "Let commands through (Ctrl+A)", "Ctrl+A", lambda: link.ask("arm"))
        self.disarm = _button(
            "Disarm", "Neutral, until it is armed again (Ctrl+D)", "Ctrl+D", lambda: link.ask("disarm")
        )
        self.pause = _button("Pause", "Decisions are not trusted until it goes on", "", lambda: link.ask("pause"))
        self.go_on = _button("Go on", "End the pause", "", lambda: link.ask("resume"))
        self.reset = _button("Reset stop", "Release the stop latch; it is disarmed then", "", lambda: link.ask("reset"))
        self.arm.setObjectName("primary")
        self.threshold = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self.threshold.setRange(50, 99)
        self.threshold.setToolTip("Probability that a command needs")
        self.threshold.sliderReleased.connect(lambda: link.ask("threshold", f"{self.threshold.value() / 100:.2f}"))
        self.threshold_said, self.dwell_said = soft(), soft()
        self.note = QtWidgets.QLineEdit()
        self.note.setPlaceholderText("a note for the recording, and Enter")
        self.note.returnPressed.connect(self._note)
        self.answer = QtWidgets.QLabel()
        self.answer.setWordWrap(True)
        link.answered.connect(self._answered)
        self.log = QtWidgets.QListWidget()
        self.log.setWordWrap(True)
        self.log.setFocusPolicy(QtCore.Qt.ClickFocus)
        self.box.addLayout(row(self.arm, self.disarm, self.pause, self.go_on, self.reset))
        self.box.addLayout(row(soft("threshold"), self.threshold, self.threshold_said, self.dwell_said))
        self.box.addWidget(self.note)
        self.box.addWidget(self.answer)
        self.box.addWidget(self.log, 1)
        self._last: object = None

    def refresh(self) -> None:
        """Buttons that make sense, and new lines."""
        state, theme = self.shared.state, self.shared.theme
        mine = self.shared.link.is_controller
        for button in (self.arm, self.disarm, self.pause, self.go_on, self.reset, self.threshold, self.note):
            button.setEnabled(mine)
        self.arm.setEnabled(mine and state.gate in ("disarmed", "unknown"))
        self.disarm.setEnabled(mine and state.gate not in ("disarmed", "unknown", "stopped"))
        self.reset.setEnabled(mine and state.gate == "stopped")
        if not mine and not self.answer.text():
            self.answer.setText(self.shared.link.refusal)
        if not self.threshold.isSliderDown():
            self.threshold.setValue(round(100 * state.threshold))
        self.threshold_said.setText(f"{self.threshold.value() / 100:.2f}")
        self.dwell_said.setText(f"held for {state.dwell_s:g} s")
        newest = state.lines[-1] if state.lines else None
        if newest is self._last:
            return
        lines = list(state.lines)
        start = next((k + 1 for k in range(len(lines) - 1, -1, -1) if lines[k] is self._last), 0)
        self._last = newest
        colour = {"ok": theme.good, "warn": theme.warn, "bad": theme.bad}
        for line in lines[start:]:
            item = QtWidgets.QListWidgetItem(f"{line.kind}   {line.text}")
            item.setForeground(QtGui.QColor(colour.get(line.level, theme.text)))
            self.log.insertItem(0, item)
        while self.log.count() > 300:
            self.log.takeItem(self.log.count() - 1)

    def _note(self) -> None:
        if text := self.note.text().strip():
            self.shared.link.ask("note", text)
            self.note.clear()

    def _answered(self, action: str, ok: bool, text: str) -> None:
        if action in ("attach", "detach") and ok:
            self.answer.setText("")
            return
        colour = self.shared.theme.soft if ok else self.shared.theme.bad
        self.answer.setStyleSheet(f"color: {colour}")
        self.answer.setText(f"{action}: {text}")


def _button(text: str, tip: str, key: str, clicked: object) -> QtWidgets.QPushButton:
    button = QtWidgets.QPushButton(text)
    button.setToolTip(tip)
    if key:
        button.setShortcut(key)
    button.clicked.connect(lambda _: clicked())  # type: ignore[operator]
    return button
