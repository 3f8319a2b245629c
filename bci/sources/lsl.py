"""Streams of the Lab Streaming Layer as sources (design §5.1-5.4, §5.7).

Two threads a stream. *Acquisition* is blocked inside liblsl, copies out what came and delivers it; every event of a
stream comes from this one thread, in order. *Watch* makes the calls that may block for seconds (clock offsets, looking
for a sender that restarted) and leaves what it finds as a note for the first.

A restarted sender is a new one: same name, type and source_id, another ``uid``. liblsl, too, finds it and goes over to
it without a word, whatever its rate and labels; so an inlet that has done so is not read any more, and data count
again only from an inlet of our own whose full description was compared with the first one.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable

import pylsl

from bci.errors import SourceError
from bci.lsl import describe, find_stream, quoted, spec_from_xml, visible_streams
from bci.ports import Ended, Offset, Pulled, Resumed, Silent, SourceEvent
from bci.sources.lsl_inlet import Inlet, difference, identity
from bci.types import StreamSpec

TICK_S = 0.25  # the longest a pull blocks: so soon silence, notes and close() are seen
QUIET_S = 0.25  # shortest silence that is looked into
UNMEASURED_S = 1.0  # taken for silence while the chunk interval is not known yet
LINGER_S = 0.3  # after an end marker: the last samples may still be on their way
DRAIN_LIMIT_S = 5.0  # a sender that does not stop cannot hold up the end for longer
OFFSET_EVERY_S = 5.0
PRESENCE_EVERY_S = 2.0  # for irregular streams, whose silence says nothing
LOOK_S = 0.5
INFO_S = 1.0


def open_source(
    name: str = "",
    type_: str = "",
    source_id: str = "",
    *,
    wait_s: float = 5.0,
    silence_s: float | None = None,
    reconnect_s: float = 30.0,
) -> LslSource:
    """Find one LSL stream and open an inlet to it; samples flow from ``start`` on.

    Parameters
    ----------
    name, type_, source_id
        What the stream must match; empty matches all.
    wait_s
        How long to wait for it.
    silence_s
        After how long without data `Silent` is delivered; None: the larger of 0.25 s and three chunk intervals as
        measured, and 1 s until that is measured. Irregular streams are never silent.
    reconnect_s
        How long after its last sample the stream ends with an error.

    Raises
    ------
    SourceError
        No such stream, more than one, or its description cannot be had.
    """
    info, _ = find_stream(name, type_, source_id, wait_s=wait_s)
    return LslSource(Inlet(info, max(wait_s, INFO_S)), silence_s=silence_s, reconnect_s=reconnect_s)


def find_markers(
    primary: StreamSpec,
    names: tuple[str, ...] = (),
    *,
    wait_s: float = 5.0,
    silence_s: float | None = None,
    reconnect_s: float = 30.0,
) -> list[LslSource]:
    """The marker streams that belong to a session: those named, else those of the primary's group.

    A primary without a group goes with every stream of type Markers that has none either, of any host. Our own
    (``bci-``) are left out, and so is one that does not answer. None is fine, unless it was named.

    Parameters
    ----------
    primary
        The stream that defines the hops.
    names
        The marker streams by name; empty: those that are there now.
    wait_s, silence_s, reconnect_s
        As of `open_source`; only those named are waited for.

    Raises
    ------
    SourceError
        A named stream is not there, or there are two of it; those already open are closed.
    """
    if names:
        with contextlib.ExitStack() as undo:
            named = []
            for name in names:
                named.append(open_source(name, wait_s=wait_s, silence_s=silence_s, reconnect_s=reconnect_s))
                undo.callback(named[-1].close)
            undo.pop_all()
            return named
    sources = []
    for info, spec in visible_streams(1.0):
        if not spec.is_marker_stream or spec.is_own:
            continue
        with contextlib.suppress(SourceError):
            inlet = Inlet(info, INFO_S)
            # a stream of another group belongs to somebody else's session
            if inlet.spec.group == primary.group and (primary.group or spec.type.lower() == "markers"):
                sources.append(LslSource(inlet, silence_s=silence_s, reconnect_s=reconnect_s))
    return sorted(sources, key=lambda source: source.spec.name)


class LslSource:
    """One LSL stream, numeric or string (`bci.ports.Source`). Made by `open_source` or `find_markers`.

    ``deliver`` may block: liblsl keeps the last 120 s meanwhile. The last event is always one `Ended`.
    A sender that restarts is taken up again when its shape is the same: `Resumed` (``reconnected``), then its samples;
    `Silent` comes before it only if the pause was long enough.
    """

    def __init__(self, inlet: Inlet, *, silence_s: float | None = None, reconnect_s: float = 30.0):
        self._inlet: Inlet | None = inlet  # None: liblsl lost it or moved it; the watch looks for the sender
        self._spec = spec = inlet.spec
        self._silence_s = silence_s
        self._reconnect_s = reconnect_s
        self._is_regular = spec.sfreq_hz > 0
        self._deliver: Callable[[SourceEvent], None] = lambda event: None
        self._threads: list[threading.Thread] = []
        self._is_finishing = self._is_stopping = False
        # acquisition's own
        self._last_s = 0.0  # arrival of the last samples, or the start
        self._intervals_s: deque[float] = deque(maxlen=32)
        self._is_silent = self._is_new_sender = False
        # between the two threads
        self._notes: deque[Offset | Inlet | SourceError] = deque()  # watch -> acquisition
        self._noted = threading.Event()
        self._is_quiet = False  # acquisition -> watch: look whether the sender is still there
        self._wake = threading.Event()
        self._gone_since_s: float | None = None  # watch -> acquisition: the sender did not answer
        self._retired: deque[Inlet] = deque()  # acquisition -> watch: destroying one may take a while

    @property
    def spec(self) -> StreamSpec:
        """The stream's description; of the present sender, after a reconnect."""
        return self._spec

    def start(self, deliver: Callable[[SourceEvent], None]) -> None:
        """Subscribe and deliver from now on, from a thread of the source's own."""
        self._deliver = deliver
        assert self._inlet is not None
        self._last_s = pylsl.local_clock()
        name = self._spec.name[:12]
        self._threads = [
            threading.Thread(target=self._acquire, name=f"lsl {name}", daemon=True),
            threading.Thread(target=self._watch, args=(self._inlet,), name=f"lsl watch {name}", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """The sender has said that it is done: take what still comes, then deliver ``Ended(None)``. Does not wait."""
        self._is_finishing = True

    def close(self) -> None:
        """Stop: deliver what liblsl still holds, then ``Ended(None)``. Waits for it, a few seconds at most.

        Not from a thread that ``deliver`` may be waiting for: call `finish` there, or close the inbox first.
        """
        self._is_stopping = True
        self._wake.set()
        self._noted.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(2 * DRAIN_LIMIT_S)
        if not any(thread.is_alive() for thread in self._threads):  # else liblsl is still inside them
            self._inlet = None
            self._notes.clear()
            self._retired.clear()

    # --- acquisition -------------------------------------------------------------------------------------------------

    def _acquire(self) -> None:
        error: Exception | None = None
        try:
            assert self._inlet is not None
            if offset := self._inlet.offset(INFO_S):  # before the first sample, so that none is taken for old
                self._deliver(offset)
            error = self._pull_until_end()
        except Exception as problem:
            error = problem if isinstance(problem, SourceError) else SourceError(f"{self._name}: {problem!r}")
        self._is_stopping = True
        self._wake.set()
        self._deliver(Ended(error))

    def _pull_until_end(self) -> SourceError | None:
        tick_s = min(TICK_S, self._silence_s or TICK_S)
        timeout_s = tick_s
        while not (self._is_stopping or self._is_finishing):
            if self._pull(timeout_s):
                timeout_s = tick_s
            elif error := self._check_silence(pylsl.local_clock()):
                return error
            else:  # wake just when silence is due
                rest_s = self._last_s + self._silence_now_s - pylsl.local_clock()
                timeout_s = min(tick_s, max(rest_s, 0.001)) if not self._is_silent else tick_s
            if self._inlet is not None and self._inlet.has_moved():
                self._drain(0.0)
                self._give_up_inlet()
            if self._notes and (error := self._read_notes()):
                return error
        self._drain(0.0 if self._is_stopping else LINGER_S)
        return None

    def _pull(self, timeout_s: float) -> bool:
        if (inlet := self._inlet) is None:
            self._noted.wait(timeout_s)
            self._noted.clear()
            return False
        asked_s = pylsl.local_clock()
        try:
            samples, stamps_s = inlet.pull(timeout_s)
        except pylsl.util.LostError:  # a sender without source_id: liblsl gives up at once
            self._give_up_inlet()
            return False
        arrival_s = pylsl.local_clock()
        if not len(stamps_s):
            return False
        # silence that ended before this thread could see it
        is_overslept = self._is_regular and arrival_s - asked_s >= self._silence_now_s
        if self._is_silent or self._is_new_sender or is_overslept:
            self._deliver(Resumed(self._spec, arrival_s - self._last_s, self._is_new_sender))
            self._is_silent = self._is_new_sender = False
        else:
            self._intervals_s.append(arrival_s - self._last_s)
        self._deliver(Pulled(samples, stamps_s, arrival_s))
        self._last_s = arrival_s
        self._is_quiet = False
        return True

    def _drain(self, timeout_s: float) -> None:
        limit_s = pylsl.local_clock() + DRAIN_LIMIT_S
        while self._pull(0.0 if self._is_stopping else timeout_s) and pylsl.local_clock() < limit_s:
            pass

    @property
    def _typical_interval_s(self) -> float:
        # one chunk may come in two or three pulls: the upper quartile is the interval of whole ones
        return sorted(self._intervals_s)[3 * len(self._intervals_s) // 4]

    @property
    def _quiet_now_s(self) -> float:
        return max(QUIET_S, 3 * self._typical_interval_s) if len(self._intervals_s) >= 4 else UNMEASURED_S

    @property
    def _silence_now_s(self) -> float:
        return self._silence_s or self._quiet_now_s

    def _check_silence(self, now_s: float) -> SourceError | None:
        since_s = self._last_s if self._is_regular else self._gone_since_s
        if since_s is not None and now_s - since_s > self._reconnect_s:
            return SourceError(f"{self._name}: no samples for {self._reconnect_s:g} s; {self._whereabouts()}")
        if self._is_regular:
            silent_s = now_s - self._last_s
            if silent_s >= self._silence_now_s and not self._is_silent:
                self._is_silent = True
                self._deliver(Silent(self._last_s))
            if silent_s >= min(self._silence_now_s, self._quiet_now_s):
                self._look_for_sender()
        return None

    def _whereabouts(self) -> str:
        if self._gone_since_s is None:
            return "its sender still answers but sends nothing: start it again"
        others = pylsl.resolve_bypred(f"name={quoted(self._spec.name)}", 1, LOOK_S)
        if not others:
            return "its sender has gone: start it again"
        specs = [spec_from_xml(info.as_xml()) for info in others]
        return f"its sender has gone, but there is {describe(specs)}: if that is meant, start again with it"

    def _look_for_sender(self) -> None:
        if not self._is_quiet:
            self._is_quiet = True
            self._wake.set()

    def _give_up_inlet(self) -> None:
        if self._inlet is not None:
            self._retired.append(self._inlet)
        self._inlet = None
        self._noted.clear()
        self._look_for_sender()

    def _read_notes(self) -> SourceError | None:
        while self._notes:
            note = self._notes.popleft()
            if isinstance(note, Offset):
                self._deliver(note)
                continue
            self._drain(0.0)  # what the old sender still gave comes first
            if isinstance(note, SourceError):
                return note
            if self._inlet is not None:
                self._retired.append(self._inlet)
            self._inlet, self._spec, self._is_new_sender = note, note.spec, True
            self._is_quiet = False
        return None

    @property
    def _name(self) -> str:
        return f"stream {self._spec.name!r}"

    # --- watch -------------------------------------------------------------------------------------------------------

    def _watch(self, inlet: Inlet) -> None:
        try:
            self._watch_until_end(inlet)
        except Exception as problem:  # without the watch nobody would see a restart: better to end than to go on
            self._note(SourceError(f"{self._name}: {problem!r}"))

    def _watch_until_end(self, inlet: Inlet) -> None:
        next_offset_s = next_look_s = 0.0
        # `has_moved` knows only of what happens after the first clock offset: until the sender was seen after it, look
        is_measured = is_confirmed = False
        while not self._is_stopping:
            self._wake.clear()
            is_due = not self._is_regular and pylsl.local_clock() >= next_look_s
            if self._is_quiet or is_due or not is_confirmed or self._gone_since_s:
                if (found := self._find_successor(inlet)) is not None:
                    self._note(found)
                if isinstance(found, Inlet):
                    inlet, next_offset_s, is_measured, is_confirmed = found, 0.0, False, False
                elif self._gone_since_s is None:
                    is_confirmed = is_measured
                next_look_s = pylsl.local_clock() + PRESENCE_EVERY_S
            if pylsl.local_clock() >= next_offset_s:
                if offset := inlet.offset(0.0 if self._is_quiet else TICK_S):
                    self._note(offset)
                    is_measured = True
                next_offset_s = pylsl.local_clock() + (OFFSET_EVERY_S if offset else TICK_S)
            self._retired.clear()
            if self._gone_since_s is None and not self._is_stopping:  # looking for one that has gone waits by itself
                due_s = next_offset_s if self._is_regular else min(next_offset_s, next_look_s)
                is_looking = self._is_quiet or not is_confirmed
                self._wake.wait(TICK_S if is_looking else max(due_s - pylsl.local_clock(), 0.0))

    def _note(self, note: Offset | Inlet | SourceError) -> None:
        self._notes.append(note)
        self._noted.set()

    def _find_successor(self, inlet: Inlet) -> Inlet | SourceError | None:
        """An open inlet to the sender that took the place of the one we had; None while there is none."""
        old = inlet.spec
        found = pylsl.resolve_bypred(identity(old), 1, LOOK_S)
        if any(info.uid() == old.uid for info in found):
            self._gone_since_s = None
            return None
        is_sure = self._gone_since_s is not None and (self._is_quiet or not self._is_regular)
        if self._gone_since_s is None:
            self._gone_since_s = pylsl.local_clock()
        if not found:
            return None
        try:
            new = Inlet(max(found, key=lambda info: info.created_at()), INFO_S)
            new.open()
        except (SourceError, pylsl.util.TimeoutError, pylsl.util.LostError):
            return None
        if not is_sure and pylsl.resolve_byprop("uid", old.uid, 1, LOOK_S):
            self._gone_since_s = None  # two programs send the same, and ours is still there
            return None
        if found := difference(old, new.spec):
            return SourceError(f"{self._name} came back in another shape: {found}; start again to use it")
        self._gone_since_s = None
        return new
