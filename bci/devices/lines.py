"""What devices share: how their URLs are read, what they write, and which lines a receiver has acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from bci.errors import ConfigError, DeviceError
from bci.ports import Meaning
from bci.types import Command

MAX_LINE = 4096  # bytes that a receiver may send without a line's end


def parse_url(
    url: str, spelling: str, options: Mapping[str, Callable[[str], Any]], others: Callable[[str], Any] | None = None
) -> tuple[SplitResult, dict[str, Any]]:
    """The parts of a device's URL, and the options behind its question mark, each read by its function.

    Parameters
    ----------
    url, spelling : str
        What was given, and how it should look.
    options : mapping
        Name to a function that reads the value and raises ValueError for a wrong one.
    others : callable or None
        Reads options by any other name; None refuses them.

    Raises
    ------
    ConfigError
        It names the option, and what is allowed.
    """
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigError(f"device {url!r}: must be {spelling}") from None
    found: dict[str, Any] = {}
    for key, text in pairs:
        read = options.get(key, others)
        if read is None:
            raise ConfigError(f"device {url!r}: unknown option {key}; allowed: {', '.join(options)}")
        try:
            found[key] = read(text)
        except ValueError as error:
            raise ConfigError(f"device {url!r}: {key} = {text!r}: {error}") from None
    return parts, found


def host_and_port(url: str, spelling: str, parts: SplitResult) -> tuple[str, int]:
    """Of a network address; ConfigError with ``spelling`` where one is missing."""
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise ConfigError(f"device {url!r}: must be {spelling}")
    return host, port


def meaning(text: str) -> Meaning:
    """``loss=zero``: what the receiver does by itself when nothing comes for ``ttl_ms``."""
    if text not in ("zero", "hold", "release"):
        raise ValueError("must be zero, hold or release")
    return text


def positive(text: str) -> float:
    """A number above 0."""
    if not 0 < (number := float(text)) < float("inf"):
        raise ValueError("must be above 0")
    return number


def command_fields(command: Command) -> dict[str, object]:
    """A command as JSON knows it."""
    fields: dict[str, object] = {"command": command.name, "value": command.value}
    if command.velocity is not None:
        fields["velocity"] = list(command.velocity)
    return fields | {"id": command.id, "hop": command.hop, "ttl_ms": command.ttl_ms}


class Acks:
    """The lines that a receiver has not acknowledged yet. Pure: bytes and times are given to it.

    Parameters
    ----------
    url : str
    ack_ms : float or None
        How long the receiver may take; None where it acknowledges nothing.
    parse : callable
        A line without its end -> the number that it acknowledges, or None.
    """

    def __init__(self, url: str, ack_ms: float | None, parse: Callable[[bytes], int | None]):
        self._url, self._ack_ms, self._parse = url, ack_ms, parse
        self.start()

    def start(self) -> None:
        """A new connection: nothing is awaited, and numbers begin at 1."""
        self._n = 0
        self._awaited: dict[int, tuple[int | None, float]] = {}  # line -> command, when it must be acknowledged
        self._received = b""
        self._done: list[int] = []

    def next_number(self) -> int:
        """The number of the next line."""
        return self._n + 1

    def sent(self, command_id: int | None, now_s: float) -> None:
        """That line went out; ``command_id`` is None for a neutral."""
        self._n += 1
        if self._ack_ms is not None:
            self._awaited[self._n] = (command_id, now_s + self._ack_ms / 1000)

    def received(self, data: bytes) -> None:
        """Bytes of the receiver, as they come."""
        *lines, self._received = (self._received + data).split(b"\n")
        self._received = self._received[-MAX_LINE:]
        for line in lines:
            command_id, _ = self._awaited.pop(self._parse(line.strip()) or 0, (None, 0.0))
            if command_id is not None:
                self._done.append(command_id)

    def take(self, now_s: float) -> tuple[int, ...]:
        """The commands acknowledged since the last call.

        Raises
        ------
        DeviceError
            A line was not acknowledged in time; it is not awaited any longer.
        """
        late = [n for n, (_, due_s) in self._awaited.items() if now_s > due_s]
        if late:
            self._awaited.clear()
            raise DeviceError(f"device {self._url} has not acknowledged line {late[0]} within {self._ack_ms:g} ms")
        done, self._done = tuple(self._done), []
        return done
