"""What the engine writes down: every event under its number, every output, and when each stage of a hop was done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from bci.host.latency import LatencyLedger
from bci.ports import Offset, Pulled, Recorder
from bci.recording.replay import HOP_LABELS, hop_row
from bci.types import Channel, Chunk, ChunkRef, Gap, InputEvent, Numbered, Prediction, SampleFormat, StreamSpec

STAGES = ("arrival", "dequeued", "filtered", "decoded", "gated", "sent", "own", "total")
LATENCY_LABELS = ("hop", "stamp_s", "arrival_s", "dequeued_s", "filtered_s", "decoded_s", "gated_s", "sent_s")
MAX_LISTED = 1000  # gaps and troubles in the report; the recording has all of them

_encode = msgspec.json.Encoder().encode


class Books:
    """The recording's own streams beside the raw ones. Rows wait until `write`, after the decisions.

    Parameters
    ----------
    specs
        Of the sources, in their order.
    classes
        Of the model, for the labels of ``bci-hops``.
    metadata
        What replay needs to build the same session; stands in the header of ``bci-events``.
    """

    def __init__(self, recorder: Recorder, specs: Sequence[StreamSpec], classes: Sequence[str], metadata: str):
        self.recorder = recorder
        self._sources = [recorder.open_stream(spec) for spec in specs]
        hop_labels = (*HOP_LABELS, *(f"p_{c}" for c in classes))
        self._events = recorder.open_stream(_own_stream("bci-events", ("event",), "string"), metadata)
        self._hops = recorder.open_stream(_own_stream("bci-hops", hop_labels, "double64"))
        self._commands = recorder.open_stream(_own_stream("bci-commands", ("command",), "string"))
        self._health = recorder.open_stream(_own_stream("bci-health", ("health",), "string"))
        self._latency = recorder.open_stream(_own_stream("bci-latency", LATENCY_LABELS, "double64"))
        self._n_events = 0
        self._journal: list[Numbered] = []
        self.hops: list[Prediction] = []
        self.commands: list[Any] = []
        self.health: list[Any] = []
        self.latency: list[tuple[float, ...]] = []

    def raw(self, source: int, pulled: Pulled) -> None:
        """Samples exactly as pulled, at once: before anything can go wrong with them."""
        self.recorder.write(self._sources[source], pulled.samples, pulled.stamps_s)

    def offset(self, source: int, offset: Offset) -> None:
        """A measured clock offset of a source. Our own streams have local time: readers that look for offsets get 0."""
        self.recorder.offset(self._sources[source], offset)
        if source == 0:
            for own in (self._events, self._hops, self._commands, self._health, self._latency):
                self.recorder.offset(own, Offset(offset.collected_s, 0.0, 0.0))

    def event(self, event: InputEvent) -> None:
        """Give an event its number, before it enters the session."""
        if isinstance(event, Chunk):
            event_ref = ChunkRef(event.stream, event.first_index, event.n, event.arrival_s)
        else:
            event_ref = event
        self._journal.append(Numbered(self._n_events, event_ref))
        self._n_events += 1

    def write(self, now_s: float) -> None:
        """Hand everything to the recorder's queue: commands before hops, so that a crash never leaves a hop alone."""
        self._lines(self._events, self._journal, now_s)
        self._lines(self._commands, self.commands, now_s)
        if self.hops:
            data = np.array([hop_row(h) for h in self.hops])
            self.recorder.write(self._hops, data, data[:, 2])
            self.hops.clear()
        if self.latency:
            data = np.array(self.latency)
            self.recorder.write(self._latency, data, data[:, 1])
            self.latency.clear()
        self._lines(self._health, self.health, now_s)

    def _lines(self, stream: int, records: list[Any], now_s: float) -> None:
        if records:
            lines = [[_encode(record).decode()] for record in records]
            self.recorder.write(stream, lines, np.full(len(lines), now_s))
            records.clear()


