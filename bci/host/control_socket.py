"""Controls from other processes of this person: a loopback socket, a token first, then one line of JSON a message.

The device host watches the server's sockets in its own loop; the engine gives it a thread. Neither ever waits for a
client, and a client that sends no token cannot keep out one that does.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from bci.errors import RolandicError
from bci.host import runtime
from bci.host.runtime import Entry

MAX_LINE = 64 * 1024
MAX_CLIENTS = 16

Message = dict[str, Any]


class ControlError(RolandicError):
    """A process did not answer a control, or refused it."""


class _Client:
    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.received = b""
        self.is_known = False


class ControlServer:
    """Answers controls; announced in the runtime folder as long as it is open.

    Parameters
    ----------
    role : str
        ``engine`` or ``device_host``.
    handle : callable
        Takes a message such as ``{"action": "arm", "value": ""}`` and returns the reply, ``{"ok": True}``. It must not
        wait. With `start` it is called from the server's thread.
    session : str
        The session's folder, for people.
    """

    def __init__(self, role: str, handle: Callable[[Message], Message], session: str = ""):
        self._handle = handle
        self._clients: list[_Client] = []
        self._thread: threading.Thread | None = None
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._server.setblocking(False)
        self._wake_in, self._wake_out = socket.socketpair()
        port = self._server.getsockname()[1]
        try:
            self.entry = runtime.publish(Entry(role, os.getpid(), port, secrets.token_hex(16), session, time.time()))
        except (OSError, RolandicError):
            for sock in (self._server, self._wake_in, self._wake_out):
                sock.close()
            raise

    def sockets(self) -> list[socket.socket]:
        """What to watch for reading; then call `serve`."""
        return [self._server, *(client.sock for client in self._clients)]

    def serve(self) -> None:
        """Take what has come, answer what is complete. Never waits."""
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                sock.setblocking(False)
                self._clients.append(_Client(sock))
                if len(self._clients) > MAX_CLIENTS:  # strangers go first, the longest here before the others
                    self._drop(min(self._clients[:-1], key=lambda c: c.is_known))
        for client in list(self._clients):
            try:
                alive = self._read(client)
            except OSError:
                alive = False
            if not alive and client in self._clients:
                self._drop(client)

    def start(self) -> None:
        """Serve from a thread of its own, until `close`."""
        self._thread = threading.Thread(target=self._run, name=f"control-{self.entry.role}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Withdraw the announcement and end. Waits for the thread's last reply, at most a second."""
        runtime.withdraw(self.entry)
        with contextlib.suppress(OSError):
            self._wake_in.send(b"x")
        if self._thread is not None:
            self._thread.join(1.0)
        for sock in (*self.sockets(), self._wake_in, self._wake_out):
            sock.close()

    def _run(self) -> None:
        while True:
            ready = select.select([*self.sockets(), self._wake_out], [], [])[0]
            if self._wake_out in ready:
                return
            self.serve()

    def _read(self, client: _Client) -> bool:
        """Read and answer; False when the client is to go."""
        try:
            data = client.sock.recv(MAX_LINE)
        except (BlockingIOError, InterruptedError):
            return True
        client.received += data
        while b"\n" in client.received:
            line, client.received = client.received.split(b"\n", 1)
            if client.is_known:
                self._answer(client, self._reply(line))
            elif hmac.compare_digest(line.strip(), self.entry.token.encode()):
                client.is_known = True
            else:
                self._answer(client, {"ok": False, "error": "wrong token"})
                return False
        return bool(data) and len(client.received) < MAX_LINE

    def _reply(self, line: bytes) -> Message:
        try:
            message = json.loads(line)
            if not isinstance(message, dict) or not isinstance(message.get("action"), str):
                raise ValueError("a message is an object with an action")
        except ValueError as error:
            return {"ok": False, "error": f"not understood: {error}"}
        try:
            return self._handle(message)
        except RolandicError as error:
            return {"ok": False, "error": str(error)}

    def _answer(self, client: _Client, reply: Message) -> None:
        client.sock.send(json.dumps(reply).encode() + b"\n")  # a client that does not read gets a cut line, and goes

    def _drop(self, client: _Client) -> None:
        self._clients.remove(client)
        client.sock.close()


def ask_all(entries: list[Entry], message: Message, timeout_s: float) -> list[tuple[Entry, Message | ControlError]]:
    """Send one message to several processes at once; then wait for their replies, ``timeout_s`` in all.

    Entries that nobody listens for any more are withdrawn and left out.
    """
    text = json.dumps(message).encode() + b"\n"
    asked: list[tuple[Entry, socket.socket]] = []
    for entry in entries:
        sock = socket.socket()
        sock.settimeout(min(timeout_s, 0.25))  # loopback answers at once, even for a process that is stopped
        try:
            sock.connect(("127.0.0.1", entry.port))
            sock.sendall(entry.token.encode() + b"\n" + text)
        except OSError:
            pass  # seen below, for it gives no reply either
        asked.append((entry, sock))
    until_s = time.monotonic() + timeout_s
    replies: list[tuple[Entry, Message | ControlError]] = []
    for entry, sock in asked:
        with sock:
            reply = _read_reply(entry, sock, until_s)
        if isinstance(reply, ControlError) and not runtime.is_alive(entry):
            runtime.withdraw(entry)
        else:
            replies.append((entry, reply))
    return replies


def send_control(entry: Entry, message: Message, timeout_s: float = 2.0) -> Message:
    """Send one message and return the reply.

    Raises
    ------
    ControlError
        The process has gone or does not answer in time, or it refused.
    """
    replies = ask_all([entry], message, timeout_s)
    if not replies:
        raise ControlError(f"the {entry.role} of process {entry.pid} has gone")
    reply = replies[0][1]
    if isinstance(reply, ControlError):
        raise reply
    if not reply.get("ok"):
        raise ControlError(str(reply.get("error") or f"the {entry.role} refused {message.get('action')}"))
    return reply


class ControlLine:
    """A line to one process that stays open, for messages that follow each other. For one thread."""

    def __init__(self, entry: Entry, timeout_s: float = 2.0):
        self.entry, self._timeout_s = entry, timeout_s
        self._sock: socket.socket | None = None

    def ask(self, message: Message) -> Message:
        """Send one message and return the reply, whether it says ok or not.

        Raises
        ------
        ControlError
            The process has gone, or does not answer in time.
        """
        try:
            if self._sock is None:
                self._sock = socket.create_connection(("127.0.0.1", self.entry.port), self._timeout_s)
                self._sock.sendall(self.entry.token.encode() + b"\n")
            self._sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.close()
            raise ControlError(f"the {self.entry.role} of process {self.entry.pid} has gone") from None
        reply = _read_reply(self.entry, self._sock, time.monotonic() + self._timeout_s)
        if isinstance(reply, ControlError):
            self.close()
            raise reply
        return reply

    def close(self) -> None:
        """Until the next message."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _read_reply(entry: Entry, sock: socket.socket, until_s: float) -> Message | ControlError:
    received = b""
    try:
        while b"\n" not in received:
            sock.settimeout(max(0.01, until_s - time.monotonic()))
            if not (data := sock.recv(MAX_LINE)):
                break
            received += data
        reply = json.loads(received)
        if isinstance(reply, dict):
            return reply
    except (OSError, ValueError):
        pass
    return ControlError(f"the {entry.role} of process {entry.pid} does not answer")
