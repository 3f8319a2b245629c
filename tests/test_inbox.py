"""The inbox against a plain list, and its waking, bounding and closing between real threads."""

import threading

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.host.inbox import Inbox
from bci.ports import Offset, Pulled

WAIT_S = 20.0  # a bound, never the expected time


def pulled(k):
    return (0, Pulled(np.full((1, 1), k), np.zeros(1), 0.0))


@given(st.lists(st.integers(0, 5)))
@settings(max_examples=50, deadline=None)
def test_takes_all_that_waits_in_order(batches):
    inbox, put, taken = Inbox(), [], []
    for n in batches:
        for _ in range(n):
            inbox.put(("control", len(put)))
            put.append(("control", len(put)))
        if n:
            taken += inbox.take(0.0)
            assert len(inbox) == 0
    assert taken == put


def test_is_empty_after_the_timeout():
    assert Inbox().take(0.001) == []


def test_wakes_the_taker():
    inbox, got = Inbox(), []
    thread = threading.Thread(target=lambda: got.extend(inbox.take(WAIT_S)))
    thread.start()
    inbox.put(pulled(1))
    thread.join(WAIT_S)
    assert [item[1].samples[0, 0] for item in got] == [1]


def test_order_within_each_of_several_threads():
    inbox, n, got = Inbox(max_chunks=4), 300, []
    threads = [
        threading.Thread(target=lambda s=s: [inbox.put((s, Pulled([], np.full(1, k), 0.0))) for k in range(n)])
        for s in range(3)
    ]
    for thread in threads:
        thread.start()
    while len(got) < 3 * n:
        items = inbox.take(WAIT_S)
        assert items, "a put got lost"
        assert len(items) <= 4 + len(threads)
        got += items
    for s in range(3):
        assert [int(item[1].stamps_s[0]) for item in got if item[0] == s] == list(range(n))
    for thread in threads:
        thread.join(WAIT_S)


def test_full_inbox_holds_back_data_but_no_control():
    inbox, is_in = Inbox(max_chunks=2), threading.Event()
    inbox.put(pulled(0))
    inbox.put(pulled(1))
    thread = threading.Thread(target=lambda: (inbox.put(pulled(2)), is_in.set()))
    thread.start()
    while not inbox._n_blocked:  # until the put has come to its wait
        assert thread.is_alive()
    inbox.put("stop")
    inbox.put((0, Offset(0.0, 0.0, 0.0)))
    assert not is_in.is_set()
    first = inbox.take(0.0)
    assert first[2] == "stop"
    assert len(first) == 4
    assert is_in.wait(WAIT_S)
    assert inbox.take(0.0)[0][1].samples[0, 0] == 2
    thread.join(WAIT_S)


def test_close_lets_everybody_go():
    inbox, done = Inbox(max_chunks=1), []
    inbox.put(pulled(0))
    thread = threading.Thread(target=lambda: (inbox.put(pulled(1)), done.append(True)))
    thread.start()
    while not inbox._n_blocked:
        assert thread.is_alive()
    inbox.close()
    thread.join(WAIT_S)
    assert done == [True]
    assert [item[1].samples[0, 0] for item in inbox.take(WAIT_S)] == [0]  # what waited is not lost
    inbox.put("late")
    assert inbox.take(WAIT_S) == []


def test_close_wakes_the_taker():
    inbox, got = Inbox(), []
    thread = threading.Thread(target=lambda: got.append(inbox.take(WAIT_S)))
    thread.start()
    inbox.close()
    thread.join(WAIT_S)
    assert got == [[]]
