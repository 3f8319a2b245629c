"""Every sample that was sent is in the recording, in order, bit for bit; what was not sent is in the gap ledger.

A file with a sample number in one channel goes through `bci stream`, LSL and `bci run` and is read back from XDF.
"""

import contextlib
import json
import os
import signal
import time

import msgspec
import numpy as np
import pylsl
import pytest

from bci.bench.latency import linear_model
from bci.recording.scan import scan
from tests.helpers.live import bci, wait_for
from tests.helpers.outlets import Outlet, rows
from tests.helpers.played import (
    LIMIT_S,
    busy_cores,
    came,
    counted,
    ended,
    play,
    run_arguments,
    running,
    stream_arguments,
    write_xdf,
)

pytestmark = pytest.mark.timeout(300)
SFREQ_HZ, N_CHANNELS, HOP = 250.0, 9, 5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nothing-lost") / "model"
    linear_model(folder, N_CHANNELS - 1, SFREQ_HZ, HOP)
    return folder


@pytest.mark.parametrize("format_", ["float32", "int32", "double64"])
def test_every_sample_of_every_format(format_, model, unique_name, tmp_path):
    source = counted(1003, N_CHANNELS, SFREQ_HZ, format_)
    got = play(write_xdf(tmp_path / "source.xdf", source), model, unique_name, tmp_path)
    got.assert_whole(source)
    assert (got.report["n_samples_lost"], got.report["n_gaps"], got.report["n_segments"]) == (0, 0, 1)
    assert got.report["n_hops"] == 1003 // HOP


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_64_channels_at_1_khz_while_the_other_core_is_busy(seconds, unique_name, tmp_path):
    model = tmp_path / "model"
    linear_model(model, 63, 1000.0, 20)
    source = counted(seconds * 1000, 64, 1000.0)
    with busy_cores():
        got = play(write_xdf(tmp_path / "source.xdf", source), model, unique_name, tmp_path)
    got.assert_whole(source)
    assert (got.report["n_samples_lost"], got.report["n_gaps"], got.report["n_segments"]) == (0, 0, 1)
    assert got.report["n_hops"] == seconds * 50


def test_what_was_dropped_is_lost_at_its_place(model, unique_name, tmp_path):
    source = counted(1200, N_CHANNELS, SFREQ_HZ)
    kept = np.r_[0:700, 775:1200]  # 300 ms are missing
    source = counted(len(kept), N_CHANNELS, SFREQ_HZ, stamps_s=source.stamps_s[kept])
    got = play(write_xdf(tmp_path / "source.xdf", source), model, unique_name, tmp_path)
    got.assert_whole(source)
    assert ("lost", 700, 75) in got.verdicts
    assert {v[0] for v in got.verdicts} <= {"lost", "late"}
    assert (got.report["n_samples_lost"], got.report["n_gaps"], got.report["n_segments"]) == (75, 1, 2)


def test_a_stall_that_shows_in_the_stamps_is_late(model, unique_name, tmp_path):
    stamps_s = 100 + np.arange(1200) / SFREQ_HZ
    stamps_s[700:775] = stamps_s[775] - 0.001 * np.arange(75, 0, -1) / 10  # stamped as they left: a burst after 300 ms
    source = counted(1200, N_CHANNELS, SFREQ_HZ, stamps_s=stamps_s)
    got = play(write_xdf(tmp_path / "source.xdf", source), model, unique_name, tmp_path)
    got.assert_whole(source)
    assert ("late", 700, 0) in got.verdicts
    assert {v[0] for v in got.verdicts} == {"late"}
    assert (got.report["n_samples_lost"], got.report["n_gaps"], got.report["n_segments"]) == (0, 0, 1)
    assert got.report["n_late"] >= 1


# --- processes that stand still --------------------------------------------------------------------------------------

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def n_recorded(folder):
    """Samples of the signal, which is stream 1, in the file so far."""
    path = folder / "session" / "session.xdf"
    if not path.exists() or not path.stat().st_size:
        return 0
    return sum(c.n_samples for c in scan(path.read_bytes()).chunks if c.stream == 1)


