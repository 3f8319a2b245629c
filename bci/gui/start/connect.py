"""The first page: which stream, whose session, and whether all is well with it."""

from __future__ import annotations

import uuid
from pathlib import Path

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from bci.gui.panels.base import row
from bci.gui.start import shelf, words
from bci.gui.start.jobs import Job, MakeJob, Outcome
from bci.gui.start.picked import Picked
from bci.gui.start.streams import Streams
from bci.gui.start.widgets import Badge, Card, Choice, Combo, Entry, Lines, Page, Working, button, label
from bci.gui.theme import Theme
from bci.types import CUES, StreamSpec

RECORDINGS = "Recordings (*.xdf *.edf *.bdf *.gdf *.vhdr *.set *.fif *.txt *.csv *.xz);;All files (*)"
UNITS = ("µV", "mV", "V", "T")


class Connect(Page):
    """Stream, person, check."""

    def __init__(self, picked: Picked, streams: Streams, theme: Theme, make_job: MakeJob):
        super().__init__("Connect", "Pick the signal, say who is measured, and look whether all is well.")
        self.picked, self.streams, self._make_job = picked, streams, make_job
        self.senders: list[Job] = []  # of streams that were started here
        self.check_job: Job | None = None
        self._wanted = ("", "")  # name and source_id of the picked stream: started again, it has another uid
        self._awaited = ""  # name of a stream that was started here and is not visible yet
        columns = QtWidgets.QHBoxLayout()
        columns.setSpacing(16)
        columns.addWidget(self._stream_card(theme), 3)
        right = QtWidgets.QVBoxLayout()
        right.setSpacing(16)
        right.addWidget(self._person_card())
        right.addWidget(self._check_card(theme), 1)
        columns.addLayout(right, 2)
        self.box.addLayout(columns, 1)
        picked.changed.connect(self._show_picked)
        self._show_picked()

    # --- building ----------------------------------------------------------------------------------------------------

    def _stream_card(self, theme: Theme) -> Card:
        card = Card("Signal", "Streams of the Lab Streaming Layer (LSL) on this network, as they come and go.")
        self.list = Choice(theme, words.NO_STREAM, 260)
        self.list.setAccessibleName("Streams")
        self.list.picked.connect(self._pick_stream)
        self.data_badge, self.data = Badge(theme), label("", "")
        self.unit = Combo()
        self.unit.addItems(["Unit?", *UNITS])
        self.unit.setToolTip("The stream does not say in which unit its samples are: its program's manual does")
        self.unit.currentTextChanged.connect(self._pick_unit)
        self.simulate = button(
            "&Simulated person", "A person who imagines moving the left or right hand: try everything without hardware"
        )
        self.simulate.clicked.connect(self._simulate)
        self.play = button("&Open a recording…", "Play a file as if it were measured now: EDF, BDF, GDF, XDF, FIF, …")
        self.play.clicked.connect(self._choose_recording)
        self.trouble = Lines(theme)
        card.box.addWidget(self.list, 1)
        about = row(self.data_badge, self.data, self.unit)
        about.setStretch(1, 1)
        card.box.addLayout(about)
        card.box.addWidget(self.trouble)
        card.box.addLayout(row(label("No amplifier at hand?", "soft", wraps=False), self.simulate, self.play, None))
        return card

    def _person_card(self) -> Card:
        card = Card("Person", "Recordings and models are kept by this name. Letters and digits; not a real name.")
        self.subject = Combo()
        self.subject.setEditable(True)
        self.subject.setAccessibleName("Person")
        allowed = QtGui.QRegularExpressionValidator(QtCore.QRegularExpression(shelf.SUBJECT.pattern), self.subject)
        self.subject.setValidator(allowed)
        self.subject.lineEdit().setPlaceholderText("new, for example P01")
        self.read_subjects()
        self.subject.setEditText("")
        self.subject.editTextChanged.connect(lambda text: self.picked.pick(subject=text))
        card.box.addWidget(self.subject)
        return card

    def _check_card(self, theme: Theme) -> Card:
        card = Card("Check", "Looks at the stream for a second, as a session would: rate, names, units, flat channels.")
        self.check = button("&Check the stream", name="primary")
        self.check.clicked.connect(self.start_check)
        self.working = Working()
        self.working.cancelled.connect(self._cancel_check)
        self.lines = Lines(theme)
        card.box.addLayout(row(self.check, None))
        card.box.addWidget(self.working)
        card.box.addWidget(self.lines)
        card.box.addStretch(1)
        return card

    def read_subjects(self) -> None:
        """Who is known under the root."""
        text = self.subject.currentText()
        self.subject.blockSignals(True)
        self.subject.clear()
        self.subject.addItems(shelf.subjects(self.picked.root))
        self.subject.setEditText(text)
        self.subject.blockSignals(False)

    # --- streams -----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the streams of now; a timer calls this."""
        seen = self.streams.seen
        self._follow(seen)
        chosen = self.picked.stream
        self.data_badge.setVisible(chosen is not None)
        key = chosen.uid if chosen is not None and any(s.uid == chosen.uid for s in seen) else ""
        self.list.show_entries([_entry(s, s.uid == key) for s in seen], key)
        watched = self.streams.watched
        if chosen is not None and watched is not None and watched.spec.uid == chosen.uid:
            if not self.picked.is_described:
                self.picked.pick(stream=watched.spec, is_described=True)
            level, text = words.data_line(watched.n_samples, watched.rate_hz, watched.age_s)
            self.data_badge.set(level)
            self.data.setText(text)
        elif chosen is not None:
            self.data_badge.set("warn")
            self.data.setText(self.streams.trouble or ("asking it what it sends …" if key else self._gone(chosen)))
        else:
            self.data_badge.set("")
            self.data.setText("Pick a stream from the list." if seen else "")

    def _gone(self, chosen: StreamSpec) -> str:
        return f"{chosen.name!r} is not there any more: start its program again, or pick another"

    def _follow(self, seen: list[StreamSpec]) -> None:
        """Pick what was started here once it is visible, and the picked one again when its program was restarted."""
        if self._awaited and (new := [s for s in seen if s.name == self._awaited]):
            self._awaited = ""
            self.trouble.show_lines([])
            self._pick_stream(new[0].uid)
        chosen = self.picked.stream
        if chosen is not None and all(s.uid != chosen.uid for s in seen) and self._wanted[1]:
            again = [s for s in seen if (s.name, s.source_id) == self._wanted]
            if len(again) == 1:
                self._pick_stream(again[0].uid)

    def _pick_stream(self, uid: str) -> None:
        spec = next((s for s in self.streams.seen if s.uid == uid), None)
        if spec is None or (self.picked.stream is not None and self.picked.stream.uid == uid):
            return
        is_same = (spec.name, spec.source_id) == self._wanted and bool(spec.source_id)
        self._wanted = (spec.name, spec.source_id)
        self.streams.watch(uid)
        self.lines.show_lines([])
        unit = self.picked.unit if is_same else ""
        self.picked.pick(stream=spec, is_described=False, unit=unit)

    def _pick_unit(self, text: str) -> None:
        self.picked.pick(unit={"µV": "uV", "Unit?": ""}.get(text, text))

    def _show_picked(self) -> None:
        spec = self.picked.described
        self.unit.setVisible(spec is not None and words.lacks_unit(spec))
        if not self.picked.unit:
            self.unit.setCurrentIndex(0)
        self.check.setEnabled(self.picked.stream is not None and self.check_job is None)

    def _simulate(self) -> None:
        name = f"simulated-{uuid.uuid4().hex[:4]}"
        self._send(name, ["simulate", "--name", name, "--skill", "1", "--follow", CUES])

    def _choose_recording(self) -> None:
        path, _ = QtWidgets.QFileDialog.getOpenFileName(self, "A recording as a stream", "", RECORDINGS)
        if path:
            self.play_recording(Path(path))

    def play_recording(self, path: Path) -> None:
        """Stream a file, again and again."""
        name = f"{path.stem[:24]}-{uuid.uuid4().hex[:4]}"
        self._send(name, ["stream", path, "--name", name, "--loop"])

    def _send(self, name: str, arguments: list[object]) -> None:
        job = self._make_job(arguments, self)
        self.senders.append(job)
        self._awaited = name
        self.trouble.show_lines([("info", f"starting the stream {name!r} …")])

        def ended(outcome: Outcome) -> None:
            self.senders.remove(job)
            self._awaited = ""
            lines = [] if outcome.is_good or outcome.is_cancelled else [("fail", f"{name}: {outcome.error}")]
            self.trouble.show_lines(lines)

        job.ended.connect(ended)
        job.start()

    # --- check -------------------------------------------------------------------------------------------------------

    def start_check(self) -> None:
        """Look at the stream as `bci run --preflight-only` does."""
        if self.picked.stream is None or self.check_job is not None:
            return
        self.lines.show_lines([])
        self.check_job = self._make_job(["run", *self.picked.stream_options, "--preflight-only"], self)
        self.check_job.ended.connect(self._checked)
        self.working.follow(self.check_job, "Looking at the stream for a second …")
        self._show_picked()
        self.check_job.start()

    def _checked(self, outcome: Outcome) -> None:
        self.check_job = None
        self._show_picked()
        self.lines.show_lines(check_lines(outcome))

    def _cancel_check(self) -> None:
        if self.check_job is not None:
            self.check_job.cancel()

    @property
    def jobs(self) -> list[Job]:
        """Streams that were started here, and a check."""
        return [*self.senders, *([self.check_job] if self.check_job is not None else [])]


def check_lines(outcome: Outcome) -> list[tuple[str, str]]:
    """What a preflight found: level and words, the worst first."""
    if "findings" not in outcome.result:
        return [("info", "cancelled") if outcome.is_cancelled else ("fail", outcome.error)]
    found = sorted(outcome.result["findings"], key=lambda f: ("fail", "warn", "ok").index(f["level"]))
    lines = [(f["level"], f"{f['stream']}: {f['text']}") for f in found]
    return lines or [("warn", "nothing was found out: the stream sent nothing")]


def _entry(spec: StreamSpec, is_picked: bool) -> Entry:
    """A stream of the list; events alone cannot be decoded."""
    if spec.is_marker_stream or not spec.sfreq_hz:
        return Entry(spec.uid, spec.name, f"{words.stream_line(spec)}  ·  events", is_enabled=False)
    return Entry(spec.uid, spec.name, words.stream_line(spec), "ok" if is_picked else "")
