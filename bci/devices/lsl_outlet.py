"""``lsl:NAME``: commands as an LSL marker stream of that name: the label of the command, or ``neutral``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bci.errors import ConfigError, DeviceError
from bci.types import Channel, Command, StreamSpec

if TYPE_CHECKING:
    import pylsl

LINGER_S = 0.1  # liblsl gives no way to learn that a sample has left; closing at once would lose the last neutral


class LslDevice:
    """An outlet of type ``Markers``, one string channel, irregular rate. liblsl queues, so no call waits."""

    neutral_means = "release"

    def __init__(self, url: str):
        self.url = url
        self._name = url.removeprefix("lsl:").strip()
        if not self._name or self._name.startswith("/"):
            raise ConfigError(f"device {url!r}: must be lsl:NAME, such as lsl:commands")
        self._outlet: pylsl.StreamOutlet | None = None

    def open(self) -> None:
        """Announce the stream."""
        import pylsl

        from bci.lsl import info_from_spec

        self.close()
        spec = StreamSpec(
            name=self._name,
            type="Markers",
            source_id=f"rolandic-device-{self._name}",
            format="string",
            channels=(Channel("command", "Markers"),),
        )
        try:
            self._outlet = pylsl.StreamOutlet(info_from_spec(spec))
        except (RuntimeError, OSError, ValueError) as error:
            raise DeviceError(f"device {self.url} cannot be opened ({error}); check the LSL configuration") from None

    def send(self, command: Command) -> str:
        """Push the command's name; the answer is that name."""
        if self._outlet is None:
            raise DeviceError(f"device {self.url} is not open")
        self._outlet.push_sample([command.name])
        return command.name

    def neutral(self, reason: str) -> None:
        """Push ``neutral``, if the outlet is open."""
        if self._outlet is not None:
            self._outlet.push_sample(["neutral"])

    def close(self) -> None:
        """End the stream; waits `LINGER_S` if somebody listens."""
        if self._outlet is not None:
            if self._outlet.have_consumers():
                time.sleep(LINGER_S)
            self._outlet = None
