"""Starts the window: ``python -m bci.gui``, as `bci view` does."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from typing import Any

import psutil
import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtWidgets

from bci.gui.feed import Feed
from bci.gui.link import Link
from bci.gui.theme import DARK, THEMES
from bci.gui.window import SpaceStops, Window

NICE = 5


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
    parser.add_argument("--control", type=int, metavar="PID", help="engine that this window controls")
    asked = parser.parse_args(arguments)
    app = make_application()
    kept = settings()
    theme = THEMES.get(asked.theme or kept.value("theme", "dark"), DARK)
    if asked.control is not None:
        _step_back()
    feed, link = Feed(asked.group), Link(asked.control)
    window = Window(feed, link, theme, kept)
    SpaceStops(link, app)
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda *_: _close(window))
    window.show()
    app.exec_()
    return {"n_frames": window.n_frames, "n_dropped_frames": window.n_dropped}


def _close(window: Window) -> None:
    """Without a question: nobody may be there to answer it."""
    window.asks = False
    window.close()


def _step_back() -> None:
    """Give way to the session on a machine with few cores."""
    with contextlib.suppress(psutil.Error):
        psutil.Process().nice(NICE if os.name == "posix" else psutil.BELOW_NORMAL_PRIORITY_CLASS)
