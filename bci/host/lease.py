"""The heartbeat of whoever armed: a window that hangs, or has gone, must not leave a device armed."""

from __future__ import annotations

import math
from typing import Final

LEASE_S: Final = 0.2  # with the engine's own tick of 50 ms, neutral comes within 300 ms of the last beat
BEAT_S: Final = 0.05  # how often to beat


class Lease:
    """An arming that lasts as long as it is renewed. Any thread may call; each method is one assignment or two."""

    def __init__(self) -> None:
        self._until_s = math.inf

    def begin(self, now_s: float) -> None:
        """Armed by somebody who promised to beat."""
        self._until_s = now_s + LEASE_S

    def beat(self, now_s: float) -> None:
        """Still there. Without a lease, nothing; nor does a beat renew one that is over but not yet noticed."""
        if now_s <= self._until_s < math.inf:
            self._until_s = now_s + LEASE_S

    def end(self) -> None:
        """Disarmed, or armed by somebody who promised nothing."""
        self._until_s = math.inf

    def break_off(self) -> None:
        """Somebody else controls from now on: lost at the next look, if there is one."""
        if self._until_s < math.inf:
            self._until_s = -math.inf

    def is_lost(self, now_s: float) -> bool:
        """Whether the beat has stayed away; said once."""
        if now_s <= self._until_s:
            return False
        self.end()
        return True
