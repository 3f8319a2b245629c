"""What the shell must provide: the protocols behind which sources, recorders and devices stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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


class Device(Protocol):
    """Something that moves. Runs in the device host process; every call returns fast or raises ``DeviceError``.

    ``neutral`` is what the device does when nothing is commanded; it must be safe to call at any time, twice, and after
    an error. ``neutral_means`` says in a word what that is for this device: zero, hold or release. ``reason`` is for
    receivers that show it.
    """

    url: str
    neutral_means: str

    def open(self) -> None: ...
    def send(self, command: Command) -> str: ...  # what was really sent
    def neutral(self, reason: str) -> None: ...
    def close(self) -> None: ...


class Clock(Protocol):
    """Seconds of the LSL clock."""

    def __call__(self) -> float: ...
