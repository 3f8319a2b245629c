"""``null:`` moves nothing: for rehearsals, and for sessions whose commands are only recorded."""

from __future__ import annotations

from collections.abc import Sequence

from bci.errors import DeviceError
from bci.ports import Means
from bci.types import Command


class NullDevice:
    """Accepts every command."""

    means = Means(neutral="zero", stop="zero", loss="zero")
    is_continuous = True

    def __init__(self, url: str):
        self.url = url
        self._is_open = False

    def open(self) -> None:
        """Nothing to open."""
        self._is_open = True

    def send(self, command: Command) -> str:
        """Take the command; the answer is its name, or its velocity."""
        if not self._is_open:
            raise DeviceError(f"device {self.url} is not open")
        return command.name if command.velocity is None else f"{command.name} {command.velocity}"

    def check(self) -> Sequence[int]:
        """Nothing can go wrong."""
        return ()

    def neutral(self, reason: str) -> None:
        """Nothing moves anyway."""

    def close(self) -> None:
        """Nothing to close."""
        self._is_open = False
