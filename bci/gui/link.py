"""The window's way to what moves: the emergency stop, and control of the session where the window may have it.

The stop goes straight to the device hosts of this machine, from a thread of its own, and asks nobody first. Controls go
to the engine that opened this window, from another thread; no answer is ever waited for in the event loop. A timer of
the event loop beats: a window that hangs is not heard, and what it armed is disarmed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from pathlib import Path

from pyqtgraph.Qt import QtCore

from bci.host.control_socket import ControlError, ControlLine, ask_all
from bci.host.lease import BEAT_S
from bci.host.runtime import Entry, is_alive, published

ANSWER_S = 2.0
CLAIM_EVERY_S = 1.0


class Link(QtCore.QObject):
    """Stops every device host of this person on this machine; controls one engine, or none.

    Parameters
    ----------
    engine_pid : int or None
        Process of the engine to control; None: read-only.

    Attributes
    ----------
    is_controller : bool
        Whether this window controls the session now.
    refusal : str
        Why it does not.

    Signals
    -------
    answered(ok, text)
        What became of a stop.
    told(action, ok, text)
        What became of a control.
    attached(status)
        This window controls the session from now on, with the ``threshold`` and ``dwell_s`` of now.
    """

    answered = QtCore.pyqtSignal(bool, str)
    told = QtCore.pyqtSignal(str, bool, str)
    attached = QtCore.pyqtSignal(dict)

    def __init__(self, engine_pid: int | None = None):
        super().__init__()
        self.engine_pid, self.name = engine_pid, f"window {os.getpid()}"
        self.is_controller, self.refusal, self.session = False, "read-only: opened by bci view", ""
        self._since_s = time.time()
        self._entry: Entry | None = None
        self._asked: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._beats = threading.Event()
        if engine_pid is None:
            return
        self.refusal = "looking for the engine"
        self._thread = threading.Thread(target=self._control, name="control", daemon=True)
        self._thread.start()
        self._timer = QtCore.QTimer(self)
        self._timer.setTimerType(QtCore.Qt.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(round(1000 * BEAT_S))

    @property
    def may_control(self) -> bool:
        """Whether this window was opened to control."""
        return self.engine_pid is not None

    def send(self, action: str, value: str = "") -> None:
        """Ask something of the session; `told` says what became of it."""
        if self.may_control:
            self._asked.put((action, value))

    def take_over(self) -> None:
        """Control instead of the window that does; what that one armed is disarmed."""
        self.send("take over")

    def close(self) -> None:
        """Control nothing any more."""
        if self.may_control:
            self._timer.stop()
            self._asked.put(None)
            self._thread.join(1.0)

    # --- the control thread ------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Called by the event loop. One beat waits at most, so that none is sent for a loop that hangs."""
        if not self._beats.is_set():
            self._beats.set()
            self._asked.put(("beat", ""))

    def _control(self) -> None:
        line: ControlLine | None = None
        claimed_s = 0.0
        while (asked := self._asked.get()) is not None:
            action, value = asked
            if action == "beat":
                self._beats.clear()
                if not self.is_controller:
                    if time.monotonic() - claimed_s < CLAIM_EVERY_S:
                        continue
                    claimed_s, action = time.monotonic(), "claim"
            try:
                line = line or ControlLine(self._engine(), ANSWER_S)
                message = {"action": action, "value": value, "by": self.name, "window": self.name}
                reply = line.ask(message)
            except ControlError as error:
                self.is_controller, self.refusal = False, self._why(error)
                line = None
                if action not in ("beat", "claim"):
                    self._tell(action, False, str(error))
                continue
            if action in ("claim", "take over") and reply.get("ok"):
                with contextlib.suppress(RuntimeError):  # the window has been closed
                    self.attached.emit(reply)
            self._take(action, bool(reply.get("ok")), str(reply.get("error", "")))
        if line is not None:
            line.close()

    def _take(self, action: str, ok: bool, error: str) -> None:
        if action in ("claim", "take over", "beat"):
            if ok != self.is_controller:
                self._tell(action, ok, error)
            self.is_controller, self.refusal = ok, error
        else:
            self._tell(action, ok, error)

    def _engine(self) -> Entry:
        for entry in published("engine"):
            if entry.pid == self.engine_pid:
                self._entry, self.session = entry, entry.session
                return entry
        raise ControlError("the session has ended")

    def _why(self, error: ControlError) -> str:
        """What has become of an engine that does not answer, and of its report."""
        if self._entry is None:
            return str(error)
        report = Path(self.session) / "report.html"
        is_made = report.is_file() and report.stat().st_mtime >= self._since_s
        if is_alive(self._entry):
            is_ending = self._entry not in published("engine")
            return f"the session ends; its report: {report} (being made)" if is_ending else str(error)
        if is_made:
            return f"the session has ended; its report: {report}"
        return f"the engine died: devices are neutral by themselves; for its report: bci report {self.session}"

    def _tell(self, action: str, ok: bool, text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the window has been closed
            self.told.emit(action, ok, text)

    # --- the stop ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop now; `answered` tells what became of it."""
        threading.Thread(target=self._stop, name="stop", daemon=True).start()

    def _stop(self) -> None:
        replies = ask_all(published("device_host"), {"action": "stop", "value": "window"}, ANSWER_S)
        failed = [str(r) for _, r in replies if isinstance(r, ControlError) or not r.get("ok")]
        if not replies:
            self._emit(False, "nothing to stop here: no device host runs on this machine")
        elif failed:
            self._emit(False, f"NOT STOPPED: {'; '.join(failed)}; cut the power of the device")
        else:
            way = "the button Release the stop" if self.is_controller else "bci control reset"
            self._emit(True, f"stopped: {way} releases it")

    def _emit(self, ok: bool, text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the window has been closed
            self.answered.emit(ok, text)
