"""An arming that lasts as long as it is renewed."""

from bci.host.lease import BEAT_S, LEASE_S, Lease


def test_without_a_lease_nothing_is_lost_and_a_beat_begins_none():
    lease = Lease()
    lease.beat(1.0)
    assert not lease.is_lost(1e9)


def test_it_is_lost_once_when_the_beat_stays_away():
    lease = Lease()
    lease.begin(10.0)
    for k in range(100):
        assert not lease.is_lost(10.0 + k * BEAT_S)
        lease.beat(10.0 + k * BEAT_S)
    last_s = 10.0 + 99 * BEAT_S
    assert not lease.is_lost(last_s + LEASE_S - 1e-6)
    assert lease.is_lost(last_s + LEASE_S + 1e-6)
    assert not lease.is_lost(last_s + 10)


def test_who_arms_without_a_promise_is_not_waited_for():
    lease = Lease()
    lease.begin(10.0)
    lease.end()
    assert not lease.is_lost(20.0)


def test_a_beat_renews_nothing_that_is_over_or_was_taken_over():
    late, taken = Lease(), Lease()
    late.begin(10.0)
    late.beat(10.0 + LEASE_S + 0.01)
    assert late.is_lost(10.0 + LEASE_S + 0.02)
    taken.begin(10.0)
    taken.break_off()
    taken.beat(10.05)
    assert taken.is_lost(10.06)
    never = Lease()
    never.break_off()
    assert not never.is_lost(10.0)
