"""What the shell must provide: the protocols behind which sources, recorders and devices stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bci.types import Command, StreamSpec

END_MARKER = "rolandic:end"  # a sender pushes it on its marker streams when it has sent everything

# --- sources ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Pulled:
    """What one pull gave. Numeric: (n, n_channels) array that the receiver owns. String: list of n lists of str.

    ``first_count``: the sender's own number of the first sample, where its protocol counts them; it tells what is lost.
    """

    samples: NDArray[Any] | list[list[str]]
    stamps_s: NDArray[np.float64]
    arrival_s: float
    first_count: int | None = None


@dataclass(frozen=True, slots=True)
class Offset:
    """One measured clock offset: local time = raw stamp + ``offset_s``."""

    collected_s: float
    offset_s: float
    uncertainty_s: float


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing has arrived since ``since_s``; sent once when ``silence_s`` has passed."""

    since_s: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """Data come again after silence; ``reconnected`` when the sender was a new one (samples may be missing)."""

    spec: StreamSpec
    silent_s: float
    reconnected: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The source will give nothing more; ``error`` is None at an orderly end."""

    error: Exception | None = None


SourceEvent = Pulled | Offset | Silent | Resumed | Ended


class Source(Protocol):
    """One stream. ``spec`` answers before ``start``; ``deliver`` is called from the source's own threads, in order.

    ``finish``: the sender said that it is done; deliver what still comes, then ``Ended(None)``; does not wait.
    ``close``: deliver what has arrived already, then stop; waits, but not for ever.
    """

    @property
    def spec(self) -> StreamSpec: ...
    def start(self, deliver: Callable[[SourceEvent], None]) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


# --- recorder --------------------------------------------------------------------------------------------------------


class Recorder(Protocol):
    """Takes everything that happened. Never waits: what cannot be taken is an overflow, and is said by ``trouble``."""

    def open_stream(self, spec: StreamSpec, metadata: str = "") -> int: ...
    def write(
        self,
        stream: int,
        samples: NDArray[Any] | Sequence[Sequence[str]],
        stamps_s: Sequence[float] | NDArray[np.float64],
    ) -> None: ...
    def offset(self, stream: int, offset: Offset) -> None: ...
    def trouble(self) -> str: ...
    def restart(self) -> None: ...
    def close(self) -> None: ...


# --- devices ---------------------------------------------------------------------------------------------------------


Meaning = Literal["zero", "hold", "release"]


class Means(NamedTuple):
    """What happens at a device on neutral, on an emergency stop, and when the device host itself has died.

    ``zero``: it stops moving. ``hold``: it goes on with, or stays at, what it was told last. ``release``: it lets go.
    """

    neutral: Meaning
    stop: Meaning
    loss: Meaning


class Device(Protocol):
    """Something that moves. Runs in the device host process.

    Every call but ``open`` returns at once or raises ``DeviceError``; ``open`` may wait a second. ``neutral`` must be
    safe at any time, twice, and after an error; ``reason`` is for receivers that show it. ``check`` is called every
    50 ms: it raises where the device has gone or owes an acknowledgement, and returns the ids of the commands that were
    acknowledged since the last call. ``is_continuous``: it takes velocities, and its receiver stops by itself at
    ``ttl_ms``; one whose ``means.loss`` is hold is never continuous.
    """

    url: str
    means: Means
    is_continuous: bool

    def open(self) -> None: ...
    def send(self, command: Command) -> str: ...  # what was really sent
    def check(self) -> Sequence[int]: ...
    def neutral(self, reason: str) -> None: ...
    def close(self) -> None: ...


class Clock(Protocol):
    """Seconds of the LSL clock."""

    def __call__(self) -> float: ...
