"""One inlet of liblsl as a source needs it: the stream's full description, its samples copied out, its clock offsets.

Also what makes a sender the same one (`identity`) and a stream the same shape (`difference`).
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pylsl
from numpy.typing import NDArray
from pylsl.lib import lib
from pylsl.util import handle_error

from bci.errors import SourceError
from bci.lsl import dtype_of, quoted, spec_from_xml
from bci.ports import Offset
from bci.types import StreamSpec

BUFFER_S = 120  # what liblsl keeps for a receiver that is slow
MAX_SAMPLES = 1024  # a pull, which takes what is there: a larger backlog comes in several
OPEN_S = 1.0

# pylsl wraps only the short form, without the round trip; a prototype of our own leaves pylsl's alone
_time_correction_ex = lib["lsl_time_correction_ex"]
_time_correction_ex.restype = ctypes.c_double
_time_correction_ex.argtypes = [
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_double),
    ctypes.POINTER(ctypes.c_double),
    ctypes.c_double,
    ctypes.POINTER(ctypes.c_int),
]


class Inlet:
    """A liblsl inlet, the full description of its stream, and the memory that its samples are pulled into."""

    def __init__(self, info: pylsl.StreamInfo, wait_s: float):
        # recover=True, or liblsl throws away samples that had arrived when the sender goes; stamps stay raw
        self._inlet = pylsl.StreamInlet(info, max_buflen=BUFFER_S, recover=True, processing_flags=0)
        try:
            self.spec = spec_from_xml(self._inlet.info(wait_s).as_xml())
        except (pylsl.util.TimeoutError, pylsl.util.LostError):
            raise SourceError(
                f"stream {info.name()!r} on {info.hostname()} was seen but does not answer within {wait_s:g} s; "
                "is its program still running, and its TCP port open?"
            ) from None
        self._room: NDArray | None = None
        if self.spec.format != "string":
            dtype = dtype_of(self.spec)
            if self._inlet.np_dtype != dtype:  # liblsl would write into memory of the wrong size without an error
                raise SourceError(f"stream {self.spec.name!r}: pylsl cannot read {self.spec.format} on this system")
            self._room = np.empty((MAX_SAMPLES, len(self.spec.channels)), dtype)
        self._last_remote_s = float("nan")

    def open(self) -> None:
        """Subscribe now, so that samples are kept before the first pull. May raise liblsl's time-out."""
        self._inlet.open_stream(OPEN_S)

    def pull(self, timeout_s: float) -> tuple[NDArray | list[list[str]], NDArray[np.float64]]:
        """All that has come, after waiting for the first at most ``timeout_s``. The caller owns the arrays."""
        if self._room is not None:
            samples, stamps_s = self._inlet.pull_chunk(timeout_s, MAX_SAMPLES, self._room, 1, True)
            return samples.copy(), stamps_s  # type: ignore[union-attr]
        rows: Any
        rows, stamps_s = self._inlet.pull_chunk(timeout_s, MAX_SAMPLES // 4, None, 1, True)
        return [[value.decode("utf-8", "backslashreplace") for value in row] for row in rows], stamps_s

    def has_moved(self) -> bool:
        """Whether liblsl has chosen another sender since the last call.

        It says so by the clock that it resets, at least 0.5 s before the first sample of that sender can be pulled
        (``inlet_connection::try_recover`` and ``data_receiver::data_thread``).
        """
        return self._inlet.was_clock_reset()

    def offset(self, timeout_s: float) -> Offset | None:
        """The clock offset as liblsl measured it last; None when there is no new one within ``timeout_s``."""
        remote_s, round_trip_s, code = ctypes.c_double(), ctypes.c_double(), ctypes.c_int()
        offset_s = _time_correction_ex(self._inlet.obj, remote_s, round_trip_s, timeout_s, code)
        try:
            handle_error(code)
        except (pylsl.util.TimeoutError, pylsl.util.LostError):
            return None
        if remote_s.value == self._last_remote_s:
            return None
        self._last_remote_s = remote_s.value
        return Offset(remote_s.value + offset_s, offset_s, round_trip_s.value / 2)


def difference(old: StreamSpec, new: StreamSpec) -> str:
    """What of a stream's shape is not as it was, in words; empty when all is the same."""
    found = []
    if new.sfreq_hz != old.sfreq_hz:
        found.append(f"rate {new.sfreq_hz:g} Hz instead of {old.sfreq_hz:g} Hz")
    if new.format != old.format:
        found.append(f"format {new.format} instead of {old.format}")
    if len(new.channels) != len(old.channels):
        found.append(f"{len(new.channels)} channels instead of {len(old.channels)}")
        return "; ".join(found)
    for i, (a, b) in enumerate(zip(old.channels, new.channels, strict=True), 1):
        if (a.label, a.unit) != (b.label, b.unit):
            found.append(f"channel {i} is {b.label!r} in {b.unit!r} instead of {a.label!r} in {a.unit!r}")
            break
    return "; ".join(found)


def identity(spec: StreamSpec) -> str:
    """The query for the same stream, also from a new sender."""
    wanted = {"name": spec.name, "type": spec.type, "source_id": spec.source_id}
    if not spec.source_id:
        wanted["hostname"] = spec.hostname
    return " and ".join(f"{key}={quoted(value)}" for key, value in wanted.items())
