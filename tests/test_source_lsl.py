"""`LslSource` on real LSL between processes: nothing lost, nothing altered, and every restart of a sender told."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from bci.errors import SourceError
from bci.ports import Ended, Offset, Pulled, Resumed, Silent
from bci.sources.lsl import LslSource, find_markers, open_source
from bci.sources.lsl_inlet import Inlet, difference
from bci.types import DTYPES, Channel
from tests.helpers.outlets import START_S, Outlet, marker_spec, numeric_spec, rows

WAIT_S = 30.0  # a bound, never the expected time


class Receiver:
    """Keeps what a source delivers, and waits for it; ``block`` holds the source's thread inside ``deliver``."""

    def __init__(self):
        self.events = []
        self._changed = threading.Condition()
        self._free = threading.Event()
        self._free.set()

    def __call__(self, event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        assert self._free.wait(WAIT_S)

    def block(self):
        self._free.clear()

    def release(self):
        self._free.set()

    def of(self, kind):
        return [event for event in list(self.events) if isinstance(event, kind)]

    def wait_for(self, condition, what):
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_S), f"{what} never came; had {self.kinds}"

    def wait_for_event(self, kind):
        self.wait_for(lambda: self.of(kind), kind.__name__)
        return self.of(kind)[0]

    def wait_for_samples(self, n):
        self.wait_for(lambda: len(self.stamps_s) >= n, f"{n} samples")

    @property
    def kinds(self):
        return [type(event).__name__ for event in self.events if not isinstance(event, Offset)]

    @property
    def reconnects(self):
        return [resumed for resumed in self.of(Resumed) if resumed.reconnected]

    @property
    def samples(self):
        return np.concatenate([event.samples for event in self.of(Pulled)])

    @property
    def labels(self):
        return [row[0] for event in self.of(Pulled) for row in event.samples]

    @property
    def stamps_s(self):
        return [stamp_s for event in self.of(Pulled) for stamp_s in event.stamps_s]


@pytest.fixture
def started():
    """Start a source that is closed when the test ends."""
    sources = []

    def start(source):
        receiver = Receiver()
        sources.append((source, receiver))
        source.start(receiver)
        return receiver

    yield start
    for source, receiver in sources:
        receiver.release()
        source.close()
        assert not any(thread.is_alive() for thread in source._threads)
        assert receiver.kinds.count("Ended") == 1
        assert receiver.kinds[-1] == "Ended"


def connected(spec, started, first=0, **options):
    """An outlet and a source that has had its first 10 samples."""
    outlet = Outlet(spec, first)
    source = open_source(spec.name, **options)
    receiver = started(source)
    outlet.wait_for_consumer()
    outlet.push(10)
    receiver.wait_for_samples(10)
    return outlet, source, receiver


# --- samples ---------------------------------------------------------------------------------------------------------


def extremes(format_):
    dtype = np.dtype(DTYPES[format_])
    if dtype.kind == "f":
        info = np.finfo(dtype)
        values = [np.nan, np.inf, -np.inf, -0.0, info.max, info.min, info.tiny, info.smallest_subnormal, 1 / 3, 0, 1, 2]
    else:
        info = np.iinfo(dtype)
        values = [info.max, info.min, info.max - 1, info.min + 1, 0, -1, 1, 2, 3, 4, 5, 6]
    return np.array(values, dtype).reshape(4, 3)


@pytest.mark.parametrize("format_", [f for f in DTYPES if f != "int64" or sys.platform != "win32"])
def test_every_format_bit_for_bit(format_, unique_name, started):
    values, stamps_s = extremes(format_), [1.0, 1.5, 1e6 + 1 / 3, 2.0]
    with Outlet(numeric_spec(unique_name, 3, format_=format_)) as outlet:
        source = open_source(unique_name)
        receiver = started(source)
        outlet.wait_for_consumer()
        outlet.push_values(values, stamps_s)
        receiver.wait_for_samples(4)
        assert receiver.samples.dtype == values.dtype
        assert receiver.samples.tobytes() == values.tobytes()
        assert receiver.stamps_s == stamps_s


