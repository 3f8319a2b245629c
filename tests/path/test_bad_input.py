"""Input that cannot be used: one line that says what, where and what would work, the exit code, and nothing left over.

Exit code 2: it was asked wrongly; 1: it could not be done. Signals that are bad only for a while do not end a session:
what is decided on them is flagged and commands nothing.
"""

import contextlib
import re
import shutil
import signal

import msgspec
import numpy as np
import psutil
import pytest

from bci.__main__ import main
from bci.config import GateSection, SessionConfig, StreamSettings
from bci.devices import DEVICES
from bci.types import Channel, Command, Flag, RecordedStream, StreamSpec, number_label
from decoders import DECODERS
from tests.helpers.fault_sender import CHUNK, LABELS, SFREQ_HZ, fitted_model, wave
from tests.helpers.outlets import Outlet
from tests.helpers.played import play, write_xdf

N_TRIALS, TRIAL_S = 12, 3.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fitted_model(tmp_path_factory.mktemp("bad-input") / "model")


@pytest.fixture
def bci(capsys):
    """Run a verb here: its exit code and what it said on standard error; no process of it may be left."""

    def run(*arguments):
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        children = psutil.Process().children(recursive=True)
        assert [p for p in children if any("bci.host" in word for word in _words(p))] == []
        return code, capsys.readouterr().err

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield run
    for number, handler in handlers.items():  # `bci record` takes them
        signal.signal(number, handler)


def _words(process):
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def sender(name, labels=LABELS, unit="uV", source_id=None, sfreq_hz=SFREQ_HZ):
    """An outlet that sends nothing: what a session needs to know stands in its description."""
    channels = tuple(Channel(label, "EEG", unit) for label in labels)
    spec = StreamSpec(name=name, source_id=source_id or f"id-{name}", sfreq_hz=sfreq_hz, channels=channels)
    return Outlet(spec)


def recorded(n):
    """``n`` samples of the fault sender's wave."""
    channels = tuple(Channel(label, "EEG", "uV") for label in LABELS)
    spec = StreamSpec(name="signal", sfreq_hz=SFREQ_HZ, channels=channels)
    return RecordedStream(spec, wave(0, n), 100.0 + np.arange(n) / SFREQ_HZ)


@pytest.fixture(scope="module")
def cued(tmp_path_factory):
    """A recording with markers ``a`` and ``b`` in turn."""
    stamps_s = 100.0 + 1.0 + TRIAL_S * np.arange(N_TRIALS)
    spec = StreamSpec(name="cues", type="Markers", format="string", channels=(Channel("marker", "Markers"),))
    markers = RecordedStream(spec, [("a", "b")[i % 2] for i in range(N_TRIALS)], stamps_s)
    n = round((N_TRIALS * TRIAL_S + 2) * SFREQ_HZ)
    return write_xdf(tmp_path_factory.mktemp("cued") / "cued.xdf", recorded(n), markers)


@pytest.fixture
def train(bci, cued, tmp_path):
    """`bci train` on it, as short as it goes; later options win."""

    def run(*options):
        return bci("train", cued, "--labels", "a=left", "b=right", "--decoder", "bandpower", "--window", 1, "--out",
                   tmp_path / "new", "--decide-at", 1.5, *options)  # fmt: skip

    return run


@pytest.fixture
def run(bci, model, tmp_path, unique_name):
    """`bci run` on the stream ``unique_name``; later options win."""

    def start(*options):
        said = bci("run", "--stream", unique_name, "--model", model, "--session", tmp_path / "session", "--wait", 20,
                   *options)  # fmt: skip
        assert not (tmp_path / "session" / "session.xdf").exists()  # the next try is not told that a session is there
        return said

    return start


# --- streams ---------------------------------------------------------------------------------------------------------


def test_no_such_stream(run, unique_name):
    with sender(f"{unique_name}-other"):
        code, said = run("--wait", 0.5)
    assert code == 1
    expected = f"bci: no LSL stream with name '{unique_name}' within 0.5 s; visible now: '{unique_name}-other'"
    assert said == f"{expected}; there is '{unique_name}-other': if that is meant, ask for it by this name\n"


