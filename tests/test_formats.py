"""BDF, GDF, BrainVision, EEGLAB, OpenBCI and Muse: what each reader takes from a file and what it refuses."""

import lzma

import numpy as np
import pytest

from bci.errors import ConfigError, SourceError
from bci.offline.stream import primary_stream
from bci.signal.gaps import GapDetector
from bci.sources.files import FORMATS, load_recording
from bci.sources.formats.openbci import COUNTER
from bci.types import Chunk
from tests.helpers.recordings import OPENBCI_MS, OPENBCI_UV, WRITERS, bdf, brainvision, eeglab, gdf, muse, openbci


def labelled(stream):
    """Label to stamp; each label once."""
    assert len(set(stream.samples)) == len(stream.samples)
    return dict(zip(stream.samples, stream.stamps_s.tolist(), strict=True))


# --- BDF and GDF -----------------------------------------------------------------------------------------------------


def test_bdf_gives_24_bits_and_the_lower_16_of_status_as_markers(tmp_path):
    c3, eog, _ = bdf(tmp_path / "a.bdf")
    signal, markers = load_recording(tmp_path / "a.bdf").streams
    assert [(c.label, c.type, c.unit) for c in signal.spec.channels] == [
        ("C3", "EEG", "uV"),
        ("left", "EOG", "uV"),
        ("Status", "STIM", ""),
    ]
    assert signal.spec.channels[0].position_m
    assert np.array_equal(signal.samples[:, :2], np.array([c3, eog], np.float32).T)
    assert signal.samples[:7, 2].tolist() == [0, 5, 5, 0, 0, 300, 0]
    assert labelled(markers) == {"5": 0.01, "300": 0.05}
    np.testing.assert_allclose(signal.stamps_s, np.arange(300) / 100)


@pytest.mark.parametrize(("version", "unit"), [("1.25", b"uV"), ("2.10", 4275), ("2.20", 4275)])
def test_gdf_gives_microvolts_types_and_events(tmp_path, version, unit):
    c3, eog = gdf(tmp_path / "a.gdf", version, unit)
    signal, markers = load_recording(tmp_path / "a.gdf").streams
    assert [(c.label, c.type, c.unit) for c in signal.spec.channels] == [("C3", "EEG", "uV"), ("EOG-left", "EOG", "uV")]
    assert np.array_equal(signal.samples, np.array([c3, eog], np.float32).T)
    assert labelled(markers) == {"769": 1.5, "770": 2.5}


@pytest.mark.parametrize(
    ("version", "unit", "factor"),
    [("2.20", 4274, 1e3), ("2.20", 4256, 1e6), ("2.20", 4276, 1e-3), ("1.25", b"mV", 1e3), ("1.25", b"V", 1e6)],
)
def test_gdf_in_other_units_of_voltage(tmp_path, version, unit, factor):
    c3, _ = gdf(tmp_path / "a.gdf", version, unit)
    signal = load_recording(tmp_path / "a.gdf").signals[0]
    assert signal.spec.channels[0].unit == "uV"
    np.testing.assert_allclose(signal.samples[:, 0], c3 * factor, rtol=1e-6)


@pytest.mark.parametrize(("version", "unit"), [("2.20", 0), ("2.20", 512), ("1.25", b"")])
def test_gdf_without_a_unit_stays_without(tmp_path, version, unit):
    c3, _ = gdf(tmp_path / "a.gdf", version, unit)
    signal = load_recording(tmp_path / "a.gdf").signals[0]
    assert signal.spec.channels[0].unit == ""
    assert np.array_equal(signal.samples[:, 0], c3.astype(np.float32))


def test_a_gdf_file_with_several_rates_is_refused(tmp_path):
    gdf(tmp_path / "a.gdf", n_per_record=(100, 25, 100), events=())
    with pytest.raises(SourceError, match="several sampling rates"):
        load_recording(tmp_path / "a.gdf")


# --- BrainVision and EEGLAB ------------------------------------------------------------------------------------------


