"""`bci cues`: one stage in an application of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
from pyqtgraph.Qt import QtCore, QtWidgets

from bci.errors import ConfigError, RolandicError
from bci.gui.app import make_application
from bci.gui.cues.delay import DelayPage, Sensor
from bci.gui.cues.screen import CueScreen
from bci.gui.cues.stage import Stage, best_screen, rate_hz
from bci.gui.feed import Feed
from bci.gui.link import Link
from bci.gui.state import SessionState
from bci.gui.theme import THEMES
from bci.gui.window import SpaceStops
from calibration.flicker import FlickerError
from calibration.paradigm import Paradigm

POLL_MS = 33
LINGER_MS = 200  # liblsl gives no way to learn that the last marker has left


def show_cues(
    make: Callable[[float], Paradigm],
    *,
    group: str = "",
    theme: str = "dark",
    feedback: str | None = None,
    full_screen: bool = True,
) -> dict[str, Any]:
    """Run a paradigm; what was shown when.

    Parameters
    ----------
    make
        Makes the paradigm for a screen of so many Hz.
    feedback
        The session whose decoder is shown, "" for the first that is seen; None: no feedback.

    Raises
    ------
    ConfigError
        The screen cannot show these frequencies.
    """
    app = make_application()
    paradigm = make(rate_hz(best_screen()))
    state = SessionState() if feedback is not None else None
    feed = Feed(feedback) if feedback is not None else None
    screen = CueScreen(paradigm, THEMES[theme], group=group, state=state)
    poll = QtCore.QTimer(screen)
    if feed is not None and state is not None:
        poll.timeout.connect(lambda: _hear(feed, state))
        poll.start(POLL_MS)
    try:
        is_complete = _run(app, screen, full_screen)
    except FlickerError as error:
        raise ConfigError(str(error)) from None
    finally:
        poll.stop()
        if feed is not None:
            feed.close()
    return {
        "is_complete": is_complete,
        "n_trials": len(paradigm.trials),
        "n_cues_shown": sum(label in paradigm.markers and label not in ("rest", "pause") for label, _ in screen.onsets),
        "seed": paradigm.seed,
        "onsets": [{"label": label, "stamp_s": stamp_s} for label, stamp_s in screen.onsets],
        **_frames(screen),
    }


def measure_delay(
    stream: str, channel: str, *, n_flashes: int = 60, group: str = "", theme: str = "dark", full_screen: bool = True,
    wait_s: float = 10.0, keep: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Flash, and compare with a photodiode; with ``keep``, the result stays on the screen until Enter.

    Raises
    ------
    RolandicError
        There is no such stream or channel, it does not follow the flashes, or the page was closed before.
    """
    app = make_application()
    page = DelayPage(Sensor(stream, channel, wait_s), THEMES[theme], n_flashes=n_flashes, group=group)
    if not keep:
        page.done.connect(page.go_on)
    _run(app, page, full_screen)
    if page.error is not None:
        raise page.error
    if page.result is None:
        raise RolandicError(f"the measurement was ended after {len(page.light_stamps_s)} of {n_flashes} flashes")
    found = page.result
    return {
        "stream": stream, "channel": channel, "n_flashes": found.n_flashes, "n_missed": found.n_missed,
        "median_ms": found.median_ms, "p5_ms": found.p5_ms, "p95_ms": found.p95_ms, "jitter_ms": found.jitter_ms,
        "delays_ms": list(found.delays_ms), **_frames(page),
    }  # fmt: skip


def _run(app: QtWidgets.QApplication, stage: Stage, full_screen: bool) -> bool:
    keys = SpaceStops(Link(), app)
    outcome: list[bool] = []
    loop = QtCore.QEventLoop()
    stage.finished.connect(outcome.append)
    stage.finished.connect(lambda _: QtCore.QTimer.singleShot(LINGER_MS, loop.quit))
    before = {n: signal.signal(n, lambda *_: stage.end(False)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        stage.begin(full_screen)
        wake = QtCore.QTimer()  # Python sees a signal only when it runs: a warning that waits runs nothing
        wake.timeout.connect(lambda: None)
        wake.start(200)
        loop.exec_()
        wake.stop()
    finally:
        keys.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    return outcome[0]


def _hear(feed: Feed, state: SessionState) -> None:
    for stream, rows, stamps_s in feed.poll():
        if not stream.is_raw:
            state.receive(stream.spec.name, rows, stamps_s)
    if not state.classes and {"bci-events", "bci-hops"} <= feed.streams.keys():
        state.describe(feed.streams["bci-events"].metadata, list(feed.streams["bci-hops"].spec.labels))


def _frames(stage: Stage) -> dict[str, Any]:
    ms = 1000 * np.array(stage.paint_s) if stage.paint_s else np.full(1, np.nan)
    return {
        "refresh_hz": stage.refresh_hz,
        "n_frames": stage.n_frames,
        "n_dropped_frames": stage.n_dropped,
        "n_unseen_onsets": stage.n_unseen,
        "paint_ms": {"p50": float(np.median(ms)), "max": float(np.max(ms))},
    }
