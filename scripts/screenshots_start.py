"""Pictures of the start page: a simulated person is streamed, checked, learnt from, and a recorded session replayed.

    python scripts/screenshots_start.py [--out docs/start] [--theme dark]

Everything in them is real: the stream, the check, the score of the trained model, and the replay of `replay_data`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

SHIPPED = Path(__file__).parents[1] / "replay_data" / "sub-simulated" / "ses-1"
N_TRIALS = 40
LATEST_MS = 300_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/start"))
    parser.add_argument("--theme", default="dark")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROLANDIC_SETTINGS"] = f"{folder}/window.ini"
        lsl = Path(folder) / "lsl_api.cfg"  # other people's streams are no part of the picture
        lsl.write_text(f"[multicast]\nResolveScope=machine\n[lab]\nSessionID=pictures-{os.getpid()}\n[log]\nlevel=-3\n")
        os.environ["LSLAPICFG"] = str(lsl)
        shutil.copytree(SHIPPED, Path(folder) / "sessions" / "sub-P01" / "ses-1")
        recording = Path(folder) / "cues.xdf"
        simulate = ["simulate", "--trials", N_TRIALS, "--skill", "1", "--out", recording, "--quiet"]
        subprocess.run([sys.executable, "-m", "bci", *map(str, simulate)], check=True)
        take(asked, Path(folder) / "sessions", recording)


def take(asked: argparse.Namespace, root: Path, recording: Path) -> None:
    """Walk through the pages, and save each."""
    from bci.gui import app as gui
    from bci.gui.start.streams import Streams
    from bci.gui.start.window import Start
    from bci.gui.theme import THEMES

    application = gui.make_application()
    window = Start(root, THEMES[asked.theme], gui.settings(), Streams())
    window.show()
    try:
        window.connect_page.simulate.click()
        wait(application, lambda: window.picked.described is not None)
        window.connect_page.subject.setEditText("P01")
        wait(application, lambda: "samples a second" in window.connect_page.data.text())
        window.connect_page.check.click()
        wait(application, lambda: window.connect_page.check_job is None)
        save(application, window, asked.out / "connect.png")
        window.turn_to(1)
        window.calibrate.use_recordings([recording])
        window.calibrate.begin.click()
        wait(application, lambda: not window.calibrate.is_busy)
        save(application, window, asked.out / "calibrate.png")
        window.turn_to(2)
        save(application, window, asked.out / "run.png")
        window.turn_to(3)
        window.replay.list.pick(str(root / "sub-P01" / "ses-1"))
        window.replay.verify.click()
        wait(application, lambda: window.replay.job is None)
        save(application, window, asked.out / "replay.png")
    finally:
        window.close()


def save(application: Any, window: Any, path: Path) -> None:
    """The window as it is now."""
    for _ in range(3):
        application.processEvents()
    window.grab().save(str(path))
    print(path)


def wait(application: Any, is_so: Callable[[], bool]) -> None:
    """Let the window work until it is so."""
    from pyqtgraph.Qt import QtCore

    clock = QtCore.QElapsedTimer()
    clock.start()
    while not is_so():
        application.processEvents(QtCore.QEventLoop.AllEvents, 100)
        if clock.elapsed() > LATEST_MS:
            raise SystemExit("it did not come to an end; is the machine busy?")


if __name__ == "__main__":
    main()