def test_brainvision_gives_values_in_the_units_of_its_header(tmp_path):
    values = brainvision(tmp_path / "a.vhdr")
    signal, markers = load_recording(tmp_path / "a.vhdr").streams
    assert [(c.label, c.type, c.unit) for c in signal.spec.channels] == [("C3", "EEG", "uV"), ("GSR", "MISC", "S")]
    assert np.array_equal(signal.samples[:, 0], values[:, 0].astype(np.float32))
    np.testing.assert_allclose(signal.samples[:, 1], 1e-6 * values[:, 1], rtol=1e-6)
    assert labelled(markers) == {"Stimulus/S  7": 1.0, "Response/R  1": 2.0}


def test_a_brainvision_recording_is_its_three_files(tmp_path):
    brainvision(tmp_path / "a.vhdr")
    before = load_recording(tmp_path / "a.vhdr").sha256
    for other in ("a.eeg", "a.vmrk"):
        with pytest.raises(SourceError, match=rf"{other}: give the header file that belongs to it, a\.vhdr"):
            load_recording(tmp_path / other)
    content = (tmp_path / "a.vmrk").read_bytes()
    (tmp_path / "a.vmrk").write_bytes(content.replace(b"S  7", b"S  8"))
    assert load_recording(tmp_path / "a.vhdr").sha256 != before
    (tmp_path / "a.vmrk").unlink()
    with pytest.raises(SourceError, match=r"a\.vhdr: it belongs together with a\.vmrk, which is not there"):
        load_recording(tmp_path / "a.vhdr")


@pytest.mark.parametrize("is_split", [False, True])
def test_eeglab_gives_microvolts_and_events(tmp_path, is_split):
    values = eeglab(tmp_path / "a.set", is_split=is_split)
    signal, markers = load_recording(tmp_path / "a.set").streams
    assert signal.spec.labels == ("C3", "C4")
    assert {c.unit for c in signal.spec.channels} == {"uV"}
    np.testing.assert_allclose(signal.samples, values, rtol=1e-6)
    assert labelled(markers) == {"square": 1.0, "rt": 2.0}


def test_an_eeglab_set_of_epochs_is_refused(tmp_path):
    eeglab(tmp_path / "a.set", n_trials=3)
    with pytest.raises(SourceError, match=r"a\.set: it holds epochs"):
        load_recording(tmp_path / "a.set")


# --- OpenBCI ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ["pre-v5", "v5", "v6", "v6s"])
def test_openbci_keeps_every_column_and_the_stamps_of_its_batches(tmp_path, generation):
    openbci(tmp_path / "a.txt", generation)
    signal, markers = load_recording(tmp_path / "a.txt").streams
    assert (signal.spec.type, signal.spec.sfreq_hz, signal.spec.format) == ("EEG", 250.0, "double64")
    assert signal.spec.labels[:3] == ("Sample Index", "EXG Channel 0", "EXG Channel 1")
    assert [(c.type, c.unit) for c in signal.spec.channels[:3]] == [("MISC", ""), ("EEG", "uV"), ("EEG", "uV")]
    assert signal.samples[:, 0].tolist() == [254, 255, 0, 1, 2]  # a row of zeros at the start is none
    assert [tuple(row) for row in signal.samples[:, 1:3]] == list(OPENBCI_UV)
    assert signal.stamps_s.tolist() == [ms / 1000 for ms in OPENBCI_MS]
    if generation in ("v6", "v6s"):
        assert signal.spec.labels[3:] == ("Accel Channel 0", "Not Used", "Not Used 6", "Marker Channel")
        assert (signal.spec.channels[3].unit, signal.spec.channels[6].type) == ("g", "STIM")
        assert labelled(markers) == {"7": OPENBCI_MS[3] / 1000}
        assert signal.samples[:, 6].tolist() == [0, 0, 0, 7, 0]
    else:
        assert signal.spec.labels[3] == "Column 4"
        assert markers.samples == []


