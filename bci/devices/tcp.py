r"""``tcp://HOST:PORT[?ack_ms=200][&loss=zero]``: lines of JSON to a server, and its acknowledgements.

::

    -> {"n": 1, "command": "left", "value": 0.93, "id": 7, "hop": 412, "ttl_ms": 300.0}
    -> {"n": 2, "neutral": true, "reason": "disarmed"}
    <- {"ack": 1}

With ``ack_ms`` every line must be acknowledged by its ``n`` within that time, else the device has failed. A server that
closes the connection, or reads no longer, has failed too; the connection is tried again until it stands. A server that
moves something must take the end of the connection for neutral.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Sequence

from bci.devices.lines import Acks, command_fields, host_and_port, meaning, parse_url, positive
from bci.errors import ConfigError, DeviceError
from bci.ports import Means
from bci.types import Command

SPELLING = "tcp://HOST:PORT, such as tcp://127.0.0.1:9000?ack_ms=200"
OPEN_S = 1.0


class TcpDevice:
    """A client of one server. Writes never wait: a server that is behind by a whole socket buffer has failed."""

    def __init__(self, url: str):
        self.url = url
        parts, options = parse_url(url, SPELLING, {"ack_ms": positive, "loss": meaning})
        if parts.path:
            raise ConfigError(f"device {url!r}: must be {SPELLING}")
        self.means = Means("zero", "zero", options.get("loss", "hold"))
        self.is_continuous = self.means.loss != "hold"
        self._target = host_and_port(url, SPELLING, parts)
        self._acks = Acks(url, options.get("ack_ms"), _acknowledged)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Connect; waits at most `OPEN_S`."""
        self.close()
        try:
            self._socket = socket.create_connection(self._target, OPEN_S)
        except (OSError, UnicodeError) as error:
            raise DeviceError(f"device {self.url} cannot be opened ({error}); is its server running?") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._acks.start()

    def send(self, command: Command) -> str:
        """Write one line; the answer is its text."""
        if self._socket is None:
            raise DeviceError(f"device {self.url} is not open")
        return self._put(self._socket, command_fields(command), command.id)

    def check(self) -> Sequence[int]:
        """Read what the server says; DeviceError where it has gone or owes an acknowledgement."""
        if self._socket is None:
            return ()
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    data = self._socket.recv(65536)
                except BlockingIOError:
                    raise
                except OSError as error:
                    raise self._lost(str(error)) from None
                if not data:
                    raise self._lost("its server has closed the connection")
                self._acks.received(data)
        return self._acks.take(time.monotonic())

    def neutral(self, reason: str) -> None:
        """Write the neutral line, if the device is open."""
        if self._socket is not None:
            self._put(self._socket, {"neutral": True, "reason": reason}, None)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _put(self, sock: socket.socket, message: dict[str, object], command_id: int | None) -> str:
        text = json.dumps({"n": self._acks.next_number()} | message)
        data = text.encode() + b"\n"
        try:
            n = sock.send(data)
        except OSError as error:
            raise self._lost(str(error)) from None
        if n < len(data):
            raise self._lost("its server does not read")
        self._acks.sent(command_id, time.monotonic())
        return text

    def _lost(self, why: str) -> DeviceError:
        """Half a line may have gone out: the connection is of no use any more."""
        self.close()
        return DeviceError(f"device {self.url} is lost: {why}")


def _acknowledged(line: bytes) -> int | None:
    try:
        n = json.loads(line)["ack"]
    except (ValueError, TypeError, KeyError):
        return None
    return n if isinstance(n, int) else None
