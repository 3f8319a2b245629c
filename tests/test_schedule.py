"""When samples are due: pure, on stamps with every trouble that real files have."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.errors import ConfigError, SourceError
from bci.sources.schedule import cut, even, pace, playable, schedule
from bci.types import Channel, RecordedStream, StreamSpec


def signal(stamps_s, sfreq_hz=100.0, name="eeg", n_channels=2):
    spec = StreamSpec(name=name, sfreq_hz=sfreq_hz, channels=(Channel("a"),) * n_channels)
    n = len(stamps_s)
    samples = np.arange(n * n_channels, dtype=np.float32).reshape(n, n_channels)
    return RecordedStream(spec, samples, np.asarray(stamps_s, float))


def markers(stamps_s, name="markers"):
    spec = StreamSpec(name=name, type="Markers", format="string", channels=(Channel("m"),))
    return RecordedStream(spec, [f"m{i}" for i in range(len(stamps_s))], np.asarray(stamps_s, float))


def test_original_times_are_kept_with_jitter_burst_and_gap():
    steps = [0.01, 0.012, 0.008, 0.0, 0.0, 0.0, 0.03, 2.5, 0.01]
    stamps_s = 1234.5 + np.concatenate([[0], np.cumsum(steps)])
    (due,) = pace([signal(stamps_s)], 0)
    np.testing.assert_allclose(due, stamps_s - stamps_s[0], atol=1e-9)


@pytest.mark.parametrize("jump_s", [-653187.0, -0.5, 10.5, 86400.0])
def test_a_jump_lasts_one_nominal_period_and_its_stamps_are_kept(jump_s):
    stamps_s = 700_000 + np.arange(20) * 0.01
    stamps_s[10:] += jump_s
    (due,) = pace([signal(stamps_s)], 0)
    np.testing.assert_allclose(due, np.arange(20) * 0.01, atol=1e-6)
    played = np.concatenate([p.stamps_s for p in schedule([signal(stamps_s)], 0)])
    assert np.array_equal(played, stamps_s)


def test_a_pause_of_less_than_ten_seconds_is_kept():
    (due,) = pace([signal([0, 0.01, 9.9, 9.91])], 0)
    np.testing.assert_allclose(due, [0, 0.01, 9.9, 9.91])


def test_backward_jitter_goes_out_together_with_the_sample_before():
    (due,) = pace([signal([0, 0.010, 0.008, 0.030])], 0)
    np.testing.assert_allclose(due, [0, 0.010, 0.010, 0.030])


def test_markers_far_apart_are_not_hurried():
    main, marks = signal(np.arange(6000) / 100), markers([1.0, 14.0, 50.0])
    np.testing.assert_allclose(pace([main, marks], 0)[1], [1.0, 14.0, 50.0])


def test_markers_follow_the_signal_across_a_clock_reset():
    stamps_s = 650_000 + np.arange(2000) / 100
    stamps_s[1000:] -= 640_000
    marks = markers([stamps_s[300], stamps_s[900], stamps_s[1100], stamps_s[1900]])
    np.testing.assert_allclose(pace([signal(stamps_s), marks], 0)[1], [3, 9, 11, 19], atol=1e-6)


def test_markers_in_a_pause_that_is_cut_short_do_not_delay_those_behind_it():
    stamps_s = np.arange(2000) / 100
    stamps_s[1000:] += 15
    marks = markers([9, 12, 16, 20, 24, 26])  # the signal is silent from 10 s to 25 s
    np.testing.assert_allclose(pace([signal(stamps_s), marks], 0)[1], [9, 10, 10, 10, 10, 11], atol=0.02)


def test_a_stream_on_another_clock_keeps_its_own_pace():
    main, other = signal(np.arange(1000) / 100), markers([5e6, 5e6 + 3, 5e6 + 20])
    np.testing.assert_allclose(pace([main, other], 0)[1], [0, 3, 20])


def test_chunks_hold_what_is_due_within_the_span_and_leave_with_their_last_sample():
    pushes = list(schedule([signal(np.arange(100) / 250, 250.0)], 0, chunk_s=0.02))
    assert {len(p.stamps_s) for p in pushes} == {5}
    np.testing.assert_allclose([p.due_s for p in pushes], [p.stamps_s[-1] for p in pushes])


def test_a_burst_of_equal_stamps_is_one_push():
    stamps_s = np.repeat(np.arange(10) * 0.035, 32)
    pushes = list(schedule([signal(stamps_s, 900.0)], 0))
    assert [len(p.stamps_s) for p in pushes] == [32] * 10


def test_streams_are_pushed_in_the_order_in_which_they_are_due():
    streams = [
        signal(np.arange(500) / 100),
        markers([-0.5, 0.333, 2.0, 4.9]),
        signal(np.arange(2500) / 500, 500.0, "b"),
    ]
    pushes = list(schedule(streams, 0))
    due = [p.due_s for p in pushes]
    assert due == sorted(due)
    assert pushes[0].stream == 1
    assert pushes[0].due_s == 0  # what comes before the primary stream delays it
    for i, stream in enumerate(streams):
        mine = [p for p in pushes if p.stream == i]
        assert np.array_equal(np.concatenate([p.stamps_s for p in mine]), stream.stamps_s)
    assert list(itertools.chain(*(p.samples for p in pushes if p.stream == 1))) == ["m0", "m1", "m2", "m3"]


steps = st.lists(
    st.one_of(st.floats(0, 0.05), st.just(0.0), st.floats(-0.05, 0), st.floats(-1e6, 1e6)), min_size=1, max_size=60
)


@given(steps, steps, st.floats(0.001, 1.0))
def test_whatever_the_stamps_all_is_played_once_in_order(main_steps, marker_steps, chunk_s):
    streams = [signal(1e6 + np.cumsum(main_steps)), markers(1e6 + np.cumsum(marker_steps))]
    for due in pace(streams, 0):
        assert np.all(np.diff(due) >= 0)
        assert np.isfinite(due).all()
    pushes = list(schedule(streams, 0, chunk_s=chunk_s))
    assert np.array_equal(np.concatenate([p.samples for p in pushes if p.stream == 0]), streams[0].samples)
    assert np.array_equal(np.concatenate([p.stamps_s for p in pushes if p.stream == 1]), streams[1].stamps_s)


@given(steps)
def test_no_wait_is_longer_than_ten_seconds(main_steps):
    (due,) = pace([signal(np.cumsum(main_steps))], 0)
    assert np.diff(due).max(initial=0) <= 10.0 + 1e-6


def test_even_gives_nominal_times_and_moves_markers_with_their_samples():
    stamps_s = 50 + np.arange(1000) / 93.0
    streams = even([signal(stamps_s), markers([stamps_s[100], stamps_s[999] + 1.0])], 0)
    np.testing.assert_allclose(streams[0].stamps_s, 50 + np.arange(1000) / 100, atol=1e-9)
    np.testing.assert_allclose(streams[1].stamps_s, [51.0, 50 + 9.99 + 1.0], atol=1e-6)


def test_even_needs_a_nominal_rate():
    with pytest.raises(ConfigError, match="no nominal rate"):
        even([signal([0, 1, 2], 0.0)], 0)


def test_cut_takes_all_streams_from_start_to_before_stop():
    streams = cut([signal(100 + np.arange(1000) / 100), markers([101.0, 102.5, 103.0])], 0, 2.0, 3.0)
    np.testing.assert_allclose(streams[0].stamps_s, 102 + np.arange(100) / 100)
    assert streams[1].samples == ["m1"]
    assert len(streams[0].samples) == 100


@pytest.mark.parametrize(("start_s", "stop_s"), [(-1, None), (5, 5), (6, 5), (10.5, None)])
def test_cut_refuses_an_empty_part(start_s, stop_s):
    with pytest.raises(ConfigError, match="nothing to play"):
        cut([signal(np.arange(1000) / 100)], 0, start_s, stop_s)


def test_loop_runs_on_in_stamps_and_due_times():
    streams = [signal(np.arange(10) / 100), markers([0.055])]
    pushes = list(itertools.islice(schedule(streams, 0, loop=True), 30))
    stamps_s = np.concatenate([p.stamps_s for p in pushes if p.stream == 0])
    np.testing.assert_allclose(np.diff(stamps_s), 0.01)
    due = [p.due_s for p in pushes]
    assert due == sorted(due)
    np.testing.assert_allclose([p.stamps_s[0] for p in pushes if p.stream == 1][:3], [0.055, 0.155, 0.255])


def test_what_is_played_leaves_out_our_own_streams_and_old_end_markers():
    marks = markers([0.1, 0.2, 0.3])
    marks.samples[2] = "rolandic:end"
    own = signal(np.arange(5000) / 1000, 1000.0, "bci-hops")
    streams, primary = playable([marks, own, signal(np.arange(10) / 100)])
    assert [s.spec.name for s in streams] == ["markers", "eeg"]
    assert primary == 1
    assert streams[0].samples == ["m0", "m1"]
    assert len(streams[0].stamps_s) == 2


def test_the_regular_signal_with_most_values_sets_the_pace():
    streams = [
        signal(np.arange(9000) / 100, 0.0),
        signal(np.arange(90) / 100),
        signal(np.arange(90) / 100, n_channels=3),
    ]
    assert playable(streams)[1] == 2


@pytest.mark.parametrize("streams", [[], [markers([1.0])], [signal([])]])
def test_a_recording_without_signal_is_refused(streams):
    with pytest.raises(SourceError, match="no signal"):
        playable(streams)
