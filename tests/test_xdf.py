import errno
import io
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import pyxdf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bci.errors import RecordingError
from bci.lsl import xml_from_spec
from bci.recording import xdf
from bci.recording.scan import Tag, scan
from bci.types import DTYPES, Channel, StreamSpec


def spec(fmt="float32", n_channels=3, sfreq_hz=250.0, name="s", **other):
    channels = tuple(Channel(f"c{i}", "EEG", "uV") for i in range(n_channels))
    return StreamSpec(name=name, format=fmt, sfreq_hz=sfreq_hz, channels=channels, **other)


def load(data):
    with np.errstate(all="ignore"):
        return pyxdf.load_xdf(io.BytesIO(data), dejitter_timestamps=False, synchronize_clocks=False)[0]


def file_of(*batches, fmt, n_channels):
    """A whole file with one stream."""
    file = io.BytesIO()
    writer = xdf.XdfWriter(file)
    writer.open_stream(1, xml_from_spec(spec(fmt, n_channels)), fmt)
    for values, stamps in batches:
        writer.samples(1, values, stamps)
    writer.finish(0.0)
    return file.getvalue()


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


EXTREMES = {
    fmt: [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, -1]
    if np.issubdtype(dtype, np.integer)
    else [np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal]
    for fmt, dtype in DTYPES.items()
}


@pytest.mark.parametrize("fmt", DTYPES)
def test_extremes_of_every_format_come_back_bit_for_bit(fmt):
    values = np.array(EXTREMES[fmt], DTYPES[fmt])[:, None] * np.ones(2, DTYPES[fmt])
    stamps = np.array([0.0, -1.0, 1e-300, 1e15 + 0.125, 12345.678901234567, -0.0][: len(values)])
    (stream,) = load(file_of((values, stamps), fmt=fmt, n_channels=2))
    assert same_bits(stream["time_series"], values)
    assert same_bits(stream["time_stamps"], stamps)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(sorted(DTYPES)), st.integers(0, 5))
def test_any_numbers_in_any_batches_come_back_bit_for_bit(data, fmt, n_channels):
    batches = []
    for _ in range(data.draw(st.integers(1, 4))):
        n = data.draw(st.integers(0, 40))
        values = np.frombuffer(
            data.draw(st.binary(min_size=n * n_channels * np.dtype(DTYPES[fmt]).itemsize,
                                max_size=n * n_channels * np.dtype(DTYPES[fmt]).itemsize)), DTYPES[fmt]
        ).reshape(n, n_channels)  # fmt: skip
        batches.append((values, data.draw(hnp.arrays(np.float64, n))))
    (stream,) = load(file_of(*batches, fmt=fmt, n_channels=n_channels))
    stamps = np.concatenate([s for _, s in batches])
    assert same_bits(stream["time_stamps"], stamps)
    assert stream["time_series"].tobytes() == np.concatenate([v for v, _ in batches]).tobytes()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), max_size=20))
def test_any_text_comes_back(rows):
    (stream,) = load(file_of((rows, np.arange(len(rows))), fmt="string", n_channels=2))
    assert stream["time_series"] == rows


def test_long_texts_use_the_longer_lengths():
    rows = [["x" * 255], ["ü" * 128], ["y" * 70_000], [""]]
    (stream,) = load(file_of((rows, np.arange(4.0)), fmt="string", n_channels=1))
    assert stream["time_series"] == rows


def test_text_that_is_no_unicode_does_not_end_the_recording():
    (stream,) = load(file_of(([["a\ud800b"]], [0.0]), fmt="string", n_channels=1))
    assert stream["time_series"] == [["a?b"]]


@pytest.mark.parametrize(
    ("values", "stamps"),
    [
        (np.zeros((3, 2)), np.zeros(3)),
        (np.zeros((3, 2), "f4"), np.zeros(2)),
        (np.zeros(3, "f4"), np.zeros(3)),
    ],
)
def test_samples_that_are_not_as_announced_are_refused(values, stamps):
    with pytest.raises(RecordingError, match="expected float32"):
        xdf.samples(1, "float32", values, stamps)
    with pytest.raises(RecordingError, match="1 samples with 2 stamps"):
        xdf.samples(1, "string", [["a"]], [0.0, 1.0])


def test_numbers_of_the_other_byte_order_are_written_little_endian():
    values = np.arange(6, dtype=">i4").reshape(3, 2)
    with pytest.raises(RecordingError):
        xdf.samples(1, "int32", values, np.arange(3.0))
    strided = np.arange(12, dtype="i4").reshape(3, 4)[:, ::2]
    assert xdf.samples(1, "int32", strided, np.arange(3.0)) == xdf.samples(1, "int32", strided.copy(), np.arange(3.0))


