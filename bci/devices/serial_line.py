r"""``serial:///dev/ttyUSB0[?baud=115200][&ack_ms=200][&loss=zero]``, ``serial:COM3``: lines for a microcontroller.

::

    -> 1 left 0.930 300             number, command, value, ttl in ms
    -> 2 velocity 0.400 -0.300 300  number, x, y (1 is full speed), ttl in ms
    -> 3 neutral
    <- ack 1

Names of commands keep their letters; white space in them becomes ``_``. With ``ack_ms`` every line must be acknowledged
within that time. A plug that was pulled is a failure; the port is tried again until it is there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bci.devices.lines import Acks, meaning, parse_url, positive
from bci.errors import ConfigError, DeviceError
from bci.ports import Means
from bci.types import Command

if TYPE_CHECKING:
    import serial

SPELLING = "serial:PORT, such as serial:///dev/ttyUSB0?baud=115200 or serial:COM3"


class SerialDevice:
    """One serial port, 8N1. Writes never wait: a port whose buffer is full has failed."""

    def __init__(self, url: str):
        self.url = url
        parts, options = parse_url(url, SPELLING, {"baud": _baud, "ack_ms": positive, "loss": meaning})
        self._port = parts.path
        if not self._port or parts.netloc:
            raise ConfigError(f"device {url!r}: must be {SPELLING}")
        self.means = Means("zero", "zero", options.get("loss", "hold"))
        self.is_continuous = self.means.loss != "hold"
        self._baud = options.get("baud", 115200)
        self._acks = Acks(url, options.get("ack_ms"), _acknowledged)
        self._serial: serial.Serial | None = None

    def open(self) -> None:
        """Open the port, for us alone."""
        import serial

        self.close()
        try:
            self._serial = serial.Serial(self._port, self._baud, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise DeviceError(f"device {self.url} cannot be opened ({error}); is it plugged in?") from None
        self._acks.start()

    def send(self, command: Command) -> str:
        """Write one line; the answer is its text."""
        if command.velocity is not None:
            x, y = command.velocity
            return self._put(f"velocity {x:.3f} {y:.3f} {command.ttl_ms:.0f}", command.id)
        name = "_".join(command.name.split())
        return self._put(f"{name} {command.value:.3f} {command.ttl_ms:.0f}", command.id)

    def check(self) -> Sequence[int]:
        """Read what has come; DeviceError where the port has gone or owes an acknowledgement."""
        if self._serial is None:
            return ()
        try:
            self._acks.received(self._serial.read(4096))
        except OSError as error:
            raise self._lost(str(error)) from None
        return self._acks.take(time.monotonic())

    def neutral(self, reason: str) -> None:
        """Write the neutral line, if the device is open."""
        if self._serial is not None:
            self._put("neutral", None)

    def close(self) -> None:
        """Close the port."""
        if self._serial is not None:
            with contextlib.suppress(OSError):
                self._serial.close()
            self._serial = None

    def _put(self, words: str, command_id: int | None) -> str:
        if self._serial is None:
            raise DeviceError(f"device {self.url} is not open")
        text = f"{self._acks.next_number()} {words}"
        data = text.encode() + b"\n"
        try:
            n = self._serial.write(data)
        except OSError as error:
            raise self._lost(str(error)) from None
        if n is not None and n < len(data):
            raise self._lost("it does not take more")
        self._acks.sent(command_id, time.monotonic())
        return text

    def _lost(self, why: str) -> DeviceError:
        self.close()
        return DeviceError(f"device {self.url} is lost: {why}")


def _baud(text: str) -> int:
    if not (text.isdigit() and int(text) > 0):
        raise ValueError("must be a whole number above 0")
    return int(text)


def _acknowledged(line: bytes) -> int | None:
    word, _, number = line.partition(b" ")
    return int(number) if word == b"ack" and number.isdigit() else None