def test_spec_has_channels_before_the_start(unique_name):
    spec = numeric_spec(unique_name, 3, 500.0, group="g")
    with Outlet(spec) as outlet:
        source = open_source(unique_name)
        assert source.spec.uid == outlet.uid
        assert msgspec.structs.replace(source.spec, uid="", hostname="", created_s=0.0) == spec
        source.close()


def test_pulled_arrays_belong_to_the_receiver(unique_name, started):
    outlet, _, receiver = connected(numeric_spec(unique_name), started)
    with outlet:
        outlet.push(10)
        receiver.wait_for_samples(20)
        first, *_, last = receiver.of(Pulled)
        assert not np.shares_memory(first.samples, last.samples)
        first.samples[:] = -1
        first.stamps_s[:] = -1
        assert (last.samples[:, 0] >= 0).all()
        assert (last.stamps_s >= 0).all()


@pytest.mark.slow
def test_64_channels_at_1_khz_complete_while_a_core_is_busy(unique_name, started):
    n = 5000
    with Outlet(numeric_spec(unique_name, 64, 1000.0, "int32")) as outlet, Busy():
        receiver = started(open_source(unique_name))
        outlet.wait_for_consumer()
        outlet.stream(n, 20)
        outlet.wait()
        receiver.wait_for_samples(n)
        assert (receiver.samples == rows(0, n, 64, "int32")).all()
        assert (np.diff(receiver.stamps_s) > 0).all()
        arrivals_s = np.array([event.arrival_s for event in receiver.of(Pulled)])
        assert (np.diff(arrivals_s) >= 0).all()
        assert all(event.arrival_s >= event.stamps_s[-1] for event in receiver.of(Pulled))


class Busy:
    """A process that keeps a core busy."""

    def __enter__(self):
        import subprocess

        self.process = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(WAIT_S)


def test_slow_receiver_loses_nothing(unique_name, started):
    outlet, _, receiver = connected(numeric_spec(unique_name, 4, 1000.0, "int32"), started)
    with outlet:
        receiver.block()
        for _ in range(300):
            outlet.push(10)  # 3 s of the stream while the receiver takes one chunk
        receiver.release()
        receiver.wait_for_samples(3010)
        assert (receiver.samples == rows(0, 3010, 4, "int32")).all()


def test_sender_that_ends_while_the_receiver_is_stalled_loses_nothing(unique_name, started):
    spec = numeric_spec(unique_name, 4, 1000.0, "int32")
    with Outlet(spec) as outlet:
        source = open_source(unique_name)
        receiver, witness = started(source), started(open_source(unique_name))
        n = 0
        limit_s = time.monotonic() + WAIT_S
        while not (receiver.stamps_s and witness.stamps_s):  # until both have subscribed
            outlet.push(1)
            n += 1
            assert time.monotonic() < limit_s
        receiver.block()
        for _ in range(100):
            outlet.push(10)
        witness.wait_for(lambda: witness.samples[-1, 0] == n + 999, "the last row")
        # and it is through the network to the stalled one too: what it holds, and what liblsl holds for it
        waiting = source._inlet._inlet.samples_available
        while receiver.samples[-1, 0] + waiting() < n + 999:
            assert time.monotonic() < limit_s
            time.sleep(0.005)
        outlet.end()
    receiver.release()
    receiver.wait_for(lambda: receiver.samples[-1, 0] == n + 999, "the last row")
    source.close()
    first = receiver.samples[0, 0]
    assert (receiver.samples == rows(first, n + 1000 - first, 4, "int32")).all()


def test_finish_takes_what_still_comes_then_ends_in_order(unique_name, started):
    outlet, source, receiver = connected(numeric_spec(unique_name), started)
    with outlet:
        receiver.block()
        outlet.push(40)
        source.finish()
        outlet.push(40)
        receiver.release()
        assert receiver.wait_for_event(Ended).error is None
        assert (receiver.samples == rows(0, 90, 4, "float32")).all()


