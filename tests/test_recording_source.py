"""A recording as sources: order, times, ends. The clock is a fake one where times are checked."""

import threading

import numpy as np
import pytest

from bci.ports import Ended, Offset, Pulled
from bci.sources.recording import play_together
from bci.types import Channel, RecordedStream, StreamSpec, marker_spec

LIMIT_S = 20.0


def streams(n=1000, sfreq_hz=100.0):
    spec = StreamSpec(name="eeg", sfreq_hz=sfreq_hz, format="int16", channels=(Channel("a"), Channel("b")))
    stamps_s = 7000 + np.arange(n) / sfreq_hz
    eeg = RecordedStream(spec, np.arange(2 * n, dtype=np.int16).reshape(n, 2), stamps_s)
    return [eeg, RecordedStream(marker_spec("m"), ["x", "y"], stamps_s[[n // 4, n // 2]])]


class Receiver:
    def __init__(self, sources):
        self.events, self.threads = [], set()
        self.ended = threading.Event()
        self._n_open = len(sources)
        for number, source in enumerate(sources):
            source.start(lambda event, number=number: self.receive(number, event))

    def receive(self, number, event):
        self.threads.add(threading.get_ident())
        self.events.append((number, event))
        if isinstance(event, Ended):
            self._n_open -= 1
            if not self._n_open:
                self.ended.set()

    def of(self, number, kind):
        return [event for i, event in self.events if i == number and isinstance(event, kind)]


def test_as_fast_as_possible_gives_all_in_order_from_one_thread():
    recorded = streams()
    sources = play_together(recorded, 0, speed=0, clock=lambda: 50.0)
    got = Receiver(sources)
    assert got.ended.wait(LIMIT_S)
    samples = np.concatenate([p.samples for p in got.of(0, Pulled)])
    assert samples.dtype == np.int16
    assert np.array_equal(samples, recorded[0].samples)
    assert np.array_equal(np.concatenate([p.stamps_s for p in got.of(0, Pulled)]), recorded[0].stamps_s)
    assert [row for p in got.of(1, Pulled) for row in p.samples] == [["x"], ["y"]]
    assert len(got.threads) == 1
    assert [e.error for e in got.of(0, Ended) + got.of(1, Ended)] == [None, None]
    assert [e.offset_s for i in (0, 1) for e in got.of(i, Offset)] == [50.0 - 7000.0] * 2
    last_stamps = [e.stamps_s[-1] for _, e in got.events if isinstance(e, Pulled)]
    assert last_stamps == sorted(last_stamps)


def test_the_order_is_the_same_each_time():
    orders = []
    for _ in range(3):
        sources = play_together(streams(), 0, speed=0, clock=lambda: 0.0)
        got = Receiver(sources)
        assert got.ended.wait(LIMIT_S)
        orders.append([(i, type(e), len(getattr(e, "stamps_s", ()))) for i, e in got.events])
    assert orders[0] == orders[1] == orders[2]


def test_the_receiver_owns_its_arrays():
    recorded = streams(50)
    sources = play_together(recorded, 0, speed=0, clock=lambda: 0.0)
    got = Receiver(sources)
    assert got.ended.wait(LIMIT_S)
    for pulled in got.of(0, Pulled):
        pulled.samples[:] = 0
        pulled.stamps_s[:] = 0
    assert recorded[0].samples[-1, 0] == 98
    assert recorded[0].stamps_s[0] == 7000


def test_nothing_is_delivered_before_it_is_due():
    """A clock that advances by 1 ms with each reading, so that nothing depends on how fast this machine is."""
    times = iter(np.arange(10**7) / 1000)
    arrivals = []
    recorded = streams(40, 1000.0)
    sources = play_together(recorded, 0, speed=1.0, clock=lambda: float(next(times)))
    got = Receiver(sources)
    assert got.ended.wait(LIMIT_S)
    zero_s = got.of(0, Offset)[0].collected_s
    for pulled in got.of(0, Pulled):
        assert pulled.arrival_s - zero_s >= pulled.stamps_s[-1] - 7000 - 1e-6
        arrivals.append(pulled.arrival_s)
    assert arrivals == sorted(arrivals)
    assert len(arrivals) == 2


def test_nothing_starts_before_all_sources_are_started():
    sources = play_together(streams(), 0, speed=0, clock=lambda: 0.0)
    events = []
    sources[0].start(events.append)
    assert sources[0]._group._thread is None
    assert not events
    ended = threading.Event()
    sources[1].start(lambda event: ended.set() if isinstance(event, Ended) else None)
    assert ended.wait(LIMIT_S)
    assert isinstance(events[0], Offset)


def test_close_stops_at_once_also_in_a_long_wait():
    recorded = streams(2000, 1.0)
    sources = play_together(recorded, 0, speed=0.01, clock=lambda: 0.0)
    got = Receiver(sources)
    closing = threading.Thread(target=sources[0].close)
    closing.start()
    closing.join(LIMIT_S)
    assert not closing.is_alive()
    assert got.ended.is_set()
    assert len(got.of(0, Pulled)) <= 1  # the first is due at once, the next in 100 s


def test_a_source_may_be_closed_by_its_receiver_and_before_it_was_started():
    sources = play_together(streams(), 0, speed=0, clock=lambda: 0.0)
    sources[0].close()
    sources = play_together(streams(), 0, speed=0, clock=lambda: 0.0)
    ended = threading.Event()
    sources[1].start(lambda event: ended.set() if isinstance(event, Ended) else None)
    sources[0].start(lambda event: sources[0].close())
    assert ended.wait(LIMIT_S)


def test_an_error_of_the_receiver_ends_the_sources_with_it():
    sources = play_together(streams(), 0, speed=0, clock=lambda: 0.0)
    ended = threading.Event()
    reasons = []

    def receive(event):
        if isinstance(event, Pulled):
            raise ValueError("receiver")
        if isinstance(event, Ended):
            reasons.append(event.error)
            ended.set()

    sources[1].start(lambda event: None)
    sources[0].start(receive)
    assert ended.wait(LIMIT_S)
    assert isinstance(reasons[0], ValueError)


@pytest.mark.parametrize("chunk_s", [0.02, 0.1])
def test_chunks_have_the_length_that_was_asked_for(chunk_s):
    sources = play_together(streams(), 0, speed=0, clock=lambda: 0.0, chunk_s=chunk_s)
    got = Receiver(sources)
    assert got.ended.wait(LIMIT_S)
    assert {len(p.stamps_s) for p in got.of(0, Pulled)} == {round(chunk_s * 100)}