def test_two_streams_of_that_name(run, unique_name):
    with sender(unique_name, source_id="amp-1"), sender(unique_name, source_id="amp-2"):
        code, said = run()
    assert code == 1
    host = re.search(r"host (\S+),", said)[1]
    candidates = [f"'{unique_name}' (type EEG, host {host}, source_id 'amp-{i}')" for i in (1, 2)]
    start, end = f"bci: 2 LSL streams with name '{unique_name}': ", "; name one by --source-id\n"
    assert said == start + "; ".join(candidates) + end


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (
            {"labels": ("n", "L", "R2")},
            "stream '{name}' does not fit the model: channels R, ref are missing; there are n, L, R2",
        ),
        ({"unit": "T"}, "channel L of stream '{name}' is in T but the model needs uV; convertible are V, mV, uV, nV"),
        (
            {"unit": ""},
            "stream '{name}' does not say in which unit channel L is and the model needs uV: set the stream's unit, "
            'for example unit = "uV" in session.toml or --unit uV',
        ),
        ({"sfreq_hz": 0.0}, "stream '{name}' has no regular rate; the model needs 250 Hz"),
    ],
)
def test_a_stream_that_does_not_fit_the_model(stream, expected, run, unique_name):
    with sender(unique_name, **stream):
        assert run() == (1, f"bci: {expected.format(name=unique_name)}\n")


def test_samples_that_are_no_numbers_and_flat_channels_are_flagged_and_command_nothing(
    bci, model, unique_name, tmp_path
):
    """They are recorded bit for bit, whatever they are; the last finite value stands for one that is not."""
    source = recorded(1750)
    nan = np.array([0x7FC00001, 0xFFC12345, 0x7F800001], np.uint32).view(np.float32)
    source.samples[1000:1003, LABELS.index("L")] = nan  # with payloads, one of them a signalling NaN
    source.samples[1050:1052, LABELS.index("R")] = np.inf, -np.inf
    source.samples[1250:, LABELS.index("ref")] = 3.0  # unplugged at 5 s
    patient = tmp_path / "session.toml"
    patient.write_text("[gate]\nmax_age_s = 60.0\n[stream]\nsilence_s = 60.0\n")  # a busy machine changes nothing here
    options = ("--config", patient, "--arm", "--threshold", 0.6, "--dwell", 0.06, "--refractory", 0.2)
    came = play(write_xdf(tmp_path / "source.xdf", source), model, unique_name, tmp_path, run=options)
    came.assert_whole(source)

    hops = came.streams["bci-hops"].samples
    last, flags, p_of_a_command = hops[:, 1].astype(int), hops[:, 4].astype(int), hops[:, -2:].max(axis=1)
    first = last - CHUNK + 1
    nonfinite, bad_channel = (flags & Flag.NONFINITE) > 0, (flags & Flag.BAD_CHANNEL) > 0
    context = 50 - CHUNK  # of the 0.2 s that a decision uses, what lies before its hop
    for start, end in ((1000, 1003), (1050, 1052)):
        touched = (first < end) & (last >= start)
        assert touched.any()
        assert nonfinite[touched].all()
        assert nonfinite[(first < end + context) & (last >= start)].all()
    assert not nonfinite[(last < 1000) | (first > 1052 + 2 * context)].any()
    assert not bad_channel[last < 1250].any()
    assert bad_channel[last >= 1250 + 1.2 * SFREQ_HZ].all()
    assert np.isfinite(hops).all()

    at = [c.hop for c in _lines(came, "bci-commands", Command)]
    assert len(at) > 0
    assert (flags[at] == 0).all()
    would_have = nonfinite & (p_of_a_command > 0.6), bad_channel & (p_of_a_command > 0.6)
    assert [int(w.sum()) >= 5 for w in would_have] == [True, True]  # but for the flag, these had commanded
    assert came.report["n_commands"] == len(at)
    assert bci("replay", tmp_path / "session", "--verify", "--quiet") == (0, "")


def _lines(came, stream, kind):
    tag = kind.__struct_config__.tag
    lines = [msgspec.json.decode(line) for line in came.streams[stream].samples]
    return [msgspec.convert(line, kind) for line in lines if line["kind"] == tag]


# --- recordings ------------------------------------------------------------------------------------------------------