def test_close_before_start_and_twice(unique_name):
    with Outlet(numeric_spec(unique_name)):
        source = open_source(unique_name)
        source.close()
        source.close()


def test_an_error_in_deliver_ends_the_source(unique_name):
    events, ended = [], threading.Event()

    def deliver(event):
        events.append(event)
        if isinstance(event, Ended):
            ended.set()
        elif isinstance(event, Pulled):
            raise ValueError("the receiver is broken")

    with Outlet(numeric_spec(unique_name)) as outlet:
        source = open_source(unique_name)
        source.start(deliver)
        outlet.wait_for_consumer()
        outlet.push(1)
        assert ended.wait(WAIT_S)
        assert "the receiver is broken" in str(events[-1].error)
        source.close()


def test_an_error_in_the_watch_ends_the_source(unique_name, started, monkeypatch):
    def broken(*_):
        raise ValueError("the watch is broken")

    with Outlet(numeric_spec(unique_name)):
        source = open_source(unique_name)
        monkeypatch.setattr(source, "_find_successor", broken)
        error = started(source).wait_for_event(Ended).error
        assert isinstance(error, SourceError)
        assert unique_name in str(error)
        assert "the watch is broken" in str(error)


def test_clock_offset_is_measured_at_once(unique_name, started):
    outlet, _, receiver = connected(numeric_spec(unique_name), started)
    with outlet:
        offset = receiver.wait_for_event(Offset)
        assert abs(offset.offset_s) < 0.1  # one machine, one clock
        assert 0 < offset.uncertainty_s < 0.1
        assert offset.collected_s > 0


# --- markers ---------------------------------------------------------------------------------------------------------


def test_two_marker_streams_with_any_text(unique_name, started):
    labels = ["left", "", "é ü 脑", "a" * 5000, "with\nlines", "{'json': 1}"]
    with Outlet(marker_spec(unique_name + "-a")) as a, Outlet(marker_spec(unique_name + "-b")) as b:
        receivers = [started(source) for source in find_markers(numeric_spec("x"), (a.spec.name, b.spec.name))]
        for outlet in (a, b):
            outlet.wait_for_consumer()
        a.push_labels(labels, [START_S + k for k in range(len(labels))])
        b.push_labels(["right"], [START_S + 0.5])
        receivers[0].wait_for_samples(len(labels))
        receivers[1].wait_for_samples(1)
        assert receivers[0].labels == labels
        assert receivers[0].stamps_s == [START_S + k for k in range(len(labels))]
        assert (receivers[1].labels, receivers[1].stamps_s) == (["right"], [START_S + 0.5])


def test_markers_of_the_group_or_all_that_have_none(unique_name):
    mine, other, free = unique_name + "-mine", unique_name + "-other", unique_name + "-free"
    with (
        Outlet(marker_spec(mine, group=unique_name)),
        Outlet(marker_spec(other, group="another")),
        Outlet(marker_spec(free)),
        Outlet(numeric_spec(unique_name)),
    ):
        in_group = find_markers(numeric_spec(unique_name, group=unique_name))
        ungrouped = find_markers(numeric_spec(unique_name))
        assert [source.spec.name for source in in_group] == [mine]
        found = {source.spec.name for source in ungrouped}
        assert free in found
        assert not {mine, other, unique_name} & found  # a group of its own: somebody else's session
        assert find_markers(numeric_spec(unique_name, group="nobody")) == []
        for source in in_group + ungrouped:
            source.close()


def test_a_named_marker_stream_that_is_missing_closes_the_others(unique_name, monkeypatch):
    closed = []
    monkeypatch.setattr(LslSource, "close", lambda source: closed.append(source.spec.name))
    with Outlet(marker_spec(unique_name)), pytest.raises(SourceError, match=r"no-such-markers.* within 0.5 s"):
        find_markers(numeric_spec("x"), (unique_name, "no-such-markers"), wait_s=0.5)
    assert closed == [unique_name]


