import io
import json
from pathlib import Path

import numpy as np
import pytest
import pyxdf
from click.testing import CliRunner

from bci.cli.repair import command
from bci.errors import RecordingError
from bci.lsl import xml_from_spec
from bci.recording import xdf
from bci.recording.repair import repair
from bci.recording.scan import MAGIC, Tag, scan
from bci.types import Channel, StreamSpec


def small_file(n_batches=4, boundary_each=2):
    """Chunks of a small file as a list of bytes: numbers, strings and offsets side by side."""
    eeg = StreamSpec(name="EEG", sfreq_hz=100.0, format="int16", channels=(Channel("a"), Channel("b")))
    marks = StreamSpec(name="marks", type="Markers", format="string", channels=(Channel("m"),))
    chunks = [
        xdf.file_header(),
        xdf.stream_header(1, xml_from_spec(eeg)),
        xdf.stream_header(2, xml_from_spec(marks)),
    ]
    for k in range(n_batches):
        if k % boundary_each == 0:
            chunks.append(xdf.boundary())
        stamps = np.arange(3 * k, 3 * k + 3) / 100
        chunks.append(xdf.samples(1, "int16", np.full((3, 2), k, "i2"), stamps))
        chunks.append(xdf.samples(2, "string", [[f"märk{k}"]], stamps[:1]))
        chunks.append(xdf.clock_offset(1, stamps[0], 0.5))
    chunks += [xdf.stream_footer(1, 12, 0.0, 0.11), xdf.stream_footer(2, 4, 0.0, 0.09)]
    return chunks


def load(path):
    with np.errstate(all="ignore"):
        return pyxdf.load_xdf(path, dejitter_timestamps=False, synchronize_clocks=False)[0]


def test_every_cut_keeps_every_whole_chunk_and_loads(tmp_path):
    chunks = small_file()
    ends = np.cumsum([len(c) for c in chunks])
    data = b"".join(chunks)
    path = tmp_path / "cut.xdf"
    for cut in range(len(MAGIC), len(data) + 1):
        path.write_bytes(data[:cut])
        out = tmp_path / f"fixed{cut}.xdf"
        report = repair(path, out)
        whole = int((ends <= cut).sum())
        assert out.read_bytes() == (b"".join(chunks[:whole]) or MAGIC)
        assert report.n_chunks == whole
        assert report.n_bytes_kept + report.n_bytes_cut == cut
        assert report.n_damaged == (cut not in (*ends, len(MAGIC)))
        streams = {s["info"]["name"][0]: len(s["time_stamps"]) for s in load(out)}
        assert streams == report.n_samples
        assert len(xdf.read_xdf(out).streams) == len(streams)


@pytest.mark.parametrize("cut", range(4))
def test_a_cut_inside_the_magic_leaves_nothing(tmp_path, cut):
    path = tmp_path / "cut.xdf"
    path.write_bytes(MAGIC[:cut])
    with pytest.raises(RecordingError, match="not an XDF file"):
        repair(path, tmp_path / "out.xdf")
    assert not (tmp_path / "out.xdf").exists()


def test_garbage_in_the_middle_costs_at_most_what_it_covers_up_to_the_next_boundary(tmp_path):
    """Every chunk in turn is overwritten by noise; the rest must load and be right."""
    chunks = small_file(8)
    rng = np.random.default_rng(0)
    for damaged in range(3, len(chunks)):
        noise = rng.integers(0, 256, len(chunks[damaged]), np.uint8).tobytes()
        data = b"".join([*chunks[:damaged], noise, *chunks[damaged + 1 :]])
        path, out = tmp_path / f"{damaged}.xdf", tmp_path / f"{damaged}-fixed.xdf"
        path.write_bytes(data)
        report = repair(path, out)
        assert report.n_damaged >= 1
        after = range(damaged + 1, len(chunks))
        lost_until = next((i for i in after if scan_tag(chunks[i]) is Tag.BOUNDARY), len(chunks))
        expected = chunks[:damaged] + chunks[lost_until:]
        kept = out.read_bytes()
        at = 0
        for chunk in expected:  # in order, nothing of them missing
            at = kept.index(chunk, at) + len(chunk)
        assert not scan(kept).damage
        assert {s["info"]["name"][0]: len(s["time_stamps"]) for s in load(out)} == report.n_samples