def edf(path, n_records):
    """A header of one channel, and as many records of one second as it says."""
    text = "0".ljust(8) + " " * 160 + "01.01.0100.00.00" + "512".ljust(8) + " " * 44 + f"{n_records:<8}{1:<8}{1:<4}"
    text += f"{'C3':<16}{'':<80}{'uV':<8}{-100:<8}{100:<8}{-32768:<8}{32767:<8}{'':<80}{100:<8}{'':<32}"
    path.write_bytes(text.encode("ascii") + bytes(200 * n_records))
    return path


@pytest.mark.parametrize("kind", ["edf", "xdf"])
def test_a_recording_of_length_zero(kind, bci, model, tmp_path):
    path = tmp_path / f"zero.{kind}"
    edf(path, 0) if kind == "edf" else write_xdf(path, recorded(0))
    expected = (1, f"bci: {path}: the recording holds no samples\n")
    assert bci("stream", path) == expected
    assert bci("train", path, "--labels", "a=left", "b=right", "--out", tmp_path / "new") == expected
    assert bci("evaluate", model, path) == expected
    assert bci("run", "--recording", path, "--model", model, "--session", tmp_path / "session") == expected
    assert not (tmp_path / "session").exists()


def test_an_edf_file_that_was_cut_off(bci, tmp_path):
    path = edf(tmp_path / "cut.edf", 5)
    path.write_bytes(path.read_bytes()[:-250])
    expected = f"bci: {path}: cut off: 3 of 5 data records are whole; copy the file again\n"
    assert bci("stream", path) == (1, expected)


def test_a_file_of_no_bytes_and_one_of_another_kind(bci, tmp_path):
    empty, text = tmp_path / "empty.xdf", tmp_path / "notes.txt"
    empty.write_bytes(b"")
    text.write_text("C3 itches")
    assert bci("stream", empty) == (1, f"bci: {empty}: the file is empty\n")
    assert bci("replay", empty) == (1, f"bci: {empty} is not an XDF file: it does not start with 'XDF:'\n")
    expected = "neither a recording of the OpenBCI GUI ('%OpenBCI ...') nor of a Muse ('timestamps,...')"
    assert bci("stream", text) == (1, f"bci: {text}: {expected}\n")
    other = text.rename(tmp_path / "notes.doc")
    kinds = ".edf .bdf .gdf .vhdr .set .fif .fif.gz .xdf .txt .csv; packed as .xz: .edf .bdf .gdf .fif .xdf .txt .csv"
    assert bci("stream", other) == (1, f"bci: {other}: not a kind of recording that is read here ({kinds})\n")


def test_no_such_recording(bci, tmp_path):
    path = tmp_path / "none.xdf"
    assert bci("stream", path) == (1, f"bci: {path}: cannot be read (No such file or directory)\n")
    assert bci("replay", path) == (1, f"bci: cannot read {path}: No such file or directory\n")


def test_a_truncated_xdf_file_names_repair_and_repair_does_it(bci, cued, tmp_path):
    """How a session's own recording is repaired and replayed: see test_replay."""
    cut, fixed = tmp_path / "cut.xdf", tmp_path / "fixed.xdf"
    cut.write_bytes(cued.read_bytes()[:-3])
    code, said = bci("stream", cut)
    at = re.search(r"at byte (\d+)", said)[1]
    expected = f"bci: {cut} is cut or damaged at byte {at}; make a readable copy: bci repair {cut} --out FIXED.xdf\n"
    assert (code, said) == (1, expected)
    assert bci("replay", cut) == (1, expected)
    assert bci("repair", cut, "--out", fixed) == (0, "")
    expected = f"bci: {fixed}: no stream bci-events, bci-hops, bci-commands; only a recording made by `bci run` can "
    assert bci("replay", fixed) == (1, expected + "be replayed\n")
    assert bci("repair", cut, "--out", fixed)[1] == (
        f"bci: {fixed} exists and is not overwritten; choose another name for --out\n"
    )


# --- models ----------------------------------------------------------------------------------------------------------