def test_a_header_that_is_no_xml_is_refused_and_control_characters_do_not_spoil_it():
    with pytest.raises(RecordingError, match="not XML"):
        xdf.stream_header(1, "<info><name>")
    header = xdf.stream_header(1, xml_from_spec(spec(name="a\x00b\x1f")))
    assert scan(xdf.file_header() + header).streams[1].name == "a\ufffdb\ufffd"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_metadata_of_any_text_is_kept(text):
    xml = xdf.with_metadata(xml_from_spec(spec(group="g")), text)
    assert xdf.metadata_of(xml) == xdf.clean_xml(text)
    assert xdf.metadata_of(xdf.with_metadata("<info/>", "x\r\n<&>]]>\ty")) == "x\r\n<&>]]>\ty"


def test_bytes_per_s_is_what_a_stream_takes():
    s = spec("int16", 8, 500.0)
    grown = len(xdf.samples(1, "int16", np.zeros((500, 8), "i2"), np.zeros(500)))
    assert xdf.bytes_per_s(s) == pytest.approx(grown, rel=0.01)
    assert xdf.bytes_per_s(spec("string", 1, 0.0)) == 16e3


# --- writer ----------------------------------------------------------------------------------------------------------


class Disk(io.BytesIO):
    """A disk with room for ``room`` bytes, which takes at most ``at_once`` in one write; counts the writes."""

    def __init__(self, room=10**9, at_once=10**9):
        super().__init__()
        self.room, self.at_once, self.writes = room, at_once, 0

    def write(self, data):
        self.writes += 1
        n = min(len(data), self.at_once, self.room - self.tell())
        if n <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(bytes(data)[:n])


def test_a_batch_is_one_write_at_most_every_half_second():
    disk = Disk()
    writer = xdf.XdfWriter(disk)
    writer.open_stream(1, xml_from_spec(spec()), "float32")
    assert writer.write_if_due(100.0)
    for k in range(50):
        writer.samples(1, np.zeros((10, 3), "f4"), np.arange(10.0))
        writer.write_if_due(100.0 + 0.02 * k)
    assert disk.writes == 2
    assert writer.write_if_due(101.0)
    assert not writer.write_if_due(109.0)  # nothing is pending
    assert writer.n_written == len(disk.getvalue())


def test_durable_every_five_seconds(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(fd))
    with (tmp_path / "a.xdf").open("xb", buffering=0) as file:
        writer = xdf.XdfWriter(file)
        writer.open_stream(1, xml_from_spec(spec()), "float32")
        for k in range(100):
            writer.samples(1, np.zeros((1, 3), "f4"), [0.0])
            writer.write_if_due(0.5 * k)
    assert len(synced) == 10


def test_boundaries_every_ten_seconds():
    file = io.BytesIO()
    writer = xdf.XdfWriter(file)
    writer.open_stream(1, xml_from_spec(spec()), "float32")
    for k in range(100):
        writer.samples(1, np.zeros((1, 3), "f4"), [0.0])
        writer.write_if_due(0.5 * k)
    tags = [chunk.tag for chunk in scan(file.getvalue()).chunks]
    assert tags[0] is Tag.FILE_HEADER
    assert tags.count(Tag.BOUNDARY) == 5


def test_short_writes_are_completed():
    disk = Disk(at_once=7)
    writer = xdf.XdfWriter(disk)
    writer.open_stream(1, xml_from_spec(spec()), "float32")
    writer.samples(1, np.ones((10, 3), "f4"), np.arange(10.0))
    writer.finish(0.0)
    assert len(load(disk.getvalue())[0]["time_stamps"]) == 10


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_a_full_disk_holds_whole_chunks_only_and_nothing_is_lost_when_space_returns(data):
    disk = Disk(room=data.draw(st.integers(0, 3000)), at_once=data.draw(st.sampled_from([13, 10**9])))
    writer = xdf.XdfWriter(disk)
    writer.open_stream(1, xml_from_spec(spec()), "float32")
    n = 0
    for step in range(12):
        for _ in range(data.draw(st.integers(0, 3))):
            k = data.draw(st.integers(1, 10))
            writer.samples(1, np.arange(n, n + k, dtype="f4")[:, None].repeat(3, 1), np.arange(n, n + k))
            n += k
        try:
            writer.write(0.6 * step)
            is_full = False
        except OSError:
            is_full = True
        assert is_full == (writer.n_pending > 0)
        content = disk.getvalue()
        assert len(content) == writer.n_written
        assert not content or not scan(content).damage
        disk.room += data.draw(st.sampled_from([0, 0, 100, 1000]))
    disk.room = 10**9
    writer.finish(99.0)
    (stream,) = load(disk.getvalue())
    assert stream["time_stamps"].tolist() == list(range(n))
    assert stream["time_series"][:, 0].tolist() == list(range(n))
    assert int(stream["footer"]["info"]["sample_count"][0]) == n


def test_a_format_that_xdf_has_not_is_refused():
    with pytest.raises(RecordingError, match="uint8"):
        xdf.XdfWriter(io.BytesIO()).open_stream(1, xml_from_spec(spec()), "uint8")


# --- reading ---------------------------------------------------------------------------------------------------------


