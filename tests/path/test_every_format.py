"""Recordings of every kind through `bci stream`, LSL and `bci record`, and back by pyxdf: all there, bit for bit."""

import numpy as np
import pytest

from bci.recording.xdf import read_xdf
from bci.sources.files import load_recording
from bci.types import Channel, RecordedStream, StreamSpec, marker_spec
from scripts.roundtrip_formats import Row, compare, recordings, round_trip
from tests.helpers.played import counted, write_xdf

pytestmark = pytest.mark.timeout(300)
SHORT = {"streams/xdf/minimal.xdf", "streams/xdf/empty_streams.xdf", "streams/formats/stim_channel.bdf",
         "streams/openbci/OpenBCI_GUI-v5-header_first3000lines.txt.xz"}  # fmt: skip
LONG = [
    "streams/formats/brainvision/test.vhdr",
    "streams/formats/eeglab_3ch_10s.set",
    "streams/formats/ieeg_138ch_6s.edf",
    "streams/formats/test_1ch.gdf",
    "streams/formats/uneven_rates.edf",
    "streams/openbci/OpenBCI_GUI-pre-v5-header_first3000lines.txt.xz",
    "streams/openbci/OpenBCI_GUI-v6-blinks-jawClench-alpha.txt.xz",
    "streams/xdf/clock_resets.xdf",
    "streams/xdf/eeglab_obci_8ch_1000Hz.xdf",
    "streams/xdf/switch_example.xdf",
    "meg_fif/ctf_274ch_0.5s_raw.fif.gz",
    "meg_fif/elekta_3ch_80s_triggers_raw.fif.gz",
    "meg_fif/human_audvis_5s_raw.fif.gz",
    "muse/raw_csv/p300_s1_ses1_run1.csv.xz",
    "muse/raw_csv/ssvep_s1_ses1_run1.csv.xz",
]
AVERAGES, EMPTY_ROOM = "meg_fif/human_audvis-ave.fif.gz", "meg_fif/emptyroom_306ch_90Hz_10s_raw.fif.gz"


def assert_good(rows):
    assert [row for row in rows if not row.is_good] == []


@pytest.mark.parametrize("name", [*sorted(SHORT), *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def test_a_real_recording_comes_back_whole(name, data_dir, tmp_path):
    assert_good(round_trip(data_dir / name, tmp_path, speed=20.0))


def test_no_real_recording_is_left_out(data_dir):
    found = {path.relative_to(data_dir).as_posix() for path in recordings(data_dir)}
    assert found == {*SHORT, *LONG, AVERAGES, EMPTY_ROOM}


def test_306_channels_of_meg_keep_their_types_units_and_places(data_dir, tmp_path):
    assert_good(round_trip(data_dir / EMPTY_ROOM, tmp_path, speed=20.0))
    (came,) = tmp_path.glob("*.xdf")
    before = load_recording(data_dir / EMPTY_ROOM).signals[0].spec
    after = next(s.spec for s in read_xdf(came).streams if s.spec.type == "MEG")
    assert [(c.label, c.type, c.unit) for c in after.channels] == [(c.label, c.type, c.unit) for c in before.channels]
    assert {(c.type, c.unit) for c in after.channels} == {("MAG", "T"), ("GRAD", "T/m")}
    places_m = [np.array([c.position_m for c in spec.channels]) for spec in (before, after)]
    np.testing.assert_allclose(places_m[0], places_m[1], atol=1e-9)
    assert len(np.unique(places_m[0].round(3), axis=0)) == 102  # three sensors at each place


def test_irregular_streams_numeric_markers_and_a_clock_that_is_reset(tmp_path):
    stamps_s = 5000 + np.arange(500) / 250
    stamps_s[200:] -= 4900  # the sender's clock starts anew
    stamps_s[[310, 311]] = stamps_s[[311, 310]]
    signal = counted(500, 4, 250.0, "int32", stamps_s)
    pose = StreamSpec(
        name="pose", type="MoCap", format="double64", channels=(Channel("x", "Misc"), Channel("y", "Misc"))
    )
    codes = StreamSpec(name="codes", type="Markers", format="int32", channels=(Channel("code", "Markers"),))
    times_s = stamps_s[[3, 50, 50, 199, 200, 420]]
    streams = (
        signal,
        RecordedStream(pose, np.random.default_rng(0).normal(size=(6, 2)), times_s + 1e-3),
        RecordedStream(codes, np.array([[1], [-2], [2**31 - 1], [7], [7], [0]], np.int32), times_s),
        RecordedStream(marker_spec("labels"), ["a", "", "ü", "d\te", "a", "f"], times_s),
        RecordedStream(StreamSpec(name="nothing", type="Gaze", sfreq_hz=60.0, channels=(Channel("x", "Misc"),)),
                       np.empty((0, 1), np.float32), np.empty(0)),
    )  # fmt: skip
    rows = round_trip(write_xdf(tmp_path / "mixed.xdf", *streams), tmp_path, speed=4.0)
    assert [(row.stream, row.n) for row in rows] == [("counted", 500), ("pose", 6), ("codes", 6), ("labels", 6),
                                                     ("nothing", 0)]  # fmt: skip
    assert_good(rows)


@pytest.mark.parametrize("fault", ["a sample", "a stamp", "a bit", "a label", "another clock"])
def test_the_comparison_sees_what_is_wrong(fault, tmp_path):
    signal = counted(50, 2, 250.0)
    labels = RecordedStream(marker_spec("labels"), ["a", "b"], signal.stamps_s[:2])
    samples, stamps_s = signal.samples.copy(), signal.stamps_s.copy()
    marks, marked_s = list(labels.samples), labels.stamps_s.copy()
    if fault == "a sample":
        samples, stamps_s = samples[1:], stamps_s[1:]
    elif fault == "a stamp":
        stamps_s[20] += 2e-6
    elif fault == "a bit":
        samples[20, 1] = np.nextafter(samples[20, 1], 1e9)
    elif fault == "a label":
        marks[1] = "B"
    else:
        marked_s += 1e-3
    played = (RecordedStream(signal.spec, samples, stamps_s), RecordedStream(labels.spec, marks, marked_s))
    path = write_xdf(tmp_path / "came.xdf", *played)
    rows = list(compare("file", [signal, labels], ["counted", "labels"], 0.0, path))
    assert sum(not row.is_good for row in rows) == 1
    assert all(isinstance(row, Row) for row in rows)
