"""The FieldTrip source on a server in this process: what is sent arrives, losses are counted, and all waits end."""

from __future__ import annotations

import queue
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.__main__ import main
from bci.errors import ConfigError, SourceError
from bci.lsl import spec_from_xml, xml_from_spec
from bci.ports import Ended, Offset, Pulled, Resumed, Silent
from bci.signal.gaps import GapDetector
from bci.sources.fieldtrip import arrival_stamps, open_source, parse_address
from bci.sources.formats.fif import channels_of_header
from bci.types import Channel, Chunk, StreamSpec
from tests.helpers.fieldtrip_server import Server, fif_header, meg_rows, meg_spec

SMALL = StreamSpec(name="s", sfreq_hz=250.0, channels=tuple(Channel(f"C{i}") for i in range(3)))


def numbered(n=5000, dtype="f4", n_channels=3):
    return (np.arange(n)[:, None] % 100 + np.arange(n_channels)).astype(dtype) if dtype in ("u1", "i1") else (
        np.arange(n)[:, None] + np.zeros(n_channels)
    ).astype(dtype)  # fmt: skip


class Events:
    """What a source delivers, in order."""

    def __init__(self, source):
        self.source, self._queue = source, queue.Queue()
        source.start(self._queue.put)

    def next(self, kind, timeout_s=20.0):
        """The next event, which must be of that kind."""
        event = self._queue.get(timeout=timeout_s)
        assert isinstance(event, kind), event
        return event

    def samples(self, n):
        """The next n samples, with the counts of all of them; nothing else may come between."""
        pulls = []
        while sum(len(p.stamps_s) for p in pulls) < n:
            pulls.append(self.next(Pulled))
        return joined(pulls)

    def rest(self):
        """All up to the end."""
        found = []
        while not found or not isinstance(found[-1], Ended):
            found.append(self._queue.get(timeout=20))
        return found


def joined(pulls):
    counts = np.concatenate([p.first_count + np.arange(len(p.stamps_s)) for p in pulls])
    return np.concatenate([p.samples for p in pulls]), np.concatenate([p.stamps_s for p in pulls]), counts


def started(server, silence_s=30.0, reconnect_s=60.0):
    """A source that reads; on a slow machine it must not fall silent by itself."""
    events = Events(open_source(server.address, silence_s=silence_s, reconnect_s=reconnect_s))
    events.next(Offset)
    assert wait_until(lambda: server.n_requests >= 3)  # header twice, and it waits for samples
    return events


def wait_until(is_so, timeout_s=20.0):
    until_s = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < until_s:
        time.sleep(0.002)
    return is_so()


# --- the header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_types_units_and_places_come_from_the_header_of_a_megin_system(order):
    spec = meg_spec(306)
    with Server(spec, meg_rows(spec, 10), fif=fif_header(spec, order)) as server:
        source = open_source(server.address)
        got = source.spec
        source.close()
    assert (got.type, got.sfreq_hz, got.format, got.stamps) == ("MEG", 300.0, "float32", "arrival")
    assert [(c.label, c.type, c.unit) for c in got.channels] == [(c.label, c.type, c.unit) for c in spec.channels]
    places = np.array([c.position_m for c in got.channels[:306]])
    assert np.allclose(places, [c.position_m for c in spec.channels[:306]], atol=1e-8)
    assert got.channels[306].position_m is None
    assert spec_from_xml(xml_from_spec(got)) == got  # so it stands in the recording


def test_mne_reads_the_same_from_its_own_file(tmp_path):
    """Ours is a reader of its own because acquisition writes little-endian; on what MNE writes the two agree."""
    import mne

    info = mne.create_info(["MEG 0111", "MEG 0112", "EEG 001", "STI 014"], 500.0, ["mag", "grad", "eeg", "stim"])
    for i, channel in enumerate(info["chs"]):
        channel["loc"][:3] = (0.01 * i + 0.01, 0.02, 0.05)
    path = tmp_path / "info.fif"
    info.save(path, verbose="ERROR")
    found = channels_of_header(path.read_bytes())
    assert [(c.label, c.type, c.unit) for c in found] == [
        ("MEG 0111", "MAG", "T"), ("MEG 0112", "GRAD", "T/m"), ("EEG 001", "EEG", "V"), ("STI 014", "STIM", ""),
    ]  # fmt: skip
    read = mne.io.read_info(path, verbose="ERROR")
    assert np.allclose([c.position_m for c in found[:3]], [c["loc"][:3] for c in read["chs"][:3]])