def _own_stream(name: str, labels: Sequence[str], format_: SampleFormat) -> StreamSpec:
    channels = tuple(Channel(label, "Misc") for label in labels)
    return StreamSpec(name=name, type="rolandic", source_id=name, format=format_, channels=channels)


@dataclass
class Counts:
    """What the acquisition saw. ``gaps`` has those of all streams."""

    n_samples: list[int]  # by source
    n_lost: int = 0
    n_gaps: int = 0
    n_late: int = 0
    n_segments: int = 0
    max_backlog_samples: int = 0
    gaps: list[Gap] = field(default_factory=list)
    troubles: dict[str, None] = field(default_factory=dict)  # all that made health less than ok, in order

    def gap(self, gap: Gap) -> None:
        """Count a verdict; the sums are of the primary stream."""
        if gap.stream == 0:
            self.n_gaps += gap.verdict != "late"
            self.n_late += gap.verdict == "late"
            self.n_lost += gap.n
        if len(self.gaps) < MAX_LISTED:
            self.gaps.append(gap)

    def trouble(self, reasons: Sequence[str]) -> None:
        """Remember why health was not ok."""
        if len(self.troubles) < MAX_LISTED:
            self.troubles |= dict.fromkeys(reasons)


class Stopwatch:
    """The latency of every hop, stage by stage (design §5.8), in constant memory; 10 µs a hop, after the decision."""

    def __init__(self, now_s: Callable[[], float]):
        self.ledger = LatencyLedger(STAGES)
        self.ages = LatencyLedger(("age",))
        self._now_s = now_s
        self._marks: dict[str, float] = {}
        self._arrivals: deque[tuple[int, float, float]] = deque(maxlen=4096)
        self._prediction: Prediction | None = None
        self._sent_s = 0.0

    @property
    def gated_s(self) -> float:
        """When the gate was asked last; 0 before the first time."""
        return self._marks.get("gated", 0.0)

    def arrived(self, last_index: int, arrival_s: float, dequeued_s: float) -> None:
        """A chunk of the primary stream that ends with sample ``last_index``."""
        self._arrivals.append((last_index, arrival_s, dequeued_s))

    def mark(self, stage: str) -> None:
        """Given to the session: a stage has ended."""
        self._marks[stage] = self._now_s()

    def judged(self, prediction: Prediction) -> None:
        """The gate has seen this prediction."""
        self._prediction = prediction
        self.ages.record("age", prediction.age_s)

    def sent(self) -> None:
        """A command of that prediction is on its way to the device host."""
        self._sent_s = self._now_s()

    def lap(self) -> tuple[float, ...] | None:
        """Account for the hop that was judged last; its row for ``bci-latency``, or None if there was none."""
        prediction, sent_s = self._prediction, self._sent_s
        if prediction is None:
            return None
        self._prediction, self._sent_s = None, 0.0
        while len(self._arrivals) > 1 and self._arrivals[0][0] < prediction.sample_index:
            self._arrivals.popleft()
        _, arrival_s, dequeued_s = self._arrivals[0]
        marks = self._marks
        row = (
            prediction.hop, prediction.stamp_s, arrival_s, dequeued_s,
            marks["filtered"], marks["decoded"], marks["gated"], sent_s,
        )  # fmt: skip
        record_row(self.ledger, row)
        return row


def record_row(ledger: LatencyLedger, row: Sequence[float]) -> None:
    """Count a row of ``bci-latency``: each stage from the end of the one before it, and the sums of several."""
    _, stamp_s, arrival_s, dequeued_s, filtered_s, decoded_s, gated_s, sent_s = row
    record = ledger.record
    record("arrival", arrival_s - stamp_s)
    record("dequeued", dequeued_s - arrival_s)
    record("filtered", filtered_s - dequeued_s)
    record("decoded", decoded_s - filtered_s)
    record("gated", gated_s - decoded_s)
    record("own", gated_s - arrival_s)
    record("total", gated_s - stamp_s)
    if sent_s:
        record("sent", sent_s - gated_s)
