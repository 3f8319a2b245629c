"""Reading recordings: small files made here, and the real ones where they are."""

import hashlib
import lzma
import struct

import numpy as np
import pytest

from bci.errors import RecordingError, SourceError
from bci.sources.files import load_recording
from tests.helpers.recordings import edf, fif


def test_edf_gives_its_physical_values_labels_units_and_notes(tmp_path):
    path = tmp_path / "S1R1.edf"
    data = edf(path)
    recording = load_recording(path)
    signal, markers = recording.streams
    assert signal.spec.labels == ("FC5", "C3", "Xy-1")
    assert [c.unit for c in signal.spec.channels] == ["uV", "uV", "degC"]
    assert signal.spec.channels[1].position_m[0] < -0.05
    assert signal.spec.channels[2].position_m is None
    assert (signal.spec.name, signal.spec.type, signal.spec.sfreq_hz) == ("S1R1", "EEG", 100.0)
    assert signal.samples.dtype == np.float32
    assert np.array_equal(signal.samples, np.array(data, np.float32).T)  # whole numbers stay whole
    np.testing.assert_allclose(signal.stamps_s, np.arange(300) / 100)
    assert markers.spec.name == "S1R1-markers"
    assert markers.samples == ["T0", "T1"]
    np.testing.assert_allclose(markers.stamps_s, [0, 1.25])
    assert recording.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_packed_edf_is_the_same(tmp_path):
    edf(tmp_path / "a.edf")
    (tmp_path / "b.edf.xz").write_bytes(lzma.compress((tmp_path / "a.edf").read_bytes()))
    a, b = load_recording(tmp_path / "a.edf"), load_recording(tmp_path / "b.edf.xz")
    assert b.signals[0].spec.name == "b"
    assert np.array_equal(a.signals[0].samples, b.signals[0].samples)


def test_millivolts_and_volts_become_microvolts(tmp_path):
    data = edf(tmp_path / "a.edf", ("C3", "C4", "Cz"), ("mV", "V", "uV"))
    signal = load_recording(tmp_path / "a.edf").signals[0]
    assert {c.unit for c in signal.spec.channels} == {"uV"}
    np.testing.assert_allclose(signal.samples[:, 0], data[0] * 1e3, rtol=1e-6)
    np.testing.assert_allclose(signal.samples[:, 1], data[1] * 1e6, rtol=1e-6)


def test_each_rate_of_an_edf_file_is_a_stream_of_its_own(tmp_path):
    data = edf(tmp_path / "a.edf", ("C3", "Resp", "C4"), ("uV", "uV", "uV"), (100, 25, 100))
    fast, slow = load_recording(tmp_path / "a.edf").signals
    assert (fast.spec.sfreq_hz, fast.spec.labels) == (100.0, ("C3", "C4"))
    assert (slow.spec.sfreq_hz, slow.spec.labels, slow.spec.name) == (25.0, ("Resp",), "a-25Hz")
    assert np.array_equal(slow.samples[:, 0], data[1].astype(np.float32))
    assert np.array_equal(fast.samples[:, 1], data[2].astype(np.float32))


def whole_edf(tmp_path):
    edf(tmp_path / "whole.edf")
    return (tmp_path / "whole.edf").read_bytes()


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("a.edf", lambda data: b"", "empty"),
        ("a.edf", lambda data: data[:100], "not an EDF file"),
        ("a.edf", lambda data: data[:700], "within its header"),
        ("a.edf", lambda data: data[:-1], "2 of 3 data records are whole"),
        ("a.edf", lambda data: data.replace(b"EDF+C", b"EDF+D"), "discontinuous"),
        ("a.edf", lambda data: b"A letter, not a recording. " * 40, "not an EDF file"),
        ("a.edf.xz", lambda data: data, "not a readable .edf.xz"),
        ("a.edf.xz", lambda data: lzma.compress(data)[:-30], "not a readable .edf.xz"),
        ("a_raw.fif", lambda data: data, "not a FIF file, or cut off"),
        ("a.xdf", lambda data: data, "not an XDF file"),
        ("a.bin", lambda data: data, "not a kind of recording"),
    ],
)
def test_what_is_no_whole_recording_is_refused_in_one_line(tmp_path, name, change, says):
    path = tmp_path / name
    path.write_bytes(change(whole_edf(tmp_path)))
    with pytest.raises((SourceError, RecordingError), match=says) as caught:
        load_recording(path)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_an_edf_file_without_records_is_refused(tmp_path):
    edf(tmp_path / "a.edf", n_records=0)
    with pytest.raises(SourceError, match="no samples"):
        load_recording(tmp_path / "a.edf")


