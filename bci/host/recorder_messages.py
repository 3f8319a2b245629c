"""What engine and recorder process say to each other."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

QUEUE_FLOOR_BYTES = 4 * 2**20
BATCH_BYTES = 2**20


class Open(msgspec.Struct, frozen=True, tag="open"):
    """A new stream: its header and about how fast it grows."""

    stream: int
    xml: str
    format: str
    n_channels: int
    bytes_per_s: float


class Numbers(msgspec.Struct, frozen=True, tag="numbers"):
    """Numeric samples in C order and their stamps (float64), both in this machine's byte order."""

    stream: int
    values: bytes
    stamps: bytes


class Strings(msgspec.Struct, frozen=True, tag="strings"):
    """String samples (rows of channels) and their stamps (float64)."""

    stream: int
    values: list[list[str]]
    stamps: bytes


class Clock(msgspec.Struct, frozen=True, tag="clock"):
    """A clock offset of a stream."""

    stream: int
    collected_s: float
    offset_s: float


Item = Open | Numbers | Strings | Clock


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """What has gathered since the last batch, in order."""

    number: int
    items: list[Item]


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """Write the footers and end."""


class Status(msgspec.Struct, frozen=True, tag="status"):
    """What is in the file: all batches up to ``batch``. ``n_lost``: samples dropped here, by stream."""

    batch: int
    n_bytes: int
    error: str = ""
    n_lost: dict[int, int] = {}


def queue_bytes(bytes_per_s: float, queue_s: float) -> float:
    """How much may wait for a disk or a process that does not take it."""
    return QUEUE_FLOOR_BYTES + bytes_per_s * queue_s


def encode(stream: int, what: object, stamps: NDArray[np.float64]) -> list[tuple[Item, int, int]]:
    """A queued entry as items of about `BATCH_BYTES` at most, with the samples and bytes of each."""
    if isinstance(what, Open | Clock):
        return [(what, 0, 0)]
    rows: Sequence = what  # type: ignore[assignment]
    n_bytes = what.nbytes if isinstance(what, np.ndarray) else sum(len(value) for row in rows for value in row)
    step = max(1, int(BATCH_BYTES / (1 + n_bytes / len(stamps))))
    pieces: list[tuple[Item, int, int]] = []
    for at in range(0, len(stamps), step):
        part, stamp_bytes = rows[at : at + step], stamps[at : at + step].tobytes()
        if isinstance(part, np.ndarray):
            item = Numbers(stream, part.tobytes(), stamp_bytes)
        else:
            item = Strings(stream, [[_encodable(value) for value in row] for row in part], stamp_bytes)
        pieces.append((item, len(part), len(stamp_bytes) * (1 + n_bytes // (8 * len(stamps)))))
    return pieces


def _encodable(value: str) -> str:
    """Lone surrogates replaced, as `bci.recording.xdf.samples` does it: msgpack refuses them."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
