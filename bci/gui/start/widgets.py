"""Cards, lists, lines and bars that the pages are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.start.jobs import Job, Outcome
from bci.gui.start.words import Score, percent
from bci.gui.theme import Theme, style_sheet

MARKS = {"ok": "✓", "warn": "!", "fail": "×", "bad": "×", "info": "i", "": ""}
ENTRY = QtCore.Qt.UserRole + 1


def start_style(theme: Theme) -> str:
    """The window's style, and what only this page has."""
    t = theme
    return f"""{style_sheet(theme)}
    QWidget#side {{ background: {t.panel}; border-right: 1px solid {t.line}; }}
    QLabel#brand {{ font-size: 19pt; font-weight: 700; }}
    QLabel#headline {{ font-size: 22pt; font-weight: 600; }}
    QLabel#lead {{ color: {t.soft}; font-size: 11pt; }}
    QLabel#cardtitle {{ font-size: 12.5pt; font-weight: 600; }}
    QLabel#result {{ font-size: 17pt; font-weight: 600; }}
    QFrame#card {{ background: {t.panel}; border: 1px solid {t.line}; border-radius: 10px; }}
    QScrollArea, QWidget#scrolled {{ background: {t.ground}; border: none; }}
    QPushButton {{ padding: 8px 16px; }}
    QPushButton#primary {{ padding: 10px 26px; font-size: 11pt; border: 2px solid {t.accent}; }}
    QPushButton#primary:focus {{ border: 2px solid {t.text}; }}
    QPushButton#primary:disabled {{ border: 2px solid {t.raised}; }}
    QPushButton#nav {{ text-align: left; background: transparent; border: none; border-left: 3px solid transparent;
      border-radius: 0; padding: 12px 18px; font-size: 12pt; color: {t.soft}; }}
    QPushButton#nav:hover {{ color: {t.text}; }}
    QPushButton#nav:checked {{ color: {t.text}; background: {t.raised}; border-left: 3px solid {t.accent};
      font-weight: 600; }}
    QPushButton#nav:focus {{ color: {t.accent}; }}
    QPushButton#link {{ background: transparent; border: none; color: {t.accent}; padding: 2px 0; text-align: left; }}
    QPushButton#link:focus, QPushButton#link:hover {{ text-decoration: underline; }}
    QListWidget {{ background: {t.panel}; border: 1px solid {t.line}; border-radius: 6px; padding: 4px; outline: 0; }}
    QProgressBar {{ background: {t.raised}; border: none; border-radius: 4px; max-height: 8px; }}
    QProgressBar::chunk {{ background: {t.accent}; border-radius: 4px; }}
    QComboBox, QLineEdit, QSpinBox, QDoubleSpinBox {{ padding: 6px 8px; min-height: 18px; }}
    QComboBox::drop-down, QSpinBox::up-button, QSpinBox::down-button, QDoubleSpinBox::up-button,
      QDoubleSpinBox::down-button {{ border: none; background: transparent; width: 22px; }}
    QRadioButton, QCheckBox {{ padding: 3px 0; spacing: 10px; }}
    QRadioButton::indicator {{ width: 12px; height: 12px; border-radius: 8px; border: 2px solid {t.soft};
      background: {t.panel}; }}
    QRadioButton::indicator:checked {{ border: 4px solid {t.accent}; width: 8px; height: 8px; }}
    QRadioButton:focus, QCheckBox:focus {{ color: {t.accent}; }}
    """


def colour_of(theme: Theme, level: str) -> str:
    """Of a finding, a score or a row."""
    levels = {"ok": theme.good, "warn": theme.warn, "fail": theme.bad, "bad": theme.bad, "info": theme.accent}
    return levels.get(level, theme.soft)


def label(text: str = "", name: str = "", wraps: bool = True) -> QtWidgets.QLabel:
    """A line or a paragraph, in the style of ``name``; it can be copied."""
    made = QtWidgets.QLabel(text)
    made.setTextFormat(QtCore.Qt.PlainText)  # it may come from a stream, a file or a name
    made.setObjectName(name)
    made.setWordWrap(wraps)
    made.setTextInteractionFlags(QtCore.Qt.TextSelectableByMouse)
    return made


