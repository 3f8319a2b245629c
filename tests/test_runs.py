"""What lies in a session's folder: whole, cut anywhere, in parts, of several runs."""

import numpy as np
import pytest

from bci.errors import RecordingError
from bci.recording.folder import SessionFolder
from bci.recording.runs import read_runs
from bci.recording.scan import MAGIC, scan
from bci.recording.xdf import read_xdf
from bci.types import ChunkRef, Command, Control, Now
from tests.helpers.fault_sender import fitted_model
from tests.helpers.recorded import Run

TOML = "[gate]\nthreshold = 0.6\ndwell_s = 0.06\nrefractory_s = 0.2\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fitted_model(tmp_path_factory.mktemp("runs") / "model")


def played(folder, model, seconds=6.0):
    run = Run(folder, model, TOML)
    run.play(2.0)
    run.control("arm")
    run.clock(0.25)
    run.play(seconds - 2.0)
    return run


def test_a_whole_recording_is_what_other_readers_read(model, tmp_path):
    played(tmp_path, model).end()
    (run,) = read_runs(SessionFolder(tmp_path))
    streams = {s.spec.name: s for s in read_xdf(tmp_path / "session.xdf").streams}
    assert [s.spec.name for s in run.streams] == ["eeg", "cues"]
    assert np.array_equal(run.streams[0].stamps_s, streams["eeg"].stamps_s)
    read = np.concatenate([values for _, values in run.samples(run.streams[0])])
    assert np.array_equal(read, streams["eeg"].samples)
    assert np.array_equal(run.hops, streams["bci-hops"].samples)
    assert np.array_equal(run.latency, streams["bci-latency"].samples)
    assert len(run.events) == len(streams["bci-events"].samples)
    assert len(run.commands) == len(run.receipts) > 0
    assert (run.classes, run.n_unread, run.n_events_missing) == (("rest", "left", "right"), 0, 0)
    assert [o.offset_s for o in run.streams[0].offsets] == [0.25]
    assert run.parts[0].wall_time == "2026-03-04T10:20:30+00:00"


def test_every_event_has_the_newest_time_known(model, tmp_path):
    played(tmp_path, model).end()
    (run,) = read_runs(SessionFolder(tmp_path))
    times = [at_s for at_s, _ in run.events]
    assert times == sorted(times)
    for at_s, event in run.events:
        if isinstance(event, Now | ChunkRef):
            assert at_s >= (event.now_s if isinstance(event, Now) else event.arrival_s)
    arm_s = next(at_s for at_s, event in run.events if isinstance(event, Control))
    assert arm_s == pytest.approx(1002.0, abs=0.05)


def test_cut_anywhere_it_reads_what_is_whole(model, tmp_path):
    run = played(tmp_path / "whole", model)
    run.end()
    data = (tmp_path / "whole" / "session.xdf").read_bytes()
    chunks = scan(data).chunks
    cuts = [*np.linspace(chunks[9].end, len(data) - 1, 9).astype(int), chunks[40].end]
    n_before = -1
    for k, cut in enumerate(sorted(cuts)):
        folder = SessionFolder(tmp_path / f"cut{k}")
        folder.path.mkdir()
        folder.xdf.write_bytes(data[:cut])
        (found,) = read_runs(folder)
        assert len(found.streams[0].stamps_s) >= n_before
        n_before = len(found.streams[0].stamps_s)
        assert found.parts[0].n_bytes_damaged == cut - max(c.end for c in chunks if c.end <= cut)
    assert 0 < n_before <= run.n


def test_a_hole_in_the_events_is_counted(model, tmp_path):
    played(tmp_path, model).end()
    path = tmp_path / "session.xdf"
    data = bytearray(path.read_bytes())
    found = scan(bytes(data))
    number = next(n for n, s in found.streams.items() if s.name == "bci-events")
    victim = [c for c in found.chunks if c.stream == number and c.n_samples][20]
    data[victim.content + 4 : victim.end] = b"\xff" * (victim.end - victim.content - 4)
    path.write_bytes(data)
    (run,) = read_runs(SessionFolder(tmp_path))
    assert run.n_events_missing == victim.n_samples
    assert run.parts[0].n_bytes_damaged > 0


def test_lines_of_another_version_are_left_out_and_counted(model, tmp_path):
    run = played(tmp_path, model)
    run.recorder.write(run.books._commands, [['{"kind":"from the future","id":1}']], [run.now_s])
    run.recorder.write(run.books._health, [["no JSON at all"]], [run.now_s])
    run.end()
    (found,) = read_runs(SessionFolder(tmp_path))
    assert found.n_unread == 2
    assert all(isinstance(c, Command) for c in found.commands)


def test_a_recorder_that_died_leaves_two_parts_of_one_run(model, tmp_path):
    run = played(tmp_path, model)
    run.recorder.flush()
    run.play(1.0)  # never flushed
    run.recorder.restart()
    run.play(2.0)
    run.end()
    (found,) = read_runs(SessionFolder(tmp_path))
    assert [p.path.name for p in found.parts] == ["session.xdf", "session.part2.xdf"]
    assert len(found.streams[0].stamps_s) == run.n - 250
    assert found.n_events_missing > 0
    assert found.parts[0].n_bytes_damaged == 0


def test_a_recorder_that_died_at_once_leaves_empty_parts(model, tmp_path):
    run = played(tmp_path, model)
    run.recorder.flush()
    run.recorder.restart()
    run.recorder.restart()  # the second part has a header of the file, no more
    run.play(1.0)
    run.end()
    (tmp_path / "session.part4.xdf").write_bytes(b"")
    (tmp_path / "session.part5.xdf").write_bytes(MAGIC[:2])
    (found,) = read_runs(SessionFolder(tmp_path))
    assert len(found.parts) == 5
    assert len(found.streams[0].stamps_s) == run.n


@pytest.mark.parametrize("has_toml", [True, False])
@pytest.mark.parametrize("start_s", [1000.0, 1100.0])  # on the same clock, and after a reboot
def test_a_resumed_session_has_two_runs_even_with_the_same_header(start_s, has_toml, model, tmp_path):
    played(tmp_path, model).die()
    second = Run(tmp_path, model, TOML, start_s=start_s)
    if not has_toml:  # the files were moved without it
        (tmp_path / "session.part2.toml").unlink()
    second.play(1.0)
    second.recorder.flush()
    second.recorder.restart()
    second.play(1.0)
    second.end()
    first, again = read_runs(SessionFolder(tmp_path))
    assert len(first.streams[0].stamps_s) == 1500
    assert len(again.streams[0].stamps_s) == 500
    assert [len(r.parts) for r in (first, again)] == [1, 2]


def test_what_the_program_told_belongs_to_its_run(model, tmp_path):
    played(tmp_path, model).end()
    folder = SessionFolder(tmp_path)
    folder.write(tmp_path / "run.json", '{"max_backlog_samples": 7}')
    Run(tmp_path, model, TOML, start_s=1100.0).die()
    folder.write(tmp_path / "run.part2.json", "cut")
    first, second = read_runs(folder)
    assert (first.told, second.told) == ({"max_backlog_samples": 7}, {})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "holds no session.xdf"),
        (b"BOX:", "not an XDF file"),
        (b"XDF:", "nothing to report"),
        (b"XDF:" + bytes(100), "no whole header"),
    ],
)
def test_what_is_no_session_is_refused_in_a_line(content, why, tmp_path):
    if content is not None:
        (tmp_path / "session.xdf").write_bytes(content)
    with pytest.raises(RecordingError, match=why) as error:
        read_runs(SessionFolder(tmp_path))
    assert "\n" not in str(error.value)