@pytest.mark.parametrize("data", [b"", b"\x64", fif_header(meg_spec(6))[:500], b"\xff" * 300, b"\x64\0\0\0" * 99])
def test_a_damaged_header_chunk_tells_what_is_whole(data):
    assert all(c.label.startswith("MEG") for c in channels_of_header(data))


def test_without_that_header_nothing_is_guessed():
    with Server(SMALL, numbered()) as server:
        source = open_source(server.address, type_="MEG")
        assert source.spec.labels == ("C0", "C1", "C2")
        assert {(c.type, c.unit, c.position_m) for c in source.spec.channels} == {("MEG", "", None)}
        source.close()
    with Server(SMALL, numbered(), labels=False) as server:
        source = open_source(server.address)
        assert source.spec.labels == ("ch1", "ch2", "ch3")
        source.close()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("u1", "int16"), ("u2", "int32"), ("u4", "int64"), ("i1", "int8"), ("i2", "int16"), ("i4", "int32"),
     ("i8", "int64"), ("f4", "float32"), ("f8", "double64")],
)  # fmt: skip
def test_every_type_of_sample_arrives_as_it_was_sent(sent, kept):
    rows = numbered(dtype=sent)
    with Server(SMALL, rows) as server:
        events = started(server)
        assert events.source.spec.format == kept
        server.put(40)
        samples, _, counts = events.samples(40)
        assert np.array_equal(samples, rows[:40])
        assert np.array_equal(counts, np.arange(40))
        events.source.close()


REFUSED = [
    ({"rows": numbered(dtype="u8")}, "samples of uint64 are not read; have its program send float32"),
    (
        {"rows": numbered(dtype="i2"), "chunks": {3: np.full(3, 0.5).tobytes()}},
        "it sends steps of its converter, not values; have its program send float32",
    ),
    ({"spec": msgspec.structs.replace(SMALL, sfreq_hz=0.0)}, "its header says 3 channels at 0 Hz"),
]


@pytest.mark.parametrize(("how", "said"), REFUSED)
def test_what_cannot_be_read_is_refused_with_a_reason(how, said):
    how = dict(how)
    with Server(how.pop("spec", SMALL), how.pop("rows", numbered()), **how) as server:
        with pytest.raises(SourceError) as error:
            open_source(server.address)
        assert str(error.value) == f"FieldTrip buffer {server.address}: {said}"


def test_nobody_there_no_header_and_another_protocol_are_three_sentences():
    with Server(SMALL, numbered(), has_header=False) as server:
        with pytest.raises(SourceError, match="it runs, but no header was put: start the acquisition"):
            open_source(server.address, wait_s=0.3)
        for wrong in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\0\x04\x02\3\0\0\0abc", b"\x01\0\x04\x02\0\0\0\0"):
            server.raw_answer = wrong
            with pytest.raises(SourceError, match="what it answers is not the protocol of a FieldTrip buffer"):
                open_source(server.address, wait_s=0.3)
    with pytest.raises(SourceError, match=r"no FieldTrip buffer at 127.0.0.1:\d+ within 0.3 s: nobody answers .*port"):
        open_source(server.address, wait_s=0.3)


def test_a_server_that_starts_meanwhile_is_waited_for():
    with Server(SMALL, numbered(), has_header=False) as server:
        import threading

        threading.Timer(0.4, lambda: setattr(server, "has_header", True)).start()
        open_source(server.address, wait_s=20).close()