def test_read_gives_streams_specs_offsets_headers_and_hash(tmp_path):
    import hashlib

    path = tmp_path / "a.xdf"
    eeg = spec("int16", 2, 250.0, name="EEG", source_id="id", group="g", created_s=3.5)
    marks = spec("string", 1, 0.0, name="marks", type="Markers")
    empty = spec("int32", 4, 10.0, name="empty")
    with path.open("xb", buffering=0) as file:
        writer = xdf.XdfWriter(file, "2025-01-01T00:00:00+00:00")
        for number, s in enumerate((eeg, marks, empty), 1):
            writer.open_stream(number, xdf.with_metadata(xml_from_spec(s), f"m{number}"), s.format)
        writer.samples(1, np.array([[1, 2], [3, 4]], "i2"), [10.0, 10.0])
        writer.samples(2, [["läuft"], ["b"]], [1.5, 2.5])
        writer.clock_offset(1, 1000.0, -653187.25)
        writer.finish(0.0)
    file = xdf.read_xdf_file(path)
    a, b, c = file.recording.streams
    assert (a.spec, b.spec, c.spec) == (eeg, marks, empty)
    assert same_bits(a.samples, np.array([[1, 2], [3, 4]], "i2"))
    assert a.stamps_s.tolist() == [10.0, 10.0]
    assert b.samples == ["läuft", "b"]
    assert c.samples.shape == (0, 4)
    assert c.samples.dtype == np.int32
    assert [(o.collected_s, o.offset_s) for o in file.clock_offsets[0]] == [(1000.0, -653187.25)]
    assert file.clock_offsets[1:] == ((), ())
    assert [xdf.metadata_of(xml) for xml in file.header_xml] == ["m1", "m2", "m3"]
    assert file.recording.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [s.spec.name for s in file.recording.markers] == ["marks"]
    assert xdf.read_xdf(path).streams[0].spec == eeg


def test_pyxdf_synchronises_our_offsets_as_labrecorders(tmp_path):
    """The sender's clock is 1e6 s behind and 1e-5 slow: only offsets timed on the sender's clock give local time."""
    file = io.BytesIO()
    writer = xdf.XdfWriter(file)
    writer.open_stream(1, xml_from_spec(spec("float32", 1, 100.0)), "float32")
    local = np.arange(5000.0, 5100.0, 0.01)
    sent = local * (1 - 1e-5) - 1e6
    writer.samples(1, np.zeros((len(local), 1), "f4"), sent)
    for t in np.arange(5000.0, 5100.0, 5.0):
        writer.clock_offset(1, t, t * 1e-5 + 1e6)
    writer.finish(0.0)
    (stream,), _ = pyxdf.load_xdf(io.BytesIO(file.getvalue()), dejitter_timestamps=False)
    assert np.abs(stream["time_stamps"] - local).max() < 1e-4


def test_threads_take_turns_in_pyxdf_which_shares_one_buffer_between_them(tmp_path, monkeypatch):
    path = tmp_path / "one.xdf"
    path.write_bytes(file_of((np.zeros((4, 1), np.float32), np.arange(4.0)), fmt="float32", n_channels=1))
    inside, both_inside, load_one = [], threading.Event(), pyxdf.load_xdf

    def load_while_another_waits(*args, **options):
        inside.append(1)
        if len(inside) == 2:
            both_inside.set()
        both_inside.wait(0.2)  # time for the other to come in, if it can
        loaded = load_one(*args, **options)
        inside.pop()
        return loaded

    monkeypatch.setattr(pyxdf, "load_xdf", load_while_another_waits)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(xdf.read_xdf, [path, path]))
    assert not both_inside.is_set()


def test_a_cut_file_names_the_way_out(tmp_path):
    whole = file_of((np.zeros((5, 3), "f4"), np.arange(5.0)), fmt="float32", n_channels=3)
    path = tmp_path / "cut.xdf"
    path.write_bytes(whole[:-30])
    with pytest.raises(RecordingError, match=rf"bci repair {path} --out FIXED.xdf"):
        xdf.read_xdf(path)


@pytest.mark.parametrize("content", [b"", b"XD", b"hello world"])
def test_what_is_no_xdf_file_is_said(tmp_path, content):
    path = tmp_path / "a.xdf"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="not an XDF file"):
        xdf.read_xdf(path)
    with pytest.raises(RecordingError, match="No such file"):
        xdf.read_xdf(tmp_path / "none.xdf")


def test_real_files_read_as_pyxdf_reads_them(data_dir):
    files = sorted((data_dir / "streams" / "xdf").glob("*.xdf"))
    assert len(files) >= 5
    for path in files:
        ours = xdf.read_xdf(path).streams
        theirs = load(path.read_bytes())
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert a.spec.name == b["info"]["name"][0]
            assert same_bits(a.stamps_s, np.asarray(b["time_stamps"]))
            if a.spec.format == "string":
                assert a.samples == [row[0] for row in b["time_series"]]
            else:
                assert np.array_equal(a.samples, b["time_series"], equal_nan=True)
                assert a.samples.dtype == DTYPES[a.spec.format]


def test_file_mode_helper(tmp_path):
    from bci.recording.folder import private

    with open(tmp_path / "x", "xb", opener=private):
        pass
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600
