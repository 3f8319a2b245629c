"""Which window controls the session, and whether its event loop still turns."""

from __future__ import annotations

from bci.errors import RolandicError

ABSENT_S = 0.2  # it says that it is there every 50 ms; with a tick of the engine, neutral comes within 300 ms
GONE_S = 1.0  # then another window may take over


class Attendance:
    """One window at a time; others look. Whoever is no window (`bci control`, a terminal) is not bound by it.

    Times are the engine's, in seconds.
    """

    def __init__(self) -> None:
        self._name, self._seen_s = "", float("-inf")

    def attach(self, name: str, now_s: float) -> None:
        """Take the control; refused while another window has it.

        Raises
        ------
        RolandicError
            Another window is there.
        """
        if self._name not in ("", name) and now_s - self._seen_s < GONE_S:
            raise RolandicError(f"{self._name} controls this session; this one only looks until that is closed")
        self._name, self._seen_s = name, now_s

    def detach(self, name: str) -> None:
        """Give it back."""
        if name == self._name:
            self._name, self._seen_s = "", float("-inf")

    def alive(self, name: str, now_s: float) -> None:
        """Its event loop turns."""
        if name == self._name:
            self._seen_s = now_s

    def check(self, name: str) -> None:
        """Whether a control of that name may pass.

        Raises
        ------
        RolandicError
            It is a window that has not the control.
        """
        if is_window(name) and name != self._name:
            raise RolandicError(f"{self._name or 'no window'} controls this session; this one only looks")

    def absent(self, name: str, now_s: float) -> str:
        """Why a window that armed cannot be trusted to watch any more; empty where it can, or is none."""
        if not is_window(name):
            return ""
        if name != self._name:
            return "the window that armed was closed"
        if (late_s := now_s - self._seen_s) > ABSENT_S:
            return f"the window that armed has not answered for {1000 * late_s:.0f} ms"
        return ""


def is_window(name: str) -> bool:
    """Windows say so."""
    return name.startswith("window ")
