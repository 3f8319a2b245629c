"""Blocks, segments and marker places: the law that no chunking changes a bit, and what gaps do."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.errors import ContractError, SourceError
from bci.signal.gaps import GapDetector
from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
from bci.signal.timeline import Timeline
from bci.types import Channel, Chunk, ClockOffset, Gap, StreamSpec
from tests.helpers.rechunk import chunks, cuts

FS, BLOCK = 250.0, 8


def recording(n, n_channels=3, dtype=np.float32):
    """Channel 0 counts the samples."""
    samples = np.random.default_rng(0).standard_normal((n, n_channels)).astype(dtype)
    samples[:, 0] = np.arange(n)
    return samples, 1000.0 + np.arange(n) / FS + np.abs(np.random.default_rng(1).normal(0, 1e-3, n))


def drain(timeline):
    blocks = []
    while timeline.n_ready:
        blocks.append(timeline.next_block())
    return blocks


def play(events_at, samples, stamps_s, at, **options):
    """Feed chunks cut at ``at``; an event stands before the chunk that holds its sample, as the engine issues it."""
    timeline, blocks = Timeline(0, samples.shape[1], FS, BLOCK, **options), []
    events = list(events_at)
    for chunk in chunks(samples, stamps_s, at):
        while events and events[0][0] < chunk.first_index + chunk.n:
            event = events.pop(0)[1]
            timeline.gap(event) if isinstance(event, Gap) else timeline.clock_offset(event)
        timeline.chunk(chunk)
        blocks += drain(timeline)
    for _, event in events:
        timeline.gap(event) if isinstance(event, Gap) else timeline.clock_offset(event)
    return timeline, blocks + drain(timeline)


def same(mine, other):
    assert len(mine) == len(other)
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
        assert (a.stamp_s, a.sample_index, a.segment, a.is_first, a.reason, a.n_filled) == (
            b.stamp_s, b.sample_index, b.segment, b.is_first, b.reason, b.n_filled)  # fmt: skip


gaps_at = st.lists(
    st.tuples(
        st.integers(0, 299),
        st.sampled_from(["late", "lost", "unknown"]),
        st.sampled_from([1, 7, 8, 24, 25, 26, 300]),
        st.booleans(),  # first open, judged so many samples later
        st.integers(1, 20),
    ),
    max_size=5,
    unique_by=lambda gap: gap[0],
)


def as_events(gaps, stamps_s):
    """Events with the sample before which each has to be issued; never a second gap while one is open."""
    events, free = [], 0
    for place, verdict, n, is_open_first, later in sorted(gaps):
        if place < free:
            continue
        if is_open_first:
            events.append((place, Gap(0, "open", place)))
        judged = place + later if is_open_first else place
        events.append((judged, Gap(0, verdict, place, n if verdict == "lost" else 0, n / FS)))
        if verdict == "lost":
            stamps_s[place:] += n / FS
        free = judged + 1
    return events


@given(cuts(300), gaps_at, st.integers(0, 299))
def test_no_chunking_changes_a_bit(at, gaps, offset_at):
    samples, stamps_s = recording(300)
    events = as_events(gaps, stamps_s)
    first, later = ClockOffset(0, 1000.5, 0.5), ClockOffset(0, float(stamps_s[offset_at]) + 0.5, 0.502)
    events = sorted([(0, first), (offset_at, later), *events], key=lambda e: e[0])
    whole, expected = play(events, samples, stamps_s, [*range(0, 300, 3), 300])
    parts, blocks = play(events, samples, stamps_s, at)
    same(blocks, expected)
    assert (parts.n_dropped, parts.backlog) == (whole.n_dropped, whole.backlog)


@given(cuts(300), gaps_at)
def test_every_sample_stands_in_a_block_once_or_is_counted(at, gaps):
    samples, stamps_s = recording(300)
    timeline, blocks = play(as_events(gaps, stamps_s), samples, stamps_s, at)
    seen = [b.samples[0] for b in blocks]
    counter = np.concatenate(seen) if seen else np.empty(0)
    arrived = np.unique(counter)
    assert (np.diff(counter) >= 0).all()
    assert len(arrived) + sum(b.n_filled for b in blocks) == len(counter)
    assert len(arrived) + timeline.n_dropped + timeline.backlog == 300
    assert all(b.samples.flags.c_contiguous and b.samples.shape == (3, BLOCK) for b in blocks)
    for before, after in itertools.pairwise(blocks):
        assert after.is_first == (after.segment == before.segment + 1)
        assert bool(after.reason) == after.is_first
        if not after.is_first:
            assert after.segment == before.segment
            assert after.stamp_s > before.stamp_s
    if blocks:
        assert blocks[0].is_first
        assert blocks[0].segment == 0


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_blocks_keep_the_streams_own_type_and_are_the_receivers_own(dtype):
    samples, stamps_s = recording(100, dtype=dtype)
    _, blocks = play([], samples, stamps_s, [0, 30, 100])
    assert len(blocks) == 12
    np.testing.assert_array_equal(np.hstack([b.samples for b in blocks]), samples[:96].T)
    assert all(b.samples.dtype == dtype for b in blocks)
    blocks[0].samples[:] = 0
    assert blocks[1].samples[0, 0] == 8


def test_samples_behind_an_open_gap_wait_for_the_verdict():
    samples, stamps_s = recording(100)
    timeline = Timeline(0, 3, FS, BLOCK)
    timeline.gap(Gap(0, "open", 20))
    timeline.chunk(Chunk(0, 0, samples, stamps_s, 0.0))
    assert timeline.n_ready == 2
    drain(timeline)
    assert timeline.backlog == 84
    timeline.gap(Gap(0, "late", 20))
    assert timeline.n_ready == 10


def test_a_short_loss_is_filled_by_holding_the_last_sample():
    samples, stamps_s = recording(100)
    stamps_s[20:] += 10 / FS
    _, blocks = play([(20, Gap(0, "lost", 20, 10, 0.04))], samples, stamps_s, [0, 100])
    counter = np.concatenate([b.samples[0] for b in blocks])
    np.testing.assert_array_equal(counter[:40], [*range(20), *[19] * 10, *range(20, 30)])
    assert [b.n_filled for b in blocks[:5]] == [0, 0, 4, 6, 0]
    assert [b.sample_index for b in blocks[:5]] == [7, 15, 19, 21, 29]
    assert {b.segment for b in blocks} == {0}
    np.testing.assert_allclose(np.diff([b.stamp_s for b in blocks]), BLOCK / FS, atol=1e-3)


@pytest.mark.parametrize("gap", [Gap(0, "lost", 20, 26, 0.104), Gap(0, "unknown", 20, reason="reconnected")])
def test_a_long_or_unknown_gap_begins_a_segment_and_drops_the_incomplete_block(gap):
    samples, stamps_s = recording(100)
    timeline, blocks = play([(20, gap)], samples, stamps_s, [0, 100])
    assert [b.is_first for b in blocks[:4]] == [True, False, True, False]
    assert blocks[2].segment == 1
    assert blocks[2].samples[0, 0] == 20
    assert blocks[2].reason == (gap.reason or "lost 0.104 s")
    assert timeline.n_dropped == 4


def test_a_break_before_the_verdict_makes_the_open_gap_unknown():
    samples, stamps_s = recording(100)
    events = [(20, Gap(0, "open", 20)), (50, Gap(0, "unknown", 50, reason="reconnected"))]
    _, blocks = play(events, samples, stamps_s, [0, 40, 100])
    assert [(b.samples[0, 0], b.reason) for b in blocks if b.is_first] == [
        (0, "start"), (20, "not judged"), (50, "reconnected")]  # fmt: skip


def test_what_the_caller_does_wrong_is_said():
    samples, stamps_s = recording(100)
    timeline, _ = play([], samples, stamps_s, [0, 100])
    with pytest.raises(ContractError, match="goes on at 100"):
        timeline.chunk(Chunk(0, 99, samples, stamps_s, 0.0))
    with pytest.raises(ContractError, match="computed already"):
        timeline.gap(Gap(0, "unknown", 50))
    with pytest.raises(ContractError, match="no block"):
        timeline.next_block()
    with pytest.raises(ContractError, match="stream 1"):
        timeline.gap(Gap(1, "unknown", 100))
    with pytest.raises(SourceError, match="no regular rate"):
        Timeline(0, 3, 0.0, BLOCK)


def test_more_than_half_a_minute_of_backlog_is_an_error():
    samples, stamps_s = recording(16000)
    timeline = Timeline(0, 3, 1000.0, BLOCK)
    timeline.chunk(Chunk(0, 0, samples, stamps_s, 0.0))
    with pytest.raises(SourceError, match="more than 30 s"):
        timeline.chunk(Chunk(0, 16000, samples, stamps_s + 16, 0.0))


def test_a_slow_stream_may_give_minutes_in_one_chunk():
    samples, _ = recording(8192)
    timeline = Timeline(0, 3, 10.0, BLOCK)
    for k in range(2):
        timeline.chunk(Chunk(0, 8192 * k, samples, (8192 * k + np.arange(8192)) / 10, 0.0))
        assert len(drain(timeline)) == 1024
    with pytest.raises(SourceError, match="more than 820 s"):
        timeline.chunk(Chunk(0, 2 * 8192, *recording(8201), 0.0))


def test_the_ring_wraps_for_as_long_as_it_takes():
    samples, stamps_s = recording(20000, n_channels=1, dtype=np.float64)
    _, blocks = play([], samples, stamps_s, [*range(0, 20000, 999), 20000])
    np.testing.assert_array_equal(np.hstack([b.samples[0] for b in blocks]), np.arange(20000))


# --- markers ---------------------------------------------------------------------------------------------------------


def exact(n):
    samples, _ = recording(n)
    return samples, 1000.0 + np.arange(n) / FS


def test_markers_fall_on_the_nearest_sample_before_and_after_it_comes():
    samples, stamps_s = exact(1000)
    timeline, _ = play([(0, ClockOffset(0, 0.0, 5.0))], samples, stamps_s, [0, 1000])
    for i in (0, 3, 7, 8, 500, 998, 1003, 2000):
        index, residual_s = timeline.place(1005.0 + i / FS + 0.001)
        assert index == i
        assert residual_s == pytest.approx(0.001, abs=1e-6)
    assert timeline.place(1005.0 + 5000 / FS * 10) is None


@pytest.mark.parametrize("stamp_s", [np.nan, np.inf, -np.inf])
def test_a_marker_without_a_time_has_no_place(stamp_s):
    samples, stamps_s = exact(1000)
    timeline, _ = play([], samples, stamps_s, [0, 1000])
    assert timeline.place(stamp_s) is None


def test_there_is_no_place_before_the_first_block():
    assert Timeline(0, 3, FS, BLOCK).place(1000.0) is None


@pytest.mark.parametrize("n_lost", [10, 250])
def test_markers_beside_a_loss_fall_on_the_right_side(n_lost):
    samples, stamps_s = exact(1000)
    stamps_s[500:] += n_lost / FS
    timeline, _ = play([(500, Gap(0, "lost", 500, n_lost, n_lost / FS))], samples, stamps_s, [0, 1000])
    for i in (480, 490, 500, 503, 900):
        index, residual_s = timeline.place(stamps_s[i])
        assert (index, residual_s) == (i, pytest.approx(0, abs=1e-6))
    middle_s = (stamps_s[499] + stamps_s[500]) / 2 - 0.0001
    index, residual_s = timeline.place(middle_s)
    assert index == (499 if n_lost == 10 else 500)  # 496 to 499 are dropped where a segment begins
    assert residual_s == pytest.approx(middle_s - stamps_s[index], abs=1e-6)


def test_a_jittered_stream_places_markers_within_a_sample():
    samples, stamps_s = recording(5000)
    timeline, _ = play([], samples, stamps_s, [*range(0, 5000, 40), 5000])
    off = [timeline.place(1000.0 + i / FS)[0] - i for i in range(1000, 4990, 37)]
    assert set(off) <= {-1, 0}  # the line lies at the mean lateness, 0.8 ms


def test_memory_for_markers_is_bounded():
    samples, stamps_s = exact(4096 * BLOCK + 4000)
    timeline, _ = play([], samples, stamps_s, [*range(0, len(samples), 2000), len(samples)])
    assert timeline.place(1000.0) is None
    assert timeline.place(stamps_s[5000])[0] == 5000


# --- detector and timeline together ----------------------------------------------------------------------------------


def hops_of(samples, stamps_s, at):
    """The whole way from chunks to hops, with the detector's own verdicts."""
    channels = tuple(Channel(label, unit="uV") for label in ("C3", "Cz", "C4"))
    spec = PreprocessingSpec(
        channels=("C3", "Cz", "C4"), sfreq_hz=160.0, hop=8, bandpass_hz=(8.0, 30.0), reference="average"
    )
    preprocessing = Preprocessing(spec, StreamSpec(name="amp", sfreq_hz=FS, channels=channels))
    detector, timeline = GapDetector(0, FS), Timeline(0, 3, FS, preprocessing.block)
    hops = []

    def compute():
        while timeline.n_ready:
            block = timeline.next_block()
            if block.is_first:
                preprocessing.start(block.samples[:, 0])
            for data, flags in preprocessing.step(block.samples):
                hops.append((block.segment, block.sample_index, block.stamp_s, int(flags), data.tobytes()))

    for chunk in chunks(samples, stamps_s, at):
        for gap in detector.receive(chunk):
            timeline.gap(gap)
        timeline.chunk(chunk)
        compute()
    for gap in detector.finish():
        timeline.gap(gap)
    compute()
    return hops


