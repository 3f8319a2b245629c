"""Frames between our processes: one loopback TCP connection a child, msgpack inside, and no call that waits unasked.

The parent listens on 127.0.0.1, starts ``python -m MODULE`` in a process session of its own, and hands it port and
token on its standard input; the child connects back. Killing either side closes the socket, so the other one sees the
end at once on every system. Writing never blocks: what the kernel does not take waits in a bounded buffer, and a full
buffer is an error (``ChannelFull``), because a peer that does not read is a peer in trouble.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
from typing import Any, cast

import msgspec

from bci.errors import RolandicError

MAX_FRAME = 64 * 2**20
_HEADER = 4
_TURN_S = 0.1  # how often a child that has not connected yet is looked after


class ChannelClosed(RolandicError):
    """The other process has gone."""


class ChannelFull(RolandicError):
    """The other process does not read."""


class Channel:
    """Length-prefixed msgpack frames over a connected socket.

    ``send`` may be called from any thread and never waits; ``receive`` belongs to one thread. ``types`` is the union of
    structs that ``receive`` decodes to.
    """

    def __init__(self, sock: socket.socket, types: Any, max_pending: int = 4 * 2**20):
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._pending = bytearray()
        self._received = bytearray()
        self._max_pending = max_pending
        self._lock = threading.Lock()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(types).decode

    def fileno(self) -> int:
        """For `select`."""
        return self._sock.fileno()

    @property
    def n_pending(self) -> int:
        """Bytes that the other side has not taken yet."""
        return len(self._pending)

    def send(self, message: Any) -> None:
        """Queue one message and write what the kernel takes now.

        Raises
        ------
        ChannelFull
            The peer has not read for so long that the buffer is full. The message is not queued.
        ChannelClosed
            The peer has gone.
        """
        body = self._encode(message)
        with self._lock:
            if len(self._pending) + len(body) > self._max_pending:
                raise ChannelFull(f"{len(self._pending)} bytes wait for a process that does not read")
            self._pending += len(body).to_bytes(_HEADER, "little") + body
            self._write()

    def flush(self) -> bool:
        """Write what the kernel takes now; True when nothing is left."""
        with self._lock:
            self._write()
            return not self._pending

    def flush_all(self, timeout_s: float) -> bool:
        """Wait until everything is written; False when ``timeout_s`` has passed first. Not for the decode thread."""
        until_s = time.monotonic() + timeout_s
        while not self.flush():
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not select.select([], [self._sock], [], left_s)[1]:
                return False
        return True

    def _write(self) -> None:
        while self._pending:
            try:
                n = self._sock.send(self._pending)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise ChannelClosed(f"the other process has gone ({error})") from None
            del self._pending[:n]

    def receive(self, timeout_s: float | None = 0.0) -> list[Any]:
        """All messages that are complete, after waiting at most ``timeout_s`` for the first byte.

        Raises
        ------
        ChannelClosed
            At end of stream, once all that had arrived has been returned.
        """
        if not (messages := self._messages()):
            try:
                if not select.select([self._sock], [], [], timeout_s)[0]:
                    return []
            except (ValueError, OSError):
                raise ChannelClosed("the channel is closed") from None
            closed = self._fill()
            messages = self._messages()
            if closed and not messages:
                raise ChannelClosed("the other process has gone")
        return messages

    def _fill(self) -> bool:
        while True:
            try:
                data = self._sock.recv(2**18)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                return True
            if not data:
                return True
            self._received += data

    def _messages(self) -> list[Any]:
        out, at = [], 0
        buffer = self._received
        while len(buffer) - at >= _HEADER:
            n = int.from_bytes(buffer[at : at + _HEADER], "little")
            if n > MAX_FRAME:
                raise ChannelClosed(f"a frame of {n} bytes: the other side speaks another protocol")
            if len(buffer) - at - _HEADER < n:
                break
            out.append(self._decode(bytes(buffer[at + _HEADER : at + _HEADER + n])))
            at += _HEADER + n
        del buffer[:at]
        return out

    def close(self) -> None:
        """The other side sees the end of the stream."""
        with contextlib.suppress(OSError):
            self._sock.close()


def spawn_child(
    module: str, types: Any, config: dict[str, Any] | None = None, *, timeout_s: float = 20.0, **channel_options: Any
) -> tuple[subprocess.Popen[bytes], Channel]:
    """Start ``python -m module`` and return it with the channel to it; ``config`` (JSON) arrives with the greeting.

    The child runs in a process session of its own, so a Ctrl-C at the terminal reaches the engine alone.

    Raises
    ------
    RolandicError
        It cannot be started, ends before it has connected, or does not connect within ``timeout_s``.
    """
    token = secrets.token_hex(16)
    options: dict[str, Any] = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    child: subprocess.Popen[bytes] | None = None
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            greeting = {"port": port, "token": token, "parent_pid": os.getpid(), "config": config or {}}
            line = json.dumps(greeting).encode() + b"\n"
            child = cast(
                "subprocess.Popen[bytes]",
                subprocess.Popen([sys.executable, "-m", module], stdin=subprocess.PIPE, **options),
            )
            assert child.stdin is not None
            with contextlib.suppress(OSError), child.stdin:  # one that has ended already is found out by `_accept`
                child.stdin.write(line)
            return child, Channel(_accept(server, child, token, timeout_s), types, **channel_options)
    except OSError as error:
        if child is not None:
            child.kill()
            child.wait()
        raise RolandicError(f"process {module} did not start: {error}") from None


def _accept(server: socket.socket, child: subprocess.Popen[bytes], token: str, timeout_s: float) -> socket.socket:
    """The child's connection, the first that shows the token; an `OSError` says why there is none."""
    server.settimeout(_TURN_S)
    until_s = time.monotonic() + timeout_s
    while (left_s := until_s - time.monotonic()) > 0:
        code = child.poll()  # before the turn: one that has connected and then ended is still heard
        try:
            sock, _ = server.accept()
        except TimeoutError:
            if code is not None:
                raise ChildProcessError(f"it ended at once (exit code {code}); it says why on standard error") from None
            continue
        with contextlib.suppress(OSError):  # a stranger, or a child whose end is noticed in the next turn
            sock.settimeout(left_s)
            if hmac.compare_digest(_read_exactly(sock, len(token)), token.encode()):
                return sock
        sock.close()
    raise TimeoutError(f"it has not connected within {timeout_s:g} s")


def connect_to_parent(types: Any, **channel_options: Any) -> tuple[Channel, dict[str, Any]]:
    """The child's side of `spawn_child`: the channel to the parent, and the configuration that it gave."""
    greeting = json.loads(sys.stdin.readline())
    sock = socket.create_connection(("127.0.0.1", greeting["port"]), timeout=20)
    sock.sendall(greeting["token"].encode())
    return Channel(sock, types, **channel_options), greeting["config"]


def _read_exactly(sock: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n and (part := sock.recv(n - len(data))):
        data += part
    return data
