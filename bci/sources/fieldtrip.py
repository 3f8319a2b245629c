"""MEG and EEG from a FieldTrip buffer, the TCP protocol that MEG systems speak, as a source.

The buffer counts samples but stamps none. So stamps here are arrival times: the newest sample of an answer has the time
at which the server told of it, those before it are counted back by the nominal rate (`StreamSpec.stamps`). What is lost
is known by the server's count, not by stamps: `Pulled.first_count`.

The protocol is mne-realtime's inner client; it waits without bound and spins when the peer has gone, so it is given a
socket that does neither.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci.errors import ConfigError, SourceError
from bci.ports import Ended, Offset, Pulled, Resumed, Silent, SourceEvent
from bci.signal.montage import same_label
from bci.sources.formats.fif import channels_of_header
from bci.sources.lsl_inlet import difference
from bci.types import DTYPES, Channel, SampleFormat, StreamSpec

PORT = 1972
TICK_S = 0.1  # the longest that the server is asked to wait
ANSWER_S = 3.0  # beyond that, an answer that is not whole is none
LOOK_S = 0.05  # how often silence is looked for while an answer is waited for
AGAIN_S = 0.25  # between tries to reach a server
QUIET_S = 0.25  # shortest silence that counts, as of an LSL stream
UNMEASURED_S = 1.0
MAX_BYTES = 4 << 20  # of samples asked for at once
NO_EVENTS = 0xFFFFFFFF  # wait for samples only

_FORMATS: dict[str, SampleFormat] = {  # XDF knows no unsigned numbers: the next wider type holds them all
    "int8": "int8", "uint8": "int16", "int16": "int16", "uint16": "int32", "int32": "int32", "uint32": "int64",
    "int64": "int64", "float32": "float32", "float64": "double64",
}  # fmt: skip
_RESOLUTIONS, _NEUROMAG = 3, 8  # header chunks


class _Gone(Exception):
    """The server does not answer, or not by the protocol; the text says how."""


def open_source(
    address: str,
    *,
    type_: str = "",
    wait_s: float = 5.0,
    silence_s: float | None = None,
    reconnect_s: float = 30.0,
) -> FieldTripSource:
    """Reach a FieldTrip buffer and read its header; from ``start`` on it gives what is new then.

    Parameters
    ----------
    address
        ``host:port``, or ``host`` for port 1972.
    type_
        Of the stream, where the header does not tell the types of its channels; empty: EEG.
    wait_s
        How long to wait for the server and its header.
    silence_s, reconnect_s
        As of `bci.sources.lsl.open_source`.

    Raises
    ------
    ConfigError
        That is no address.
    SourceError
        Nobody answers there, no header was put, or it describes what is not read here.
    """
    host, port = parse_address(address)
    until_s = pylsl.local_clock() + wait_s
    while True:
        link = _Link(host, port)
        try:
            link.connect(max(until_s - pylsl.local_clock(), 0.1))
            if (header := link.header()) is not None:
                spec = spec_from_header(header, f"{host}:{port}", type_)
                return FieldTripSource(link, spec, int(header.nSamples), silence_s, reconnect_s)
            why = "it runs, but no header was put: start the acquisition"
        except _Gone as gone:
            why = f"{gone}; is it started, and the port open?"
        except BaseException:
            link.close()
            raise
        link.close()
        if pylsl.local_clock() + AGAIN_S >= until_s:
            raise SourceError(f"no FieldTrip buffer at {host}:{port} within {wait_s:g} s: {why}")
        threading.Event().wait(AGAIN_S)


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``host``.

    Raises
    ------
    ConfigError
        It is neither.
    """
    host, port = address.rpartition(":")[::2] if ":" in address else (address, str(PORT))
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"stream.fieldtrip = {address!r}: give host:port, such as localhost:{PORT}")
    return host, int(port)


# --- the header ------------------------------------------------------------------------------------------------------


