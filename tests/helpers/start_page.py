"""Streams and children that do what a test tells them, for the start page."""

from __future__ import annotations

import contextlib
from typing import ClassVar

import psutil
from pyqtgraph.Qt import QtCore

from bci.gui.start.jobs import Outcome
from bci.gui.start.streams import Streams, Watched
from bci.types import Channel, StreamSpec, marker_spec

LABELS = ("Fz", "FC3", "FC4", "C3", "Cz", "C4", "CP3", "CP4")


def eeg(name="eeg", uid="u1", labels=LABELS, unit="uV", sfreq_hz=250.0, source_id="amplifier-1"):
    """A stream as an open inlet describes it."""
    channels = tuple(Channel(label, "EEG", unit) for label in labels)
    return StreamSpec(
        name=name, type="EEG", uid=uid, source_id=source_id, hostname="lab-pc", sfreq_hz=sfreq_hz, channels=channels
    )


def undescribed(spec):
    """The same as a list of streams has it: channels without names and units."""
    from msgspec.structs import replace

    return replace(spec, channels=tuple(Channel(f"ch{i + 1}") for i in range(len(spec.channels))))


class FakeStreams:
    """Stands for `bci.gui.start.streams.Streams`."""

    def __init__(self, *specs):
        self.specs = list(specs)
        self.watched_uid, self.trouble, self.is_closed = "", "", False
        self.watched = None

    @property
    def seen(self):
        return [undescribed(s) for s in self.specs]

    def watch(self, uid):
        self.watched_uid = uid
        found = [s for s in self.specs if s.uid == uid]
        self.watched = Watched(found[0]) if found else None
        if self.watched is not None:
            for _ in range(20):
                self.watched.take(25, self.watched.heard_s + 0.1)

    def close(self):
        self.is_closed = True


class FakeJob(QtCore.QObject):
    """Stands for `bci.gui.start.jobs.Job`: it runs until a test ends it."""

    progressed = QtCore.pyqtSignal(str, int, int)
    ended = QtCore.pyqtSignal(object)
    all: ClassVar[list] = []

    def __init__(self, arguments, parent=None, is_tied=True):
        super().__init__(parent)
        self.arguments, self.is_tied = [str(a) for a in arguments], is_tied
        self.pid = 4711
        self.is_running, self.is_cancelled, self.is_finishing = False, False, False
        FakeJob.all.append(self)

    def start(self):
        self.is_running = True
        return self

    def finish(self):
        self.is_finishing = True

    def cancel(self):
        self.is_cancelled = True

    def close(self):
        self.is_running = False

    def end(self, code=0, result=None, error=""):
        """End as a child would."""
        self.is_running = False
        self.ended.emit(Outcome(code, result or {}, error, self.is_cancelled))

    def option(self, name):
        """The value behind an option."""
        return self.arguments[self.arguments.index(name) + 1]


class FakeCues(QtCore.QObject):
    """Stands for the cue screen."""

    finished = QtCore.pyqtSignal(bool)

    def __init__(self):
        super().__init__()
        self.has_begun = self.is_closed = False

    def begin(self):
        self.has_begun = True

    def close(self):
        self.is_closed = True


@contextlib.contextmanager
def real_start(folder, **options):
    """The start window with real streams and children; none of them is left, nor the windows of its sessions."""
    from bci.gui.start.window import Start
    from bci.gui.theme import LIGHT

    settings = QtCore.QSettings(str(folder / "window.ini"), QtCore.QSettings.IniFormat)
    window = Start(folder / "lab", LIGHT, settings, Streams(), **options)
    engines = []
    window.run.started.connect(lambda: engines.append(str(window.run.job.pid)))
    window.show()
    try:
        yield window
    finally:
        if window.run.job is not None:
            window.run.job.close()
        window.close()
        window.deleteLater()
        # a session's own window stays when it has ended, until a person closes it
        ours = [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [""])[-1] in engines]
        for process in ours:
            process.kill()
        psutil.wait_procs(ours, 20)
    assert [p.cmdline() for p in psutil.Process().children() if "bci" in p.cmdline()] == []


__all__ = ["FakeCues", "FakeJob", "FakeStreams", "eeg", "marker_spec", "real_start", "undescribed"]
