"""What a session writes down about itself, as LSL streams too: for its window and for viewers on other machines.

LSL listens on all interfaces and asks for no password, so these outlets are open only where somebody asked for them
(`bci run --share`). They are read-only: nobody can command a session through them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from bci.lsl import info_from_spec
from bci.ports import Offset, Recorder
from bci.types import StreamSpec

if TYPE_CHECKING:
    import pylsl

OWN_TYPE = "rolandic"
# of the journal, what only replay needs: it would be most of the traffic
_NOT_SHARED = ('"kind":"chunk"', '"kind":"step"', '"kind":"now"')
_STATES = ('"kind":"gate"', '"kind":"health"', '"kind":"swap"')
REPEAT_S = 0.5
LINGER_S = 30  # of data that liblsl keeps for a reader that is slow


class Shared:
    """A recorder whose own streams (``bci-…``) are outlets as well (`bci.ports.Recorder`).

    Parameters
    ----------
    recorder
        Where everything goes.
    group
        Of the outlets: what tells this session from others.
    raw
        Also publish the signals, as ``bci-raw``: for sources that are not LSL streams.
    """

    def __init__(self, recorder: Recorder, group: str, raw: bool = False):
        self._recorder, self.group, self._raw = recorder, group, raw
        self._outlets: dict[int, pylsl.StreamOutlet] = {}
        self._strings: set[int] = set()
        self._last: dict[str, tuple[int, str]] = {}  # of each kind of state, for those who come later
        self._repeated_s = 0.0

    def open_stream(self, spec: StreamSpec, metadata: str = "") -> int:
        """As the recorder's; an outlet for what is ours."""
        import pylsl

        number = self._recorder.open_stream(spec, metadata)
        is_raw = self._raw and spec.type != OWN_TYPE and not spec.is_marker_stream
        if spec.type == OWN_TYPE or is_raw:
            name = "bci-raw" if is_raw else spec.name
            shared = replace(spec, name=name, source_id=f"{name}-{self.group}", group=self.group)
            info = info_from_spec(shared)
            if metadata:
                info.desc().child("rolandic").append_child_value("metadata", metadata)
            self._outlets[number] = pylsl.StreamOutlet(info, max_buffered=LINGER_S)
            if spec.format == "string":
                self._strings.add(number)
        return number

    def write(
        self,
        stream: int,
        samples: NDArray[Any] | Sequence[Sequence[str]],
        stamps_s: Sequence[float] | NDArray[np.float64],
    ) -> None:
        """As the recorder's, and to whoever listens; liblsl queues, so neither waits."""
        self._recorder.write(stream, samples, stamps_s)
        self._remember(stream, samples)
        outlet = self._outlets.get(stream)
        if outlet is None or not len(stamps_s) or not outlet.have_consumers():
            return
        with contextlib.suppress(RuntimeError, ValueError):  # a viewer is never worth a session
            if stream not in self._strings:
                outlet.push_chunk(np.ascontiguousarray(samples), [float(s) for s in stamps_s])  # type: ignore[arg-type]
                return
            for row, stamp_s in zip(samples, stamps_s, strict=True):
                if not any(kind in row[0] for kind in _NOT_SHARED):
                    outlet.push_sample(list(row), float(stamp_s))
            self._repeat(float(stamps_s[-1]))

    def _remember(self, stream: int, samples: NDArray[Any] | Sequence[Sequence[str]]) -> None:
        for row in samples if stream in self._strings else ():
            for kind in _STATES:
                if kind in row[0]:
                    self._last[kind] = stream, row[0]

    def _repeat(self, now_s: float) -> None:
        """Say again how it stands: a window that was opened later must know."""
        if now_s - self._repeated_s >= REPEAT_S:
            self._repeated_s = now_s
            for stream, text in self._last.values():
                self._outlets[stream].push_sample([text], now_s)

    def offset(self, stream: int, offset: Offset) -> None:
        """As the recorder's."""
        self._recorder.offset(stream, offset)

    def trouble(self) -> str:
        """As the recorder's."""
        return self._recorder.trouble()

    def restart(self) -> None:
        """As the recorder's."""
        self._recorder.restart()

    def close(self) -> None:
        """As the recorder's; then the outlets end."""
        self._recorder.close()
        self._outlets.clear()
