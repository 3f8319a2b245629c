import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bci.errors import RecordingError
from bci.host import recorder as recorder_module
from bci.host import recorder_main, recorder_messages
from bci.host.recorder import RecorderProcess
from bci.lsl import xml_from_spec
from bci.ports import Offset
from bci.recording import xdf
from bci.recording.scan import Tag, scan
from bci.types import DTYPES, Channel, StreamSpec
from tests.test_xdf import Disk

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def spec(name="EEG", fmt="int32", n_channels=1, sfreq_hz=100.0):
    return StreamSpec(
        name=name, sfreq_hz=sfreq_hz, format=fmt, channels=tuple(Channel(f"c{i}") for i in range(n_channels))
    )


def counted(first, n, n_channels=1):
    return np.arange(first, first + n, dtype="i4")[:, None].repeat(n_channels, 1), np.arange(first, first + n) / 100.0


def until(is_so, timeout_s=30.0):
    """Wait for something that another process does; fails when it does not come."""
    end_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def recorder(tmp_path):
    made = RecorderProcess(tmp_path / "session.xdf", queue_s=5.0)
    yield made
    if os.name == "posix" and made.pid is not None:
        os.kill(made.pid, signal.SIGCONT)
    made.close()


def on_disk(path):
    return list(xdf.read_xdf(path).streams)


# --- the ordinary case -----------------------------------------------------------------------------------------------


def test_every_format_is_recorded_exactly(recorder):
    rng = np.random.default_rng(1)
    specs = [spec(fmt, fmt, 5) for fmt in DTYPES] + [StreamSpec(name="m", format="string", channels=(Channel("m"),))]
    streams = [recorder.open_stream(s, f"about {s.name}") for s in specs]
    expected = {s.name: [] for s in specs}
    for k in range(20):
        stamps = rng.normal(size=7)
        for s, stream in zip(specs[:-1], streams, strict=False):
            values = np.frombuffer(rng.bytes(7 * 5 * np.dtype(DTYPES[s.format]).itemsize), DTYPES[s.format]).reshape(
                7, 5
            )
            recorder.write(stream, values, stamps)
            expected[s.name].append((values, stamps))
        recorder.write(streams[-1], [[f"läuft {k}"], [""]], [k, k + 0.5])
    recorder.offset(streams[0], Offset(10.0, 0.25, 0.001))
    recorder.close()
    assert recorder.trouble() == ""
    file = xdf.read_xdf_file(recorder.path)
    for s, stream, xml in zip(specs, file.recording.streams, file.header_xml, strict=True):
        assert stream.spec == s
        assert xdf.metadata_of(xml) == f"about {s.name}"
        if s.format != "string":
            assert stream.samples.tobytes() == b"".join(v.tobytes() for v, _ in expected[s.name])
            assert stream.stamps_s.tobytes() == b"".join(t.tobytes() for _, t in expected[s.name])
    assert file.recording.streams[-1].samples == [text for k in range(20) for text in (f"läuft {k}", "")]
    assert file.clock_offsets[0] == (Offset(10.0, 0.25, 0.0),)
    found = scan(recorder.path.read_bytes())
    assert [c.tag for c in found.chunks].count(Tag.STREAM_FOOTER) == len(specs)
    report = recorder.report()
    assert (report.n_lost, report.n_unconfirmed, report.parts) == ({}, {}, (str(recorder.path),))
    assert report.n_bytes == recorder.path.stat().st_size
    if os.name == "posix":
        assert stat.S_IMODE(recorder.path.stat().st_mode) == 0o600