class Button(QtWidgets.QPushButton):
    """A button that Enter presses: outside a dialog Qt leaves that to the space bar, which is the stop in a session."""

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: D102, N802
        if event.key() in (QtCore.Qt.Key_Return, QtCore.Qt.Key_Enter) and not event.isAutoRepeat():
            self.click()
        else:
            super().keyPressEvent(event)


def button(text: str, tip: str = "", name: str = "") -> QtWidgets.QPushButton:
    """A button of the style of ``name``."""
    made = Button(text)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.setCursor(QtCore.Qt.PointingHandCursor)
    return made


def chevron(widget: QtWidgets.QWidget, x: float, y: float, down: bool) -> None:
    """An arrow on a field; a style sheet that gives fields colours takes Qt's own arrows away."""
    painter = QtGui.QPainter(widget)
    painter.setRenderHint(QtGui.QPainter.Antialiasing)
    colour = widget.palette().color(QtGui.QPalette.Text)
    painter.setPen(QtGui.QPen(colour, 1.6, QtCore.Qt.SolidLine, QtCore.Qt.RoundCap, QtCore.Qt.RoundJoin))
    tip = 2.0 if down else -2.0
    painter.drawPolyline(QtGui.QPolygonF([QtCore.QPointF(x + i, y + (tip if i == 0 else -tip)) for i in (-4, 0, 4)]))
    painter.end()


class Combo(QtWidgets.QComboBox):
    """A list that drops down."""

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        super().paintEvent(event)
        chevron(self, self.width() - 15, self.height() / 2, down=True)


class Count(QtWidgets.QSpinBox):
    """A whole number."""

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        super().paintEvent(event)
        _up_and_down(self)


class Number(QtWidgets.QDoubleSpinBox):
    """A number."""

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        super().paintEvent(event)
        _up_and_down(self)


def _up_and_down(spin: QtWidgets.QAbstractSpinBox) -> None:
    for down in (False, True):
        chevron(spin, spin.width() - 15, spin.height() * (0.66 if down else 0.34), down)


class Card(QtWidgets.QFrame):
    """A titled box; put widgets into ``box``."""

    def __init__(self, title: str, hint: str = ""):
        super().__init__()
        self.setObjectName("card")
        self.box = QtWidgets.QVBoxLayout(self)
        self.box.setContentsMargins(20, 16, 20, 18)
        self.box.setSpacing(10)
        self.title = label(title, "cardtitle", wraps=False)
        self.box.addWidget(self.title)
        if hint:
            self.box.addWidget(label(hint, "soft"))


class Page(QtWidgets.QScrollArea):
    """A page: headline, lead, and what is put into ``box``; it scrolls where the window is small."""

    def __init__(self, headline: str, lead: str):
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QtWidgets.QFrame.NoFrame)
        self.setFocusPolicy(QtCore.Qt.NoFocus)
        inner = QtWidgets.QWidget()
        inner.setObjectName("scrolled")
        self.setWidget(inner)
        self.box = QtWidgets.QVBoxLayout(inner)
        self.box.setContentsMargins(36, 28, 36, 28)
        self.box.setSpacing(16)
        self.box.addWidget(label(headline, "headline"))
        self.box.addWidget(label(lead, "lead"))

    @property
    def jobs(self) -> list[Job]:
        """Children that may be running."""
        return []


class Badge(QtWidgets.QWidget):
    """A disc with a mark: colour and shape say the same."""

    def __init__(self, theme: Theme, level: str = "", size: int = 20):
        super().__init__()
        self._theme, self.level = theme, level
        self.setFixedSize(size, size)

    def set(self, level: str) -> None:
        """Show another level."""
        self.level = level
        self.update()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        painter = QtGui.QPainter(self)
        draw_badge(painter, QtCore.QRectF(self.rect()), self._theme, self.level)
        painter.end()