def test_a_model_folder_with_a_changed_byte(bci, model, cued, tmp_path):
    changed = shutil.copytree(model, tmp_path / "changed")
    content = bytearray((changed / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (changed / "weights.safetensors").write_bytes(content)
    for verb in (("run", "--stream", "any", "--model", changed), ("evaluate", changed, cued)):
        code, said = bci(*verb)
        assert code == 1
        assert re.fullmatch(
            rf"bci: model {re.escape(str(changed))}: its files do not match SHA256 \(\w{{12}}…, sealed as \w{{12}}…\): "
            "it was changed or damaged; train it again or copy it again\n",
            said,
        )


def test_a_band_that_the_live_rate_cannot_hold(run, unique_name, tmp_path):
    high = fitted_model(tmp_path / "high", bandpass_hz=(8.0, 110.0))
    with sender(unique_name, sfreq_hz=200.0):
        code, said = run("--model", high)
    expected = "bandpass_hz = [8.0, 110.0]: at 200 Hz the edges must satisfy 0 < low < high < 100 (leave one out for a "
    assert (code, said) == (2, f"bci: {expected}high-pass or low-pass)\n")


def test_numeric_markers_are_called_alike_live_and_in_files(unique_name):
    spec = StreamSpec(name=unique_name, type="Markers", channels=(Channel("m"),))
    for dtype in ("float32", "float64", "int16"):
        assert RecordedStream(spec, np.array([[1], [25]], dtype), np.zeros(2)).marker_labels == ["1", "25"]
    assert number_label(np.float32(1.5)) == "1.5"


def test_no_such_model(bci, cued, tmp_path):
    expected = f"bci: no model folder {tmp_path}/none; make one with: bci train RECORDING --out {tmp_path}/none\n"
    assert bci("run", "--stream", "any", "--model", tmp_path / "none") == (1, expected)
    assert bci("evaluate", tmp_path / "none", cued) == (1, expected)
    expected = "bci: no model: give --model DIR, or model.path in session.toml; `bci train` makes one\n"
    assert bci("run", "--stream", "any") == (2, expected)


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        (
            ("--bandpass", 8, 130),
            2,
            "bandpass_hz = [8.0, 130.0]: the upper edge must lie below half the decoder's rate, 125 Hz",
        ),
        (
            ("--bandpass", 30, 8),
            2,
            "bandpass_hz = [30.0, 8.0]: at 250 Hz the edges must satisfy 0 < low < high < 125 "
            "(leave one out for a high-pass or low-pass)",
        ),
        (("--notch", 200), 2, "notch_hz = 200: at 250 Hz it must lie between 2 and 125"),
        (("--decoder", "oracle"), 2, f"no decoder 'oracle'; there are {', '.join(sorted(DECODERS))}, "
                                     "braindecode:MODEL"),
        (("--labels", "=left"), 2, "--labels '=left': write MARKER=CLASS, such as T1=left"),
        (("--channels", "Cz"), 1, "stream 'signal' does not fit the model: channels Cz are missing; "
                                  "there are n, L, R, ref"),
        (("--hop", 0), 2, "--hop 0: it must be above 0 s"),
    ],
)  # fmt: skip
def test_training_on_what_cannot_be(options, code, expected, train, tmp_path):
    assert train(*options) == (code, f"bci: {expected}\n")
    assert not (tmp_path / "new").exists()


def test_labels_that_no_marker_has(bci, cued, tmp_path):
    out = ("--out", tmp_path / "new")
    expected = f"bci: {cued}: no marker is called c or d; there are a, b\n"
    assert bci("train", cued, "--labels", "c=left", "d=right", *out) == (2, expected)
    expected = "bci: --labels names left; at least 2 classes are needed, such as T1=left T2=right\n"
    assert bci("train", cued, "--labels", "a=left", *out) == (2, expected)


# --- places to write to ----------------------------------------------------------------------------------------------


