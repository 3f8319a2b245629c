"""Which window controls a session: one at a time, for as long as it is heard."""

from __future__ import annotations

import threading
from typing import Final

CLAIM_S: Final = 1.0  # a window that was not heard for so long controls nothing any more


class Claim:
    """The right to control, of one window at a time. Any thread may call."""

    def __init__(self) -> None:
        self._holder, self._until_s = "", 0.0
        self._lock = threading.Lock()

    def take(self, window: str, now_s: float, *, over: bool = False) -> bool:
        """Ask for it; with ``over`` also from a window that still holds it. Whether it is had now."""
        with self._lock:
            if self._holder not in ("", window) and now_s <= self._until_s and not over:
                return False
            self._holder, self._until_s = window, now_s + CLAIM_S
            return True

    def beat(self, window: str, now_s: float) -> bool:
        """Still there: the claim lasts. False where another has taken it, or where it had lapsed."""
        with self._lock:
            if self._holder != window or now_s > self._until_s:
                return False
            self._until_s = now_s + CLAIM_S
            return True

    def holder(self, now_s: float) -> str:
        """Who controls; empty where nobody does."""
        with self._lock:
            return self._holder if now_s <= self._until_s else ""