def test_several_threads_may_write(recorder):
    streams = [recorder.open_stream(spec(f"s{i}")) for i in range(4)]

    def write(stream):
        for k in range(200):
            recorder.write(stream, *counted(5 * k, 5))

    threads = [threading.Thread(target=write, args=(s,)) for s in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    recorder.close()
    for stream in on_disk(recorder.path):
        assert stream.samples[:, 0].tolist() == list(range(1000))


def test_one_large_write_is_cut_into_batches_and_comes_out_whole(recorder):
    stream = recorder.open_stream(spec(n_channels=32, sfreq_hz=10_000.0))
    recorder.write(stream, *counted(0, 60_000, 32))
    marks = recorder.open_stream(StreamSpec(name="m", format="string", channels=(Channel("m"),)))
    recorder.write(marks, [["x" * 1_500_000], ["y"]], [1.0, 2.0])
    recorder.close()
    a, b = on_disk(recorder.path)
    assert (a.samples == np.arange(60_000)[:, None]).all()
    assert [len(x) for x in b.samples] == [1_500_000, 1]


def test_samples_are_in_the_file_soon_without_closing(recorder):
    stream = recorder.open_stream(spec())
    recorder.write(stream, *counted(0, 50))

    def n_written():
        return sum(c.n_samples for c in scan(recorder.path.read_bytes()).chunks)

    until(lambda: n_written() == 50)
    assert not scan(recorder.path.read_bytes()).damage


@pytest.mark.parametrize(
    "samples",
    [np.zeros((2, 1), "f4"), np.zeros((3, 1), "i4"), np.zeros((2, 2), "i4"), np.zeros(2, "i4"), [["a"], ["b"]]],
)
def test_what_the_stream_is_not_is_refused(recorder, samples):
    stream = recorder.open_stream(spec())
    with pytest.raises(RecordingError, match=r"expected int32 \(2, 1\)"):
        recorder.write(stream, samples, [0.0, 1.0])
    marks = recorder.open_stream(StreamSpec(name="m", format="string", channels=(Channel("m"),)))
    with pytest.raises(RecordingError, match="expected string"):
        recorder.write(marks, [["a", "b"]], [0.0])
    with pytest.raises(RecordingError, match="no format"):
        recorder.open_stream(spec(fmt="uint8"))
    recorder.write(stream, np.zeros((0, 1), "i4"), [])


def test_a_file_that_exists_is_kept_and_the_next_part_is_written(tmp_path):
    (tmp_path / "session.xdf").write_bytes(b"old")
    recorder = RecorderProcess(tmp_path / "session.xdf")
    recorder.close()
    recorder.close()
    assert recorder.path == tmp_path / "session.part2.xdf"
    assert (tmp_path / "session.xdf").read_bytes() == b"old"
    assert on_disk(recorder.path) == []


def test_an_output_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(RecordingError, match="No such file") as error:
        RecorderProcess(tmp_path / "none" / "a.xdf")
    assert "\n" not in str(error.value)


def test_the_process_starts_without_heavy_imports():
    heavy = ("torch", "mne", "scipy", "pylsl", "pyxdf")
    code = f"import sys, bci.host.recorder_main; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- trouble ---------------------------------------------------------------------------------------------------------


@posix
def test_a_recorder_that_stands_still_never_makes_the_engine_wait(recorder):
    """The process is stopped: the queue takes what it may, the rest is counted and said, and order is kept."""
    stream = recorder.open_stream(spec(n_channels=64))
    recorder.write(stream, *counted(0, 10, 64))
    until(lambda: recorder.n_waiting == 0)
    os.kill(recorder.pid, signal.SIGSTOP)
    n = 10
    while n < 100_000:  # 25 MB, the queue holds 4.5
        recorder.write(stream, *counted(n, 1000, 64))
        n += 1000
    until(lambda: "queue to the recorder is full" in recorder.trouble() and "samples of 'EEG'" in recorder.trouble())
    n_lost = recorder.report().n_lost["EEG"]
    assert 0 < n_lost < n
    os.kill(recorder.pid, signal.SIGCONT)
    until(lambda: recorder.trouble() == "")
    recorder.write(stream, *counted(n, 10, 64))
    recorder.close()
    assert recorder.report().n_lost == {"EEG": n_lost}
    (eeg,) = on_disk(recorder.path)
    numbers = eeg.samples[:, 0]
    assert len(numbers) == n + 10 - n_lost
    assert (np.diff(numbers) > 0).all()
    assert numbers[-1] == n + 9
    assert np.array_equal(eeg.stamps_s, numbers / 100.0)


@posix
def test_a_recorder_that_dies_is_said_and_a_new_part_goes_on(recorder):
    stream = recorder.open_stream(spec(), "the configuration")
    marks = recorder.open_stream(StreamSpec(name="m", format="string", channels=(Channel("m"),)))
    recorder.write(stream, *counted(0, 100))
    first = recorder.path
    until(lambda: sum(c.n_samples for c in scan(first.read_bytes()).chunks) == 100)
    recorder.restart()  # nothing has died: no effect
    os.kill(recorder.pid, signal.SIGKILL)
    until(lambda: recorder.has_died)
    until(lambda: "recorder process ended (exit code -9)" in recorder.trouble())
    recorder.write(stream, *counted(100, 50))  # waits in the queue
    recorder.restart()
    until(lambda: recorder.trouble() == "")
    assert recorder.path == first.with_name("session.part2.xdf")
    recorder.write(stream, *counted(150, 50))
    recorder.write(marks, [["go on"]], [1.0])
    recorder.close()
    assert not scan(first.read_bytes()).damage
    assert on_disk(first)[0].samples[:, 0].tolist() == list(range(100))
    eeg, m = on_disk(recorder.path)
    assert eeg.samples[:, 0].tolist() == list(range(100, 200))
    assert m.samples == ["go on"]
    file = xdf.read_xdf_file(recorder.path)
    assert xdf.metadata_of(file.header_xml[0]) == "the configuration"
    report = recorder.report()
    assert len(report.parts) == 2
    assert report.n_lost == {}
    assert report.n_bytes == sum(Path(p).stat().st_size for p in report.parts)


@posix
def test_samples_that_a_dead_recorder_may_have_lost_are_counted(recorder):
    stream = recorder.open_stream(spec())
    until(lambda: recorder.n_waiting == 0)
    os.kill(recorder.pid, signal.SIGSTOP)
    recorder.write(stream, *counted(0, 70))
    until(lambda: recorder.n_waiting == 0)  # sent, but the stopped process has not read it
    os.kill(recorder.pid, signal.SIGKILL)
    until(lambda: recorder.has_died)
    recorder.write(stream, *counted(70, 30))
    recorder.close()
    report = recorder.report()
    assert report.n_unconfirmed == {"EEG": 70}
    assert report.n_lost == {"EEG": 30}
    assert "up to 70 samples" in recorder.trouble()


@posix
def test_a_death_is_said_before_the_process_has_been_seen_out(recorder):
    os.kill(recorder.pid, signal.SIGSTOP)  # the connection breaks, the process does not end
    recorder._channel._sock.shutdown(socket.SHUT_RDWR)
    until(lambda: recorder.has_died)
    until(lambda: "the recorder process ended; up to 0 samples" in recorder.trouble())
    assert recorder.pid is not None
    os.kill(recorder.pid, signal.SIGCONT)
    until(lambda: "the recorder process ended (exit code 0)" in recorder.trouble())


def test_a_restart_that_fails_for_any_reason_is_said_and_tried_again(recorder, monkeypatch):
    stream = recorder.open_stream(spec())
    until(lambda: recorder.n_waiting == 0)

    def refuse(*_args, **_options):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(recorder_module, "spawn_child", refuse)
        recorder._child.kill()
        until(lambda: recorder.has_died)
        recorder.restart()
        until(lambda: "Too many open files" in recorder.trouble())
        recorder.write(stream, *counted(0, 30))
    until(lambda: recorder.restart() or recorder.trouble() == "")
    recorder.close()
    assert on_disk(recorder.path)[0].samples[:, 0].tolist() == list(range(30))
    assert recorder.report().n_lost == {}


def test_a_recorder_that_says_nonsense_is_given_up_and_a_new_part_goes_on(recorder, monkeypatch):
    stream = recorder.open_stream(spec())
    recorder.write(stream, *counted(0, 30))
    first = recorder.path
    until(lambda: recorder.n_waiting == 0 and not recorder._sent)  # all is on disk

    def nonsense(*_):
        raise msgspec.ValidationError("Expected `int`, got `str`")

    with monkeypatch.context() as patch:
        patch.setattr(recorder._channel, "receive", nonsense)
        until(lambda: recorder.has_died)
        until(lambda: "was given up (ValidationError: Expected `int`, got `str`) (exit code 0)" in recorder.trouble())
    assert on_disk(first)[0].samples[:, 0].tolist() == list(range(30))
    assert is_finished(first)
    recorder.write(stream, *counted(30, 30))
    until(lambda: recorder.restart() or recorder.trouble() == "")
    recorder.close()
    assert on_disk(recorder.path)[0].samples[:, 0].tolist() == list(range(30, 60))
    report = recorder.report()
    assert (report.n_lost, report.n_unconfirmed) == ({}, {})


def test_an_entry_that_cannot_be_sent_is_counted_and_said_and_the_others_are_recorded(recorder, monkeypatch):
    stream = recorder.open_stream(spec())
    encode = recorder_messages.encode

    def no_memory(stream, what, stamps):
        if len(stamps) == 7:
            raise MemoryError
        return encode(stream, what, stamps)

    monkeypatch.setattr(recorder_module, "encode", no_memory)
    recorder.write(stream, *counted(0, 5))
    recorder.write(stream, *counted(5, 7))
    recorder.write(stream, *counted(12, 5))
    until(lambda: "could not be sent to the recorder (MemoryError); lost so far: 7 samples" in recorder.trouble())
    recorder.close()
    assert recorder.report().n_lost == {"EEG": 7}
    assert on_disk(recorder.path)[0].samples[:, 0].tolist() == [*range(5), *range(12, 17)]


def test_what_the_recorder_process_refuses_is_counted_and_said(recorder, monkeypatch):
    stream = recorder.open_stream(spec())

    def too_short(stream, what, stamps):
        pieces = recorder_messages.encode(stream, what, stamps)
        return [(recorder_messages.Numbers(stream, b"", p.stamps), n, size) for p, n, size in pieces]

    until(lambda: recorder.n_waiting == 0 and recorder._opens)
    with monkeypatch.context() as patch:
        patch.setattr(recorder_module, "encode", too_short)
        recorder.write(stream, *counted(0, 7))
        until(lambda: "did not take all samples; lost so far: 7 samples of 'EEG'" in recorder.trouble())
    recorder.write(stream, *counted(7, 5))
    recorder.close()
    assert recorder.report().n_lost == {"EEG": 7}
    assert on_disk(recorder.path)[0].samples[:, 0].tolist() == list(range(7, 12))


def test_text_that_is_not_unicode_is_recorded_with_replacements(recorder):
    marks = recorder.open_stream(StreamSpec(name="m", format="string", channels=(Channel("m"),)))
    recorder.write(marks, [["caf\udce9"], ["läuft"]], [1.0, 2.0])
    recorder.close()
    assert recorder.trouble() == ""
    assert on_disk(recorder.path)[0].samples == ["caf?", "läuft"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit")
def test_a_full_disk_is_said_and_recording_goes_on_in_the_same_file_when_space_returns(recorder):
    import resource

    stream = recorder.open_stream(spec())
    recorder.write(stream, *counted(0, 100))
    until(lambda: sum(c.n_samples for c in scan(recorder.path.read_bytes()).chunks) == 100)
    size = recorder.path.stat().st_size
    _, hard = resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (size + 1000, hard))
    for k in range(10):
        recorder.write(stream, *counted(100 + 100 * k, 100))
    until(lambda: "the disk does not take the recording (File too large)" in recorder.trouble())
    cut = scan(recorder.path.read_bytes())
    assert not cut.damage
    assert sum(c.n_samples for c in cut.chunks) < 1100
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (hard, hard))
    until(lambda: recorder.trouble() == "")
    recorder.close()
    (eeg,) = on_disk(recorder.path)
    assert eeg.samples[:, 0].tolist() == list(range(1100))
    assert recorder.report().n_lost == {}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit")
