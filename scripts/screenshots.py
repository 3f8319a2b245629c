"""Pictures of the window, from a real recording that is streamed and decoded live.

    python scripts/screenshots.py RECORDING --model MODEL [--out docs/window] [--seconds 25]

Starts `bci stream` and `bci run --share`, shows the window without a screen, and saves it and each panel as PNG.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/window"))
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--start", type=float, default=0.0)
    parser.add_argument("--size", type=int, nargs=2, default=(1600, 1000))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    name = f"screenshots-{uuid.uuid4().hex[:6]}"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROLANDIC_SETTINGS"] = f"{folder}/window.ini"
        bci = [sys.executable, "-m", "bci"]
        stream = [*bci, "stream", asked.recording, "--name", name, "--wait", "--quiet", "--start", asked.start]
        run = [*bci, "run", "--stream", name, "--model", asked.model, "--session", f"{folder}/session", "--share"]
        run += ["--threshold", "0.6", "--quiet", "--wait", "30"]
        processes = [
            subprocess.Popen([str(part) for part in arguments], stdin=subprocess.DEVNULL) for arguments in (stream, run)
        ]
        try:
            take(asked, processes[1].pid)
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(30)


def take(asked: argparse.Namespace, pid: int) -> None:
    """Look for a while, then save."""
    from pyqtgraph.Qt import QtCore

    from bci.gui import app as gui
    from bci.gui.feed import Feed
    from bci.gui.link import Link
    from bci.gui.theme import THEMES
    from bci.gui.window import Window
    from bci.host.runtime import published

    application = gui.make_application()
    while not any(e.pid == pid for e in published("engine")):
        QtCore.QThread.msleep(100)
    window = Window(Feed(), Link(pid), THEMES[asked.theme], gui.settings())
    window.asks = False
    arm = QtCore.QTimer()
    arm.timeout.connect(
        lambda: window.shared.state.gate in ("disarmed", "unknown") and window.link.send("arm", "lease")
    )
    arm.start(1000)
    for share, action, value in ((0.8, "note", "electrode C3 moistened"), (0.9, "command", "left")):
        QtCore.QTimer.singleShot(round(1000 * share * asked.seconds), lambda a=action, v=value: window.link.send(a, v))
    window.resize(*asked.size)
    window.show()

    def save() -> None:
        window.grab().save(str(asked.out / f"window-{asked.theme}.png"))
        for title, panel in window.panels.items():
            dock = panel.parentWidget()
            if hasattr(dock, "raise_"):
                dock.raise_()
            until_s = time.monotonic() + 1.5
            while time.monotonic() < until_s:
                application.processEvents()
            if title == "Cursor" and not window.shared.state.is_steering:
                continue  # nothing steers here
            panel.grab().save(str(asked.out / f"{title.lower()}.png"))
        print(f"{window.n_frames} frames, {window.n_dropped} dropped, in {asked.seconds:g} s")
        window.close()
        application.quit()

    QtCore.QTimer.singleShot(round(1000 * asked.seconds), save)
    application.exec_()


if __name__ == "__main__":
    main()
