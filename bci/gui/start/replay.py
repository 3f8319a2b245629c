"""The page of recorded sessions: replay one and compare, read its report, look at it in a window."""

from __future__ import annotations

from pathlib import Path

from pyqtgraph.Qt import QtCore, QtWidgets

from bci.gui.panels.base import row
from bci.gui.start import shelf, words
from bci.gui.start.jobs import Job, MakeJob, Outcome
from bci.gui.start.picked import Picked
from bci.gui.start.run import WINDOW, open_file
from bci.gui.start.widgets import Card, Choice, Entry, Page, Result, Working, button
from bci.gui.theme import Theme


class Replay(Page):
    """Sessions."""

    def __init__(self, picked: Picked, theme: Theme, make_job: MakeJob):
        super().__init__("Replay", "Every session can be computed again from its recording, to the same decisions.")
        self.picked, self._make_job = picked, make_job
        self.job: Job | None = None
        self.session: Path | None = None
        self._others: list[Path] = []
        card = Card("Sessions")
        self.list = Choice(theme, words.NO_SESSION, 220)
        self.list.setAccessibleName("Sessions")
        self.list.picked.connect(self._pick)
        self.other = button("Another f&older…", "A session folder from elsewhere; it holds session.xdf and models/")
        self.other.clicked.connect(self._choose)
        card.box.addWidget(self.list, 1)
        card.box.addLayout(row(self.other, None))
        self.box.addWidget(card, 1)
        below = Card("Replay")
        self.verify = button("Replay and &verify", "Computes all again, and compares every prediction", "primary")
        self.verify.clicked.connect(self.start)
        self.report = button("Open the r&eport", "In the browser; made first where there is none")
        self.report.clicked.connect(self.open_report)
        self.show_it = button("Look at it in a &window", "Plays the recording through its model, with all panels")
        self.show_it.clicked.connect(self.show_session)
        self.working, self.result = Working(), Result(theme)
        self.working.cancelled.connect(self._cancel)
        below.box.addLayout(row(self.verify, self.report, self.show_it, None))
        below.box.addWidget(self.working)
        below.box.addWidget(self.result)
        self.box.addWidget(below)
        self.refresh()

    def refresh(self) -> None:
        """Show the sessions of now."""
        listed = [*map(shelf.read_session, self._others), *shelf.sessions(self.picked.root)]
        key = str(self.session) if self.session is not None else ""
        self.list.show_entries([session_entry(s) for s in listed], key)
        for each in (self.verify, self.report, self.show_it):
            each.setEnabled(self.session is not None and self.job is None)

    def _pick(self, key: str) -> None:
        self.session = Path(key)
        self.result.hide()
        self.refresh()

    def _choose(self) -> None:
        if folder := QtWidgets.QFileDialog.getExistingDirectory(self, "A session's folder"):
            self.add_session(Path(folder))

    def add_session(self, folder: Path) -> None:
        """List and pick a session from elsewhere."""
        if not (folder / "session.xdf").exists():
            why = f"{folder} holds no session.xdf: choose the folder of a session, such as sub-P01/ses-1"
            self.result.show_result("fail", "No session there", why)
            return
        if folder not in self._others:
            self._others.append(folder)
        self._pick(str(folder))

    # --- doing -------------------------------------------------------------------------------------------------------

    def _work(self, arguments: list[object], text: str, then: object) -> None:
        self.result.hide()
        self.job = self._make_job(arguments, self)
        self.job.ended.connect(self._ended)
        self.job.ended.connect(then)
        self.working.follow(self.job, text)
        self.refresh()
        self.job.start()

    def _ended(self, _: Outcome) -> None:
        self.job = None
        self.refresh()

    def start(self) -> None:
        """Replay and compare."""
        self._work(["replay", self.session, "--verify"], "Computing every hop again …", self._verified)

    def _verified(self, outcome: Outcome) -> None:
        if "n_differences" in outcome.result and not outcome.is_cancelled:  # its exit code is 1 where something differs
            self.result.show_result(*words.replay_words(outcome.result))
        else:
            self.result.show_failure("Replay", outcome)

    def open_report(self) -> None:
        """Show report.html; make it first where there is none."""
        assert self.session is not None
        page = self.session / "report.html"
        if page.exists():
            open_file(page)
            return

        def made(outcome: Outcome) -> None:
            if outcome.is_good and page.exists():
                open_file(page)
            else:
                self.result.show_failure("Report", outcome)

        self._work(["report", self.session], "Making the report …", made)

    def show_session(self) -> None:
        """Play the recording to its own model, with a window; what comes of it is thrown away."""
        assert self.session is not None
        model = own_model(self.session)
        if model is None:
            why = f"{self.session / 'models'} holds no model: copy the session's whole folder"
            self.result.show_result("fail", "Its model is not there", why)
            return
        self._scratch = QtCore.QTemporaryDir()
        arguments = ["run", "--recording", self.session / "session.xdf", "--model", model, *WINDOW]
        stream = primary_name(self.session)
        arguments += ["--stream", stream] if stream else []
        arguments += ["--session", Path(self._scratch.path()) / "session"]
        self._work(arguments, "Playing the recording; its window opens in a moment …", self._shown)

    def _shown(self, outcome: Outcome) -> None:
        if outcome.error and not outcome.is_cancelled:
            self.result.show_failure("Looking at it", outcome)

    def _cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()

    @property
    def jobs(self) -> list[Job]:
        """What runs."""
        return [self.job] if self.job is not None else []


def session_entry(session: shelf.SessionEntry) -> Entry:
    """A session of the list."""
    title = f"{session.subject} · {session.path.name}"
    detail = f"{session.began:%a %d %b %Y, %H:%M}  ·  {words.session_words(session.told)}"
    return Entry(str(session.path), title, detail, "ok" if session.told else "warn")


def own_model(session: Path) -> Path | None:
    """The model that the session began with, or the only one."""
    folder = session / "models"
    told = shelf.read_session(session).told.get("model_hash", "")
    if told and (folder / told).is_dir():
        return folder / told
    found = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    return found[0] if found else None


def primary_name(session: Path) -> str:
    """The signal that was decoded, as ``run.json`` tells; empty where it does not."""
    streams = shelf.read_session(session).told.get("streams", [])
    return str(streams[0].get("name", "")) if streams else ""
