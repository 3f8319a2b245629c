"""``udp://HOST:PORT[?loss=zero]``: one line of JSON a datagram.

::

    {"command": "left", "value": 0.93, "id": 7, "hop": 412, "ttl_ms": 300.0}
    {"command": "velocity", "value": 0.5, "velocity": [0.4, -0.3], "id": 8, "hop": 413, "ttl_ms": 300.0}
    {"neutral": true, "reason": "heartbeat late by 151 ms"}

UDP gives no receipt, and a dead host sends nothing: a receiver that moves for longer than ``ttl_ms`` after a command
needs a time-out of its own. ``loss=zero`` (or ``release``) says that it has one; only then are velocities sent.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence

from bci.devices.lines import command_fields, host_and_port, meaning, parse_url
from bci.errors import ConfigError, DeviceError
from bci.ports import Means
from bci.types import Command

SPELLING = "udp://HOST:PORT, such as udp://127.0.0.1:9000"


class Datagrams:
    """Datagrams to one address, which is resolved once."""

    def __init__(self, url: str, host: str, port: int):
        self._url, self._target = url, (host, port)
        self._socket: socket.socket | None = None
        self._address: tuple = ()
        self._resolved: tuple | None = None

    @property
    def is_open(self) -> bool:
        """Whether `put` can be called."""
        return self._socket is not None

    def open(self) -> None:
        """Make the socket; the first time, resolve the host, which may wait for a name server."""
        self.close()
        try:
            if self._resolved is None:
                self._resolved = socket.getaddrinfo(*self._target, type=socket.SOCK_DGRAM)[0]
            family, kind, proto, _, self._address = self._resolved
            self._socket = socket.socket(family, kind, proto)
        except (OSError, UnicodeError) as error:
            raise DeviceError(f"device {self._url} cannot be opened ({error}); check host and port") from None
        self._socket.setblocking(False)

    def put(self, data: bytes) -> None:
        """Send one; DeviceError where it cannot be sent now."""
        if self._socket is None:
            raise DeviceError(f"device {self._url} is not open")
        try:
            self._socket.sendto(data, self._address)
        except OSError as error:  # also when the kernel's buffer is full: a late datagram is worse than none
            raise DeviceError(f"device {self._url} did not take a datagram ({error}); check the network") from None

    def close(self) -> None:
        """Close the socket; `open` makes a new one."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


class UdpDevice:
    """JSON datagrams."""

    def __init__(self, url: str):
        self.url = url
        parts, options = parse_url(url, SPELLING, {"loss": meaning})
        if parts.path:
            raise ConfigError(f"device {url!r}: must be {SPELLING}")
        self.means = Means("zero", "zero", options.get("loss", "hold"))
        self.is_continuous = self.means.loss != "hold"
        self._datagrams = Datagrams(url, *host_and_port(url, SPELLING, parts))

    def open(self) -> None:
        """Make the socket; DeviceError where the host cannot be found."""
        self._datagrams.open()

    def send(self, command: Command) -> str:
        """Send one datagram; the answer is its text."""
        return self._put(command_fields(command))

    def check(self) -> Sequence[int]:
        """UDP tells nothing."""
        return ()

    def neutral(self, reason: str) -> None:
        """Send the neutral datagram, if the device is open."""
        if self._datagrams.is_open:
            self._put({"neutral": True, "reason": reason})

    def close(self) -> None:
        """Close the socket."""
        self._datagrams.close()

    def _put(self, message: dict[str, object]) -> str:
        text = json.dumps(message)
        self._datagrams.put(text.encode() + b"\n")
        return text
