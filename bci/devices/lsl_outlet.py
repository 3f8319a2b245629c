"""``lsl:NAME[?loss=zero]``: commands as an LSL marker stream of that name: the label of the command, or ``neutral``.

With ``loss=zero`` (or ``release``), which says that the receiver stops by itself when nothing comes for ``ttl_ms``,
velocities go out as a second stream ``NAME-velocity``: x, y (1 is full speed), ttl in ms; zeros at neutral.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bci.devices.lines import meaning, parse_url
from bci.errors import ConfigError, DeviceError
from bci.ports import Means
from bci.types import Channel, Command, StreamSpec

if TYPE_CHECKING:
    import pylsl

SPELLING = "lsl:NAME, such as lsl:commands"
LINGER_S = 0.1  # liblsl gives no way to learn that a sample has left; closing at once would lose the last neutral


class LslDevice:
    """An outlet of type ``Markers``, one string channel, irregular rate. liblsl queues, so no call waits."""

    def __init__(self, url: str):
        self.url = url
        parts, options = parse_url(url, SPELLING, {"loss": meaning})
        self._name = parts.path.strip()
        if not self._name or self._name.startswith("/") or parts.netloc:
            raise ConfigError(f"device {url!r}: must be {SPELLING}")
        self.means = Means("release", "release", options.get("loss", "hold"))
        self.is_continuous = self.means.loss != "hold"
        self._outlet: pylsl.StreamOutlet | None = None
        self._velocities: pylsl.StreamOutlet | None = None

    def open(self) -> None:
        """Announce the streams."""
        self.close()
        self._outlet = outlet(self.url, self._name, ("command",))
        if self.is_continuous:
            self._velocities = outlet(self.url, f"{self._name}-velocity", ("x", "y", "ttl_ms"))

    def send(self, command: Command) -> str:
        """Push the command's name, or its velocity; the answer is that."""
        if self._outlet is None:
            raise DeviceError(f"device {self.url} is not open")
        if command.velocity is None:
            self._outlet.push_sample([command.name])
            return command.name
        if self._velocities is None:
            raise DeviceError(f"device {self.url} takes no velocities")
        self._velocities.push_sample([*command.velocity, command.ttl_ms])
        return f"velocity {command.velocity}"

    def check(self) -> Sequence[int]:
        """LSL tells nothing."""
        return ()

    def neutral(self, reason: str) -> None:
        """Push ``neutral`` and zeros, if the outlets are open."""
        if self._outlet is not None:
            self._outlet.push_sample(["neutral"])
        if self._velocities is not None:
            self._velocities.push_sample([0.0, 0.0, 0.0])

    def close(self) -> None:
        """End the streams; waits `LINGER_S` if somebody listens."""
        open_ones = [outlet for outlet in (self._outlet, self._velocities) if outlet is not None]
        if any(outlet.have_consumers() for outlet in open_ones):
            time.sleep(LINGER_S)
        self._outlet = self._velocities = None


def outlet(url: str, name: str, labels: Sequence[str], type_: str = "Control") -> pylsl.StreamOutlet:
    """An outlet of irregular rate: strings of type ``Markers`` for the one label ``command``, else float32.

    Raises
    ------
    DeviceError
        liblsl refuses.
    """
    import pylsl

    from bci.lsl import info_from_spec

    is_marker = tuple(labels) == ("command",)
    type_ = "Markers" if is_marker else type_
    spec = StreamSpec(
        name=name,
        type=type_,
        source_id=f"rolandic-device-{name}",
        format="string" if is_marker else "float32",
        channels=tuple(Channel(label, type_) for label in labels),
    )
    try:
        return pylsl.StreamOutlet(info_from_spec(spec))
    except (RuntimeError, OSError, ValueError) as error:
        raise DeviceError(f"device {url} cannot be opened ({error}); check the LSL configuration") from None
