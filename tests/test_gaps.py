"""Late, lost or unknown: the judge on known losses, stalls, counters, and on real stamps."""

import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.signal.gaps import GapDetector
from bci.types import Chunk
from tests.helpers.rechunk import chunks, cuts

FS = 250.0


def stamps(n, sigma_s=0.0, seed=0, sfreq_hz=FS):
    return 1000.0 + np.arange(n) / sfreq_hz + np.abs(np.random.default_rng(seed).normal(0, sigma_s, n))


def judge(stamps_s, at=None, counts=None, **options):
    at = at if at is not None else [*range(0, len(stamps_s), 20), len(stamps_s)]
    samples = np.zeros((len(stamps_s), 1), np.float32) if counts is None else counts[:, None]
    detector = GapDetector(3, options.pop("sfreq_hz", FS), **options)
    gaps = [gap for chunk in chunks(samples, stamps_s, at, 3) for gap in detector.receive(chunk)]
    return gaps + detector.finish()


def verdicts(gaps):
    return [(g.verdict, g.first_index, g.n) for g in gaps if g.verdict != "open"]


@pytest.mark.parametrize("sfreq_hz", [10.0, 128.0, 250.0, 1000.0, 2048.0])
@pytest.mark.parametrize("n_lost", [1, 2, 30])
def test_even_one_lost_sample_is_found_where_stamps_are_exact(sfreq_hz, n_lost):
    stamps_s = np.delete(stamps(3000, sfreq_hz=sfreq_hz), np.arange(2000, 2000 + n_lost))
    assert verdicts(judge(stamps_s, sfreq_hz=sfreq_hz)) == [("lost", 2000, n_lost)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_lost", [25, 75, 250, 1250])
def test_losses_are_counted_exactly_under_jitter(seed, n_lost):
    stamps_s = np.delete(stamps(5000, 0.002, seed), np.arange(2000, 2000 + n_lost))
    gaps = judge(stamps_s)
    assert verdicts(gaps) == [("lost", 2000, n_lost)]
    assert gaps[-1].duration_s == pytest.approx(n_lost / FS, rel=1e-3)


@pytest.mark.parametrize("sigma_s", [0.0, 0.002])
def test_a_stall_with_its_burst_is_late_and_nothing_is_lost(sigma_s):
    stamps_s = stamps(5000, sigma_s)
    stamps_s[2000:2075] = stamps_s[2075] + np.arange(75) * 2e-5
    assert verdicts(judge(stamps_s)) == [("late", 2000, 0)]


def test_a_burst_that_takes_its_time_is_still_late():
    stamps_s = stamps(5000)
    late_s = np.clip(0.3 - np.arange(200) * 0.0025, 0, None)  # catches up over 0.2 s
    stamps_s[2000:2200] += late_s
    assert verdicts(judge(stamps_s)) == [("late", 2000, 0)]


def test_what_is_not_made_good_after_a_stall_is_lost():
    stamps_s = np.delete(stamps(5000), np.arange(2000, 2050))
    late_s = np.clip(0.1 - np.arange(200) * 0.004, 0, None)
    stamps_s[2000:2200] += late_s  # 0.1 s late on top of 0.2 s lost
    assert verdicts(judge(stamps_s)) == [("lost", 2000, 50)]


def test_a_jump_waits_for_its_verdict_and_is_judged_once():
    stamps_s = np.delete(stamps(3000), np.arange(2000, 2100))
    detector = GapDetector(3, FS)
    seen = []
    for chunk in chunks(np.zeros((len(stamps_s), 1)), stamps_s, [*range(0, len(stamps_s), 5), len(stamps_s)], 3):
        gaps = detector.receive(chunk)
        seen += [(chunk.first_index, g.verdict) for g in gaps]
        assert detector.is_open == (2000 <= chunk.first_index < 2010)
    assert seen == [(2000, "open"), (2010, "lost")]


def test_a_jump_whose_chunk_decides_is_never_open():
    stamps_s = np.delete(stamps(3000), np.arange(2000, 2100))
    assert [g.verdict for g in judge(stamps_s, at=[0, 1500, len(stamps_s)])] == ["lost"]


@pytest.mark.parametrize("jump_s", [-653187.0, -5.0, -0.5, 11.0, 86400.0])
def test_steps_back_and_far_ahead_are_another_clock(jump_s):
    stamps_s = stamps(4000, 0.002)
    stamps_s[2000:] += jump_s
    gaps = judge(stamps_s)
    assert verdicts(gaps) == [("unknown", 2000, 0)]
    assert "clock" in gaps[0].reason


def test_small_steps_back_are_jitter():
    stamps_s = stamps(5000) + np.random.default_rng(0).choice([0.0, 0.012], 5000)
    assert np.diff(stamps_s).min() < -0.005
    assert judge(stamps_s) == []


def test_several_gaps_in_one_chunk_are_judged_in_order():
    stamps_s = np.delete(stamps(5000), [*range(2000, 2100), *range(3000, 3001), *range(4000, 4400)])
    assert verdicts(judge(stamps_s, at=[0, len(stamps_s)])) == [
        ("lost", 2000, 100),
        ("lost", 2900, 1),
        ("lost", 3899, 400),
    ]


def test_the_end_of_the_stream_judges_what_is_open():
    stamps_s = np.delete(stamps(2103), np.arange(2000, 2100))
    gaps = judge(stamps_s)
    assert [g.verdict for g in gaps] == ["open", "lost"]
    assert gaps[-1].n == 100


def test_a_reconnect_is_unknown_and_forgets_the_line():
    detector = GapDetector(3, FS)
    for chunk in chunks(np.zeros((1000, 1)), stamps(1000), [0, 500, 1000], 3):
        assert detector.receive(chunk) == []
    gap = detector.restart("reconnected", 1.5, 1000)
    assert (gap.verdict, gap.stream, gap.first_index, gap.duration_s) == ("unknown", 3, 1000, 1.5)
    assert detector.receive(Chunk(3, 1000, np.zeros((500, 1)), 7.0 + np.arange(500) / FS, 0.0)) == []


@pytest.mark.parametrize("options", [{}, {"counter_channel": 0}])
def test_a_stall_that_only_the_receiver_saw_is_late(options):
    counts = np.arange(1500)[:, None]
    detector = GapDetector(3, FS, **options)
    detector.resumed(2.0)  # silent before its first sample: nothing was missed
    first, second, third = chunks(counts, stamps(1500), [0, 500, 1000, 1500], 3)
    assert detector.receive(first) == []
    detector.resumed(0.3)
    (gap,) = detector.receive(second)
    assert (gap.verdict, gap.first_index, gap.n, gap.duration_s) == ("late", 500, 0, 0.3)
    assert detector.receive(third) == []


@pytest.mark.parametrize("options", [{}, {"counter_channel": 0}])
def test_after_silence_stamps_and_counter_have_the_last_word(options):
    kept = np.delete(np.arange(1575), np.arange(500, 575))
    detector = GapDetector(3, FS, **options)
    first, second = chunks(kept[:, None], stamps(1575)[kept], [0, 500, 1500], 3)
    gaps = detector.receive(first)
    detector.resumed(0.3)
    assert verdicts(gaps + detector.receive(second)) == [("lost", 500, 75)]


@settings(max_examples=40)
@given(cuts(2000), st.integers(500, 1500), st.sampled_from([1, 3, 40, 300]), st.booleans())
def test_the_verdict_does_not_depend_on_the_chunks(at, place, n, is_stall):
    stamps_s = stamps(2000, 1e-4)
    if is_stall:
        stamps_s[place : place + n] = stamps_s[min(place + n, 1999)]
        expected = [("late", place, 0)] if n > 1 else []
    else:
        stamps_s = np.concatenate([stamps_s[:place], stamps_s[place:] + n / FS])
        expected = [("lost", place, n)]
    got = verdicts(judge(stamps_s, at))
    assert got == verdicts(judge(stamps_s, [0, 2000]))
    if n != 1 or not is_stall:
        assert got == expected


# --- stamps that are no numbers --------------------------------------------------------------------------------------

COUNTED = [{}, {"counts": np.arange(4000), "counter_channel": 0}]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("options", COUNTED, ids=["stamps", "counter"])
@pytest.mark.parametrize("places", [[1000], [999, 1003], slice(1000, 1020), slice(200, 1900)])
def test_a_stamp_that_is_no_number_is_no_jump_and_hides_no_later_one(value, options, places):
    stamps_s = stamps(4000, 0.002)
    stamps_s[places] = value
    assert judge(stamps_s, **options) == []
    stamps_s[2000:] += 1.0
    counts = np.arange(4000) + np.where(np.arange(4000) < 2000, 0, 250)
    options = {"counts": counts, "counter_channel": 0} if options else {}
    assert verdicts(judge(stamps_s, **options)) == [("lost", 2000, 250)]


@pytest.mark.parametrize("end", [2003, 2400])
def test_a_jump_is_judged_also_where_stamps_behind_it_are_no_numbers(end):
    stamps_s = np.delete(stamps(4000, 0.001), np.arange(2000, 2100))[:end]
    stamps_s[2001:2004], stamps_s[2006:2007] = np.nan, np.inf
    assert verdicts(judge(stamps_s)) == [("lost", 2000, 100)]


@pytest.mark.parametrize("options", COUNTED, ids=["stamps", "counter"])
@pytest.mark.parametrize("n_blind", [1, 20, 777])
def test_a_segment_begins_at_the_first_stamp_that_is_a_number(options, n_blind):
    stamps_s = stamps(4000) - 5000
    stamps_s[:n_blind] = np.nan
    gaps = judge(stamps_s, **options)
    assert verdicts(gaps) == [("unknown", n_blind, 0)]
    assert "first stamp" in gaps[0].reason
    assert judge(np.full(4000, np.nan), **options) == []


def test_the_duration_of_a_gap_is_a_number_also_where_its_stamp_is_none():
    stamps_s = stamps(3000)
    stamps_s[2000] = np.nan
    gaps = judge(stamps_s, counts=np.concatenate([np.arange(2000), np.arange(1000)]), counter_channel=0)
    assert [(g.verdict, g.first_index, g.duration_s) for g in gaps] == [("unknown", 2000, 0), ("unknown", 2001, 0)]


@settings(max_examples=40)
@given(cuts(1500), st.lists(st.integers(0, 1499), max_size=60), st.integers(0, 300), st.sampled_from(COUNTED))
def test_verdicts_without_some_stamps_do_not_depend_on_the_chunks(at, places, n_blind, options):
    stamps_s = stamps(1500, 1e-4)
    stamps_s[900:] += 0.4
    stamps_s[places] = np.nan
    stamps_s[:n_blind] = np.inf
    options = options | {"counts": np.arange(1500)} if options else {}
    assert verdicts(judge(stamps_s, at, **options)) == verdicts(judge(stamps_s, [0, 1500], **options))


# --- sample counters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma_s", [0.0, 0.004])
@pytest.mark.parametrize("modulo", [None, 256])
def test_a_counter_finds_one_lost_sample_under_any_jitter(sigma_s, modulo):
    counts = np.delete(np.arange(5000), [2000, 3000, 3001]) % (modulo or 10**9)
    stamps_s = np.delete(stamps(5000, sigma_s), [2000, 3000, 3001])
    gaps = judge(stamps_s, counts=counts.astype(np.float32), counter_channel=0, counter_modulo=modulo)
    assert [g for g in verdicts(gaps) if g[0] == "lost"] == [("lost", 2000, 1), ("lost", 2999, 2)]
    assert not [g for g in gaps if g.verdict == "open"]


def test_a_counter_that_wrapped_during_a_loss_is_unwrapped_by_the_stamps():
    keep = np.delete(np.arange(5000), np.arange(2000, 2700))
    gaps = judge(stamps(5000, 0.002)[keep], counts=keep % 256, counter_channel=0, counter_modulo=256)
    assert verdicts(gaps) == [("lost", 2000, 700)]


def test_with_a_counter_a_stall_is_late_at_once():
    stamps_s = stamps(5000)
    stamps_s[2000:2075] = stamps_s[2075] + np.arange(75) * 2e-5
    gaps = judge(stamps_s, counts=np.arange(5000, dtype=np.int32), counter_channel=0)
    assert verdicts(gaps) == [("late", 2000, 0)]


def test_a_counter_that_goes_back_is_unknown():
    counts = np.concatenate([np.arange(2000), np.arange(1000)])
    gaps = judge(stamps(3000), counts=counts, counter_channel=0)
    assert verdicts(gaps) == [("unknown", 2000, 0)]
    assert "counter" in gaps[0].reason


# --- real stamps -----------------------------------------------------------------------------------------------------


def real(data_dir, name):
    if name == "openbci":
        path = data_dir / "streams/openbci/OpenBCI_GUI-v6-blinks-jawClench-alpha.txt.xz"
        with lzma.open(path, "rt") as file:
            return np.array([float(line.split(",")[-3]) / 1000 for line in file if line[0] not in "%S"]), 250.0
    if name.endswith(".npz"):
        run = np.load(data_dir / "muse" / name)
        return (run["t0_ms"] + np.cumsum(run["dt_ms"].astype(np.int64))) / 1000.0, 256.0
    import pyxdf

    streams, _ = pyxdf.load_xdf(data_dir / "streams/xdf" / name, dejitter_timestamps=False, synchronize_clocks=False)
    stream = next(s for s in streams if float(s["info"]["nominal_srate"][0]) > 0)
    return stream["time_stamps"], float(stream["info"]["nominal_srate"][0])


@pytest.mark.parametrize(
    "name",
    [
        "openbci",
        "switch_example.xdf",
        "eeglab_obci_8ch_1000Hz.xdf",
        "ssvep/s1_ses1_run1.npz",
        "n170/s1_ses1_run1.npz",
        "n170/s10_ses1_short24s_badclock.npz",
        "p300/s1_ses1_run1.npz",
    ],
)
def test_no_real_recording_that_lost_nothing_is_said_to_have_lost(data_dir, name):
    stamps_s, sfreq_hz = real(data_dir, name)
    gaps = judge(stamps_s, sfreq_hz=sfreq_hz)
    assert not [g for g in gaps if g.verdict in ("lost", "unknown")]
    assert len(verdicts(gaps)) <= 5


def test_the_clock_reset_of_a_real_recording_is_found_at_its_place(data_dir):
    stamps_s, sfreq_hz = real(data_dir, "clock_resets.xdf")
    assert verdicts(judge(stamps_s, sfreq_hz=sfreq_hz)) == [("unknown", 12876, 0)]


@pytest.mark.parametrize("name", ["openbci", "eeglab_obci_8ch_1000Hz.xdf", "n170/s10_ses1_short24s_badclock.npz"])
def test_real_stamps_become_monotone_and_the_residual_is_that_of_a_straight_line(data_dir, name):
    from bci.signal.stamps import StampFit

    stamps_s, sfreq_hz = real(data_dir, name)
    fit = StampFit(sfreq_hz)
    smooth_s = fit.step(stamps_s)
    assert (np.diff(smooth_s) > 0).all()
    n = np.arange(len(stamps_s))
    straight = np.polyval(np.polyfit(n, stamps_s - stamps_s[0], 1), n) + stamps_s[0]
    assert 0 < fit.residual_s < 3 * np.std(stamps_s - straight)
    assert np.abs(smooth_s - straight)[round(sfreq_hz) :].max() < 0.030
