"""``bci record``: LSL streams to XDF, with the recorder that live sessions use."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bci.cli.common import emit, end_with_input, output_options
from bci.config import RecordingSection
from bci.errors import RecordingError
from bci.ports import Ended, Offset, Pulled, Source, SourceEvent

if TYPE_CHECKING:
    from bci.host.recorder import RecorderProcess
    from bci.types import StreamSpec

TICK_S = 0.1


@click.command()
@click.option("--stream", "names", metavar="NAME", multiple=True, required=True, help="An LSL stream; may be repeated.")
@click.option("--out", required=True, type=click.Path(), help="The new XDF file; nothing is overwritten.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this long.")
@click.option(
    "--wait", "wait_s", default=10.0, metavar="S", show_default=True, help="How long to wait for the streams."
)
@click.option(
    "--reconnect", "reconnect_s", default=30.0, metavar="S", show_default=True,
    help="A stream has ended this long after its last sample.",
)  # fmt: skip
@output_options
def command(
    names: tuple[str, ...],
    out: str,
    seconds: float | None,
    wait_s: float,
    reconnect_s: float,
    json_path: str | None,
    quiet: bool,
) -> None:
    """Record LSL streams exactly as they come, with raw stamps and clock offsets.

    Example: bci record --stream EEG --stream Markers --out rest.xdf --seconds 60

    Marker streams of the same group, such as those of `bci stream`, are recorded beside them. Ends at --seconds, when
    all streams have ended, or on Ctrl-C; the file is whole in each case.
    """
    from bci.sources.lsl import open_source

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    end_with_input(stop.set)
    sources: list[Source] = []
    try:
        for name in names:
            sources.append(open_source(name, wait_s=wait_s, reconnect_s=reconnect_s))
        sources += _their_markers([source.spec for source in sources], reconnect_s)
        result = record(sources, Path(out), seconds, stop, quiet)
    finally:
        for source in sources:
            source.close()
    streams = ", ".join(f"{n} samples of {name!r}" for name, n in result["n_samples"].items())
    emit(result, f"{out}: {streams} in {result['seconds']:.1f} s", json_path, quiet)
    if result["trouble"] or result["n_lost"]:
        raise RecordingError(f"{out} is not complete: {result['trouble'] or result['n_lost']}")


def _their_markers(named: list[StreamSpec], reconnect_s: float) -> list[Source]:
    """Marker streams that say to belong to one of these: they tell what happened, and when it is over."""
    from bci.sources.lsl import find_markers

    found: list[Source] = []
    for primary in {spec.group: spec for spec in named if spec.group}.values():
        for source in find_markers(primary, reconnect_s=reconnect_s):
            if any(source.spec.source_id == spec.source_id for spec in named):
                source.close()
            else:
                found.append(source)
    return found


def record(
    sources: Sequence[Source],
    out: Path,
    seconds: float | None,
    stop: threading.Event,
    quiet: bool,
) -> dict[str, Any]:
    """Record until ``seconds`` have passed, all sources have ended, or ``stop`` is set; then finish the file.

    Raises
    ------
    RecordingError
        The file exists, cannot be made, or does not fit on the disk.
    """
    from bci.host.recorder import RecorderProcess
    from bci.recording.folder import check_free_space
    from bci.recording.xdf import bytes_per_s

    if out.exists():
        raise RecordingError(f"{out} exists and is not overwritten; choose another name for --out")
    check_free_space(out, sum(bytes_per_s(source.spec) for source in sources), seconds or RecordingSection().planned_s)
    recorder = RecorderProcess(out)
    try:
        desk = _Desk(sources, recorder, not quiet and sys.stderr.isatty())
        begin_s = time.monotonic()
        for number, source in enumerate(sources):
            source.start(desk.receiver(number))
        trouble = ""
        while not stop.is_set() and not desk.all_ended.is_set():
            left_s = float("inf") if seconds is None else begin_s + seconds - time.monotonic()
            if left_s <= 0:
                break
            desk.all_ended.wait(min(TICK_S, left_s))
            if trouble != (trouble := recorder.trouble()):
                click.echo(f"bci: {trouble or 'the recording goes on'}", err=True)
            if recorder.has_died:
                recorder.restart()
            desk.show(time.monotonic() - begin_s)
        length_s = time.monotonic() - begin_s
        for source in sources:
            source.close()
    finally:
        recorder.close()
    report = recorder.report()
    return {
        "recording": str(out),
        "parts": list(report.parts),
        "seconds": length_s,
        "n_bytes": report.n_bytes,
        "n_samples": desk.n_samples,
        "n_lost": report.n_lost,
        "n_unconfirmed": report.n_unconfirmed,
        "ended": desk.reasons,
        "trouble": recorder.trouble(),
    }


class _Desk:
    """Where the sources' threads hand in what they got."""

    def __init__(self, sources: Sequence[Source], recorder: RecorderProcess, has_terminal: bool):
        from bci.ports import END_MARKER

        self._sources, self._recorder, self._has_terminal, self._end = sources, recorder, has_terminal, END_MARKER
        self._streams = [recorder.open_stream(source.spec) for source in sources]
        self._n = [0] * len(sources)
        self._open = set(range(len(sources)))
        self._lock = threading.Lock()
        self.reasons: dict[str, str] = {}
        self.all_ended = threading.Event()

    def receiver(self, number: int) -> Callable[[SourceEvent], None]:
        """What source ``number`` delivers to."""
        return lambda event: self._receive(number, event)

    @property
    def n_samples(self) -> dict[str, int]:
        """By stream name."""
        return {source.spec.name: n for source, n in zip(self._sources, self._n, strict=True)}

    def show(self, elapsed_s: float) -> None:
        """Progress, on a terminal."""
        if self._has_terminal:
            click.echo(f"\r{elapsed_s:.0f} s, {sum(self._n)} samples", nl=False, err=True)

    def _receive(self, number: int, event: SourceEvent) -> None:
        if isinstance(event, Pulled):
            self._recorder.write(self._streams[number], event.samples, event.stamps_s)
            self._n[number] += len(event.stamps_s)
            if isinstance(event.samples, list) and any(self._end in row for row in event.samples):
                for source in self._sources:
                    if source.spec.group == self._sources[number].spec.group:
                        source.finish()
        elif isinstance(event, Offset):
            self._recorder.offset(self._streams[number], event)
        elif isinstance(event, Ended):
            with self._lock:
                name = self._sources[number].spec.name
                self.reasons[name] = str(event.error) if event.error else ""
                self._open.discard(number)
                if not self._open:
                    self.all_ended.set()
