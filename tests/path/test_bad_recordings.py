"""Files that cannot be used, of every format: one line that names the file and what is wrong, from each verb."""

import numpy as np
import pytest

from bci.__main__ import main
from bci.types import Channel, RecordedStream, StreamSpec, marker_spec
from tests.helpers.fault_sender import LABELS, SFREQ_HZ, fitted_model, wave
from tests.helpers.played import write_xdf
from tests.helpers.recordings import WRITERS, muse

MARKERS = {".edf": "T0, T1", ".bdf": "300, 5", ".gdf": "769, 770", ".vhdr": "Response/R  1, Stimulus/S  7",
           ".set": "rt, square", "_raw.fif": "5, 7, blink", ".txt": "7", ".csv": "1, 2"}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fitted_model(tmp_path_factory.mktemp("bad-recordings") / "model")


@pytest.fixture
def bci(capsys):
    """Run a verb: its exit code and what it said on standard error."""

    def run(*arguments):
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().err

    return run


@pytest.fixture
def each_verb(bci, model, tmp_path):
    """What all verbs that take a recording say of one; it must be the same."""

    def run(path):
        said = {
            bci("stream", path),
            bci("train", path, "--labels", "a=left", "b=right", "--out", tmp_path / "new"),
            bci("evaluate", model, path),
            bci("run", "--recording", path, "--model", model, "--session", tmp_path / "session"),
        }
        assert not (tmp_path / "session").exists()
        assert not (tmp_path / "new").exists()
        return said

    return run


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_of_no_bytes(suffix, each_verb, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    assert each_verb(path) == {(1, f"bci: {path}: the file is empty\n")}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_that_was_cut_off(suffix, each_verb, tmp_path):
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 1])
    ((code, said),) = each_verb(path)
    assert code == 1
    assert said.startswith(f"bci: {path}: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_that_is_not_what_its_suffix_says(suffix, each_verb, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_text("A letter, not a recording.\n" * 100)
    ((code, said),) = each_verb(path)
    assert code == 1
    assert said.startswith(f"bci: {path}: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("suffix", WRITERS)
def test_markers_that_name_no_known_label(suffix, bci, tmp_path):
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path)
    expected = f"bci: {path}: no marker is called left or right; there are {MARKERS[suffix]}\n"
    assert bci("train", path, "--labels", "left", "right", "--out", tmp_path / "new") == (2, expected)


def eeg(name, n=2000):
    channels = tuple(Channel(label, "EEG", "uV") for label in LABELS)
    spec = StreamSpec(name=name, sfreq_hz=SFREQ_HZ, channels=channels)
    return RecordedStream(spec, wave(0, n), 100.0 + np.arange(n) / SFREQ_HZ)


def marks(*labels):
    return RecordedStream(marker_spec("marks"), list(labels), 101.0 + np.arange(len(labels)))


def test_evaluation_without_a_known_label(bci, model, tmp_path):
    path = write_xdf(tmp_path / "a.xdf", eeg("signal"), marks("stop", "go"))
    code, said = bci("evaluate", model, path)
    assert code == 2
    assert said.startswith(f"bci: {path}: no cue of ")
    assert said.endswith("; there are go, stop\n")


def test_two_eeg_streams_in_one_file(bci, model, tmp_path):
    path = write_xdf(tmp_path / "two.xdf", eeg("left amplifier"), eeg("right amplifier", 1999), marks("a", "b"))
    session = ("--session", tmp_path / "session")
    expected = f"bci: {path}: 2 signal streams to decode; there are 'left amplifier' (EEG), 'right amplifier' (EEG); "
    expected += "name one by --stream\n"
    assert bci("train", path, "--labels", "a=left", "b=right", "--out", tmp_path / "new") == (2, expected)
    assert bci("evaluate", model, path) == (2, expected)
    code, said = bci("run", "--recording", path, "--model", model, *session)
    assert (code, "'left amplifier', 'right amplifier'" in said) == (2, True)
    expected = "bci: 0 signals with samples are called 'third'; there are 'left amplifier', 'right amplifier'\n"
    assert bci("stream", path, "--stream", "third") == (2, expected)


def test_a_rate_that_the_file_does_not_tell_is_asked_for(bci, model, tmp_path):
    muse(tmp_path / "a.csv", step_s=1 / 220)
    expected = f"bci: {tmp_path / 'a.csv'}: stream 'a' does not tell its rate; give it by --rate HZ\n"
    train = ("train", tmp_path / "a.csv", "--labels", "1", "2", "--out", tmp_path / "new")
    assert bci(*train) == (2, expected)
    assert bci("evaluate", model, tmp_path / "a.csv") == (2, expected)
    code, said = bci(*train, "--rate", 220)
    assert "no usable trial of 1, 2" in said  # two cues in a second of signal
    assert code == 1
    assert bci(*train, "--rate", 0)[0] == 2
