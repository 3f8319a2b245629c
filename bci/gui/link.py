"""The window's way to what moves: the emergency stop, and nothing else.

It goes straight to the device hosts of this machine, from a thread of its own, and asks nobody first.
"""

from __future__ import annotations

import contextlib
import threading

from pyqtgraph.Qt import QtCore

from bci.host.control_socket import ControlError, ask_all
from bci.host.runtime import published

ANSWER_S = 2.0


class Link(QtCore.QObject):
    """Stops every device host of this person on this machine.

    Signals
    -------
    answered(ok, text)
        What became of a stop.
    """

    answered = QtCore.pyqtSignal(bool, str)

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
            self._emit(True, "stopped: bci control reset releases it")

    def _emit(self, ok: bool, text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the window has gone
            self.answered.emit(ok, text)
