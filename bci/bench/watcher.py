"""A window for benchmarks: ``python -m bci.bench.watcher shown:60 minimised:20 blocked:3``; JSON, a line a stretch."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time

import psutil

NICE = 10


def main(stretches: list[str]) -> None:
    """Show the first session that is visible; go through the stretches, and end."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    me = psutil.Process()
    with contextlib.suppress(psutil.Error, ValueError):
        me.nice(NICE if os.name == "posix" else psutil.BELOW_NORMAL_PRIORITY_CLASS)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROLANDIC_SETTINGS"] = f"{folder}/window.ini"
        watch(stretches, me)


def watch(stretches: list[str], me: psutil.Process) -> None:
    """Frames are counted by the window itself, intervals by a timer of the same length beside it."""
    from pyqtgraph.Qt import QtCore

    from bci.gui import app as gui
    from bci.gui.feed import Feed
    from bci.gui.link import Link
    from bci.gui.theme import THEMES
    from bci.gui.window import FRAME_MS, Window
    from bci.host.clock import now_s

    application = gui.make_application()
    window = Window(Feed(), Link(), THEMES["dark"], gui.settings())
    window.show()

    def go_on(seconds: float) -> float:
        """Run the event loop; the longest time between two frames in s."""
        until_s, worst_s, n, last_s = time.monotonic() + seconds, 0.0, window.n_frames, time.monotonic()
        while time.monotonic() < until_s:
            application.processEvents(QtCore.QEventLoop.ProcessEventsFlag.WaitForMoreEvents, FRAME_MS)
            if window.n_frames != n:
                n, now = window.n_frames, time.monotonic()
                worst_s, last_s = max(worst_s, now - last_s), now
        return worst_s

    until_s = time.monotonic() + 30
    while window.shared.signal is None and time.monotonic() < until_s:
        go_on(0.2)
    go_on(3.0)  # the traces fill, the scale is found
    for stretch in stretches:
        name, _, seconds = stretch.partition(":")
        (window.showMinimized if name == "minimised" else window.showNormal)()
        go_on(0.2)
        n, dropped, start_mb = window.n_frames, window.n_dropped, me.memory_info().rss / 1e6
        from_s, began_s = now_s(), time.monotonic()
        if name == "blocked":
            time.sleep(float(seconds))
            worst_s = go_on(1.0) + float(seconds)
        else:
            worst_s = go_on(float(seconds))
        lasted_s = time.monotonic() - began_s
        told = {
            "stretch": name,
            "seconds": lasted_s,
            "frames_per_s": (window.n_frames - n) / lasted_s,
            "n_dropped": window.n_dropped - dropped,
            "worst_ms": 1000 * worst_s,
            "start_mb": start_mb,
            "end_mb": me.memory_info().rss / 1e6,
            "from_s": from_s,
            "to_s": now_s(),
        }
        print(json.dumps(told), flush=True)
    window.close()


if __name__ == "__main__":
    main(sys.argv[1:])
