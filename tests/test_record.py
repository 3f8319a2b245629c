import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from bci.cli.record import command, record
from bci.errors import RecordingError, SourceError
from bci.ports import Ended, Offset, Pulled, Silent
from bci.recording.scan import scan
from bci.recording.xdf import read_xdf, read_xdf_file
from bci.sources.schedule import END_MARKER
from bci.types import Channel, StreamSpec
from tests.helpers.outlets import Outlet, marker_spec, numeric_spec
from tests.test_recorder import until


class Played:
    """A source that delivers what it was given from a thread of its own."""

    def __init__(self, spec, events):
        self.spec, self.events = spec, list(events)
        self.is_finished = False
        self.thread = threading.Thread()

    def start(self, deliver):
        self.thread = threading.Thread(target=lambda: [deliver(event) for event in self.events])
        self.thread.start()

    def finish(self):
        self.is_finished = True

    def close(self):
        if self.thread.ident:
            self.thread.join(20)


EEG = StreamSpec(name="EEG", sfreq_hz=100.0, channels=(Channel("a"), Channel("b")))
MARKS = StreamSpec(name="marks", type="Markers", format="string", channels=(Channel("m"),))


def pulled(n):
    return Pulled(np.full((10, 2), n, "f4"), n + np.arange(10) / 100, 0.0)


def test_what_sources_deliver_is_recorded_until_all_have_ended(tmp_path):
    eeg = Played(EEG, [pulled(0), Silent(1.0), Offset(5.0, 0.5, 0.01), pulled(1), Ended(SourceError("gone"))])
    marks = Played(MARKS, [Pulled([["x"], ["y"]], np.array([0.5, 0.6]), 0.0), Ended()])
    result = record([eeg, marks], tmp_path / "a.xdf", None, threading.Event(), True)
    assert result["n_samples"] == {"EEG": 20, "marks": 2}
    assert result["ended"] == {"EEG": "gone", "marks": ""}
    assert (result["trouble"], result["n_lost"]) == ("", {})
    file = read_xdf_file(tmp_path / "a.xdf")
    assert file.recording.streams[0].spec == EEG
    assert file.recording.streams[0].samples[:, 0].tolist() == [0] * 10 + [1] * 10
    assert file.recording.streams[1].samples == ["x", "y"]
    assert file.clock_offsets[0] == (Offset(5.0, 0.5, 0.0),)


@pytest.mark.parametrize("seconds", [0.05, None])
def test_it_ends_when_told_to(tmp_path, seconds):
    stop = threading.Event()
    if seconds is None:
        stop.set()
    result = record([Played(EEG, [pulled(0)])], tmp_path / "a.xdf", seconds, stop, True)
    assert result["ended"] == {}
    assert len(read_xdf(tmp_path / "a.xdf").streams[0].stamps_s) == 10


def test_the_end_marker_ends_the_streams_of_its_group_only(tmp_path):
    marks = Played(MARKS, [Pulled([[END_MARKER]], np.zeros(1), 0.0), Ended()])
    same = Played(EEG, [Ended()])
    other = Played(StreamSpec(name="o", group="other", channels=(Channel("a"),)), [Ended()])
    record([marks, same, other], tmp_path / "a.xdf", None, threading.Event(), True)
    assert (marks.is_finished, same.is_finished, other.is_finished) == (True, True, False)


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "a.xdf"
    path.write_text("mine")
    with pytest.raises(RecordingError, match="not overwritten"):
        record([Played(EEG, [])], path, None, threading.Event(), True)
    assert path.read_text() == "mine"


def test_a_recording_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="free"):
        record([Played(EEG, [])], tmp_path / "a.xdf", 1e12, threading.Event(), True)
    assert not (tmp_path / "a.xdf").exists()


def test_no_such_stream(tmp_path, unique_name):
    result = CliRunner().invoke(command, ["--stream", unique_name, "--out", str(tmp_path / "a.xdf"), "--wait", "0.2"])
    assert isinstance(result.exception, SourceError)
    assert not (tmp_path / "a.xdf").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_over_lsl_until_interrupted(tmp_path, unique_name, number):
    out = tmp_path / "a.xdf"
    eeg, marks = numeric_spec(unique_name, format_="int16"), marker_spec(unique_name + "m")
    with Outlet(eeg) as outlet, Outlet(marks) as marker_outlet:
        with subprocess.Popen(
            [sys.executable, "-m", "bci", "record", "--stream", eeg.name, "--stream", marks.name,
             "--out", str(out), "--json", "-"],
            stdout=subprocess.PIPE, text=True, start_new_session=True,
        ) as process:  # fmt: skip
            outlet.wait_for_consumer()
            marker_outlet.wait_for_consumer()
            outlet.push(500)
            marker_outlet.push_labels(["go"], [1000.5])
            outlet.push(500)
            until(lambda: sum(c.n_samples for c in scan(out.read_bytes()).chunks) == 1001)  # some may be on their way
            os.killpg(process.pid, number)
            text, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    result = json.loads(text)
    assert result["n_samples"] == {eeg.name: 1000, marks.name: 1}
    a, b = read_xdf(out).streams
    assert a.samples[:, 0].tolist() == list(range(1000))
    assert a.samples.dtype == np.int16
    assert a.spec.labels == eeg.labels
    assert np.array_equal(a.stamps_s, 1000.0 + np.arange(1000) / 250.0)
    assert (b.samples, b.stamps_s.tolist()) == (["go"], [1000.5])


def test_markers_of_the_streams_own_group_are_recorded_too_and_end_it(tmp_path, unique_name):
    eeg = replace(numeric_spec(unique_name), group=unique_name)
    marks, strange = (replace(marker_spec(unique_name + n), group=unique_name + g) for n, g in (("m", ""), ("s", "!")))
    with Outlet(eeg) as outlet, Outlet(marks) as marker_outlet, Outlet(strange):
        arguments = ["--stream", eeg.name, "--out", str(tmp_path / "a.xdf"), "--json", "-"]
        with subprocess.Popen(
            [sys.executable, "-m", "bci", "record", *arguments], stdout=subprocess.PIPE, text=True
        ) as process:
            outlet.wait_for_consumer()
            marker_outlet.wait_for_consumer()
            outlet.push(500)
            marker_outlet.push_labels(["go", END_MARKER], [1000.5, 1002.0])
            text, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(text)["n_samples"] == {eeg.name: 500, marks.name: 2}