@pytest.mark.parametrize("is_named", [True, False])
def test_marker_streams_wait_for_their_sender_as_long_as_is_said(is_named, unique_name, started):
    with Outlet(marker_spec(unique_name, group=unique_name)) as outlet:
        names = (unique_name,) if is_named else ()
        (source,) = find_markers(numeric_spec("x", group=unique_name), names, reconnect_s=0.5)
        receiver = started(source)
        outlet.wait_for_consumer()
        outlet.kill()
        assert "no samples for 0.5 s" in str(receiver.wait_for_event(Ended).error)


def test_quiet_markers_are_not_silent_and_a_restarted_sender_is_taken_up(unique_name, started):
    spec = marker_spec(unique_name)
    with Outlet(spec) as outlet:
        receiver = started(open_source(unique_name))
        outlet.wait_for_consumer()
        outlet.push_labels(["before"], [START_S])
        receiver.wait_for_samples(1)
        outlet.kill()
    with Outlet(spec) as outlet:
        outlet.wait_for_consumer()
        outlet.push_labels(["after"], [START_S + 1])
        receiver.wait_for_samples(2)
        assert receiver.kinds == ["Pulled", "Resumed", "Pulled"]
        assert receiver.labels == ["before", "after"]


def test_markers_end_when_their_sender_stays_away(unique_name, started):
    with Outlet(marker_spec(unique_name)) as outlet:
        receiver = started(open_source(unique_name, reconnect_s=0.5))
        outlet.wait_for_consumer()
        outlet.kill()
        error = receiver.wait_for_event(Ended).error
        assert isinstance(error, SourceError)
        assert unique_name in str(error)


# --- silence and restart ---------------------------------------------------------------------------------------------


def test_silent_then_resumed(unique_name, started):
    outlet, source, receiver = connected(numeric_spec(unique_name), started, silence_s=0.5)
    with outlet:
        silent = receiver.wait_for_event(Silent)
        assert silent.since_s == receiver.of(Pulled)[-1].arrival_s
        outlet.push(10)
        receiver.wait_for_samples(20)
        resumed = receiver.wait_for_event(Resumed)
        assert not resumed.reconnected
        assert resumed.silent_s >= 0.5
        assert resumed.spec == source.spec
        kinds = receiver.kinds
        assert kinds.index("Silent") < kinds.index("Resumed") < len(kinds) - 1 - kinds[::-1].index("Pulled")
        assert (receiver.samples == rows(0, 20, 4, "float32")).all()