def test_stamps_that_are_no_numbers_leave_all_times_finite():
    samples, stamps_s = recording(1000)
    stamps_s -= 5000  # a sender whose clock began later than ours
    stamps_s[[300, 301, 555]], stamps_s[400:460], stamps_s[:30] = np.nan, np.inf, np.nan
    hops = hops_of(samples, stamps_s, [*range(0, 1000, 20), 1000])
    assert {segment for segment, *_ in hops} == {0, 1}
    assert all(np.isfinite(stamp_s) for _, _, stamp_s, *_ in hops)
    late_s = [stamp_s - (-4000 + index / FS) for segment, index, stamp_s, *_ in hops if segment == 1]
    assert len(late_s) > 70
    assert np.abs(late_s).max() < 0.01


@pytest.fixture(scope="module")
def eventful():
    """Losses that are filled and not, a stall, a NaN, stamps missing; with the hops of the uncut recording."""
    samples, stamps_s = recording(1000)
    stamps_s[[100, 407, 610, 700]], stamps_s[:5] = np.nan, np.inf
    stamps_s[400:] += 0.1
    stamps_s[600:630] = stamps_s[630]
    stamps_s[800:] += 2.0
    samples[500, 1] = np.nan
    hops = hops_of(samples, stamps_s, [0, 1000])
    assert {segment for segment, *_ in hops} == {1, 2}  # none of the five samples before the first stamp
    assert any(flags for *_, flags, _ in hops)
    return samples, stamps_s, hops


@settings(max_examples=30)
@given(cuts(1000, max_cuts=60))
def test_from_chunks_to_hops_any_cut_gives_the_same_bits(eventful, at):
    samples, stamps_s, expected = eventful
    assert hops_of(samples, stamps_s, at) == expected
