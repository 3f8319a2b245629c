"""``null:`` moves nothing: for rehearsals, and for sessions whose commands are only recorded."""

from __future__ import annotations

from bci.errors import DeviceError
from bci.types import Command


class NullDevice:
    """Accepts every command."""

    neutral_means = "zero"

    def __init__(self, url: str):
        self.url = url
        self._is_open = False

    def open(self) -> None:
        """Nothing to open."""
        self._is_open = True

    def send(self, command: Command) -> str:
        """Take the command; the answer is its name."""
        if not self._is_open:
            raise DeviceError(f"device {self.url} is not open")
        return command.name

    def neutral(self, reason: str) -> None:
        """Nothing moves anyway."""

    def close(self) -> None:
        """Nothing to close."""
        self._is_open = False
