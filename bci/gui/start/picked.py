"""What has been picked so far, for all pages."""

from __future__ import annotations

from pathlib import Path

from pyqtgraph.Qt import QtCore

from bci.gui.start import shelf, words
from bci.types import StreamSpec


class Picked(QtCore.QObject):
    """The stream, the person and the model.

    Attributes
    ----------
    stream : StreamSpec or None
        Of the list; with channels by name once ``is_described``.
    unit : str
        Of a stream that does not say it.
    model : Path or None

    Signals
    -------
    changed()
    """

    changed = QtCore.pyqtSignal()

    def __init__(self, root: Path):
        super().__init__()
        self.root = root
        self.stream: StreamSpec | None = None
        self.is_described = False
        self.unit = ""
        self.subject = ""
        self.model: Path | None = None

    def pick(self, **what: object) -> None:
        """Pick something; `changed` where that is news."""
        before = dict(vars(self))
        for name, value in what.items():
            setattr(self, name, value)
        if any(before[name] != value for name, value in what.items()):
            self.changed.emit()

    @property
    def described(self) -> StreamSpec | None:
        """The stream with its channels by name and unit, where those are known."""
        return self.stream if self.is_described else None

    @property
    def stream_options(self) -> list[str]:
        """The stream, as `bci run` takes it."""
        if self.stream is None:
            return []
        named = ["--stream", self.stream.name]
        named += ["--source-id", self.stream.source_id] if self.stream.source_id else []
        return named + (["--unit", self.unit] if self.unit else [])

    def missing(self, needs_model: bool = False) -> str:
        """What has to be picked first, in words; empty where all is there."""
        if self.stream is None:
            return "Pick a stream first (Connect)."
        if self.described is not None and words.lacks_unit(self.described) and not self.unit:
            return "Say in which unit the stream's samples are (Connect)."
        if not shelf.is_subject(self.subject):
            return "Say whose session it is (Connect)."
        if needs_model and self.model is None:
            return "Pick a model first."
        return ""
