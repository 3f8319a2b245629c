"""`bci stream` and `bci simulate` over real LSL, each in a process of its own, and what consumers get."""

import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pylsl
import pytest

from bci.errors import SourceError
from bci.lsl import spec_from_xml
from bci.sources.files import load_recording
from bci.sources.player import Player, outlet_specs
from bci.sources.schedule import END_MARKER, playable, schedule
from bci.types import Channel, RecordedStream, StreamSpec, marker_spec

LIMIT_S = 60.0


class Cli:
    """A `bci` command in a process; killed at the end if it has not ended by itself."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bci", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def result(self):
        out, error = self.process.communicate(timeout=LIMIT_S)
        assert self.process.returncode == 0, error
        return json.loads(out)


class Consumer:
    """Reads streams to the end marker, and then what is still on its way."""

    def __init__(self, *names):
        self.inlets = {}
        for name in names:
            found = pylsl.resolve_byprop("name", name, 1, 30.0)
            assert found, f"no stream {name}"
            self.inlets[name] = pylsl.StreamInlet(found[0], 360, recover=False)
        self.specs = {name: spec_from_xml(inlet.info(10.0).as_xml()) for name, inlet in self.inlets.items()}
        for name in reversed(names):  # the signal last: the player waits for that one
            self.inlets[name].open_stream(10.0)
        self.got = {name: ([], []) for name in names}

    def read(self, markers):
        deadline_s = time.monotonic() + LIMIT_S
        while END_MARKER not in [row[0] for row in self.got[markers][0]]:
            assert time.monotonic() < deadline_s
            self._pull(0.01)
        while self._pull(0.3):
            pass
        for inlet in self.inlets.values():
            inlet.close_stream()

    def _pull(self, timeout_s):
        total = 0
        for name, inlet in self.inlets.items():
            samples, stamps_s = inlet.pull_chunk(timeout_s, 100_000, min_samples=1)
            self.got[name][0].extend(samples)
            self.got[name][1].extend(stamps_s)
            total += len(stamps_s)
        return total

    def samples(self, name):
        dtype = {"double64": "float64"}.get(self.specs[name].format, self.specs[name].format)
        return np.array(self.got[name][0], dtype)

    def stamps_s(self, name):
        return np.array(self.got[name][1])

    def labels(self, name):
        return [row[0] for row in self.got[name][0]]


def check_equal(consumer, name, stream, shift_s):
    """Samples of the same bits and type; stamps shifted by exactly the one constant."""
    assert consumer.specs[name].format == stream.spec.format
    for got, sent in zip(consumer.specs[name].channels, stream.spec.channels, strict=True):
        assert (got.label, got.type, got.unit) == (sent.label, sent.type, sent.unit)
        assert got.position_m == (sent.position_m and pytest.approx(sent.position_m, abs=1e-12))
    assert consumer.specs[name].sfreq_hz == stream.spec.sfreq_hz
    assert np.array_equal(consumer.samples(name), stream.samples)
    assert np.array_equal(consumer.stamps_s(name), stream.stamps_s + shift_s)


@pytest.mark.parametrize("name", ["switch_example", "clock_resets", "minimal", "eeglab_obci_8ch_1000Hz"])
def test_xdf_streams_arrive_whole_with_their_own_times(data_dir, unique_name, name):
    path = data_dir / "streams" / "xdf" / f"{name}.xdf"
    recording = load_recording(path)
    with Cli("stream", path, "--name", unique_name, "--wait", "--speed", 400, "--json", "-") as stream:
        consumer = Consumer(unique_name, f"{unique_name}-markers")
        consumer.read(f"{unique_name}-markers")
        result = stream.result()
    check_equal(consumer, unique_name, recording.signals[0], result["shift_s"])
    assert consumer.stamps_s(unique_name).min() >= 1.0
    markers = [m for m in recording.markers if "marker" in m.spec.type.lower()]
    labels = [*markers[0].samples, END_MARKER] if markers else [END_MARKER]
    assert consumer.labels(f"{unique_name}-markers") == labels
    if markers:
        stamps_s = consumer.stamps_s(f"{unique_name}-markers")[:-1]
        assert np.array_equal(stamps_s, markers[0].stamps_s + result["shift_s"])
    groups = {spec.group for spec in consumer.specs.values()}
    assert groups == {result["group"]}
    assert result["n_samples"] == len(recording.signals[0].stamps_s)


def test_edf_arrives_as_the_reader_gives_it(data_dir, unique_name):
    path = data_dir / "motor_imagery_64ch" / "S001R04.edf.xz"
    signal_, markers = load_recording(path).streams
    arguments = ["--wait", "--speed", 100, "--start", 10, "--stop", 60, "--json", "-"]
    with Cli("stream", path, "--name", unique_name, *arguments) as stream:
        consumer = Consumer(unique_name, f"{unique_name}-markers")
        consumer.read(f"{unique_name}-markers")
        result = stream.result()
    part = RecordedStream(signal_.spec, signal_.samples[1600:9600], signal_.stamps_s[1600:9600])
    check_equal(consumer, unique_name, part, result["shift_s"])
    within = (markers.stamps_s >= 10) & (markers.stamps_s < 60)
    expected = [label for label, is_in in zip(markers.samples, within, strict=True) if is_in]
    assert consumer.labels(f"{unique_name}-markers") == [*expected, END_MARKER]


def test_fif_arrives_as_the_reader_gives_it(data_dir, unique_name):
    path = data_dir / "meg_fif" / "human_audvis_5s_raw.fif.gz"
    recording = load_recording(path)
    with Cli("stream", path, "--name", unique_name, "--wait", "--speed", 20, "--json", "-") as stream:
        consumer = Consumer(unique_name, f"{unique_name}-markers")
        consumer.read(f"{unique_name}-markers")
        result = stream.result()
    check_equal(consumer, unique_name, recording.signals[0], result["shift_s"])
    assert consumer.labels(f"{unique_name}-markers") == ["2", "3", "1", END_MARKER]


def test_mne_lsl_reads_the_same(data_dir, unique_name):
    stream_lsl = pytest.importorskip("mne_lsl.stream")
    path = data_dir / "motor_imagery_64ch" / "S001R04.edf.xz"
    recording = load_recording(path).signals[0]
    with Cli("stream", path, "--name", unique_name, "--wait", "--speed", 20, "--stop", 20, "--json", "-") as player:
        stream = stream_lsl.StreamLSL(60.0, name=unique_name).connect(acquisition_delay=0.01, timeout=30.0)
        try:
            deadline_s = time.monotonic() + LIMIT_S
            while stream.n_new_samples < 3200:
                assert time.monotonic() < deadline_s
                time.sleep(0.01)
            data, stamps_s = stream.get_data()
            assert stream.ch_names == list(recording.spec.labels)
            assert set(stream.get_channel_types(unique=True)) == {"eeg"}
            assert {c["unit_mul"] for c in stream.info["chs"]} == {-6}
            assert stream.info["sfreq"] == 160
        finally:
            stream.disconnect()
        result = player.result()
    assert np.array_equal(data[:, -3200:], recording.samples[:3200].T)
    assert np.array_equal(stamps_s[-3200:], recording.stamps_s[:3200] + result["shift_s"])


def test_mne_lsl_reads_types_and_units_where_some_channels_have_none(data_dir, unique_name):
    stream_lsl = pytest.importorskip("mne_lsl.stream")
    path = data_dir / "meg_fif" / "human_audvis_5s_raw.fif.gz"
    channels = load_recording(path).signals[0].spec.channels
    with Cli("stream", path, "--name", unique_name, "--wait", "--json", "-"):
        stream = stream_lsl.StreamLSL(2.0, name=unique_name).connect(acquisition_delay=0.01, timeout=30.0)
        try:
            assert stream.ch_names == [c.label for c in channels]
            assert stream.get_channel_types() == [c.type.lower() for c in channels]
            exponents = {"uV": -6, "T": 0, "T/m": 0, "": 0}
            assert [c["unit_mul"] for c in stream.info["chs"]] == [exponents[c.unit] for c in channels]
        finally:
            stream.disconnect()
    assert {c.unit for c in channels} == set(exponents)


def some_streams(n=500, format_="int32", name="eeg"):
    dtype = {"int32": np.int32, "double64": np.float64, "int8": np.int8, "int64": np.int64}[format_]
    spec = StreamSpec(name=name, sfreq_hz=1000.0, format=format_, channels=(Channel("n", "Misc"), Channel("x")))
    stamps_s = 5e5 + np.cumsum(np.random.default_rng(1).choice([0.0, 0.0005, 0.002], n))
    samples = np.stack([np.arange(n), -np.arange(n)], 1).astype(dtype)
    marks = RecordedStream(marker_spec("m"), ["ä", "", "b\tc"], stamps_s[[10, 20, 30]])
    return [RecordedStream(spec, samples, stamps_s), marks]


@pytest.mark.parametrize("format_", ["int8", "int32", "double64"])
def test_formats_and_stamps_of_a_jittered_stream_are_kept(unique_name, format_):
    streams = some_streams(format_=format_)
    specs = outlet_specs([s.spec for s in streams], 0, unique_name, "test")
    player, stop = Player(specs, 0), threading.Event()
    try:
        consumer = Consumer(unique_name, f"{unique_name}-markers")
        player.wait(1, 30.0, stop)
        played = player.play(schedule(streams, 0), streams[0].stamps_s[0], streams[0].stamps_s[0], 10.0, stop)
        finishing = threading.Thread(target=player.finish, args=(played,))
        finishing.start()
        consumer.read(f"{unique_name}-markers")
        finishing.join(LIMIT_S)
    finally:
        player.close()
    check_equal(consumer, unique_name, streams[0], played.shift_s)
    assert consumer.labels(f"{unique_name}-markers") == ["ä", "", "b\tc", END_MARKER]
    assert np.array_equal(consumer.stamps_s(f"{unique_name}-markers")[:3], streams[1].stamps_s + played.shift_s)


def test_stamps_start_at_the_clock_and_never_at_zero_or_below():
    streams = some_streams(200)
    stamps_s = streams[0].stamps_s.copy()
    stamps_s[100:] -= 5e5 + 100  # a reset to before zero
    streams[0] = RecordedStream(streams[0].spec, streams[0].samples, stamps_s)
    specs = outlet_specs([s.spec for s in streams], 0, "test-shift", "test")
    player = Player(specs, 0)
    try:
        before_s = pylsl.local_clock()
        played = player.play(schedule(streams[:1], 0), stamps_s[0], stamps_s[0], 1000.0, threading.Event())
        assert before_s <= stamps_s[0] + played.shift_s <= pylsl.local_clock()
        played = player.play(schedule(streams[:1], 0), stamps_s[0], stamps_s.min(), 1000.0, threading.Event())
        assert stamps_s.min() + played.shift_s == pytest.approx(1.0)
    finally:
        player.close()


def test_two_consumers_are_waited_for(unique_name):
    streams = some_streams()
    player = Player(outlet_specs([s.spec for s in streams], 0, unique_name, "test"), 0)
    came = threading.Event()

    def wait():
        player.wait(2, 30.0, threading.Event())
        came.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        consumers = [Consumer(unique_name)]
        assert not came.wait(1.0)
        consumers.append(Consumer(unique_name))
        assert came.wait(30.0)
    finally:
        waiting.join(LIMIT_S)
        player.close()


def test_no_consumer_is_an_error_that_says_so(unique_name):
    streams = some_streams()
    player = Player(outlet_specs([s.spec for s in streams], 0, unique_name, "test"), 0)
    try:
        with pytest.raises(SourceError, match=r"0 of 1 consumers .* --wait-timeout"):
            player.wait(1, 0.2, threading.Event())
    finally:
        player.close()


def test_names_groups_and_source_ids():
    one, two = some_streams()[0].spec, marker_spec("stim")
    other = StreamSpec(name="aux", format="string", type="log", channels=(Channel("l"),))
    specs = outlet_specs([other, one, two, one], 1, "me", "file")
    assert [s.name for s in specs] == ["me-aux", "me", "me-markers", "me-eeg"]
    assert len({s.group for s in specs}) == 1
    assert len({s.source_id for s in specs}) == 4
    again = outlet_specs([other, one, two, one], 1, "me", "file")
    assert [s.source_id for s in again] == [s.source_id for s in specs]
    assert again[0].group != specs[0].group
    assert outlet_specs([one], 0, "me", "other file")[0].source_id != specs[1].source_id
    assert [s.name for s in outlet_specs([one], 0, "me", "file")] == ["me", "me-markers"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to one process cannot be sent there")
def test_an_interrupt_ends_in_order(unique_name):
    with Cli("simulate", "--name", unique_name, "--wait", "--json", "-") as simulate:
        consumer = Consumer(unique_name, f"{unique_name}-markers")
        deadline_s = time.monotonic() + LIMIT_S
        while not consumer._pull(0.1):
            assert time.monotonic() < deadline_s
        simulate.process.send_signal(signal.SIGINT)
        consumer.read(f"{unique_name}-markers")
        result = simulate.result()
    assert result["is_interrupted"]
    assert result["n_samples"] == len(consumer.stamps_s(unique_name))


def test_the_simulated_person_streams_what_it_records(unique_name):
    from bci.sources.simulated import SimulatedPerson

    arguments = ["--seed", 3, "--trials", 2, "--speed", 50, "--wait", "--json", "-"]
    with Cli("simulate", "--name", unique_name, *arguments) as simulate:
        consumer = Consumer(unique_name, f"{unique_name}-markers")
        consumer.read(f"{unique_name}-markers")
        result = simulate.result()
    eeg, markers = SimulatedPerson(3, 0.8, n_trials=2).recording().streams
    check_equal(consumer, unique_name, eeg, result["shift_s"])
    assert consumer.labels(f"{unique_name}-markers") == [*markers.samples, END_MARKER]
    assert np.array_equal(consumer.stamps_s(f"{unique_name}-markers")[:-1], markers.stamps_s + result["shift_s"])


def test_a_recording_of_the_simulated_person_is_a_file_that_plays(tmp_path):
    from click.testing import CliRunner

    from bci.__main__ import group

    path = tmp_path / "person.xdf"
    arguments = ["simulate", "--out", str(path), "--trials", "3", "--seed", "5", "--name", "p", "--json", "-"]
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    streams, primary = playable(load_recording(path).streams)
    assert json.loads(done.output)["n_samples"] == len(streams[primary].samples)
    assert [s.spec.name for s in streams] == ["p", "p-markers"]
    assert {c.unit for c in streams[primary].spec.channels} == {"uV"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["stream", "nothere.edf"], 1, "nothere.edf: cannot be read"),
        (["stream", "x.doc"], 1, "not a kind of recording"),
        (["stream", "x.edf", "--speed", "0"], 2, "--speed"),
        (["simulate", "--skill", "2"], 2, "--skill"),
        (["simulate", "--out", "x.xdf"], 2, "--trials"),
        (["simulate", "--out", "nofolder/x.xdf", "--trials", "1"], 1, "cannot write"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, arguments, code, says):
    from bci.__main__ import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == code
    assert says in capsys.readouterr().err
