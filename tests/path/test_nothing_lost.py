"""Every sample that was sent is in the recording, in order, bit for bit; what was not sent is in the gap ledger.

A file with a sample number in one channel goes through `bci stream`, LSL and `bci run` and is read back from XDF.
"""

import numpy as np
import pytest

from bci.bench.latency import linear_model
from tests.helpers.played import busy_cores, counted, play, write_xdf

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
    came = play(write_xdf(tmp_path / "source.xdf", source), model, unique_name, tmp_path)
    came.assert_whole(source)
    assert (came.report["n_samples_lost"], came.report["n_gaps"], came.report["n_segments"]) == (0, 0, 1)
    assert came.report["n_hops"] == 1003 // HOP


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_64_channels_at_1_khz_while_the_other_core_is_busy(seconds, unique_name, tmp_path):
    model = tmp_path / "model"
    linear_model(model, 63, 1000.0, 20)
    source = counted(seconds * 1000, 64, 1000.0)
    with busy_cores():
        came = play(write_xdf(tmp_path / "source.xdf", source), model, unique_name, tmp_path)
    came.assert_whole(source)
    assert (came.report["n_samples_lost"], came.report["n_gaps"], came.report["n_segments"]) == (0, 0, 1)
    assert came.report["n_hops"] == seconds * 50


def test_what_was_dropped_is_lost_at_its_place(model, unique_name, tmp_path):
    source = counted(1200, N_CHANNELS, SFREQ_HZ)
    kept = np.r_[0:700, 775:1200]  # 300 ms are missing
    source = counted(len(kept), N_CHANNELS, SFREQ_HZ, stamps_s=source.stamps_s[kept])
    came = play(write_xdf(tmp_path / "source.xdf", source), model, unique_name, tmp_path)
    came.assert_whole(source)
    assert ("lost", 700, 75) in came.verdicts
    assert {v[0] for v in came.verdicts} <= {"lost", "late"}
    assert (came.report["n_samples_lost"], came.report["n_gaps"], came.report["n_segments"]) == (75, 1, 2)


def test_a_stall_that_shows_in_the_stamps_is_late(model, unique_name, tmp_path):
    stamps_s = 100 + np.arange(1200) / SFREQ_HZ
    stamps_s[700:775] = stamps_s[775] - 0.001 * np.arange(75, 0, -1) / 10  # stamped as they left: a burst after 300 ms
    source = counted(1200, N_CHANNELS, SFREQ_HZ, stamps_s=stamps_s)
    came = play(write_xdf(tmp_path / "source.xdf", source), model, unique_name, tmp_path)
    came.assert_whole(source)
    assert ("late", 700, 0) in came.verdicts
    assert {v[0] for v in came.verdicts} == {"late"}
    assert (came.report["n_samples_lost"], came.report["n_gaps"], came.report["n_segments"]) == (0, 0, 1)
    assert came.report["n_late"] >= 1
