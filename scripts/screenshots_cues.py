"""Pictures of the cue screen, its warning, the delay page and the cursor panel, without streams or a screen.

    python scripts/screenshots_cues.py [--out docs/window] [--size 1600 900]

The decoder's answers, the photodiode and the cursor's moves in them are made up here: they show the pictures, not a
result.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import pylsl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/window"))
    parser.add_argument("--size", type=int, nargs=2, default=(1600, 900))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    from bci.gui import app as gui

    application = gui.make_application()
    for name, widget in {**cues(asked.size), **delay(asked.size), **cursor()}.items():
        application.processEvents()
        widget.grab().save(str(asked.out / f"{name}.png"))
        print(asked.out / f"{name}.png")


def cues(size: tuple[int, int]) -> dict:
    """One screen a picture, each taken to its phase."""
    from bci.gui.cues import CueScreen
    from bci.gui.state import SessionState
    from bci.gui.theme import DARK
    from calibration.paradigm import flicker, imagery

    state = SessionState(classes=("left", "right"))
    now_s = pylsl.local_clock()
    state.hops.append((now_s + 60, np.array([0.78, 0.22]), 0))
    hands = imagery(("left", "right"), 20, 4, feedback_s=1.0)
    others = imagery(("left hand", "feet", "tongue"), 20, 5)
    blinking = flicker((8.6, 10, 12, 15), 10, 1, refresh_hz=60)
    made = {
        "cues-ready": (hands, None, 0), "cues-fixation": (hands, None, 5), "cues-arrow": (hands, None, 6),
        "cues-feedback": (hands, state, 7), "cues-outcome": (hands, state, 8), "cues-pause": (hands, None, 41),
        "cues-feet": (others, None, 2), "flicker-cue": (blinking, None, 2), "flicker": (blinking, None, 3),
    }  # fmt: skip
    shown = {}
    for name, (paradigm, heard, phase) in made.items():
        screen = CueScreen(paradigm, DARK, state=heard)
        screen.resize(*size)
        for _ in range(phase + 1):
            screen._skips = True
            screen.advance(now_s)
            screen.began(now_s)
        screen._now_s = now_s + 0.16
        screen._patch_is_on = phase % 2 == 0
        shown[name] = screen
    warned = CueScreen(blinking, DARK)
    warned.resize(*size)
    warned.begin(is_full_screen=False)
    shown["flicker-warning"] = warned
    return shown


def delay(size: tuple[int, int]) -> dict:
    """The page while it flashes, with its result, and with a sensor that sees nothing."""
    from bci.errors import SourceError
    from bci.gui.cues.delay import DelayPage
    from bci.gui.theme import DARK
    from bci.signal.display_delay import display_delay

    class Sensor:
        name = "amplifier, channel AUX1"

        def pull(self) -> None:
            pass

    rng = np.random.default_rng(0)
    markers_s = 2.0 + 1.1 * np.arange(60)
    t_s = np.arange(0, 70, 0.001)
    delays_s = 0.028 + 0.0167 * rng.random(60)
    light = sum(((t_s > m + d) & (t_s < m + d + 0.45)).astype(float) for m, d in zip(markers_s, delays_s, strict=True))
    pages = {}
    for name in ("delay-flashing", "delay-result", "delay-nothing"):
        page = DelayPage(Sensor(), DARK, n_flashes=60)  # type: ignore[arg-type]
        page.resize(*size)
        page._n = 41 if name == "delay-flashing" else 120
        page._patch_is_on = name == "delay-flashing"
        if name == "delay-result":
            page.result = display_delay(list(markers_s), light + rng.normal(0, 0.01, len(t_s)), t_s)
        if name == "delay-nothing":
            try:
                display_delay(list(markers_s), rng.normal(0, 0.01, len(t_s)), t_s)
            except SourceError as error:
                page.error = error
        pages[name] = page
    return pages


def cursor() -> dict:
    """The panel, after a device has been steered for a while; and without one."""
    from bci.devices.cursor_task import Task, TaskSettings, steer, target
    from bci.gui.link import Link
    from bci.gui.panels.base import Shared
    from bci.gui.panels.cursor import Cursor
    from bci.gui.state import SessionState
    from bci.gui.theme import DARK, LIGHT, style_sheet

    settings, rng = TaskSettings(n_targets=8, trial_s=6.0), np.random.default_rng(3)
    state, task = SessionState(), Task(now_s=0.0, began_s=0.0)
    for k in range(905):
        tx, ty = target(settings, task)
        aim = np.array([tx - task.x, ty - task.y])
        v = 0.45 * aim / max(1.0, np.linalg.norm(aim)) + rng.normal(0, 0.35, 2)
        task = steer(settings, task, (float(v[0]), float(v[1])), 0.05 * k + 0.1, 0.05 * k)
        row = [task.x, task.y, *task.velocity, *target(settings, task), settings.radius, task.n_hits, task.n_misses,
               settings.trial_s - (task.now_s - task.began_s)]  # fmt: skip
        state.cursor.receive(np.array([row]), np.array([0.05 * k]))
    pages = {}
    made = {"cursor": (DARK, state, (520, 360)), "cursor-light": (LIGHT, state, (520, 360)),
            "cursor-tall": (DARK, state, (340, 520)), "cursor-none": (DARK, None, (340, 520))}  # fmt: skip
    for name, (theme, told, size) in made.items():
        panel = Cursor(Shared(told or SessionState(), theme, Link()))
        panel.setStyleSheet(style_sheet(theme))
        panel.resize(*size)
        panel.show()
        panel.refresh()
        pages[name] = panel
    return pages


if __name__ == "__main__":
    main()