def test_a_disk_that_stays_full_leaves_a_whole_file_and_an_account(recorder):
    import resource

    stream = recorder.open_stream(spec())
    recorder.write(stream, *counted(0, 100))
    until(lambda: sum(c.n_samples for c in scan(recorder.path.read_bytes()).chunks) == 100)
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (recorder.path.stat().st_size,) * 2)
    recorder.write(stream, *counted(100, 25))
    recorder.close()
    assert "could not be written: File too large" in recorder.trouble()
    assert recorder.report().n_unconfirmed == {"EEG": 25}
    assert on_disk(recorder.path)[0].samples[:, 0].tolist() == list(range(100))


def batch(number, n, first=0):
    values, stamps = counted(first, n, 64)
    return recorder_messages.Batch(number, [recorder_messages.Numbers(1, values.tobytes(), stamps.tobytes())])


def test_a_disk_that_stays_full_longer_than_the_queue_costs_counted_samples(tmp_path):
    disk = Disk(room=3000)
    recording = recorder_main.Recording(disk, queue_s=10.0)
    s = spec(n_channels=64)
    opened = recorder_messages.Open(1, xml_from_spec(s), "int32", 64, xdf.bytes_per_s(s))
    recording.take(recorder_messages.Batch(1, [opened]), 0.0)
    number, n = 1, 0
    while not recording.n_lost:
        number, n = number + 1, n + 1000
        recording.take(batch(number, 1000, n - 1000), 0.01 * number)
        recording.write(0.01 * number)
    assert recording.status().error == "No space left on device"
    assert recording.status().batch < number
    assert recording.writer.n_pending < recorder_messages.queue_bytes(opened.bytes_per_s, 10.0) + 300_000
    assert not recording.finish(1e3)
    disk.room = 10**9
    assert recording.finish(1e3 + 1)
    path = tmp_path / "a.xdf"
    path.write_bytes(disk.getvalue())
    (eeg,) = on_disk(path)
    assert len(eeg.samples) == n - recording.n_lost[1]
    assert recording.status() == recorder_messages.Status(number, len(disk.getvalue()), "", {1: 1000})