def test_a_sender_that_has_not_begun_is_silent_until_it_does(unique_name, started):
    with Outlet(numeric_spec(unique_name)) as outlet:
        receiver = started(open_source(unique_name, silence_s=0.1))
        receiver.wait_for_event(Silent)
        outlet.push(10)
        receiver.wait_for_samples(10)
        assert receiver.kinds[:2] == ["Silent", "Resumed"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot suspend a process by a signal")
def test_a_suspended_sender_goes_on_where_it_was(unique_name, started):
    import os
    import signal

    outlet, _, receiver = connected(numeric_spec(unique_name), started, silence_s=0.1)
    with outlet:
        outlet.suspend()
        receiver.wait_for_event(Silent)
        os.kill(outlet._process.pid, signal.SIGCONT)
        outlet.push(10)
        receiver.wait_for_samples(20)
        assert not receiver.wait_for_event(Resumed).reconnected
        assert (receiver.samples == rows(0, 20, 4, "float32")).all()


@pytest.mark.parametrize("source_id", [None, ""], ids=["with source_id", "without source_id"])
def test_restart_with_the_same_shape(source_id, unique_name, started):
    spec = numeric_spec(unique_name, source_id=source_id)
    outlet, source, receiver = connected(spec, started, silence_s=0.2)
    outlet.__exit__()
    with Outlet(spec, first=1000) as again:
        again.wait_for_consumer()
        again.push(30)
        receiver.wait_for_samples(40)
        (resumed,) = receiver.reconnects
        assert resumed.spec.uid == source.spec.uid == again.uid != outlet.uid
        at = receiver.events.index(resumed)
        before = np.concatenate([e.samples for e in receiver.events[:at] if isinstance(e, Pulled)])
        after = np.concatenate([e.samples for e in receiver.events[at:] if isinstance(e, Pulled)])
        assert (before == rows(0, 10, 4, "float32")).all()
        assert (after == rows(1000, 30, 4, "float32")).all()  # all since it had a consumer, once


def test_restart_too_quick_for_the_silence_timer(unique_name, started):
    spec = numeric_spec(unique_name)
    outlet, _, receiver = connected(spec, started, silence_s=60.0)
    outlet.__exit__()
    with Outlet(spec, first=1000) as again:
        again.wait_for_consumer()
        again.push(10)
        receiver.wait_for_samples(20)
        assert not receiver.of(Silent)
        assert len(receiver.reconnects) == 1


def test_restart_while_the_receiver_is_stalled(unique_name, started):
    spec = numeric_spec(unique_name, format_="int32")
    outlet, _, receiver = connected(spec, started, silence_s=60.0)
    with outlet:
        receiver.wait_for_event(Offset)  # it comes before the first sample
        receiver.block()
        outlet.push(10)
        outlet.push(10)
        receiver.wait_for_samples(11)  # the source stands in `deliver`
    with Outlet(spec, first=1000) as again:
        again.wait_for_consumer()  # liblsl has gone over to it by itself
        again.push(10)
        receiver.release()
        limit_s = time.monotonic() + WAIT_S
        while not receiver.reconnects:
            again.push(1)
            assert time.monotonic() < limit_s
        counter = receiver.samples[:, 0]
        old = counter[counter < 1000]
        assert (old == np.arange(len(old))).all()  # what had left the sender when it was killed
        assert (np.diff(counter) > 0).all()  # nothing twice


def test_second_restart(unique_name, started):
    spec = numeric_spec(unique_name)
    outlet, _, receiver = connected(spec, started, silence_s=0.2)
    for k in (1, 2):
        outlet.__exit__()
        outlet = Outlet(spec, first=1000 * k)
        outlet.wait_for_consumer()
        outlet.push(10)
        receiver.wait_for_samples(10 + 10 * k)
    with outlet:
        assert len(receiver.reconnects) == 2
        assert set(receiver.samples[:, 0] // 1000) == {0, 1, 2}


CHANGES = {
    "rate": ({"sfreq_hz": 500.0}, "rate 500 Hz instead of 250 Hz"),
    "count": ({"channels": numeric_spec("", 5).channels}, "5 channels instead of 4"),
    "format": ({"format": "double64"}, "format double64 instead of float32"),
    "labels": ({"channels": (Channel("X", "EEG", "uV"), *numeric_spec("").channels[1:])}, "channel 1 is 'X'"),
    "unit": ({"channels": (Channel("C0", "EEG", "mV"), *numeric_spec("").channels[1:])}, "'mV' instead of"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_restart_with_another_shape_names_the_difference(change, unique_name, started):
    changes, words = CHANGES[change]
    spec = numeric_spec(unique_name)
    outlet, _, receiver = connected(spec, started, silence_s=0.2)
    outlet.__exit__()
    with Outlet(msgspec.structs.replace(spec, **changes), first=1000) as again:
        error = receiver.wait_for_event(Ended).error
        again.push(10)
        assert isinstance(error, SourceError)
        assert unique_name in str(error)
        assert words in str(error)
        assert (receiver.samples == rows(0, 10, 4, "float32")).all()


def test_another_source_id_is_another_device(unique_name, started):
    outlet, _, receiver = connected(numeric_spec(unique_name), started, silence_s=0.2, reconnect_s=2.0)
    outlet.__exit__()
    with Outlet(numeric_spec(unique_name, source_id="stranger"), first=1000):
        error = receiver.wait_for_event(Ended).error
        assert "no samples for 2 s" in str(error)
        assert "stranger" in str(error)
        assert not receiver.of(Resumed)


def test_a_double_of_a_silent_sender_is_not_taken(unique_name, started):
    spec = numeric_spec(unique_name)
    outlet, _, receiver = connected(spec, started, silence_s=0.2)
    with outlet, Outlet(spec, first=1000) as double:
        receiver.wait_for_event(Silent)
        double.push(10)
        outlet.push(10)
        receiver.wait_for_samples(20)
        assert not receiver.reconnects
        assert (receiver.samples == rows(0, 20, 4, "float32")).all()


def test_killed_for_good(unique_name, started):
    outlet, _, receiver = connected(numeric_spec(unique_name), started, silence_s=0.1, reconnect_s=1.0)
    outlet.__exit__()
    error = receiver.wait_for_event(Ended).error
    assert isinstance(error, SourceError)
    assert "no samples for 1 s; its sender has gone" in str(error)
    assert receiver.kinds[-2:] == ["Silent", "Ended"]


def test_silent_for_good(unique_name, started):
    outlet, _, receiver = connected(numeric_spec(unique_name), started, silence_s=0.1, reconnect_s=1.0)
    with outlet:
        assert "its sender still answers" in str(receiver.wait_for_event(Ended).error)


# --- opening ---------------------------------------------------------------------------------------------------------


def test_no_such_stream_lists_what_is_there(unique_name):
    with Outlet(numeric_spec(unique_name)), pytest.raises(SourceError, match=unique_name) as caught:
        open_source("no-such-stream", wait_s=0.5)
    assert "no-such-stream" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_streams_of_a_name_list_the_candidates(unique_name):
    spec = numeric_spec(unique_name)
    other = numeric_spec(unique_name, source_id="other-one")
    with Outlet(spec), Outlet(other):
        with pytest.raises(SourceError, match="other-one") as caught:
            open_source(unique_name)
        assert f"id-{unique_name}" in str(caught.value)
        source = open_source(unique_name, source_id="other-one")
        assert source.spec.source_id == "other-one"
        source.close()


def test_a_sender_that_does_not_answer(unique_name):
    if sys.platform == "win32":
        pytest.skip("Windows cannot suspend a process by a signal")
    with Outlet(numeric_spec(unique_name)) as outlet:
        import pylsl

        (info,) = pylsl.resolve_byprop("name", unique_name, 1, WAIT_S)
        outlet.suspend()
        with pytest.raises(SourceError, match="does not answer"):
            Inlet(info, 0.2)


def test_names_with_quotes(unique_name, started):
    outlet, _, receiver = connected(numeric_spec(f"it's {unique_name}"), started)
    with outlet:
        assert len(receiver.samples) == 10


def test_many_streams_close_together(unique_name, started):
    specs = [numeric_spec(f"{unique_name}-{k}") for k in range(3)]
    outlets = [Outlet(spec) for spec in specs]
    sources = [open_source(spec.name) for spec in specs]
    receivers = [started(source) for source in sources]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda source: source.close(), sources))
    for receiver in receivers:
        assert receiver.kinds[-1] == "Ended"
    for outlet in outlets:
        outlet.__exit__()


# --- pure ------------------------------------------------------------------------------------------------------------


def test_difference_of_equal_shapes_is_empty():
    a = numeric_spec("a")
    assert difference(a, msgspec.structs.replace(a, uid="other", hostname="h", created_s=5.0)) == ""


@pytest.mark.parametrize("change", CHANGES)
def test_difference_names_each_change(change):
    changes, words = CHANGES[change]
    spec = numeric_spec("a")
    assert words in difference(spec, msgspec.structs.replace(spec, **changes))
