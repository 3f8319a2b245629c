"""``osc://HOST:PORT[/ADDRESS][?loss=zero]``: Open Sound Control 1.0 over UDP, for stages, games and music programs.

Messages under ADDRESS (``/bci`` unless said)::

    /bci/command  "left" 0.93 id ttl_ms
    /bci/velocity x y id ttl_ms
    /bci/neutral  "reason"

What `bci.devices.udp` says about receivers without a time-out holds here too.
"""

from __future__ import annotations

from collections.abc import Sequence

from bci.devices.lines import host_and_port, meaning, parse_url
from bci.devices.udp import Datagrams
from bci.errors import ConfigError
from bci.ports import Means
from bci.types import Command

SPELLING = "osc://HOST:PORT/ADDRESS, such as osc://127.0.0.1:9000/bci"


class OscDevice:
    """OSC messages, one a datagram."""

    def __init__(self, url: str):
        self.url = url
        parts, options = parse_url(url, SPELLING, {"loss": meaning})
        self._address = parts.path.rstrip("/") or "/bci"
        if set(self._address) & set(" #*,?[]{}"):
            raise ConfigError(f"device {url!r}: an OSC address has none of space # * , ? [ ] {{ }}")
        self.means = Means("zero", "zero", options.get("loss", "hold"))
        self.is_continuous = self.means.loss != "hold"
        self._datagrams = Datagrams(url, *host_and_port(url, SPELLING, parts))

    def open(self) -> None:
        """Make the socket; DeviceError where the host cannot be found."""
        self._datagrams.open()

    def send(self, command: Command) -> str:
        """Send one message; the answer is its address and arguments."""
        if command.velocity is not None:
            return self._put("velocity", *command.velocity, command.id, command.ttl_ms)
        return self._put("command", command.name, command.value, command.id, command.ttl_ms)

    def check(self) -> Sequence[int]:
        """UDP tells nothing."""
        return ()

    def neutral(self, reason: str) -> None:
        """Send the neutral message, if the device is open."""
        if self._datagrams.is_open:
            self._put("neutral", reason)

    def close(self) -> None:
        """Close the socket."""
        self._datagrams.close()

    def _put(self, kind: str, *arguments: str | float | int) -> str:
        from pythonosc.osc_message_builder import OscMessageBuilder

        builder = OscMessageBuilder(f"{self._address}/{kind}")
        for argument in arguments:
            builder.add_arg(argument)
        self._datagrams.put(builder.build().dgram)
        return " ".join(map(str, (f"{self._address}/{kind}", *arguments)))