def test_openbci_without_stamps_has_nominal_ones(tmp_path):
    rows = "\n".join(f"{i}, {i}.5, 2.25" for i in range(4))
    text = f"%OpenBCI Raw EEG Data\n%Number of channels = 2\n%Sample Rate = 250.0 Hz\n{rows}\n"
    (tmp_path / "a.txt").write_text(text)
    signal = load_recording(tmp_path / "a.txt").signals[0]
    assert signal.stamps_s.tolist() == [0, 0.004, 0.008, 0.012]
    assert signal.samples[:, 1].tolist() == [0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("%Sample Rate = 250 Hz\n", ""), "does not tell the sample rate; add a line"),
        (lambda text: text.replace("= 250 Hz", "= 10 Hz"), "no time in s or ms at 10 Hz"),
        (
            lambda text: text.replace("60973.46", "60x73.46"),
            "row 2 of its samples is not one of numbers, or was cut off: '255, 60x73",
        ),
        (lambda text: text.replace(" 60973.46, -2887.53,", ""), "row 2 of its samples is not one of numbers"),
        (lambda text: text.replace("%OpenBCI", "%OpenEEG"), "neither a recording of the OpenBCI GUI"),
        (lambda text: text[: text.index("254")], "the recording holds no samples"),
    ],
)
def test_openbci_that_cannot_be_read(tmp_path, change, says):
    openbci(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text(change((tmp_path / "a.txt").read_text()))
    with pytest.raises(SourceError, match=says) as caught:
        load_recording(tmp_path / "a.txt")
    assert str(caught.value).startswith(f"{tmp_path / 'a.txt'}: ")
    assert "\n" not in str(caught.value)


def test_openbci_without_names_needs_the_number_of_channels(tmp_path):
    openbci(tmp_path / "a.txt", "v5")
    (tmp_path / "a.txt").write_text((tmp_path / "a.txt").read_text().replace("%Number of channels = 2\n", ""))
    with pytest.raises(SourceError, match="does not tell the number of channels; add a line"):
        load_recording(tmp_path / "a.txt")


# --- Muse ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marker", ["Marker", "Marker0"])
def test_muse_keeps_its_stamps_and_its_markers(tmp_path, marker):
    stamps_s = muse(tmp_path / "a.csv", [marker])
    signal, markers = load_recording(tmp_path / "a.csv").streams
    assert signal.spec.labels == ("TP9", "AF7", "AF8", "TP10", "Right AUX")
    assert [c.type for c in signal.spec.channels] == ["EEG"] * 4 + ["MISC"]
    assert {c.unit for c in signal.spec.channels} == {"uV"}
    assert signal.spec.sfreq_hz == 256.0
    assert np.array_equal(signal.stamps_s, stamps_s)
    assert np.diff(signal.stamps_s).min() < 0
    assert signal.samples[3].tolist() == [3.125, -1000.0, 999.512, 0.488, -3.5]
    assert markers.spec.name == "a-markers"
    assert labelled(markers) == {"1": stamps_s[50], "2": stamps_s[150]}


def test_each_marker_column_of_a_muse_is_a_stream(tmp_path):
    muse(tmp_path / "a.csv", ["Marker0", "Marker1"])
    _, first, second = load_recording(tmp_path / "a.csv").streams
    assert (first.spec.name, second.spec.name) == ("a-markers", "a-Marker1")
    assert first.samples == second.samples == ["1", "2"]


def test_a_muse_at_another_rate_is_asked_for_it_where_it_is_needed(tmp_path):
    muse(tmp_path / "a.csv", step_s=1 / 220)
    recording = load_recording(tmp_path / "a.csv")
    assert recording.signals[0].spec.sfreq_hz == 0
    with pytest.raises(ConfigError, match="stream 'a' does not tell its rate; give it by --rate HZ"):
        primary_stream(recording)
    told = load_recording(tmp_path / "a.csv", rate_hz=220.0)
    assert primary_stream(told).spec.sfreq_hz == 220.0
    assert told.markers[0].spec.sfreq_hz == 0


# --- every format ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", WRITERS)
def test_packed_or_not_it_is_the_same(tmp_path, suffix):
    WRITERS[suffix](tmp_path / f"a{suffix}")
    packed = tmp_path / f"a{suffix}.xz"
    packed.write_bytes(lzma.compress((tmp_path / f"a{suffix}").read_bytes()))
    if suffix in (".vhdr", ".set"):
        with pytest.raises(SourceError, match="not a kind of recording that is read here"):
            load_recording(packed)
        return
    assert same(load_recording(tmp_path / f"a{suffix}"), load_recording(packed))


def same(a, b):
    return all(x.spec == y.spec and np.array_equal(x.samples, y.samples) and np.array_equal(x.stamps_s, y.stamps_s)
               for x, y in zip(a.streams, b.streams, strict=True))  # fmt: skip


@pytest.mark.parametrize("cut", [*WRITERS, ".eeg", ".vmrk"])
def test_cut_anywhere_it_is_refused_or_nothing_is_missing(tmp_path, cut):
    """But for what no reader can tell: text that ends with a line, samples that end with a sample, no event table."""
    suffix = ".vhdr" if cut in (".eeg", ".vmrk") else cut
    path, damaged = tmp_path / f"a{suffix}", tmp_path / f"a{cut}"
    WRITERS[suffix](path)
    whole, content = load_recording(path), damaged.read_bytes()
    n_refused = 0
    for n in sorted(
        {*range(1, 60), *np.linspace(60, len(content) - 60, 80).astype(int), *range(len(content) - 60, len(content))}
    ):
        damaged.write_bytes(content[:n])
        try:
            got = load_recording(path)
        except SourceError as error:
            said = str(error)
            assert said.startswith(f"{path}: "), n
            assert "\n" not in said, n
            n_refused += 1
        else:
            is_line = suffix in (".txt", ".csv", ".vhdr") and b"\n" in content[n - 1 : n + 1]
            is_sample = (cut == ".eeg" and n % 4 == 0) or (cut == ".gdf" and n == 256 * 3 + 3 * 400)
            assert same(got, whole) or is_line or is_sample, n
    assert n_refused > 60


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("content", [b"", b"A letter, not a recording.\n" * 100, bytes(5000), b"\xff" * 5000])
def test_what_the_suffix_does_not_say_is_refused_in_one_line(tmp_path, suffix, content):
    from bci.errors import RecordingError

    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises((SourceError, RecordingError)) as caught:
        load_recording(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("other", WRITERS)
def test_one_format_by_the_name_of_another_is_refused(tmp_path, suffix, other):
    if {suffix, other} <= {".txt", ".csv"} or suffix == other:
        return  # the two kinds of text are told apart by their first line, whatever they are called
    (tmp_path / "x").mkdir()
    WRITERS[suffix](tmp_path / "x" / f"a{suffix}")
    path = tmp_path / f"b{other}"
    path.write_bytes((tmp_path / "x" / f"a{suffix}").read_bytes())
    with pytest.raises(SourceError) as caught:
        load_recording(path)
    assert "\n" not in str(caught.value)


# --- real files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "labels", "n", "sfreq_hz", "mean_uv", "sd_uv", "n_markers"),
    [  # as the data's README says; of the trigger channel of the EDF file, 13 codes beside its 5 annotations
        ("brainvision/test.vhdr", "Fp1 Fp2", 7900, 1000.0, 1.163924e-01, 2.415712e01, 13),
        ("ieeg_138ch_6s.edf", "A1 A2", 3072, 512.0, -2.404297, 2.533251e01, 18),
        ("stim_channel.bdf", "C3 C4", 5000, 500.0, 9.019514e03, 1.024874e02, 9),
        ("test_1ch.gdf", "ECG", 4500, 150.0, 1.762704e01, 8.326559e01, 0),
        ("eeglab_3ch_10s.set", "EEG 000", 1281, 128.0, 2.616993e01, 2.110875e01, 6),
        ("uneven_rates.edf", "3Hz +5/-5 V", 11000, 100.0, 2.392578e03, 3.533446e06, 0),
    ],
)
def test_real_files_of_common_formats(data_dir, name, labels, n, sfreq_hz, mean_uv, sd_uv, n_markers):
    recording = load_recording(data_dir / "streams" / "formats" / name)
    signal = recording.signals[0]
    assert " ".join(signal.spec.labels).startswith(labels)
    assert (len(signal.samples), signal.spec.sfreq_hz) == (n, sfreq_hz)
    assert signal.samples[:, 0].astype(float).mean() == pytest.approx(mean_uv, rel=1e-4)
    assert signal.samples[:, 0].astype(float).std() == pytest.approx(sd_uv, rel=1e-5)
    assert sum(len(m.samples) for m in recording.markers) == n_markers


def test_real_openbci_is_one_recording_in_three_generations(data_dir):
    folder = data_dir / "streams" / "openbci"
    lines = lzma.open(folder / "OpenBCI_GUI-v6-blinks-jawClench-alpha.txt.xz", "rt").read().splitlines()  # noqa: SIM115
    rows = np.array([[float(v) for v in line.split(",")[:23]] for line in lines if line[0] not in "%S"])
    for name, n in (("pre-v5-header_first3000lines", 2994), ("v5-header_first3000lines", 2995),
                    ("v6-blinks-jawClench-alpha", 22490)):  # fmt: skip
        signal = load_recording(folder / f"OpenBCI_GUI-{name}.txt.xz").signals[0]
        assert np.array_equal(signal.samples[:, :9], rows[:n, :9])
        assert np.array_equal(signal.stamps_s, rows[:n, 22] / 1000)
        steps = np.diff(signal.samples[:, 0]) % 256
        assert set(steps) == {1.0}  # the board's counter lost none
        assert (np.diff(signal.stamps_s) == 0).mean() > 0.3  # batches


@pytest.mark.parametrize(("name", "kind"), [("p300_s1_ses1_run1", "p300"), ("ssvep_s1_ses1_run1", "ssvep")])
def test_real_muse_equals_its_repacked_counts(data_dir, name, kind):
    z = np.load(data_dir / "muse" / kind / f"{name.removeprefix(kind + '_')}.npz")
    signal, markers = load_recording(data_dir / "muse" / "raw_csv" / f"{name}.csv.xz").streams
    assert signal.spec.sfreq_hz == 256.0
    np.testing.assert_allclose(signal.samples, z["adc"].T * 0.48828125, atol=5.001e-4)
    stamps_ms = z["t0_ms"] + np.cumsum(z["dt_ms"].astype(np.int64))
    assert np.array_equal(np.round(signal.stamps_s * 1000).astype(np.int64), stamps_ms)
    at = np.flatnonzero(z["marker"])
    assert markers.samples == [str(code) for code in z["marker"][at]]
    assert np.array_equal(markers.stamps_s, signal.stamps_s[at])


def test_the_counter_of_an_openbci_board_tells_what_was_lost(data_dir):
    signal = load_recording(data_dir / "streams" / "openbci" / "OpenBCI_GUI-v5-header_first3000lines.txt.xz").signals[0]
    kept = np.delete(np.arange(len(signal.samples)), slice(1000, 1075))
    detector = GapDetector(0, 250.0, signal.spec.labels.index(COUNTER), 256)
    gaps = []
    for at in range(0, len(kept), 10):
        rows = kept[at : at + 10]
        stamps_s = signal.stamps_s[rows]
        gaps += detector.receive(Chunk(0, at, signal.samples[rows], stamps_s, float(stamps_s[-1])))
    gaps += detector.finish()
    assert [(gap.first_index, gap.n) for gap in gaps if gap.verdict == "lost"] == [(1000, 75)]