@contextlib.contextmanager
def stands_still(process, seconds):
    """SIGSTOP for at least so long, and for as long as what is inside takes."""
    os.kill(process.pid, signal.SIGSTOP)
    until_s = time.monotonic() + seconds
    try:
        yield
        time.sleep(max(0.0, until_s - time.monotonic()))
    finally:
        os.kill(process.pid, signal.SIGCONT)


@posix
def test_a_stall_that_does_not_show_in_the_stamps_is_late_too(model, unique_name, tmp_path):
    source = counted(2000, N_CHANNELS, SFREQ_HZ)
    recording = write_xdf(tmp_path / "source.xdf", source)
    with (
        running(*stream_arguments(recording, unique_name)) as sender,
        running(*run_arguments(unique_name, model, tmp_path, "--silence", 0.25)) as live,
    ):
        wait_for(lambda: n_recorded(tmp_path) >= 100, "samples in the recording")
        with stands_still(sender, 0.4):
            pass
        sent = json.loads(ended(sender, "bci stream", LIMIT_S))
        ended(live, "bci run", LIMIT_S)
    got = came(unique_name, tmp_path, sent)
    got.assert_whole(source)
    assert {v[0] for v in got.verdicts} == {"late"}
    assert any(gap["duration_s"] >= 0.25 for gap in got.report["gaps"])
    assert (got.report["n_samples_lost"], got.report["n_gaps"], got.report["n_segments"]) == (0, 0, 1)
    assert got.report["n_hops"] == 2000 // HOP
    for options in ((), ("--rechunk", 1)):
        replayed = bci("replay", tmp_path / "session", "--verify", *options, "--json", "-")
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
        assert json.loads(replayed.stdout)["bitwise"]


@posix
def test_a_stream_that_ends_while_the_receiver_stands_still_is_whole(model, unique_name, tmp_path):
    source = counted(1000, N_CHANNELS, SFREQ_HZ)
    recording = write_xdf(tmp_path / "source.xdf", source)
    with (
        running(*stream_arguments(recording, unique_name)) as sender,
        running(*run_arguments(unique_name, model, tmp_path)) as live,
    ):
        wait_for(lambda: n_recorded(tmp_path) >= 100, "samples in the recording")
        with stands_still(live, 1.0):
            sent = json.loads(ended(sender, "bci stream", LIMIT_S))
        ended(live, "bci run", LIMIT_S)
    got = came(unique_name, tmp_path, sent)
    got.assert_whole(source)
    assert (got.report["n_samples_lost"], got.report["n_gaps"], got.report["n_segments"]) == (0, 0, 1)
    assert got.report["n_hops"] == 1000 // HOP
    assert got.report["ended_because"] == "the stream said that it has ended"


@posix
def test_a_sender_that_goes_without_a_word_while_the_receiver_stands_still_is_whole(model, unique_name, tmp_path):
    spec = msgspec.structs.replace(counted(1, N_CHANNELS, SFREQ_HZ).spec, name=unique_name, source_id=unique_name)
    with (
        Outlet(spec) as outlet,
        running(*run_arguments(unique_name, model, tmp_path, "--reconnect", 2)) as live,
    ):
        outlet.wait_for_consumer()
        witness = pylsl.StreamInlet(pylsl.resolve_byprop("name", unique_name, 1, 20.0)[0])
        witness.open_stream(20.0)
        outlet.stream(500, 5)  # as one: the stamps of another begin when it is asked for, which may be a sample later
        wait_for(lambda: n_recorded(tmp_path) >= 100, "samples in the recording")
        with stands_still(live, 1.0):
            outlet.wait()
            seen: list[list[float]] = []
            wait_for(
                lambda: seen.extend(witness.pull_chunk(0.1)[0]) or [row for row in seen if row[0] == 499],
                "it is through the network",
            )
            outlet.end()
            witness.close_stream()
        ended(live, "bci run", LIMIT_S, code=1)  # nothing said that this was the end
    got = came(unique_name, tmp_path, {})
    assert np.array_equal(got.raw.samples, rows(0, 500, N_CHANNELS, "float32"))
    assert np.all(np.diff(got.raw.stamps_s) > 0)
    assert (got.report["n_samples"], got.report["n_samples_lost"], got.report["n_segments"]) == (500, 0, 1)
    assert got.report["n_hops"] == 500 // HOP
