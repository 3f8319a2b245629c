"""The live shell with fakes around it: no process, no LSL stream, but its real thread and the real session."""

import numpy as np
import pylsl
import pytest

from bci.build import build_session, fit_to_stream, load
from bci.config import parse_config
from bci.errors import SourceError
from bci.host.books import Stopwatch
from bci.host.engine import Engine
from bci.host.inbox import Inbox
from bci.ports import Ended, Pulled, Resumed
from bci.scoring import Scorer
from bci.signal.gaps import GapDetector
from bci.types import Channel, Chunk, ChunkRef, Control, Gap, HealthChange, StreamSpec
from tests.helpers.fault_sender import LABELS, SFREQ_HZ, fitted_model, wave

SPEC = StreamSpec(name="eeg", sfreq_hz=SFREQ_HZ, channels=tuple(Channel(label, "EEG", "uV") for label in LABELS))


class Scripted:
    """A source that delivers what it is given at its start, and more when it is closed."""

    spec = SPEC

    def __init__(self, events, at_close=()):
        self._events, self._at_close, self._deliver = events, at_close, None

    def start(self, deliver):
        self._deliver = deliver
        for event in self._events:
            deliver(event)

    def finish(self):
        pass

    def close(self):
        for event in self._at_close:
            self._deliver(event)


class Recorder:
    def __init__(self):
        self.rows, self.n_streams = {}, 0

    def open_stream(self, spec, metadata=""):
        self.n_streams += 1
        self.rows[self.n_streams] = []
        return self.n_streams

    def write(self, stream, samples, stamps_s):
        self.rows[stream].append(samples)

    def offset(self, stream, offset):
        pass

    def trouble(self):
        return ""

    def restart(self):
        pass

    def close(self):
        pass


class Host:
    trouble = ""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *arguments: self.told.append((name, *arguments))

    def poll(self, now_s):
        return []

    def close(self):
        self.told.append(("close",))
        return []


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(fitted_model(tmp_path_factory.mktemp("engine") / "model", 1))


def engine_of(model, source, *, arm=False):
    pipelines = {model.hash: fit_to_stream(model, SPEC)}
    config = parse_config("[gate]\nthreshold = 0.6\ndwell_s = 0.06\nrefractory_s = 0.1\nmax_age_s = 1e6\n")
    stopwatch = Stopwatch(pylsl.local_clock)
    session = build_session(config, SPEC, pipelines, model.hash, mark=stopwatch.mark)
    engine = Engine(
        session, pipelines, [source], [GapDetector(0, SFREQ_HZ)], Recorder(), Host(), Inbox(10_000),
        Scorer.of(model, SFREQ_HZ), stopwatch, pylsl.local_clock, arm=arm, seconds=20.0,
    )  # fmt: skip
    events = []
    receive = session.receive
    session.receive = lambda event: (events.append(event), receive(event))[1]
    return engine, events


def pulls(first, n, chunk=50):
    """The fault sender's signal from sample ``first`` on, ending about now."""
    start_s = pylsl.local_clock() - (first + n) / SFREQ_HZ
    return [
        Pulled(wave(k, chunk), start_s + np.arange(k, k + chunk) / SFREQ_HZ, pylsl.local_clock())
        for k in range(first, first + n, chunk)
    ]


def test_what_is_drained_at_the_end_commands_nothing(model):
    n = int(6 * SFREQ_HZ)
    held_back = pulls(n, n)
    engine, events = engine_of(model, Scripted(pulls(0, n), at_close=held_back), arm=True)
    engine.scorer.receive = lambda output: engine.stop("test") if type(output).__name__ == "Command" else None
    engine.run()
    told = [call[0] for call in engine.devices.told]
    assert "send" in told  # it was armed, and commanded
    last_send = len(told) - 1 - told[::-1].index("send")
    assert told.index("disarm") > last_send
    assert sum(e.n for e in events if isinstance(e, Chunk)) == 2 * n  # and yet nothing was lost


def test_people_come_before_data_that_wait(model):
    engine, _events = engine_of(model, Scripted([*pulls(0, 1000), Ended()]))
    engine.inbox.put((0, pulls(0, 50)[0]))
    engine.inbox.put(Control("note", value="first"))
    engine._take(0.0)
    assert isinstance(engine._waiting[0], Control)


def test_samples_that_the_session_refuses_are_counted_once(model):
    """Journal and recording must agree about what came, also after an error."""
    engine, _ = engine_of(model, Scripted(pulls(0, 500), at_close=pulls(500, 100)))
    receive = engine.session.receive

    def refuse(event):
        if isinstance(event, Chunk) and event.first_index == 200:
            raise SourceError("too much waits")
        return receive(event)

    engine.session.receive = refuse
    engine.run()
    assert "too much waits" in str(engine.error)
    refs = [e.event for e in _journal(engine) if isinstance(e.event, ChunkRef)]
    assert [r.first_index for r in refs] == list(range(0, 600, 50))
    assert sum(len(s) for s in engine.recorder.rows[1]) == 600


def test_a_new_sender_at_the_very_end_is_a_gap_still(model):
    late = [Resumed(SPEC, 1.0, True), *pulls(2000, 100)]
    engine, events = engine_of(model, Scripted([*pulls(0, 500), Ended()], at_close=late))
    engine.run()
    gaps = [e for e in events if isinstance(e, Gap)]
    assert [(g.verdict, g.first_index) for g in gaps] == [("unknown", 500)]


def test_a_session_ends_with_its_end_in_the_journal(model):
    engine, events = engine_of(model, Scripted([*pulls(0, 100), Ended()]))
    engine.run()
    assert isinstance(events[-1], Control)
    assert (events[-1].action, events[-1].value) == ("end", "the stream has ended")
    assert not any(isinstance(e, HealthChange) for e in events)


def _journal(engine):
    import msgspec

    from bci.types import Numbered

    lines = [row[0] for rows in engine.recorder.rows[2] for row in rows]
    return [msgspec.json.decode(line, type=Numbered) for line in lines]


@pytest.mark.parametrize("said", ["disarm", "stopped", "reset"])
def test_what_people_say_while_it_primes_outweighs_arm_at_the_start(model, said):
    engine, events = engine_of(model, Scripted([*pulls(0, 1500), Ended()]), arm=True)
    engine.inbox.put(Control(said, by="a person"))
    engine.run()
    assert any(isinstance(e, Control) and e.action == said for e in events)
    assert not [e for e in events if isinstance(e, Control) and e.action == "arm"]
    assert not [call for call in engine.devices.told if call[0] == "send"]
