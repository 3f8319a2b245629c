"""Plays pushes into LSL outlets: the shell around `bci.sources.schedule`, for recordings and the simulated person."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psutil
import pylsl
from msgspec.structs import replace

from bci.errors import SourceError
from bci.lsl import info_from_spec
from bci.ports import END_MARKER
from bci.sources.schedule import Push
from bci.types import StreamSpec, marker_spec

END_DELAY_S = 0.1  # of the end marker behind the last samples, which travel on another connection
LINGER_S = 5.0  # how long outlets stay for consumers that have not taken everything
GROUP_WAIT_S = 1.0  # for consumers of the other streams, once the primary stream has its own


@dataclass(slots=True)
class Played:
    """What has left. ``shift_s`` is what was added to every stamp."""

    specs: tuple[StreamSpec, ...]
    n_samples: list[int]
    shift_s: float = 0.0
    last_stamp_s: float = 0.0  # of the primary stream, as sent
    max_late_s: float = 0.0
    is_interrupted: bool = False


def outlet_specs(specs: Sequence[StreamSpec], primary: int, name: str, origin: str) -> tuple[StreamSpec, ...]:
    """The streams as the outlets announce them.

    The primary stream is called ``name``, its markers (the first string stream of that type; one is added where there
    is none) ``name-markers``, the others ``name-`` and what they were called. ``origin`` says what is played: with the
    name, it makes source ids that are the same next time, so that a consumer recovers when the player starts again.
    """
    specs = list(specs)
    strings = [i for i, s in enumerate(specs) if s.format == "string"]
    if not strings:
        strings = [len(specs)]
        specs.append(marker_spec("markers"))
    markers = next((i for i in strings if "marker" in specs[i].type.lower()), strings[0])
    group = uuid.uuid4().hex
    out, taken = [], set()
    for i, spec in enumerate(specs):
        called = name if i == primary else f"{name}-markers" if i == markers else f"{name}-{spec.name}"
        while called in taken:
            called += "'"
        taken.add(called)
        digest = hashlib.sha256(f"{origin}\n{name}\n{i}".encode()).hexdigest()
        out.append(replace(spec, name=called, source_id=f"rolandic-{digest[:16]}", group=group))
    return tuple(out)


class Player:
    """Opens one outlet a stream at once; `wait`, `play` and `finish` in this order, then `close`."""

    def __init__(self, specs: Sequence[StreamSpec], primary: int):
        self.specs, self._primary = tuple(specs), primary
        self._outlets = [pylsl.StreamOutlet(info_from_spec(s)) for s in self.specs]

    def wait(self, n: int, timeout_s: float, stop: threading.Event) -> None:
        """Block until ``n`` consumers read the primary stream; then up to a second for those of the other streams.

        Raises
        ------
        SourceError
            They did not come within ``timeout_s``.
        """
        deadline_s = pylsl.local_clock() + timeout_s
        seen = 0
        while not stop.is_set():
            before, seen = seen, self._n_consumers(n)
            if min(before, seen) >= n or (n == 1 and seen):  # a connection that only asks for the description is short
                break
            if pylsl.local_clock() > deadline_s:
                name = self.specs[self._primary].name
                raise SourceError(
                    f"{seen} of {n} consumers of stream {name!r} came within {timeout_s:g} s; "
                    "start them meanwhile, or give a longer --wait-timeout"
                )
            stop.wait(0.05)
        deadline_s = pylsl.local_clock() + GROUP_WAIT_S
        for outlet in self._outlets:
            while not (outlet.have_consumers() or stop.is_set() or pylsl.local_clock() > deadline_s):
                stop.wait(0.02)

    def _n_consumers(self, wanted: int) -> int:
        """Of the primary stream. LSL tells whether there are any; more are counted by connections to the port."""
        outlet = self._outlets[self._primary]
        if not outlet.have_consumers():
            return 0
        if wanted == 1:
            return 1
        desc = outlet.get_info().as_xml()
        ports = {int(desc.split(f"<{tag}>")[1].split("<")[0]) for tag in ("v4data_port", "v6data_port")} - {0}
        connections = psutil.Process().net_connections("tcp")
        return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port in ports for c in connections)

    def play(
        self, pushes: Iterable[Push], first_stamp_s: float, lowest_stamp_s: float, speed: float, stop: threading.Event
    ) -> Played:
        """Push what is due until all is gone or ``stop`` is set.

        All stamps are shifted by one constant, by which ``first_stamp_s`` (the primary stream's first) becomes the time
        of its start; more where ``lowest_stamp_s`` would not be positive, for liblsl replaces 0 and -1. With a speed
        other than 1 stamps are spaced as recorded, so at ``speed=4`` they run ahead of the clock.
        """
        played = Played(self.specs, [0] * len(self.specs))
        zero_s = None
        for push in pushes:
            if zero_s is None:
                zero_s = pylsl.local_clock() + max(0.0, -push.due_s / speed)
                played.shift_s = max(zero_s - first_stamp_s, 1.0 - lowest_stamp_s)
            while (early_s := zero_s + push.due_s / speed - pylsl.local_clock()) > 0 and not stop.is_set():
                stop.wait(min(early_s, 0.5))
            if stop.is_set():
                played.is_interrupted = True
                break
            played.max_late_s = max(played.max_late_s, -early_s)
            stamps_s = (push.stamps_s + played.shift_s).tolist()  # a list: pylsl takes an array of one for a number
            self._outlets[push.stream].push_chunk(push.samples, stamps_s)
            if push.stream == self._primary:
                played.last_stamp_s = stamps_s[-1]
            played.n_samples[push.stream] += len(push.stamps_s)
        return played

    def finish(self, played: Played, linger_s: float = LINGER_S) -> None:
        """Push the end marker, stamped as the primary stream's last sample; then wait for the consumers to go.

        At most ``linger_s``: what an outlet has not sent is lost when it closes.
        """
        wait = threading.Event().wait
        wait(END_DELAY_S)
        for spec, outlet in zip(self.specs, self._outlets, strict=True):
            if spec.format == "string":
                outlet.push_sample([END_MARKER] * len(spec.channels), played.last_stamp_s or pylsl.local_clock())
        deadline_s = pylsl.local_clock() + linger_s
        while any(outlet.have_consumers() for outlet in self._outlets) and pylsl.local_clock() < deadline_s:
            wait(0.05)

    def close(self) -> None:
        """Take the outlets from the network."""
        self._outlets.clear()
