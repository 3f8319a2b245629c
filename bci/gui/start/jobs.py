"""One verb of ``bci`` as a child: its progress, its result, and why it failed.

What fails is read from the last line of standard error; what comes out, from the JSON on standard output.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyqtgraph.Qt import QtCore

# how long a child may take to end in order before it is killed: a file is finished, and after a session its report made
END_MS, SESSION_END_MS = 20_000, 180_000
N_KEPT = 50  # lines of standard error


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job. ``result`` is the object that its ``--json`` gave, empty where there was none."""

    code: int
    result: dict[str, Any]
    error: str = ""
    is_cancelled: bool = False

    @property
    def is_good(self) -> bool:
        """It did what it was asked for."""
        return self.code == 0 and not self.is_cancelled


def outcome(code: int, out: bytes, errors: Sequence[str], is_cancelled: bool = False) -> Outcome:
    """Read what a child left."""
    try:
        result = json.loads(out or b"{}")
    except ValueError:
        result = {}
    said = [line.removeprefix("bci: ").removeprefix("Error: ") for line in errors if line.strip()]
    error = "" if code == 0 else said[-1] if said else f"it ended with exit code {code} and said nothing"
    return Outcome(code, result if isinstance(result, dict) else {}, error, is_cancelled)


class Job(QtCore.QObject):
    """A child that runs one verb.

    Parameters
    ----------
    arguments
        Verb and options, without ``--json``.
    is_tied
        It ends in order when this process does, however that ends. A session is not tied: it outlives its window.

    Signals
    -------
    progressed(label, n_done, n_total)
        ``n_total`` is 0 where nobody knows.
    ended(Outcome)
        Once.
    """

    progressed = QtCore.pyqtSignal(str, int, int)
    ended = QtCore.pyqtSignal(object)

    def __init__(self, arguments: Sequence[object], parent: QtCore.QObject | None = None, is_tied: bool = True):
        super().__init__(parent)
        self.arguments = [str(a) for a in arguments]
        self._errors: list[str] = []
        self._out = b""
        self._is_cancelled = self._has_ended = False
        self._process = QtCore.QProcess(self)
        environment = QtCore.QProcessEnvironment.systemEnvironment()
        environment.insert("ROLANDIC_PROGRESS", "lines")
        if is_tied:
            environment.insert("ROLANDIC_TIED", "1")
        self._process.setProcessEnvironment(environment)
        self._process.readyReadStandardError.connect(self._read)
        self._process.readyReadStandardOutput.connect(self._read)
        self._process.finished.connect(self._finished)
        self._process.errorOccurred.connect(self._failed)
        self._kill = QtCore.QTimer(self)
        self._kill.setSingleShot(True)
        self._kill.timeout.connect(self._process.kill)

        self._end_ms = END_MS if is_tied else SESSION_END_MS
        self._folder: Path | None = None
        if not is_tied:  # what nobody reads any more would break a pipe, and with it a session
            self._folder = Path(tempfile.mkdtemp(prefix="bci-start-"))
            self._process.setStandardOutputFile(str(self._folder / "out"))
            self._process.setStandardErrorFile(str(self._folder / "errors"))

    def start(self) -> Job:
        """Start it."""
        self._process.start(sys.executable, ["-m", "bci", *self.arguments, "--json", "-"])
        return self

    @property
    def is_running(self) -> bool:
        """Whether it has yet to end."""
        return self._process.state() != QtCore.QProcess.NotRunning

    @property
    def pid(self) -> int:
        """Of the child; 0 where there is none."""
        return int(self._process.processId())

    def cancel(self) -> None:
        """End it in order, and by force where it does not; its outcome says that this was asked for."""
        self._is_cancelled = self._is_cancelled or self.is_running
        self.finish()

    def finish(self) -> None:
        """As `cancel`, where this is how such a job comes to its end, and its result counts."""
        if self.is_running:
            self._process.closeWriteChannel()  # what is tied ends by this on every system
            self._process.terminate()
            self._kill.start(self._end_ms)

    def close(self) -> None:
        """As `cancel`, and wait for its end: nothing is left running."""
        if not self.is_running:
            return
        self.cancel()
        if not self._process.waitForFinished(self._end_ms):
            self._process.kill()
            self._process.waitForFinished(END_MS)

    def _read(self) -> None:
        self._out += bytes(self._process.readAllStandardOutput())
        self._process.setReadChannel(QtCore.QProcess.StandardError)
        while self._process.canReadLine():
            self._take(bytes(self._process.readLine()).decode(errors="replace").rstrip())

    def _take(self, line: str) -> None:
        if line.startswith("progress "):
            _, counts, label = (*line.split(" ", 2), "")[:3]
            done, _, total = counts.partition("/")
            if done.isdigit() and total.isdigit():
                self.progressed.emit(label, int(done), int(total))
                return
        self._errors = [*self._errors, line][-N_KEPT:]

    def _finished(self, code: int, status: QtCore.QProcess.ExitStatus) -> None:
        self._read()
        if rest := bytes(self._process.readAllStandardError()).decode(errors="replace").strip():
            self._take(rest)
        if self._folder is not None:
            self._out = (self._folder / "out").read_bytes()
            self._errors = (self._folder / "errors").read_text(errors="replace").splitlines()[-N_KEPT:]
            shutil.rmtree(self._folder, ignore_errors=True)
        if status == QtCore.QProcess.CrashExit and code == 0:
            code = -1
        self._end(outcome(code, self._out, self._errors, self._is_cancelled))

    def _failed(self, error: QtCore.QProcess.ProcessError) -> None:
        if error == QtCore.QProcess.FailedToStart:
            self._end(Outcome(-1, {}, f"{sys.executable} cannot be started: {self._process.errorString()}"))

    def _end(self, what: Outcome) -> None:
        self._kill.stop()
        if not self._has_ended:
            self._has_ended = True
            self.ended.emit(what)


MakeJob = Callable[..., Job]  # takes what `Job` takes; tests put a child of their own here