def scan_tag(chunk):
    return Tag(chunk[chunk[0] + 1])


def test_a_damaged_content_with_a_good_length_costs_that_chunk_alone(tmp_path):
    chunks = small_file()
    bad = bytearray(chunks[4])
    bad[2 + 6 + 2] = 7  # the stamp's flag of the first sample
    path, out = tmp_path / "a.xdf", tmp_path / "b.xdf"
    path.write_bytes(b"".join([*chunks[:4], bytes(bad), *chunks[5:]]))
    repair(path, out)
    assert out.read_bytes() == b"".join([*chunks[:4], *chunks[5:]])


def test_samples_without_a_header_and_a_second_header_are_left_out(tmp_path):
    chunks = small_file()
    path, out = tmp_path / "a.xdf", tmp_path / "b.xdf"
    orphan = xdf.samples(9, "int16", np.zeros((1, 2), "i2"), [0.0])
    path.write_bytes(b"".join([*chunks[:3], orphan, chunks[1], *chunks[3:]]))
    report = repair(path, out)
    assert out.read_bytes() == b"".join(chunks)
    assert report.n_samples == {"EEG": 12, "marks": 4}


def test_foreign_samples_that_leave_stamps_out_are_whole():
    one = StreamSpec(name="x", sfreq_hz=10.0, format="int8", channels=(Channel("a"),))
    header = xdf.stream_header(1, xml_from_spec(one))
    body = b"\x01\x00\x00\x00" + b"\x01\x02" + b"\x08" + np.float64(5).tobytes() + b"\x01" + b"\x00\x02"
    chunk = bytes([1, len(body) + 2]) + b"\x03\x00" + body
    found = scan(xdf.file_header() + header + chunk)
    assert not found.damage
    assert found.chunks[-1].n_samples == 2
    assert scan(xdf.file_header() + header + chunk[:-1]).damage


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "a.xdf"
    data = b"".join(small_file())
    path.write_bytes(data)
    for out in (path, tmp_path / "." / "a.xdf"):
        with pytest.raises(RecordingError, match="not overwritten"):
            repair(path, out)
    assert path.read_bytes() == data
    with pytest.raises(RecordingError, match="No such file"):
        repair(path, tmp_path / "none" / "b.xdf")
    with pytest.raises(RecordingError, match="cannot read"):
        repair(tmp_path / "none.xdf", tmp_path / "c.xdf")


def test_what_could_not_be_written_whole_is_removed_after_it_was_closed(tmp_path, monkeypatch):
    """Windows does not remove a file that is open."""
    path, out = tmp_path / "a.xdf", tmp_path / "b.xdf"
    path.write_bytes(b"".join(small_file()))
    targets = []

    def full(_data, _damage, target):
        targets.append(target)
        raise OSError(28, "No space left on device")

    unlink = Path.unlink

    def checked(path):
        assert targets[0].closed
        unlink(path)

    monkeypatch.setattr("bci.recording.repair._copy", full)
    monkeypatch.setattr(Path, "unlink", checked)
    with pytest.raises(RecordingError, match="No space left"):
        repair(path, out)
    assert not out.exists()
    out.write_bytes(b"mine")
    with pytest.raises(RecordingError, match="not overwritten"):
        repair(path, out)
    assert out.read_bytes() == b"mine"


def test_the_verb_reports(tmp_path):
    path = tmp_path / "a.xdf"
    path.write_bytes(b"".join(small_file())[:-7])
    result = CliRunner().invoke(command, [str(path), "--out", str(tmp_path / "b.xdf"), "--json", "-"])
    assert result.exit_code == 0
    report = json.loads(result.output)
    assert report["n_samples"] == {"EEG": 12, "marks": 4}
    assert report["n_damaged"] == 1
    text = CliRunner().invoke(command, [str(path), "--out", str(tmp_path / "c.xdf")]).output
    assert "EEG: 12 samples" in text


def test_real_files_are_whole_and_survive_cuts(data_dir, tmp_path):
    data = (data_dir / "streams" / "xdf" / "minimal.xdf").read_bytes()
    for cut in range(len(MAGIC), len(data), 7):
        path, out = tmp_path / "cut.xdf", tmp_path / f"{cut}.xdf"
        path.write_bytes(data[:cut])
        repair(path, out)
        load(out)
    assert not scan(data).damage
    assert load(io.BytesIO(data))