def draw_badge(painter: QtGui.QPainter, box: QtCore.QRectF, theme: Theme, level: str) -> None:
    """A disc with a mark."""
    painter.save()
    painter.setRenderHint(QtGui.QPainter.Antialiasing)
    painter.setPen(QtCore.Qt.NoPen)
    painter.setBrush(QtGui.QColor(colour_of(theme, level) if level else theme.line))
    painter.drawEllipse(box.adjusted(1, 1, -1, -1))
    font = painter.font()
    font.setBold(True)
    font.setPixelSize(max(8, round(0.62 * box.height())))
    painter.setFont(font)
    painter.setPen(QtGui.QColor(theme.panel))
    painter.drawText(box, QtCore.Qt.AlignCenter, MARKS.get(level, ""))
    painter.restore()


class Lines(QtWidgets.QWidget):
    """Findings: a badge and a paragraph each."""

    def __init__(self, theme: Theme):
        super().__init__()
        self._theme = theme
        self.box = QtWidgets.QVBoxLayout(self)
        self.box.setContentsMargins(0, 0, 0, 0)
        self.box.setSpacing(8)
        self.shown: list[tuple[str, str]] = []

    def show_lines(self, lines: Sequence[tuple[str, str]]) -> None:
        """Show (level, text) pairs instead of what was there."""
        if list(lines) == self.shown:
            return
        self.shown = list(lines)
        while (item := self.box.takeAt(0)) is not None:
            if item.widget() is not None:
                item.widget().hide()
                item.widget().deleteLater()
        for level, text in self.shown:
            row = QtWidgets.QWidget()
            inside = QtWidgets.QHBoxLayout(row)
            inside.setContentsMargins(0, 0, 0, 0)
            inside.setSpacing(10)
            inside.addWidget(Badge(self._theme, level), 0, QtCore.Qt.AlignTop)
            inside.addWidget(label(text), 1)
            self.box.addWidget(row)


@dataclass(frozen=True)
class Entry:
    """A row of a `Choice`: what it stands for, and what is shown of it."""

    key: str
    title: str
    detail: str
    level: str = ""
    note: str = ""
    right: str = ""
    is_enabled: bool = True


