"""Starts the window of a session: a process of its own that nothing here waits for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from bci.errors import ConfigError


def check_screen() -> None:
    """Refuse a window where there is nothing to show it on: ConfigError."""
    has_screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
    if sys.platform.startswith("linux") and not has_screen:
        raise ConfigError("--window: there is no screen here (DISPLAY is not set); leave it out, and use bci control")


def open_window(group: str, log: Path) -> subprocess.Popen[bytes]:
    """Show the session that shares itself as ``group`` in a window that controls this process.

    It is in a process group of its own: Ctrl-C at the terminal ends the session, not the window. What it prints goes
    to the file ``log``.
    """
    arguments = [sys.executable, "-m", "bci.gui", "--group", group, "--control", str(os.getpid())]
    new_group = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0
    with log.open("ab") as file:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=sys.platform != "win32",
            creationflags=new_group,
        )  # fmt: skip
    threading.Thread(target=process.wait, name="window", daemon=True).start()  # so that it leaves no zombie
    return process
