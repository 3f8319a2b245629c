"""Commands: arm and disarm, neutral, commands by hand, how sure the gate must be, notes, and what devices answered."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.panels.base import Panel, Shared, row, soft
from bci.gui.theme import CATEGORIES

SETTLED_MS = 250  # a slider that rests for so long is meant
MAX_DWELL_S = 3.0
ARMED = ("armed", "dwell", "refractory", "recovering")


class Commands(Panel):
    """What a person may do to the session. Only the window that controls it can; the stop is everybody's."""

    title = "Commands"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        link = shared.link
        self.who, self.take_over = soft(), _button("Take over", "Control the session instead of the other window", "")
        self.take_over.clicked.connect(link.take_over)
        self.arm = _button("Arm", "Let decisions move the devices, as long as this window is heard", "Ctrl+Shift+A")
        self.disarm = _button("Disarm", "Nothing moves until it is armed again", "Ctrl+D")
        self.hold = _button("Neutral", "Hold: neutral now, nothing is decided until you go on", "Ctrl+N")
        self.reset = _button("Release the stop", "After an emergency stop: disarmed, and can be armed again", "Ctrl+R")
        self.arm.setObjectName("primary")
        self.arm.setFocusPolicy(QtCore.Qt.NoFocus)  # nothing but a click on it, or three keys, arms
        self.arm.clicked.connect(lambda: link.send("arm", "lease"))
        self.disarm.clicked.connect(lambda: link.send("disarm"))
        self.hold.clicked.connect(lambda: link.send("resume" if shared.state.is_paused else "pause"))
        self.reset.clicked.connect(lambda: link.send("reset"))
        self.by_hand: list[QtWidgets.QPushButton] = []
        self._hand = QtWidgets.QHBoxLayout()
        self._hand.setSpacing(8)
        self.threshold = _Slider("threshold", "Probability from which a class counts", 51, 99, 0.01, "", self._changed)
        self.dwell = _Slider("dwell", "How long it must be held", 0, 60, MAX_DWELL_S / 60, " s", self._changed)
        self.note = QtWidgets.QLineEdit()
        self.note.setPlaceholderText("a_note (space stops: write _ for it), Enter")
        self.note.setToolTip("Written into the recording with its time, by Enter")
        self.note.returnPressed.connect(self._noted)
        self.answer = soft()
        self.answer.setWordWrap(True)
        self.sent = QtWidgets.QTableWidget(0, 4)
        self.sent.setHorizontalHeaderLabels(["command", "sent", "heard", "what went out"])
        self.sent.setToolTip("The last commands: from decision to device, and to the receiver's acknowledgement, in ms")
        self.sent.setEditTriggers(QtWidgets.QAbstractItemView.NoEditTriggers)
        self.sent.setSelectionMode(QtWidgets.QAbstractItemView.NoSelection)
        self.sent.setFocusPolicy(QtCore.Qt.NoFocus)
        self.sent.setShowGrid(False)
        self.sent.setMinimumHeight(110)  # a few commands are seen, however low the window
        self.sent.verticalHeader().hide()
        self.sent.verticalHeader().setDefaultSectionSize(24)
        for column in range(3):
            self.sent.horizontalHeader().setSectionResizeMode(column, QtWidgets.QHeaderView.ResizeToContents)
        self.sent.horizontalHeader().setStretchLastSection(True)
        self.sent.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        self.box.addLayout(row(self.who, None, self.take_over))
        self.box.addLayout(row(self.arm, self.disarm, self.hold, self.reset))
        self.box.addLayout(self._hand)
        self.box.addWidget(self.threshold)
        self.box.addWidget(self.dwell)
        self.box.addWidget(self.note)
        self.box.addWidget(self.answer)
        self.box.addWidget(self.sent, 1)
        link.told.connect(self._told)
        link.attached.connect(self._attached)
        self._settings: dict[str, Any] = {}
        self._shown: list[tuple[str, ...]] = []
        self.refresh()

    # --- what a person did -------------------------------------------------------------------------------------------

    def _changed(self, action: str, value: float) -> None:
        self.shared.link.send(action, f"{value:.2f}")

    def _noted(self) -> None:
        if text := self.note.text().replace("_", " ").strip():
            self.shared.link.send("note", text)
            self.note.clear()

    def _told(self, action: str, ok: bool, text: str) -> None:
        words = {"take over": "control taken over", "claim": "this window controls the session", "beat": ""}
        said = words.get(action, f"{action}: asked") if ok else f"{action}: {text}"
        self.answer.setText(said)
        if not ok:
            for slider in (self.threshold, self.dwell):
                slider.forget()

    def _attached(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    # --- what is so --------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Buttons that can do something, values of now, the newest commands."""
        state, link = self.shared.state, self.shared.link
        if self._settings and state.classes:  # by now the state holds those of the session's start
            state.threshold, state.dwell_s = self._settings["threshold"], self._settings["dwell_s"]
            self._settings = {}
            for slider in (self.threshold, self.dwell):
                slider.forget()
        is_ours, is_stopped = link.is_controller, state.gate == "stopped"
        self.who.setText("this window controls the session" if is_ours else link.refusal)
        self.take_over.setVisible(not is_ours and "controls" in link.refusal)
        self.arm.setVisible(not is_stopped)
        self.disarm.setVisible(not is_stopped)
        self.hold.setVisible(not is_stopped)
        self.reset.setVisible(is_stopped)
        self.arm.setEnabled(is_ours and state.gate not in ARMED)
        self.disarm.setEnabled(is_ours and state.gate in ARMED)
        self.hold.setEnabled(is_ours)
        self.hold.setText("Go on" if state.is_paused else "Neutral")
        self.reset.setEnabled(is_ours)
        self._make_hands([c for c in state.classes if c != state.rest] if not state.is_steering else [])
        for button in self.by_hand:
            button.setEnabled(is_ours and state.gate in ("armed", "dwell"))
        self.threshold.setVisible(not state.is_steering)
        self.dwell.setVisible(not state.is_steering)
        if state.classes:
            self.threshold.slider.setMinimum(int(100 / len(state.classes)) + 1)  # above chance
        for slider, value in ((self.threshold, state.threshold), (self.dwell, state.dwell_s)):
            slider.setEnabled(is_ours)
            slider.show_value(value)
        self.note.setEnabled(is_ours)
        self._list()

    def _make_hands(self, names: list[str]) -> None:
        if [b.text() for b in self.by_hand] == names:
            return
        for button in self.by_hand:
            self._hand.removeWidget(button)
            button.deleteLater()
        classes = self.shared.state.classes
        self.by_hand = []
        for n, name in enumerate(names):
            button = _button(
                name, f"Command {name} by hand, once, as the gate allows", f"Ctrl+{n + 1}" if n < 9 else ""
            )
            colour = CATEGORIES[classes.index(name) % len(CATEGORIES)]
            button.setStyleSheet(f"QPushButton {{ border-left: 4px solid {colour}; }}")
            button.clicked.connect(lambda _, name=name: self.shared.link.send("command", name))
            self._hand.addWidget(button)
            self.by_hand.append(button)

    def _list(self) -> None:
        rows = [c.row() for c in reversed(self.shared.state.commands.values())]
        if rows == self._shown:
            return
        self._shown = rows
        theme = self.shared.theme
        self.sent.setRowCount(len(rows))
        for r, cells in enumerate(rows):
            for c, text in enumerate(cells):
                item = QtWidgets.QTableWidgetItem(text)
                if text.startswith("refused"):
                    item.setForeground(QtGui.QColor(theme.warn))
                item.setToolTip(text)
                self.sent.setItem(r, c, item)


class _Slider(QtWidgets.QWidget):
    """A setting of the gate: sent when it has come to rest, and shown as the session has it."""

    def __init__(self, name: str, tip: str, low: int, high: int, step: float, unit: str, changed: object):
        super().__init__()
        self._name, self._step, self._unit = name, step, unit
        self.slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self.slider.setRange(low, high)
        self.slider.setToolTip(tip)
        self.slider.setAccessibleName(name)
        self.label = QtWidgets.QLabel()
        self.label.setFixedWidth(58)
        title = soft(name)
        title.setFixedWidth(72)
        layout = row(title, self.slider, self.label)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        self._rest = QtCore.QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(SETTLED_MS)
        self._rest.timeout.connect(lambda: changed(self._name, self.value))  # type: ignore[operator]
        self.slider.valueChanged.connect(self._moved)
        self._awaited: float | None = None

    @property
    def value(self) -> float:
        """Where it stands."""
        return self.slider.value() * self._step

    def _moved(self) -> None:
        self._awaited = self.value
        self.label.setText(f"{self.value:.2f}{self._unit}")
        self._rest.start()

    def forget(self) -> None:
        """What was asked for was refused, or is of before: show what the session has."""
        self._awaited = None

    def show_value(self, value: float) -> None:
        """As the session has it, unless a person is moving it, or the session has not heard yet."""
        if self._awaited is not None and (self._rest.isActive() or self.slider.isSliderDown()):
            return
        if self._awaited is not None and abs(value - self._awaited) < 0.006:
            self._awaited = None
        if self._awaited is None:
            self.slider.blockSignals(True)
            self.slider.setValue(round(value / self._step))
            self.slider.blockSignals(False)
            self.label.setText(f"{value:.2f}{self._unit}")


def _button(text: str, tip: str, keys: str) -> QtWidgets.QPushButton:
    button = QtWidgets.QPushButton(text)
    button.setToolTip(f"{tip} ({keys})" if keys else tip)
    button.setAutoDefault(False)
    if keys:
        button.setShortcut(keys)
    return button