def spec_from_header(header: Any, address: str, type_: str = "") -> StreamSpec:
    """What the header says: labels always, types, units and places where a MEGIN system has put its own header.

    Raises
    ------
    SourceError
        It describes samples that cannot be read.
    """
    types = _protocol().numpyType
    where = f"FieldTrip buffer {address}"
    kind = types[header.dataType] if header.dataType < len(types) else f"type {header.dataType}"
    if kind not in _FORMATS:
        raise SourceError(f"{where}: samples of {kind} are not read; have its program send float32")
    if not header.nChannels or not header.fSample > 0:
        raise SourceError(f"{where}: its header says {header.nChannels} channels at {header.fSample:g} Hz")
    steps = np.frombuffer(header.chunks.get(_RESOLUTIONS, b""), np.uint8)
    if kind.startswith(("int", "uint")) and len(steps) >= 8 and (steps[: len(steps) // 8 * 8].view("f8") != 1).any():
        raise SourceError(f"{where}: it sends steps of its converter, not values; have its program send float32")
    labels = list(header.labels) or [f"ch{i + 1}" for i in range(header.nChannels)]
    known = channels_of_header(header.chunks.get(_NEUROMAG, b""))
    named = {same_label(channel.label): channel for channel in known}
    channels = []
    for label in labels:
        found = named.get(same_label(label)) if known else None
        channels.append(Channel(label, found.type, found.unit, found.position_m) if found else
                        Channel(label, "Misc" if known else type_ or "EEG"))  # fmt: skip
    is_meg = bool({"MAG", "GRAD"} & {channel.type for channel in channels})
    return StreamSpec(
        name=f"fieldtrip {address}", type=type_ or ("MEG" if is_meg else "EEG"), source_id=f"fieldtrip-{address}",
        hostname=address.rpartition(":")[0], sfreq_hz=float(header.fSample), format=_FORMATS[kind],
        channels=tuple(channels), stamps="arrival",
    )  # fmt: skip


# --- the connection --------------------------------------------------------------------------------------------------


def _protocol() -> Any:
    """mne-realtime's module of the protocol; importing it says each time that its other half, for LSL, has moved on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "MNE-realtime is discontinued", FutureWarning)
        from mne_realtime.externals import FieldTrip
    return FieldTrip


class _BoundedSocket:
    """What mne-realtime's client takes for its socket: every wait has an end, and a peer that has gone is an error.

    ``look`` is called every 50 ms while an answer does not come: a server that hangs is silent long before it is gone.
    """

    def __init__(self, plain: socket.socket, look: Callable[[], None]):
        self._plain, self._look = plain, look
        self.until_s = 0.0

    def send(self, data: bytes) -> int:
        self._limit()
        return self._plain.send(data)

    def recv(self, n: int) -> bytes:
        while True:
            self._limit()
            try:
                data = self._plain.recv(min(n, 1 << 20))
            except TimeoutError:
                self._look()
                continue
            if not data:
                raise _Gone("it closed the connection in the middle of an answer")
            return data

    def _limit(self) -> None:
        if (rest_s := self.until_s - pylsl.local_clock()) <= 0:
            raise TimeoutError
        self._plain.settimeout(min(rest_s, LOOK_S))

    def close(self) -> None:
        self._plain.close()

    def abort(self) -> None:
        """Wake whoever waits in here."""
        with contextlib.suppress(OSError):
            self._plain.shutdown(socket.SHUT_RDWR)


class _Link:
    """One connection to a buffer; whatever goes wrong is a `_Gone`."""

    def __init__(self, host: str, port: int):
        self.host, self.port = host, port
        self._client = _protocol().Client()
        self._socket: _BoundedSocket | None = None
        self.look: Callable[[], None] = lambda: None  # for whoever waits for an answer

    def connect(self, timeout_s: float) -> None:
        try:
            plain = socket.create_connection((self.host, self.port), min(timeout_s, ANSWER_S))
        except OSError as error:
            raise _Gone(f"nobody answers ({error.strerror or error})") from None
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = _BoundedSocket(plain, lambda: self.look())
        self._client.sock = self._socket
        self._client.isConnected = True

    def header(self) -> Any:
        """The header; None while none was put."""
        return self._ask(self._client.getHeader)

    def wait(self, n_known: int, timeout_s: float) -> int:
        """The server's count of samples, as soon as it is more than ``n_known``."""
        n_samples, _ = self._ask(self._client.wait, n_known, NO_EVENTS, round(1000 * timeout_s), extra_s=timeout_s)
        return n_samples

    def samples(self, first: int, n: int) -> NDArray[Any] | None:
        """Samples by the server's count, shape (n, n_channels); None when it does not hold them any more."""
        return self._ask(self._client.getData, (first, first + n - 1))

    def _ask(self, question: Callable[..., Any], *arguments: Any, extra_s: float = 0.0) -> Any:
        if self._socket is None:
            raise _Gone("nobody answers")
        self._socket.until_s = pylsl.local_clock() + ANSWER_S + extra_s
        try:
            return question(*arguments)
        except TimeoutError:
            raise _Gone(f"it does not answer within {ANSWER_S:g} s") from None
        except (OSError, ValueError, TypeError, IndexError, struct.error) as error:
            if isinstance(error, OSError) and error.errno:
                raise _Gone(f"the connection broke ({error.strerror})") from None
            # the client's own complaints, and whatever else a wrong answer leads it to
            raise _Gone("what it answers is not the protocol of a FieldTrip buffer") from None

    def abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._client.isConnected = False


# --- the source ------------------------------------------------------------------------------------------------------


class FieldTripSource:
    """One FieldTrip buffer (`bci.ports.Source`). Made by `open_source`.

    A server that has gone is `Silent` at once, and taken up again within ``reconnect_s`` when its shape is the same;
    one whose count goes back has been started anew. Both are `Resumed` (``reconnected``).
    """

    def __init__(self, link: _Link, spec: StreamSpec, n_had: int, silence_s: float | None, reconnect_s: float):
        self._link, self._spec = link, spec
        self._silence_s, self._reconnect_s = silence_s, reconnect_s
        self._n_had = n_had  # by the server's count: the next sample has this number
        self._max_n = max(1, MAX_BYTES // (8 * len(spec.channels)))
        self._deliver: Callable[[SourceEvent], None] = lambda event: None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._last_s = 0.0  # arrival of the last samples, or the start
        self._newest_s = float("-inf")  # the last stamp
        self._intervals_s: deque[float] = deque(maxlen=32)
        self._is_silent = self._is_new_server = False

    @property
    def spec(self) -> StreamSpec:
        """The stream as the header described it."""
        return self._spec

    def start(self, deliver: Callable[[SourceEvent], None]) -> None:
        """Deliver from now on, from a thread of the source's own."""
        self._deliver, self._last_s = deliver, pylsl.local_clock()
        self._link.look = self._look
        self._thread = threading.Thread(target=self._acquire, name="fieldtrip", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Take what has come until now, then deliver ``Ended(None)``."""
        self._stop.set()

    def close(self) -> None:
        """As `finish`, and wait for it: at most until the server has had time for one more answer."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)
            if self._thread.is_alive():
                self._link.abort()
                self._thread.join(ANSWER_S)
        self._link.close()

    def _acquire(self) -> None:
        error: Exception | None = None
        try:
            self._deliver(Offset(self._last_s, 0.0, 0.0))  # arrival times are of our own clock
            self._read_until_end()
        except SourceError as problem:
            error = problem
        except Exception as problem:  # a thread has nobody else to tell
            error = SourceError(f"{self._name}: {problem!r}")
        self._link.close()
        self._deliver(Ended(error))

    def _read_until_end(self) -> None:
        with contextlib.suppress(_Gone):  # the loop finds out
            header = self._link.header()  # since it was opened, a model was loaded: begin with what is new now
            if header is not None and header.nSamples > self._n_had:
                self._n_had = int(header.nSamples)
        while not self._stop.is_set():
            self._read_once(TICK_S)
        if not self._is_silent:
            self._read_once(0.0)

    def _read_once(self, wait_s: float) -> None:
        try:
            n_there = self._link.wait(self._n_had, wait_s)
            arrival_s = pylsl.local_clock()
            if n_there < self._n_had:
                self._restarted()
            else:
                self._take(n_there, arrival_s)
                self._check_silence("it answers, but has no new samples: start the acquisition again")
        except _Gone as gone:
            if self._stop.is_set():
                return
            self._fall_silent()
            self._check_silence(f"{gone}; start it again")
            self._reconnect()

    def _take(self, n_there: int, arrival_s: float) -> None:
        """All samples up to the server's count, which was ``n_there`` at ``arrival_s``."""
        while self._n_had < n_there:
            n = min(n_there - self._n_had, self._max_n)
            samples = self._link.samples(self._n_had, n)
            if samples is None:
                self._n_had = self._oldest(n_there)  # what is skipped is lost, and the count says so
                continue
            if samples.shape != (n, len(self._spec.channels)):
                raise SourceError(
                    f"{self._name}: it sent {samples.shape[0]} samples of {samples.shape[1]} channels instead of "
                    f"{n} of {len(self._spec.channels)}: start again when its acquisition is set up"
                )
            self._give(samples, n_there - self._n_had - n, arrival_s)
            self._n_had += n

    def _give(self, samples: NDArray[Any], n_after: int, arrival_s: float) -> None:
        if self._is_silent or self._is_new_server:
            self._deliver(Resumed(self._spec, arrival_s - self._last_s, self._is_new_server))
        elif arrival_s > self._last_s:
            self._intervals_s.append(arrival_s - self._last_s)
        self._is_silent = self._is_new_server = False
        stamps_s = arrival_stamps(len(samples), arrival_s, n_after, self._spec.sfreq_hz, self._newest_s)
        self._newest_s = float(stamps_s[-1])
        self._last_s = arrival_s
        own = np.array(samples, DTYPES[self._spec.format], order="C")
        self._deliver(Pulled(own, stamps_s, arrival_s, self._n_had))

    def _oldest(self, n_there: int) -> int:
        """The number of the oldest sample that the server still holds, found by halving; ``n_there`` if it has gone."""
        gone, held = self._n_had, n_there
        while held - gone > 1:
            middle = (gone + held) // 2
            if self._link.samples(middle, 1) is None:
                gone = middle
            else:
                held = middle
        return held

    # --- silence and restarts ----------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"FieldTrip buffer {self._link.host}:{self._link.port}"

    def _silence_now_s(self) -> float:
        if self._silence_s:
            return self._silence_s
        if len(self._intervals_s) < 4:
            return UNMEASURED_S
        return max(QUIET_S, 3 * sorted(self._intervals_s)[3 * len(self._intervals_s) // 4])

    def _check_silence(self, why: str) -> None:
        self._look()
        if pylsl.local_clock() - self._last_s > self._reconnect_s:
            raise SourceError(f"{self._name}: no samples for {self._reconnect_s:g} s; {why}")

    def _look(self) -> None:
        if pylsl.local_clock() - self._last_s >= self._silence_now_s():
            self._fall_silent()

    def _fall_silent(self) -> None:
        if not self._is_silent:
            self._is_silent = True
            self._deliver(Silent(self._last_s))

    def _reconnect(self) -> None:
        self._link.close()
        while not self._stop.wait(AGAIN_S):
            try:
                self._link.connect(AGAIN_S)
                self._restarted()
                break
            except _Gone as gone:
                self._link.close()
                self._check_silence(f"{gone}; start it again")

    def _restarted(self) -> None:
        """The server counts anew, or is another one: go on if its shape is the same."""
        if (header := self._link.header()) is None:
            raise _Gone("it holds no header")
        new = spec_from_header(header, f"{self._link.host}:{self._link.port}", self._spec.type)
        if changed := difference(self._spec, new):
            raise SourceError(f"{self._name} was started again with {changed}: start again if that is meant")
        self._is_new_server = True
        self._n_had = int(header.nSamples)


def arrival_stamps(n: int, arrival_s: float, n_after: int, sfreq_hz: float, newest_s: float) -> NDArray[np.float64]:
    """Stamps of n samples with ``n_after`` behind them, the last of which arrived at ``arrival_s``, after ``newest_s``.

    They are counted back by the nominal rate; where they would reach back behind what was stamped already, they share
    the time since then.
    """
    period_s = min(1 / sfreq_hz, (arrival_s - newest_s) / (n_after + n))
    return arrival_s - period_s * np.arange(n_after + n - 1, n_after - 1, -1, dtype=np.float64)
