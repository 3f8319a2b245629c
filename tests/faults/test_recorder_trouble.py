"""The recorder dies, hangs, or its disk is full: devices go neutral, it is said, and the session goes on."""

import sys
import time

import numpy as np
import psutil
import pytest

from tests.helpers.live import assert_nothing_missing, bci
from tests.helpers.pages import reported


def test_killed_while_armed(live):
    at_s = time.monotonic()
    live.child("recorder").kill()
    live.wait_for_neutral(at_s)
    live.wait_for(lambda: live.n_recorded(1) > 300, "a new part")
    live.wait_for_commands_again(live.listener.neutrals(at_s)[0][0])
    assert live.zombies() == []
    assert live.interrupt() == 0
    report = live.report()
    assert report["recording_parts"] == [str(p) for p in live.parts()]
    assert len(report["recording_parts"]) == 2
    assert any("the recorder process ended (exit code -9)" in trouble for trouble in report["troubles"])
    assert "recorded in 2 parts" in live.text
    first, second = (live.streams(part)["raw"].samples[:, 0] for part in (0, 1))
    assert_nothing_missing(first)
    assert_nothing_missing(second)
    n_missing = int(second[0] - first[-1]) - 1
    assert 0 <= n_missing <= report["n_unconfirmed"].get(live.name, 0)
    assert n_missing <= 250  # flushed every half second: at most the last second
    made = reported(live.folder, report, is_whole=False)
    assert made["n_samples"] == report["n_samples"]
    assert made["streams"][0]["n_recorded"] == len(first) + len(second)
    assert "The recorder was restarted once." in made["verdicts"][0]["text"].replace("\u00a0", " ")
    assert report["n_unrecorded"] == {}
    assert report["n_samples"] == len(first) + n_missing + len(second)
    live.verify(part=0)  # the second part begins in the middle of the events: it can be read, not replayed
    again = bci("replay", str(live.parts()[1]), "--verify")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert live.errors == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit")
def test_disk_full_for_a_while(live):
    recorder = live.child("recorder")
    _, hard = recorder.rlimit(psutil.RLIMIT_FSIZE)
    at_s = time.monotonic()
    recorder.rlimit(psutil.RLIMIT_FSIZE, (live.parts()[0].stat().st_size + 1000, hard))
    live.wait_for_neutral(at_s)
    neutral_s, reason = live.listener.neutrals(at_s)[0]
    assert "the disk does not take the recording (File too large)" in reason
    recorder.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
    back_s = time.monotonic()
    live.wait_for_commands_again(back_s)
    assert live.listener.commands(neutral_s)[0][0] - back_s > 0
    assert live.interrupt() == 0
    report = live.report()
    assert any("File too large" in trouble for trouble in report["troubles"])
    assert report["recorder"] == "ok"
    assert (report["n_unrecorded"], report["n_unconfirmed"]) == ({}, {})
    assert len(live.parts()) == 1
    assert_nothing_missing(live.streams()["raw"].samples[:, 0])
    live.verify()
    assert live.errors == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit")
def test_disk_full_to_the_end(live):
    """The file stays whole as far as it goes, the session's own account is printed, and the exit code says it."""
    recorder = live.child("recorder")
    live.wait_for(lambda: live.n_recorded() > 500, "something on disk")
    size = live.parts()[0].stat().st_size
    recorder.rlimit(psutil.RLIMIT_FSIZE, (size, size))
    live.wait_for_neutral(time.monotonic())
    code = live.interrupt()
    report = live.report()
    assert "could not be written" in report["recorder"]
    assert report["n_unconfirmed"][live.name] > 0
    assert "perhaps not recorded" in live.text
    raw = live.streams()["raw"].samples[:, 0]
    assert_nothing_missing(raw)
    assert len(raw) + report["n_unconfirmed"][live.name] >= report["n_samples"]
    assert code == 1
    assert live.errors.count("\n") == 1
    assert "could not be written" in live.errors
    made = reported(live.folder, report, is_whole=False)  # the limit was the recorder's alone
    assert made["verdicts"][0]["level"] == "bad"
    assert made["n_unconfirmed"] == report["n_unconfirmed"]


def test_stands_still_and_comes_back(live):
    recorder = live.child("recorder")
    at_s = time.monotonic()
    recorder.suspend()
    live.wait_for_neutral(at_s)
    assert "the recorder has written nothing for 5 s" in live.listener.neutrals(at_s)[0][1]
    recorder.resume()
    back_s = time.monotonic()
    live.wait_for_commands_again(back_s)
    assert live.interrupt() == 0
    report = live.report()
    assert (report["recorder"], report["n_unrecorded"], report["n_unconfirmed"]) == ("ok", {}, {})
    assert any("the recorder has written nothing" in trouble for trouble in report["troubles"])
    counter = live.streams()["raw"].samples[:, 0]
    assert_nothing_missing(counter)
    assert np.array_equal(counter, np.arange(report["n_samples"]))
    live.verify()
    assert live.errors == ""