def test_addresses():
    assert parse_address("megserver:1972") == ("megserver", 1972)
    assert parse_address("megserver") == ("megserver", 1972)
    assert parse_address("[::1]:1973") == ("::1", 1973)
    for wrong in ("", ":1972", "host:", "host:ab", "host:0", "host:99999"):
        with pytest.raises(ConfigError, match="give host:port, such as localhost:1972"):
            parse_address(wrong)


# --- samples and their times -----------------------------------------------------------------------------------------


def test_samples_arrive_once_in_order_from_the_newest_on():
    with Server(SMALL, numbered()) as server:
        server.put(1000)  # before we came
        events = started(server)
        for n in (1, 7, 50, 3):
            server.put(n)
        samples, stamps_s, counts = events.samples(61)
        assert np.array_equal(counts, 1000 + np.arange(61))
        assert np.array_equal(samples[:, 0], counts)
        assert (np.diff(stamps_s) > 0).all()
        events.source.close()
        assert isinstance(events.rest()[-1], Ended)


def test_a_ring_that_overran_loses_what_the_count_says():
    with Server(SMALL, numbered(), ring=100) as server:
        events = started(server)
        server.put(20)
        events.samples(20)
        server.put(1000)
        samples, _, counts = events.samples(100)
        assert np.array_equal(counts, np.arange(920, 1020))
        assert np.array_equal(samples[:, 0], counts)
        events.source.close()


def test_a_server_that_counts_but_holds_nothing_is_silent():
    with Server(SMALL, numbered(), ring=0) as server:
        events = started(server, silence_s=0.3, reconnect_s=2)
        server.put(20)
        events.next(Silent)
        assert "no samples for 2 s" in str(events.next(Ended).error)
        events.source.close()


def test_the_gap_ledger_believes_the_count_and_not_the_stamps():
    detector = GapDetector(0, 250.0)
    stamps_s = 10 + np.arange(500) / 250

    def receive(first, n, first_count, shift_s=0.0):
        part = stamps_s[first : first + n] + shift_s
        return [(g.verdict, g.first_index, g.n) for g in detector.receive(
            Chunk(0, first, np.zeros((n, 1)), part, float(part[-1])), first_count)]  # fmt: skip

    assert receive(0, 250, 5000) == []
    assert receive(250, 10, 5257, 7 / 250) == [("lost", 250, 7)]
    assert receive(260, 10, 5267, 7 / 250) == []
    assert receive(270, 10, 5277, 0.5) == [("late", 270, 0)]  # half a second later, but no number is missing
    assert receive(280, 10, 20, 0.5) == [("unknown", 280, 0)]


@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0.0, 0.5), st.integers(0, 40)), min_size=1, max_size=20),
    st.floats(50, 5000),
)
def test_stamps_rise_and_none_is_later_than_its_arrival(chunks, sfreq_hz):
    newest_s, now_s = float("-inf"), 1000.0
    for n, waited_s, n_after in chunks:
        now_s += waited_s + 1e-3
        stamps_s = arrival_stamps(n, now_s, n_after, sfreq_hz, newest_s)
        assert len(stamps_s) == n
        assert (np.diff(stamps_s) > 0).all()
        assert stamps_s[0] > newest_s
        assert stamps_s[-1] <= now_s
        assert (np.diff(stamps_s) <= 1 / sfreq_hz + 1e-9).all()
        newest_s = float(stamps_s[-1])


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_server_that_dies_in_an_answer_is_silence_then_one_line():
    with Server(SMALL, numbered()) as server:
        events = started(server, reconnect_s=2)
        server.put(20)
        events.samples(20)
        server.die_in_answer = True
        server.put(20)
        events.next(Silent)
        error = events.next(Ended).error
        assert isinstance(error, SourceError)
        assert str(error).startswith(f"FieldTrip buffer {server.address}: no samples for 2 s; nobody answers")
        assert "\n" not in str(error)
        events.source.close()


