"""Colours and sizes of the window: a dark and a light theme, safe for colour-blind eyes."""

from __future__ import annotations

from dataclasses import dataclass

# Okabe and Ito 2008 (Color Universal Design), without black; orange and blue first
CATEGORIES = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#f0e442")


@dataclass(frozen=True)
class Theme:
    """Colours by what they mean, as ``#rrggbb``."""

    name: str
    ground: str
    panel: str
    raised: str
    line: str
    text: str
    soft: str
    trace: str
    good: str
    warn: str
    bad: str
    stop: str
    armed: str
    gap: str
    accent: str


DARK = Theme(
    name="dark", ground="#12151a", panel="#181c22", raised="#222831", line="#2f3742", text="#e6e9ee", soft="#97a1ae",
    trace="#b9d7ea", good="#2fb58a", warn="#e6a100", bad="#f0703a", stop="#d4351c", armed="#e69f00", gap="#3a414c",
    accent="#56b4e9",
)  # fmt: skip
LIGHT = Theme(
    name="light", ground="#f3f4f6", panel="#ffffff", raised="#e9ecf0", line="#d3d8de", text="#1b2027", soft="#5b6571",
    trace="#14466b", good="#00795a", warn="#8f6200", bad="#b8440f", stop="#c42a12", armed="#a86c00", gap="#dfe3e8",
    accent="#0068a8",
)  # fmt: skip
THEMES = {theme.name: theme for theme in (DARK, LIGHT)}


def style_sheet(theme: Theme) -> str:
    """Qt's style sheet of the whole window."""
    t = theme
    return f"""
    * {{ color: {t.text}; font-size: 10pt; }}
    QMainWindow, QDialog, QWidget#page {{ background: {t.ground}; }}
    QDockWidget {{ titlebar-close-icon: none; titlebar-normal-icon: none; font-weight: 600; }}
    QDockWidget::title {{ background: {t.ground}; padding: 6px 10px; color: {t.soft}; }}
    QWidget#panel {{ background: {t.panel}; border-radius: 6px; }}
    QMainWindow::separator {{ background: {t.ground}; width: 6px; height: 6px; }}
    QTabBar::tab {{ background: {t.ground}; color: {t.soft}; padding: 6px 14px; border: none; }}
    QTabBar::tab:selected {{ color: {t.text}; border-bottom: 2px solid {t.accent}; }}
    QLabel#soft, QCheckBox#soft {{ color: {t.soft}; }}
    QLabel#big {{ font-size: 15pt; font-weight: 600; }}
    QLabel#title {{ font-size: 20pt; font-weight: 600; }}
    QToolTip {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.line}; padding: 4px; }}
    QPushButton {{ background: {t.raised}; border: 1px solid {t.line}; border-radius: 5px; padding: 6px 14px; }}
    QPushButton:hover {{ border-color: {t.accent}; }}
    QPushButton:focus, QComboBox:focus, QLineEdit:focus, QSlider:focus, QListWidget:focus, QTableWidget:focus
      {{ border: 1px solid {t.accent}; }}
    QPushButton:disabled {{ color: {t.soft}; border-color: {t.line}; background: {t.panel}; }}
    QPushButton#primary {{ background: {t.accent}; color: {t.ground}; border: none; font-weight: 600; }}
    QPushButton#primary:disabled {{ background: {t.raised}; color: {t.soft}; }}
    QPushButton#stop {{ background: {t.stop}; color: white; border: none; font-weight: 700; font-size: 13pt; }}
    QPushButton#stop:hover {{ border: 2px solid white; }}
    QComboBox, QLineEdit, QSpinBox, QDoubleSpinBox, QListWidget, QTableWidget, QPlainTextEdit
      {{ background: {t.raised}; border: 1px solid {t.line}; border-radius: 4px; padding: 3px 6px;
         selection-background-color: {t.accent}; selection-color: {t.ground}; }}
    QComboBox QAbstractItemView {{ background: {t.raised}; }}
    QHeaderView {{ background: {t.panel}; }}
    QHeaderView::section {{ background: {t.panel}; color: {t.soft}; border: none; padding: 4px 6px; }}
    QTableCornerButton::section {{ background: {t.panel}; border: none; }}
    QTableWidget {{ gridline-color: {t.line}; }}
    QScrollBar {{ background: {t.panel}; height: 10px; width: 10px; border: none; }}
    QScrollBar::handle {{ background: {t.line}; border-radius: 5px; min-width: 24px; min-height: 24px; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QSlider::groove:horizontal {{ background: {t.line}; height: 4px; border-radius: 2px; }}
    QSlider::handle:horizontal {{ background: {t.accent}; width: 14px; margin: -5px 0; border-radius: 7px; }}
    QStatusBar {{ background: {t.ground}; color: {t.soft}; }}
    QMenuBar, QMenu {{ background: {t.ground}; color: {t.text}; }}
    QMenu::item:selected, QMenuBar::item:selected {{ background: {t.raised}; }}
    """


def rgb(colour: str) -> int:
    """``#rrggbb`` as the number that a pixel of an image holds."""
    return 0xFF000000 | int(colour.removeprefix("#"), 16)