class Choice(QtWidgets.QListWidget):
    """A list of rows with two or three lines each; arrow keys move in it.

    Signals
    -------
    picked(key)
    """

    picked = QtCore.pyqtSignal(str)

    def __init__(self, theme: Theme, empty: str, min_height: int = 150):
        super().__init__()
        self._theme, self._empty = theme, empty
        self.entries: list[Entry] = []
        self.setItemDelegate(_Rows(theme, self))
        self.setMinimumHeight(min_height)
        self.setVerticalScrollMode(self.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        self.itemSelectionChanged.connect(self._changed)

    @property
    def key(self) -> str:
        """Of the row that is picked."""
        chosen = self.selectedItems()
        return chosen[0].data(ENTRY).key if chosen else ""

    def show_entries(self, entries: Sequence[Entry], key: str = "") -> None:
        """Show these; ``key`` is picked, where it is among them. Says nothing by `picked`."""
        if list(entries) == self.entries and key == self.key:
            return
        self.entries = list(entries)
        self.blockSignals(True)
        self.clear()
        for entry in self.entries:
            item = QtWidgets.QListWidgetItem()
            item.setData(ENTRY, entry)
            item.setData(QtCore.Qt.AccessibleTextRole, f"{entry.title}, {entry.detail}. {entry.note}")
            item.setToolTip(entry.note)
            if not entry.is_enabled:
                item.setFlags(QtCore.Qt.NoItemFlags)
            self.addItem(item)
            if entry.key == key:
                self.setCurrentItem(item)
        self.blockSignals(False)
        self.viewport().update()

    def pick(self, key: str) -> None:
        """As a click on the row of this key."""
        for i in range(self.count()):
            if self.item(i).data(ENTRY).key == key:
                self.setCurrentItem(self.item(i))

    def _changed(self) -> None:
        if self.key:
            self.picked.emit(self.key)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        super().paintEvent(event)
        if not self.count():
            painter = QtGui.QPainter(self.viewport())
            painter.setPen(QtGui.QColor(self._theme.soft))
            box = self.viewport().rect().adjusted(24, 12, -24, -12)
            painter.drawText(box, QtCore.Qt.AlignCenter | QtCore.Qt.TextWordWrap, self._empty)
            painter.end()


class _Rows(QtWidgets.QStyledItemDelegate):
    """Draws the rows of a `Choice`."""

    def __init__(self, theme: Theme, parent: QtWidgets.QWidget):
        super().__init__(parent)
        self._theme = theme

    def sizeHint(self, option: QtWidgets.QStyleOptionViewItem, index: QtCore.QModelIndex) -> QtCore.QSize:  # noqa: N802
        line = QtGui.QFontMetrics(option.font).height()
        return QtCore.QSize(100, (3 if index.data(ENTRY).note else 2) * line + 22)

    def paint(self, painter: QtGui.QPainter, option: QtWidgets.QStyleOptionViewItem, index: QtCore.QModelIndex) -> None:
        entry: Entry = index.data(ENTRY)
        theme, box = self._theme, QtCore.QRectF(option.rect).adjusted(2, 2, -2, -2)
        is_picked = bool(option.state & QtWidgets.QStyle.State_Selected)
        is_hovered = bool(option.state & QtWidgets.QStyle.State_MouseOver) and entry.is_enabled
        painter.save()
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        painter.setPen(QtGui.QPen(QtGui.QColor(theme.accent if is_picked else theme.line), 2 if is_picked else 0))
        painter.setBrush(QtGui.QColor(theme.raised if is_picked or is_hovered else theme.panel))
        painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), 6, 6)
        draw_badge(painter, QtCore.QRectF(box.left() + 14, box.top() + 13, 18, 18), theme, entry.level)
        font = QtGui.QFont(option.font)
        metrics = QtGui.QFontMetrics(font)
        line, width = metrics.height(), int(box.width()) - 62
        x, y = int(box.left()) + 44, int(box.top()) + 9
        strong = QtGui.QFont(font)
        strong.setWeight(QtGui.QFont.DemiBold)
        texts = [
            (strong, theme.text if entry.is_enabled else theme.soft, entry.title),
            (font, theme.soft, entry.detail),
            (font, colour_of(theme, entry.level), entry.note),
        ]
        if entry.right:
            painter.setFont(strong)
            painter.setPen(QtGui.QColor(theme.text if entry.is_enabled else theme.soft))
            painter.drawText(
                QtCore.QRect(x, y, width, line + 2), QtCore.Qt.AlignVCenter | QtCore.Qt.AlignRight, entry.right
            )
        taken = QtGui.QFontMetrics(strong).horizontalAdvance(entry.right) + 12 if entry.right else 0
        for each, colour, text in texts:
            painter.setFont(each)
            painter.setPen(QtGui.QColor(colour))
            free = width - (taken if each is strong else 0)
            shown = QtGui.QFontMetrics(each).elidedText(text, QtCore.Qt.ElideRight, free)
            painter.drawText(QtCore.QRect(x, y, width, line + 2), QtCore.Qt.AlignVCenter, shown)
            y += line + 1
        painter.restore()


class Working(QtWidgets.QWidget):
    """What a job is doing, how far it is, and a way out of it.

    Signals
    -------
    cancelled()
    """

    cancelled = QtCore.pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.text = label("", "soft")
        self.bar = QtWidgets.QProgressBar()
        self.bar.setTextVisible(False)
        self.cancel = button("Cancel", "Stop this; nothing that is half done is kept")
        self.cancel.clicked.connect(self.cancelled)
        layout = QtWidgets.QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text, 0, 0)
        layout.addWidget(self.bar, 1, 0)
        layout.addWidget(self.cancel, 0, 1, 2, 1)
        layout.setColumnStretch(0, 1)
        layout.setHorizontalSpacing(16)
        self.hide()

    def begin(self, text: str) -> None:
        """Show that it works, of unknown length."""
        self.text.setText(text)
        self.bar.setRange(0, 0)
        self.show()

    def progress(self, text: str, n_done: int, n_total: int) -> None:
        """How far it is."""
        self.text.setText(text)
        self.bar.setRange(0, n_total)
        self.bar.setValue(n_done)

    def follow(self, job: Job, text: str) -> None:
        """Show a job until it ends."""
        self.begin(text)
        job.progressed.connect(lambda _, done, total: self.progress(text, done, total))
        job.ended.connect(lambda _: self.hide())


