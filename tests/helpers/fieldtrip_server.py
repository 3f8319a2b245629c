"""A FieldTrip buffer in this process, as MEG systems serve it, that can also do what goes wrong with them.

::

    with Server(spec, rows, fif=fif_header(spec)) as server:
        server.put(100)
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Any

import numpy as np

from bci.types import Channel, StreamSpec

TYPES = {np.dtype(t): code for code, t in
         enumerate(("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"), 1)}  # fmt: skip
KINDS = {"MAG": 1, "GRAD": 1, "EEG": 2, "STIM": 3, "EOG": 202}
UNITS = {"V": 107, "T": 112, "T/m": 201}


def meg_spec(n: int = 306, sfreq_hz: float = 300.0) -> StreamSpec:
    """Sensors in threes, two gradiometers and a magnetometer, on half a sphere; and a trigger channel."""
    turn, height = np.arange(n) * 2.4, 0.09 * np.arange(n) / n
    channels = []
    for i in range(n):
        width = float(np.sqrt(0.11**2 - height[i] ** 2))
        at = (width * float(np.cos(turn[i])), width * float(np.sin(turn[i])), float(height[i]))
        name = f"MEG {i // 3 + 1:03d}{(2, 3, 1)[i % 3]}"
        channels.append(Channel(name, "MAG", "T", at) if i % 3 == 2 else Channel(name, "GRAD", "T/m", at))
    channels.append(Channel("STI 014", "STIM"))
    return StreamSpec(name="meg", type="MEG", sfreq_hz=sfreq_hz, channels=tuple(channels))


def meg_rows(spec: StreamSpec, n: int, seed: int = 3) -> np.ndarray:
    """Noise as each sensor has it: 300 fT, 10 pT/m."""
    scale = [{"T": 3e-13, "T/m": 1e-11, "V": 1e-5}.get(c.unit, 0.0) for c in spec.channels]
    return (np.random.default_rng(seed).normal(0, 1, (n, len(scale))) * scale).astype(np.float32)


def fif_header(spec: StreamSpec, order: str = "<") -> bytes:
    """Channel infos as neuromag2ft puts them, in the byte order of its machine."""
    tags = [(100, 31, bytes(20)), (101, 3, struct.pack(f"{order}i", -1))]
    for i, c in enumerate(spec.channels):
        place = [*(c.position_m or (0, 0, 0)), *np.eye(3).ravel()]
        info = struct.pack(
            f"{order}3i2fi12fii16s", i + 1, i + 1, KINDS[c.type], 1.0, 1.0, 3022, *place, UNITS.get(c.unit, -1), 0,
            c.label.encode(),
        )  # fmt: skip
        tags.append((203, 30, info))
    return b"".join(struct.pack(f"{order}4i", kind, type_, len(data), 0) + data for kind, type_, data in tags)


class Server:
    """Serves ``rows`` (looped) one after another.

    Parameters
    ----------
    spec
        Labels and rate; with ``fif`` the header carries types, units and places too.
    ring
        How many samples it keeps.
    """

    def __init__(
        self, spec: StreamSpec, rows: np.ndarray, *, fif: bytes | None = None, ring: int = 100_000, port: int = 0,
        labels: bool = True, chunks: dict[int, bytes] | None = None, has_header: bool = True,
    ):  # fmt: skip
        self.spec, self.rows, self.ring = spec, rows, ring
        self.n = 0  # samples put
        self.die_in_answer = False  # of the next GET_DAT: half of it, then nothing
        self.hang_in_answer = False  # the same, but the connection stays
        self.has_stopped_short = threading.Event()  # one of the two has happened
        self.raw_answer: bytes | None = None  # instead of any answer
        self.n_requests = 0
        self.has_header = has_header
        self.chunks = dict(chunks or {})
        if labels:
            self.chunks[1] = b"".join(c.label.encode() + b"\0" for c in spec.channels)
        if fif is not None:
            self.chunks[8] = fif
        self._more = threading.Condition()
        self._is_closing = False
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def put(self, n: int) -> None:
        """The acquisition writes n samples."""
        with self._more:
            self.n += n
            self._more.notify_all()

    def reset(self, n: int = 0) -> None:
        """The acquisition starts anew: its count goes back."""
        with self._more:
            self.n = n

    def play(self, seconds: float, chunk: int = 10) -> threading.Thread:
        """Put samples at the nominal rate, from a thread of its own."""

        def run() -> None:
            start_s, first = time.monotonic(), self.n
            n_all = round(seconds * self.spec.sfreq_hz)
            for n in range(chunk, n_all + 1, chunk):
                with self._more:
                    self._more.wait_for(
                        lambda: self._is_closing, max(0.0, start_s + n / self.spec.sfreq_hz - time.monotonic())
                    )
                    if self._is_closing:
                        return
                self.put(first + n - self.n)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def row(self, k: int | np.ndarray) -> np.ndarray:
        return self.rows[np.asarray(k) % len(self.rows)]

    def close(self) -> None:
        """As when its process ends."""
        with self._more:
            self._is_closing = True
            self._more.notify_all()
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(10)
                assert not thread.is_alive()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- its threads -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._is_closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while True:
                _, command, size = struct.unpack("=HHI", _exactly(connection, 8))
                payload = _exactly(connection, size)
                self.n_requests += 1
                if self.raw_answer is not None:
                    connection.sendall(self.raw_answer)
                    continue
                code, answer = self._answer(command, payload)
                message = struct.pack("=HHI", 1, code, len(answer)) + answer
                if command == 0x202 and (self.die_in_answer or self.hang_in_answer):
                    connection.sendall(message[: len(message) // 2])
                    self.has_stopped_short.set()
                    if self.hang_in_answer:
                        continue
                    self._is_closing = True
                    with contextlib.suppress(OSError):
                        self._listener.shutdown(socket.SHUT_RDWR)
                    self._listener.close()
                    connection.close()
                    return
                connection.sendall(message)
        except (OSError, EOFError):
            connection.close()

    def _answer(self, command: int, payload: bytes) -> tuple[int, bytes]:
        if command == 0x201:
            if not self.has_header:
                return 0x205, b""
            parts = b"".join(struct.pack("=II", kind, len(data)) + data for kind, data in self.chunks.items())
            dtype = TYPES[self.rows.dtype]
            head = struct.pack("=IIIfII", len(self.spec.channels), self.n, 0, self.spec.sfreq_hz, dtype, len(parts))
            return 0x204, head + parts
        if command == 0x402:
            n, _, timeout_ms = struct.unpack("=III", payload)
            with self._more:
                self._more.wait_for(lambda: self.n > n or self._is_closing, timeout_ms / 1000)
            return 0x404, struct.pack("=II", self.n, 0)
        first, last = struct.unpack("=II", payload)
        if command != 0x202 or first < self.n - self.ring or last >= self.n or first > last:
            return 0x205, b""
        rows = self.row(np.arange(first, last + 1))
        return 0x204, struct.pack("=IIII", rows.shape[1], len(rows), TYPES[rows.dtype], rows.nbytes) + rows.tobytes()


def _exactly(connection: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        if not (part := connection.recv(n - len(data))):
            raise EOFError
        data += part
    return data


def recorded(stream: Any) -> tuple[StreamSpec, np.ndarray]:
    """A recorded MEG stream as a MEGIN system would serve it: V instead of uV for its EEG."""
    import msgspec

    channels, rows = [], np.array(stream.samples, np.float32)
    for i, c in enumerate(stream.spec.channels):
        if c.unit == "uV":
            rows[:, i] *= 1e-6
            c = msgspec.structs.replace(c, unit="V")
        channels.append(c)
    return msgspec.structs.replace(stream.spec, channels=tuple(channels), format="float32"), rows