def test_a_burst_larger_than_the_queue_costs_nothing_while_the_disk_takes_it():
    """As after a stall of this process: what waited comes at one time, before a write is due."""
    disk = Disk(room=10**9)
    recording = recorder_main.Recording(disk, queue_s=10.0)
    s = spec(n_channels=64)
    opened = recorder_messages.Open(1, xml_from_spec(s), "int32", 64, xdf.bytes_per_s(s))
    recording.take(recorder_messages.Batch(1, [opened]), 0.0)
    for k in range(100):  # 26 MB
        recording.take(batch(2 + k, 1000, 1000 * k), 0.1)
    assert recording.n_lost == {}
    assert recording.finish(0.2)
    assert sum(c.n_samples for c in scan(disk.getvalue()).chunks) == 100_000


@pytest.mark.parametrize("fmt", ["int32", "string"])
def test_a_batch_that_is_refused_costs_as_many_samples_as_it_held(fmt):
    """Five stamps with values for three samples, and a stream that was never opened; what comes after is recorded."""
    disk = Disk(room=10**6)
    recording = recorder_main.Recording(disk, queue_s=10.0)
    recording.take(
        recorder_messages.Batch(1, [recorder_messages.Open(1, xml_from_spec(spec(fmt=fmt)), fmt, 1, 400.0)]), 0.0
    )
    five = np.arange(5.0).tobytes()
    if fmt == "int32":
        bad, good = (recorder_messages.Numbers(1, bytes(4 * n), five) for n in (3, 5))
    else:
        bad, good = (recorder_messages.Strings(1, [["x"]] * n, five) for n in (3, 5))
    stranger = recorder_messages.Numbers(7, bytes(20), five)
    clock = recorder_messages.Clock(7, 1.0, 0.0)
    recording.take(recorder_messages.Batch(2, [bad, bad, stranger, clock, good]), 1.0)
    assert recording.status().n_lost == {1: 10, 7: 5}
    assert recording.status().error == "stream 7: its header was refused, or did not come"
    assert recording.finish(2.0)
    (chunk,) = [c for c in scan(disk.getvalue()).chunks if c.tag is Tag.SAMPLES]
    assert chunk.n_samples == 5