def test_a_session_folder_that_cannot_be_made(run, unique_name, tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "session"
    with sender(unique_name):
        code, said = run("--session", place)
    assert code == 1
    reason = r"Not a directory|File exists|No such file or directory"
    assert re.fullmatch(
        rf"bci: cannot make the session folder {re.escape(str(place))}: ({reason}); choose a folder that is writable\n",
        said,
    )


def test_a_session_folder_that_holds_a_session(bci, model, unique_name, tmp_path):
    held = tmp_path / "held"
    held.mkdir()
    (held / "session.xdf").write_bytes(b"precious")
    with sender(unique_name):
        said = bci("run", "--stream", unique_name, "--model", model, "--session", held, "--wait", 20)
    assert said == (2, f"bci: {held} holds a session; choose another folder, or --resume it\n")
    assert [path.name for path in held.iterdir()] == ["session.xdf"]
    assert (held / "session.xdf").read_bytes() == b"precious"


def test_a_place_for_json_that_cannot_be_written_is_said_before_the_work(train, bci, tmp_path):
    for place in (tmp_path / "none" / "result.json", tmp_path):
        expected = f"bci: cannot write {place}; choose a file in a folder that exists and is writable\n"
        assert train("--json", place) == (1, expected)
        assert bci("run", "--stream", "any", "--model", "none", "--json", place) == (1, expected)
    assert not (tmp_path / "new").exists()


def test_a_place_for_a_model_that_cannot_be_written(train, tmp_path):
    used = tmp_path / "thesis"
    used.mkdir()
    (used / "chapter1").write_text("")
    expected = f"bci: {used} exists and is not a model; choose another --out or move it away\n"
    assert train("--out", used) == (1, expected)
    assert (used / "chapter1").exists()
    place = used / "chapter1" / "model"
    expected = f"bci: cannot write model {place}: {used / 'chapter1'} is no writable folder; choose another --out\n"
    assert train("--out", place) == (1, expected)


def test_a_place_for_a_recording_that_cannot_be_written(bci, unique_name, tmp_path):
    taken = tmp_path / "taken.xdf"
    taken.write_bytes(b"precious")
    with sender(unique_name):
        expected = f"bci: {taken} exists and is not overwritten; choose another name for --out\n"
        assert bci("record", "--stream", unique_name, "--out", taken) == (1, expected)
        place = tmp_path / "none" / "new.xdf"
        expected = f"bci: cannot create {place}: No such file or directory; record to a folder that exists and is "
        assert bci("record", "--stream", unique_name, "--out", place) == (1, expected + "writable\n")
    assert taken.read_bytes() == b"precious"


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[gate]\nthreshhold = 0.9\n",
            "unknown key gate.threshhold = 0.9; allowed in this section: " + ", ".join(GateSection.model_fields),
        ),
        ("[gate]\nthreshold = 2\n", "gate.threshold = 2: input should be less than 1"),
        (
            "gait = 1\n",
            f"unknown key gait = 1; allowed in this section: {', '.join(SessionConfig.model_fields)}",
        ),
        ("stream = 3\n", "stream = 3: it is a section; write [stream] with " + ", ".join(StreamSettings.model_fields)),
    ],
)
def test_settings_that_are_not_allowed(text, expected, bci, model, tmp_path):
    path = tmp_path / "session.toml"
    path.write_text(text)
    assert bci("run", "--config", path, "--stream", "any", "--model", model) == (2, f"bci: {path}: {expected}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hop_s = 0.1", "model.hop_s = 0.1: the model has 0.02"),
        ('channels = ["L", "R"]', "model.channels = ['L', 'R']: the model has ['L', 'R', 'ref']"),
        ('decoder = "riemann"', "model.decoder = 'riemann': the model has 'bandpower'"),
        ("bandpass_hz = [8.0, 30.0]", "model.bandpass_hz = [8.0, 30.0]: the model has None"),
    ],
)
def test_a_model_that_is_not_the_expected_one(text, expected, run, tmp_path):
    path = tmp_path / "session.toml"
    path.write_text(f"[model]\n{text}\n")
    assert run("--config", path) == (2, f"bci: {expected}; train one with this setting, or drop it\n")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("robot:arm", f"device 'robot:arm' is unknown; what works: {', '.join(how for _, how in DEVICES.values())}"),
        ("udp://host", "device 'udp://host': must be udp://HOST:PORT, such as udp://127.0.0.1:9000"),
    ],
)
def test_a_device_that_nobody_knows(url, expected, run):
    assert run("--device", url) == (2, f"bci: {expected}\n")


def test_a_device_that_cannot_be_opened_leaves_no_recording(run, unique_name):
    url = "udp://no-such-host.invalid:9"
    with sender(unique_name):
        code, said = run("--device", url)
    assert code == 1
    assert re.fullmatch(rf"bci: device {url} cannot be opened \(.*\); check host and port\n", said)


def test_a_class_for_rest_that_the_model_does_not_have(run, tmp_path):
    path = tmp_path / "session.toml"
    path.write_text('[gate]\nrest = "nothing"\n')
    assert run("--config", path) == (2, "bci: gate rest = 'nothing': must be one of rest, left, right\n")