def test_no_such_file(tmp_path):
    with pytest.raises(SourceError, match=r"nothere\.edf: cannot be read"):
        load_recording(tmp_path / "nothere.edf")


def test_fif_gives_sensors_in_their_units_and_events_with_the_files_own_time(tmp_path):
    raw = fif(tmp_path / "a_raw.fif")
    signal, markers = load_recording(tmp_path / "a_raw.fif").streams
    assert signal.spec.type == "MEG"
    assert [(c.type, c.unit) for c in signal.spec.channels] == [
        ("EEG", "uV"),
        ("MAG", "T"),
        ("STIM", ""),
        ("EOG", "uV"),
    ]
    assert np.array_equal(signal.samples[:, 0], (raw.get_data()[0] * 1e6).astype(np.float32))
    assert np.array_equal(signal.samples[:, 1], raw.get_data()[1].astype(np.float32))
    assert np.array_equal(signal.samples[:, 2], raw.get_data()[2])
    np.testing.assert_allclose(signal.stamps_s, (100 + np.arange(1000)) / 200)
    assert len(markers.samples) == 3
    placed = dict(zip(markers.samples, markers.stamps_s, strict=True))
    assert placed["5"] == signal.stamps_s[300]
    assert placed["7"] == signal.stamps_s[700]
    assert markers.stamps_s.tolist() == sorted(markers.stamps_s)


def test_trigger_values_that_float32_cannot_hold_make_the_stream_double(tmp_path):
    import mne

    data = np.zeros((2, 100))
    data[1, 50:] = 2**30 + 1
    info = mne.create_info(["C3", "STI 014"], 200.0, ["eeg", "stim"])
    mne.io.RawArray(data, info, verbose="ERROR").save(tmp_path / "a_raw.fif", fmt="double", verbose="ERROR")
    signal = load_recording(tmp_path / "a_raw.fif").signals[0]
    assert signal.spec.format == "double64"
    assert signal.samples[-1, 1] == 2**30 + 1


# --- XDF: chunks written by hand -------------------------------------------------------------------------------------


def chunk(tag, content):
    return b"\x04" + struct.pack("<I", len(content) + 2) + struct.pack("<H", tag) + content


def xdf(path):
    """Two streams: int64 with two channels, and strings with two channels; stamps with a step backward."""
    head = "<info><name>{}</name><type>{}</type><channel_count>2</channel_count><channel_format>{}</channel_format>"
    head += (
        "<nominal_srate>{}</nominal_srate><source_id>s</source_id><desc><rolandic><group>g1</group></rolandic></desc>"
    )
    head += "</info>"
    values = np.array([[1, -1], [2**53 + 1, -(2**62)], [3, 4]], np.int64)
    stamps_s = np.array([5000.123456789, 5000.5, 17.25])
    rows = b"".join(b"\x08" + struct.pack("<d", t) + v.tobytes() for t, v in zip(stamps_s, values, strict=True))
    text = b"\x08" + struct.pack("<d", 18.0) + b"\x01\x05start\x01\x02\xc3\xbc"
    path.write_bytes(
        b"XDF:"
        + chunk(1, b"<info><version>1.0</version></info>")
        + chunk(2, struct.pack("<I", 7) + head.format("numbers", "EEG", "int64", "100").encode())
        + chunk(2, struct.pack("<I", 3) + head.format("words", "Markers", "string", "0").encode())
        + chunk(3, struct.pack("<I", 7) + b"\x01\x03" + rows)
        + chunk(4, struct.pack("<Idd", 7, 5000.0, 99.0))
        + chunk(3, struct.pack("<I", 3) + b"\x01\x01" + text)
    )
    return values, stamps_s