def test_a_failed_write_is_tried_again_after_a_second():
    disk = Disk(room=0)
    recording = recorder_main.Recording(disk, queue_s=10.0)
    recording.write(100.0, even_if_early=True)
    writes = disk.writes
    for k in range(20):
        recording.write(100.0 + 0.05 * k)
    assert disk.writes == writes
    disk.room = 1000
    assert recording.write(101.0)
    assert recording.status().error == ""


# --- the engine's end ------------------------------------------------------------------------------------------------


def small_engine(path):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.recorder_parent", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def is_finished(path):
    return [c.tag for c in scan(path.read_bytes()).chunks].count(Tag.STREAM_FOOTER) == 1


@posix
def test_the_recorder_finishes_the_file_when_the_engine_is_killed(tmp_path):
    path = tmp_path / "a.xdf"
    with small_engine(path) as engine:
        assert engine.stdout.readline() == "recorded\n"
        engine.kill()
        engine.wait(20)
    until(lambda: is_finished(path))
    assert on_disk(path)[0].samples[:, 0].tolist() == list(range(100))


@posix
def test_an_interrupt_of_the_whole_group_ends_the_engine_and_loses_nothing(tmp_path):
    path = tmp_path / "a.xdf"
    with small_engine(path) as engine:
        assert engine.stdout.readline() == "recorded\n"
        os.killpg(engine.pid, signal.SIGINT)
        assert engine.stdout.readline() == "closed\n"
        engine.wait(20)
    assert is_finished(path)
    assert on_disk(path)[0].samples[:, 0].tolist() == list(range(100))


@posix
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_to_the_recorder_itself_changes_nothing(recorder, number):
    stream = recorder.open_stream(spec())
    recorder.write(stream, *counted(0, 10))
    os.kill(recorder.pid, getattr(signal, number))
    recorder.write(stream, *counted(10, 10))
    recorder.close()
    assert recorder.trouble() == ""
    assert on_disk(recorder.path)[0].samples[:, 0].tolist() == list(range(20))
