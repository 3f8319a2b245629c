"""Starts the window: ``python -m bci.gui``, as `bci view` does."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtWidgets

from bci.gui.feed import Feed
from bci.gui.link import Link
from bci.gui.theme import DARK, THEMES
from bci.gui.window import SpaceStops, Window


def make_application() -> QtWidgets.QApplication:
    """The one application of this process, sharp on every screen."""
    QtWidgets.QApplication.setAttribute(QtCore.Qt.AA_EnableHighDpiScaling)
    QtWidgets.QApplication.setAttribute(QtCore.Qt.AA_UseHighDpiPixmaps)
    app = QtWidgets.QApplication.instance() or QtWidgets.QApplication(sys.argv[:1])
    app.setApplicationName("rolandic")
    app.setOrganizationName("rolandic")
    pg.setConfigOptions(antialias=True, useOpenGL=False)  # some screens have no OpenGL; nothing here needs it
    return app  # type: ignore[return-value]


def settings() -> QtCore.QSettings:
    """Where layout and theme are kept; ROLANDIC_SETTINGS names another file."""
    if path := os.environ.get("ROLANDIC_SETTINGS"):
        return QtCore.QSettings(path, QtCore.QSettings.IniFormat)
    return QtCore.QSettings("rolandic", "window")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Show one session until the window is closed; how many frames it drew, and how many came too late."""
    parser = argparse.ArgumentParser(prog="python -m bci.gui")
    parser.add_argument("--group", default="", help="session to show; the first one that is visible otherwise")
    parser.add_argument("--theme", choices=sorted(THEMES))
    asked = parser.parse_args(arguments)
    app = make_application()
    kept = settings()
    theme = THEMES.get(asked.theme or kept.value("theme", "dark"), DARK)
    feed, link = Feed(asked.group), Link()
    window = Window(feed, link, theme, kept)
    app.installEventFilter(SpaceStops(link, app))
    signal.signal(signal.SIGINT, lambda *_: window.close())
    signal.signal(signal.SIGTERM, lambda *_: window.close())
    window.show()
    app.exec_()
    return {"n_frames": window.n_frames, "n_dropped_frames": window.n_dropped}