def test_a_server_that_falls_silent_in_an_answer_does_not_hold_up_close():
    with Server(SMALL, numbered()) as server:
        events = started(server)
        server.hang_in_answer = True
        server.put(20)
        assert server.has_stopped_short.wait(20)
        began_s = time.monotonic()
        events.source.close()
        assert time.monotonic() - began_s < 20
        assert events.rest()[-1] == Ended(None)


def test_a_server_that_comes_back_is_a_new_one():
    with Server(SMALL, numbered()) as server:
        events = started(server)
        server.put(20)
        events.samples(20)
        port = server.port
    events.next(Silent)
    with Server(SMALL, numbered(), port=port) as server:
        assert wait_until(lambda: server.n_requests >= 2)
        server.put(30)
        resumed = events.next(Resumed)
        assert resumed.reconnected
        samples, _, counts = events.samples(30)
        assert np.array_equal(counts, np.arange(30))
        assert np.array_equal(samples[:, 0], counts)
        events.source.close()


def test_a_count_that_goes_back_is_a_new_acquisition():
    with Server(SMALL, numbered()) as server:
        events = started(server)
        server.put(200)
        events.samples(200)
        n = server.n_requests
        server.reset()
        assert wait_until(lambda: server.n_requests > n + 2)  # it was noticed, and the header read again
        server.put(10)
        assert events.next(Resumed).reconnected
        _, _, counts = events.samples(10)
        assert np.array_equal(counts, np.arange(10))
        events.source.close()


def test_an_acquisition_of_another_shape_ends_with_the_difference():
    with Server(SMALL, numbered()) as server:
        events = started(server)
        server.put(200)
        events.samples(200)
        server.spec = msgspec.structs.replace(SMALL, sfreq_hz=500.0)
        server.reset()
        error = events.rest()[-1].error
        assert "was started again with rate 500 Hz instead of 250 Hz" in str(error)
        events.source.close()


def test_silence_is_said_once_and_ends():
    with Server(SMALL, numbered()) as server:
        events = started(server, silence_s=0.2, reconnect_s=2)
        server.put(20)
        events.samples(20)
        events.next(Silent)
        error = events.next(Ended).error
        assert "no samples for 2 s; it answers, but has no new samples: start the acquisition again" in str(error)
        events.source.close()


def test_a_server_that_hangs_is_silent_long_before_it_counts_as_gone(monkeypatch):
    monkeypatch.setattr("bci.sources.fieldtrip.ANSWER_S", 600.0)
    with Server(SMALL, numbered()) as server:
        events = started(server, silence_s=0.2)
        server.put(20)
        events.samples(20)
        server.hang_in_answer = True
        server.put(20)
        events.next(Silent)  # it comes while the answer is still waited for
        events.source._link.abort()
        events.source.close()


def test_samples_after_silence_go_on_in_the_same_segment():
    with Server(SMALL, numbered()) as server:
        events = started(server, silence_s=1.0)
        server.put(20)
        events.samples(20)
        events.next(Silent)
        server.put(20)
        assert not events.next(Resumed).reconnected
        assert events.samples(20)[2][0] == 20
        events.source.finish()
        assert events.rest()[-1] == Ended(None)
        events.source.close()


# --- the command line ------------------------------------------------------------------------------------------------


def test_preflight_looks_at_the_first_second_of_the_buffer(capsys):
    spec = meg_spec(306)
    with Server(spec, meg_rows(spec, 600), fif=fif_header(spec)) as server:
        server.play(60)
        with pytest.raises(SystemExit) as end:
            main(["run", "--fieldtrip", server.address, "--preflight-only"])
    assert end.value.code == 0
    assert f"fieldtrip {server.address}: " in capsys.readouterr().out


@pytest.mark.parametrize("other", [("--stream", "eeg"), ("--source-id", "x"), ("--recording", "x.fif")])
def test_a_buffer_and_another_stream_are_too_much(other, capsys):
    with pytest.raises(SystemExit) as end:
        main(["run", "--fieldtrip", "localhost:1972", "--preflight-only", *other])
    assert end.value.code == 2
    assert "with it goes no stream name, source_id or recording" in capsys.readouterr().err