def test_xdf_keeps_format_stamps_and_order_and_ignores_clock_offsets(tmp_path):
    values, stamps_s = xdf(tmp_path / "a.xdf")
    numbers, words = load_recording(tmp_path / "a.xdf").streams
    assert (numbers.spec.name, numbers.spec.format, numbers.spec.group) == ("numbers", "int64", "g1")
    assert numbers.samples.dtype == np.int64
    assert np.array_equal(numbers.samples, values)
    assert np.array_equal(numbers.stamps_s, stamps_s)
    assert words.samples == ["start\tü"]
    assert len(words.spec.channels) == 1
    assert words.stamps_s.tolist() == [18.0]


def test_an_xdf_file_that_is_cut_anywhere_is_refused(tmp_path):
    xdf(tmp_path / "a.xdf")
    data = (tmp_path / "a.xdf").read_bytes()
    ends, at = {4}, 4
    while at < len(data):
        at += 5 + struct.unpack_from("<I", data, at + 1)[0]
        ends.add(at)
    path = tmp_path / "cut.xdf"
    for n in range(1, len(data)):
        path.write_bytes(data[:n])
        if n in ends:
            continue
        with pytest.raises((SourceError, RecordingError), match=r"cut\.xdf"):
            load_recording(path)


# --- real files ------------------------------------------------------------------------------------------------------


def test_real_edf_holds_whole_microvolts(data_dir):
    signal, markers = load_recording(data_dir / "motor_imagery_64ch" / "S001R04.edf.xz").streams
    assert signal.samples.shape == (20000, 64)
    assert np.array_equal(signal.samples, np.round(signal.samples))
    assert {"FC5", "FCz", "C3", "AF7", "Fp1", "Iz", "T9"} <= set(signal.spec.labels)
    assert all(c.unit == "uV" and c.position_m for c in signal.spec.channels)
    assert markers.samples[:2] == ["T0", "T2"]
    assert len(markers.samples) == 30


@pytest.mark.parametrize(
    ("name", "n_channels", "n_samples", "n_markers"),
    [
        ("human_audvis_5s_raw.fif.gz", 373, 1503, 3),
        ("elekta_3ch_80s_triggers_raw.fif.gz", 4, 80000, 162),
        ("emptyroom_306ch_90Hz_10s_raw.fif.gz", 306, 900, 0),
        ("ctf_274ch_0.5s_raw.fif.gz", 340, 241, 0),
    ],
)
def test_real_fif(data_dir, name, n_channels, n_samples, n_markers):
    signal, markers = load_recording(data_dir / "meg_fif" / name).streams
    assert signal.samples.shape == (n_samples, n_channels)
    assert len(markers.samples) == n_markers
    for channel in signal.spec.channels:
        assert channel.unit == {"MAG": "T", "REF_MEG": "T", "GRAD": "T/m", "STIM": ""}.get(channel.type, "uV")


def test_a_fif_file_of_averages_is_refused(data_dir):
    with pytest.raises(SourceError, match="it holds averages or epochs"):
        load_recording(data_dir / "meg_fif" / "human_audvis-ave.fif.gz")


@pytest.mark.parametrize(
    "name", ["switch_example", "clock_resets", "minimal", "empty_streams", "eeglab_obci_8ch_1000Hz"]
)
def test_real_xdf_equals_pyxdf(data_dir, name):
    import pyxdf

    path = data_dir / "streams" / "xdf" / f"{name}.xdf"
    ours = load_recording(path).streams
    theirs, _ = pyxdf.load_xdf(path, dejitter_timestamps=False, synchronize_clocks=False)
    assert len(ours) == len(theirs)
    by_name = {s["info"]["name"][0]: s for s in theirs}
    for stream in ours:
        other = by_name[stream.spec.name]
        assert np.array_equal(stream.stamps_s, other["time_stamps"])
        if isinstance(stream.samples, list):
            assert stream.samples == [row[0] for row in other["time_series"]]
        elif len(stream.samples):
            assert stream.samples.dtype == other["time_series"].dtype
            assert np.array_equal(stream.samples, other["time_series"])


def test_truncated_real_xdf_is_refused(data_dir, tmp_path):
    data = (data_dir / "streams" / "xdf" / "switch_example.xdf").read_bytes()
    (tmp_path / "cut.xdf").write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match="bci repair"):
        load_recording(tmp_path / "cut.xdf")
