"""The real window of a session, driven by lines on standard input: `python -m tests.helpers.window ENGINE_PID`.

``block S`` holds its event loop up; ``click NAME`` presses a button of the panel Commands; ``space`` is the space bar;
``picture FILE`` saves what is shown; ``state`` prints a line of JSON. It ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


class DrivenWindow:
    """Such a window, from the test's side."""

    def __init__(self, engine_pid: int):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.window", str(engine_pid)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def state(self) -> dict[str, Any]:
        """What it shows now."""
        self.say("state")
        return json.loads(self._said.get(timeout=40))

    def wait_until(self, is_so: Callable[[dict[str, Any]], Any], what: str, timeout_s: float = 40.0) -> dict[str, Any]:
        until_s = time.monotonic() + timeout_s
        while not is_so(state := self.state()):
            assert time.monotonic() < until_s, f"{what} did not come: {state}"
            time.sleep(0.02)
        return state

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait(20)
        for end in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                end.close()


def main(engine_pid: int) -> None:
    from pyqtgraph.Qt import QtCore, QtWidgets

    from bci.gui import app as gui
    from bci.gui.feed import Feed
    from bci.gui.link import Link
    from bci.gui.theme import DARK
    from bci.gui.window import SpaceStops, Window
    from tests.helpers.keys import type_into

    application = gui.make_application()
    link = Link(engine_pid)
    window = Window(Feed(), link, DARK, gui.settings())
    window.asks = False
    SpaceStops(link, application)
    answers: list[str] = []
    link.told.connect(lambda action, ok, text: answers.append(f"{action} {'ok' if ok else text}"))
    link.answered.connect(lambda ok, text: answers.append(f"stop {text}"))
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line.strip())
        lines.put("end")

    def obey() -> None:
        while not lines.empty():
            word, _, rest = lines.get().partition(" ")
            if word == "block":
                time.sleep(float(rest))
            elif word == "click":
                buttons = [b for b in window.findChildren(QtWidgets.QPushButton) if b.text() == rest]
                print(f"click {rest}: {[b.isEnabled() for b in buttons]}", file=sys.stderr)
                buttons[0].click()
            elif word == "picture":
                window.grab().save(rest)
            elif word == "space":
                note = window.panels["Commands"].note
                type_into(note)
            elif word == "state":
                panel = window.panels["Commands"]
                told = {
                    "is_controller": link.is_controller,
                    "refusal": link.refusal,
                    "gate": window.shared.state.gate,
                    "bar": window.bar.gate.text(),
                    "why": window.bar.why.text(),
                    "can_arm": panel.arm.isEnabled() and panel.arm.isVisible(),
                    "hands": [b.text() for b in panel.by_hand if b.isEnabled()],
                    "note": panel.note.text(),
                    "sent": panel._shown,
                    "answers": answers,
                    "trouble": window.feed.trouble,
                }
                print(json.dumps(told), flush=True)
            elif word == "end":
                window.close()
                application.quit()

    threading.Thread(target=read, daemon=True).start()
    timer = QtCore.QTimer()
    timer.timeout.connect(obey)
    timer.start(10)
    window.show()
    application.exec_()
    os._exit(0)  # inlets whose sender was killed can hold an interpreter up


if __name__ == "__main__":
    main(int(sys.argv[1]))