class ScoreBar(QtWidgets.QWidget):
    """A score on the line from 0 to 100 %: the band that guessing reaches, the interval of the score, the score."""

    def __init__(self, theme: Theme):
        super().__init__()
        self._theme = theme
        self.score: Score | None = None
        self.setMinimumHeight(74)

    def show_score(self, score: Score | None) -> None:
        """Show this one."""
        self.score = score
        self.setVisible(score is not None)
        if score is not None:
            self.setToolTip(
                f"grey: what guessing reaches in {score.n} trials, 95 % of the time; line: 95 % interval of the score"
            )
        self.update()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:  # noqa: D102, N802
        if self.score is None:
            return
        s, theme = self.score, self._theme
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        left, width, y = 8.0, self.width() - 16.0, 34.0

        def at(share: float) -> float:
            return left + width * share

        def text(share: float, below: bool, words: str, colour: str) -> None:
            n = painter.fontMetrics().horizontalAdvance(words)
            x = min(max(at(share) - n / 2, 0), self.width() - n)
            painter.setPen(QtGui.QColor(colour))
            painter.drawText(QtCore.QPointF(x, y + (32 if below else -18)), words)

        painter.setPen(QtCore.Qt.NoPen)
        painter.setBrush(QtGui.QColor(theme.raised))
        painter.drawRoundedRect(QtCore.QRectF(left, y - 8, width, 16), 8, 8)
        painter.setBrush(QtGui.QColor(theme.gap))
        painter.drawRect(QtCore.QRectF(at(s.chance_low), y - 8, at(s.chance_high) - at(s.chance_low), 16))
        colour = QtGui.QColor(colour_of(theme, s.level))
        painter.setPen(QtGui.QPen(colour, 4, QtCore.Qt.SolidLine, QtCore.Qt.RoundCap))
        painter.drawLine(QtCore.QPointF(at(s.low), y), QtCore.QPointF(at(s.high), y))
        painter.setPen(QtGui.QPen(QtGui.QColor(theme.panel), 2))
        painter.setBrush(colour)
        painter.drawEllipse(QtCore.QPointF(at(s.accuracy), y), 8, 8)
        text(s.chance, True, f"guessing: {percent(s.chance_low)} – {percent(s.chance_high)}", theme.soft)
        text(s.accuracy, False, percent(s.accuracy), colour.name())
        painter.end()


class Result(QtWidgets.QWidget):
    """A headline with a badge, and what it means."""

    def __init__(self, theme: Theme):
        super().__init__()
        self.badge, self.title, self.text = Badge(theme, size=28), label("", "result"), label("", "")
        layout = QtWidgets.QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setHorizontalSpacing(14)
        layout.addWidget(self.badge, 0, 0, QtCore.Qt.AlignTop)
        layout.addWidget(self.title, 0, 1)
        layout.addWidget(self.text, 1, 1)
        layout.setColumnStretch(1, 1)
        self.hide()

    def show_result(self, level: str, title: str, text: str) -> None:
        """Show it."""
        self.badge.set(level)
        self.title.setText(title)
        self.text.setText(text)
        self.show()

    def show_failure(self, what: str, outcome: Outcome) -> None:
        """Why a job did not do what it should."""
        if outcome.is_cancelled:
            self.show_result("info", f"{what}: cancelled", "")
        else:
            self.show_result("fail", f"{what}: not done", outcome.error[:1].upper() + outcome.error[1:])
