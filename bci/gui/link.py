"""The window's way to the session: controls over its socket, a heartbeat from the event loop, and the stop.

Nothing here makes the event loop wait: requests are sent by threads, replies come back as signals. The stop goes to the
device host itself, on a thread of its own, and asks nobody first.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading

from PyQt5 import QtCore

from bci.errors import RolandicError
from bci.host.control_socket import ControlError, Message, ask_all, send_control
from bci.host.runtime import Entry, published

BEAT_MS = 50


class Link(QtCore.QObject):
    """To one session of this machine; without an entry, a link that can only look.

    Signals
    -------
    answered(action, ok, text)
        What became of a request.
    """

    answered = QtCore.pyqtSignal(str, bool, str)

    def __init__(self, pid: int | None, name: str, parent: QtCore.QObject | None = None):
        super().__init__(parent)
        self._name = name
        self.entry = next((e for e in published("engine") if e.pid == pid), None) if pid else None
        self.is_controller = False
        self.refusal = "" if self.entry else "this window only looks"
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._beat: socket.socket | None = None
        if self.entry is not None:
            threading.Thread(target=self._serve, name="controls", daemon=True).start()
            self._timer = QtCore.QTimer(self)
            self._timer.timeout.connect(self._alive)
            self._timer.start(BEAT_MS)
            self.ask("attach")

    def ask(self, action: str, value: str = "") -> None:
        """Send a control; `answered` tells what became of it."""
        if self.entry is None:
            self.answered.emit(action, False, "this window only looks; open it with `bci run --window`")
            return
        self._requests.put({"action": action, "value": value, "by": self._name})

    def stop(self) -> None:
        """Emergency stop of every device host of this person on this machine."""
        threading.Thread(target=self._stop, name="stop", daemon=True).start()

    def close(self) -> None:
        """Let another window take over."""
        if self.entry is not None:
            self._timer.stop()
            self._requests.put({"action": "detach", "value": "", "by": self._name})
            self._requests.put(None)

    def _alive(self) -> None:
        """One byte's worth of proof that the event loop turns; never waits."""
        if self.entry is None:
            return
        try:
            if self._beat is None:
                self._beat = socket.create_connection(("127.0.0.1", self.entry.port), timeout=0.05)
                self._beat.sendall(self.entry.token.encode() + b"\n")
                self._beat.setblocking(False)
            self._beat.send(b'{"action":"alive","by":"' + self._name.encode() + b'"}\n')
            with contextlib.suppress(BlockingIOError):
                self._beat.recv(65536)
        except OSError:
            with contextlib.suppress(OSError):
                if self._beat is not None:
                    self._beat.close()
            self._beat = None

    def _serve(self) -> None:
        assert self.entry is not None
        while (message := self._requests.get()) is not None:
            try:
                reply = send_control(self.entry, message)
            except RolandicError as error:
                if message["action"] == "attach":
                    self.refusal = str(error)
                self._emit(message["action"], False, str(error))
            else:
                if message["action"] == "attach":
                    self.is_controller, self.refusal = True, ""
                self._emit(message["action"], True, str(reply.get("said", "done")))

    def _stop(self) -> None:
        entries: list[Entry] = published("device_host")
        replies = ask_all(entries, {"action": "stop", "value": self._name}, 2.0)
        failed = [str(r) for _, r in replies if isinstance(r, ControlError) or not r.get("ok")]
        if not replies:
            self._emit("stop", False, "nothing to stop here: no device host runs on this machine")
        elif failed:
            self._emit("stop", False, f"NOT STOPPED: {'; '.join(failed)}; cut the power of the device")
        else:
            self._emit("stop", True, "stopped")

    def _emit(self, action: str, ok: bool, text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the window has gone
            self.answered.emit(action, ok, text)
