"""``udp://HOST:PORT``: one line of JSON a datagram.

::

    {"command": "left", "value": 0.93, "id": 7, "hop": 412, "ttl_ms": 300.0}
    {"neutral": true, "reason": "heartbeat late by 151 ms"}

UDP gives no receipt, and a dead host sends nothing: a receiver that moves for longer than ``ttl_ms`` after a command
needs a time-out of its own.
"""

from __future__ import annotations

import contextlib
import json
import socket
from urllib.parse import urlsplit

from bci.errors import ConfigError, DeviceError
from bci.types import Command


class UdpDevice:
    """Datagrams to one address, resolved once at `open`."""

    neutral_means = "zero"

    def __init__(self, url: str):
        self.url = url
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or not port or parts.path or parts.query:
            raise ConfigError(f"device {url!r}: must be udp://HOST:PORT, such as udp://127.0.0.1:9000")
        self._target = (host, port)
        self._socket: socket.socket | None = None
        self._address: tuple = ()
        self._resolved: tuple | None = None

    def open(self) -> None:
        """Make the socket; the first time, resolve the host, which may wait for a name server."""
        self.close()
        try:
            if self._resolved is None:
                self._resolved = socket.getaddrinfo(*self._target, type=socket.SOCK_DGRAM)[0]
            family, kind, proto, _, self._address = self._resolved
            self._socket = socket.socket(family, kind, proto)
        except (OSError, UnicodeError) as error:
            raise DeviceError(f"device {self.url} cannot be opened ({error}); check host and port") from None
        self._socket.setblocking(False)

    def send(self, command: Command) -> str:
        """Send one datagram; the answer is its text."""
        return self._send(
            {
                "command": command.name,
                "value": command.value,
                "id": command.id,
                "hop": command.hop,
                "ttl_ms": command.ttl_ms,
            }
        )

    def neutral(self, reason: str) -> None:
        """Send the neutral datagram, if the device is open."""
        if self._socket is not None:
            self._send({"neutral": True, "reason": reason})

    def close(self) -> None:
        """Close the socket; `open` makes a new one."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _send(self, message: dict[str, object]) -> str:
        text = json.dumps(message)
        if self._socket is None:
            raise DeviceError(f"device {self.url} is not open")
        try:
            self._socket.sendto(text.encode() + b"\n", self._address)
        except OSError as error:  # also when the kernel's buffer is full: a late datagram is worse than none
            raise DeviceError(f"device {self.url} did not take a datagram ({error}); check the network") from None
        return text
