"""A recorded session without processes, clocks and LSL: the real session, its real books, a real XDF file; in a moment.

::

    run = Run(tmp_path / "sub-P01" / "ses-1", model, "[gate]\\nthreshold = 0.6")
    run.play(10.0)          # ten seconds of the fault sender's wave, with what the session does about it
    run.control("arm")
    run.cue("left")
    run.end()
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from msgspec.structs import replace

from bci.build import build_session, load, session_metadata
from bci.config import parse_config, to_toml
from bci.host.books import Books, Stopwatch
from bci.lsl import xml_from_spec
from bci.pipeline import Pipeline
from bci.ports import Offset, Pulled
from bci.recording.folder import SessionFolder, next_part
from bci.recording.xdf import XdfWriter, clean_xml, with_metadata
from bci.types import (
    Channel,
    Chunk,
    ClockOffset,
    Command,
    Control,
    Gap,
    HealthChange,
    Marker,
    Now,
    Prediction,
    Receipt,
    Step,
    StreamSpec,
)  # fmt: skip
from tests.helpers.fault_sender import LABELS, SFREQ_HZ, wave

CHUNK_S, ARRIVAL_S = 0.02, 0.002
MARKERS = StreamSpec(name="cues", type="Markers", format="string", channels=(Channel("marker", "Markers"),))


def eeg(name: str = "eeg", labels: tuple[str, ...] = LABELS, sfreq_hz: float = SFREQ_HZ) -> StreamSpec:
    return StreamSpec(name=name, sfreq_hz=sfreq_hz, channels=tuple(Channel(label, "EEG", "uV") for label in labels))


class XdfRecorder:
    """`bci.ports.Recorder`, in this process. `restart` is the death of the recorder: what it holds is lost."""

    def __init__(self, path: Path):
        self._path, self._opened, self._files = path, [], []
        self._begin()

    def _begin(self):
        self._files.append(next_part(self._path).open("xb", buffering=0))
        self._writer = XdfWriter(self._files[-1], "2026-03-04T10:20:30+00:00")
        self._writer.write(0.0)

    def open_stream(self, spec, metadata=""):
        self._opened.append((with_metadata(clean_xml(xml_from_spec(spec)), metadata), spec.format))
        self._writer.open_stream(len(self._opened), *self._opened[-1])
        return len(self._opened)

    def write(self, stream, samples, stamps_s):
        self._writer.samples(stream, samples, stamps_s)

    def offset(self, stream, offset):
        self._writer.clock_offset(stream, offset.collected_s, offset.offset_s)

    def flush(self):
        self._writer.write(0.0)

    def restart(self):
        self._files[-1].close()
        self._begin()
        for number, header in enumerate(self._opened, 1):
            self._writer.open_stream(number, *header)

    def trouble(self):
        return ""

    def close(self):
        self._writer.finish(1.0)
        self._files[-1].close()


class Run:
    """One run in ``folder``. Time is virtual and starts at ``start_s``; every method moves it as far as it says."""

    def __init__(
        self, folder, model, toml="", *, spec=None, markers=MARKERS, start_s=1000.0, signal=wave, chunk_s=CHUNK_S
    ):
        self.folder = SessionFolder(Path(folder))
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.spec, self.markers, self.signal = spec or eeg(), markers, signal
        loaded = load(model)
        self.folder.add_model(model, loaded.hash)
        config = parse_config(toml)
        self.folder.write(next_part(self.folder.xdf).with_suffix(".toml"), to_toml(config))
        self.now_s, self.n, self.missed, self.refuse = start_s, 0, 0, ""
        self._k = 0  # samples of the signal, those that were lost too
        self.start_s, self._chunk_s = start_s, chunk_s
        self._tick = 0.0
        self.stopwatch = Stopwatch(self._time)
        pipelines = {loaded.hash: Pipeline(loaded, self.spec)}
        self.session = build_session(config, self.spec, pipelines, loaded.hash, mark=self.stopwatch.mark)
        self.recorder = XdfRecorder(self.folder.xdf)
        metadata = session_metadata(config, self.spec, loaded, pipelines[loaded.hash].compute)
        sources = [self.spec, *([markers] if markers else [])]
        self.books = Books(self.recorder, sources, loaded.spec.classes, metadata)

    def _time(self):
        """Every look at the clock takes 0.1 ms."""
        self._tick += 1e-4
        return self.now_s + self._tick

    def issue(self, event):
        self.books.event(event)
        for output in self.session.receive(event):
            if isinstance(output, Prediction):
                self.stopwatch.judged(output)
                self.books.hops.append(output)
            elif isinstance(output, Command):
                self.stopwatch.sent()
                self.books.commands += [output, self._answer(output)]
            else:
                self.books.health.append(output)

    def _answer(self, command):
        sent = () if self.refuse else (f"{command.name} {command.id}",)
        return Receipt(command.id, not self.refuse, self.refuse, sent, 0.0 if self.refuse else command.issued_s + 0.001)

    def play(self, seconds, *, late_s=0.0):
        """Samples, chunk by chunk, each ``late_s`` later than it should be."""
        n = round(self._chunk_s * self.spec.sfreq_hz)
        for _ in range(round(seconds / self._chunk_s)):
            stamps_s = self.start_s + np.arange(self._k, self._k + n) / self.spec.sfreq_hz
            self.now_s = max(self.now_s, float(stamps_s[-1]) + ARRIVAL_S + late_s)
            self._tick = 0.0
            samples = self.signal(self._k, n)
            pulled = Pulled(samples, stamps_s, self.now_s)
            self.books.raw(0, pulled)
            self.stopwatch.arrived(self.n + n - 1, self.now_s, self._time())
            self.issue(Chunk(0, self.n, samples, stamps_s, self.now_s))
            self._k, self.n = self._k + n, self.n + n
            self.advance()
            self.books.write(self._time())

    def advance(self):
        while self.session.n_ready:
            self.issue(Step(self.session.n_blocks))
            while self.session.n_pending:
                self.issue(Now(self._time()))
                if (row := self.stopwatch.lap()) is not None:
                    self.books.latency.append(row)

    def silence(self, seconds, verdict="lost", reason=""):
        """Nothing comes; then the gap ledger's verdict about it. Of ``late`` the samples follow."""
        self.issue(HealthChange("stream0", "bad", f"stream {self.spec.name!r} is silent"))
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += 0.05
            self._tick = 0.0
            self.issue(Now(self.now_s))
            self.books.write(self.now_s)
        n = round(seconds * self.spec.sfreq_hz) if verdict != "late" else 0
        self._k, self.missed = self._k + n, self.missed + n
        self.issue(Gap(0, verdict, self.n, n if verdict == "lost" else 0, seconds, reason))
        self.issue(HealthChange("stream0", "ok"))
        self.books.write(self.now_s)

    def cue(self, label, stamp_s=None):
        """A marker of now, or of another time."""
        stamp_s = self.now_s if stamp_s is None else float(stamp_s)
        self.books.raw(1, Pulled([[label]], np.array([stamp_s]), self.now_s))
        self.issue(Marker(1, label, stamp_s))

    def control(self, action, value="", by="test"):
        self.issue(Now(self._time()))
        self.issue(Control(action, value, by))
        self.books.write(self.now_s)

    def clock(self, offset_s):
        self.books.offset(0, Offset(self.now_s, offset_s, 1e-4))
        self.issue(ClockOffset(0, self.now_s, offset_s, 1e-4))

    def end(self, why="the stream has ended"):
        self.control("disarm", "the session ends", "engine")
        self.issue(Control("end", value=why, by="engine"))
        self.books.write(self.now_s)
        self.recorder.close()

    def die(self):
        """The program is killed: what the recorder was given is on disk, and no more."""
        self.recorder.flush()
        self.recorder._files[-1].close()


def with_channels(n):
    """A stream of so many channels for `bci.bench.latency.linear_model`, and its noise."""
    spec = eeg(labels=tuple(f"ch{i + 1}" for i in range(n)))
    noise = np.random.default_rng(3).normal(0, 10, (2000, n)).astype(np.float32)
    return replace(spec), lambda first, k: noise[np.arange(first, first + k) % len(noise)]
