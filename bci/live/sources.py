"""The streams of a session, found and judged: the primary one, its markers, and what is expected beside them."""

from __future__ import annotations

from collections.abc import Sequence

from bci.config import ExpectSection, SessionConfig
from bci.errors import ConfigError, SourceError
from bci.offline.stream import with_labels, with_unit
from bci.ports import Source
from bci.preflight import Finding, FirstLook, fits, mismatches, remarks
from bci.types import StreamSpec


def primary_spec(config: SessionConfig, sources: Sequence[Source]) -> StreamSpec:
    """The primary stream as the session takes it: with the unit and the labels that it does not say itself."""
    return with_labels(with_unit(sources[0].spec, config.stream.unit), config.stream.labels)


def first_look(config: SessionConfig, sources: Sequence[Source]) -> FirstLook:
    """The judge of the first second of these sources."""
    expected = [next((e for e in config.expect if fits(e, s.spec)), None) for s in sources]
    return FirstLook([s.spec for s in sources], expected)


def open_sources(config: SessionConfig) -> tuple[list[Source], list[Finding]]:
    """The primary stream first, then its markers and what else was asked for or is expected; and what was noticed.

    A finding ``fail`` is of a stream that the session cannot do without: it is missing, or not as ``session.toml``
    expects.

    Raises
    ------
    SourceError
        The primary stream, or one that was named, is not there.
    """
    sources = list(_open_recording(config)) if config.stream.recording else _open_live(config)
    findings: list[Finding] = []
    try:
        for expected in config.expect:
            if not any(fits(expected, s.spec) for s in sources):
                findings += _open_expected(expected, config, sources)
        for source in sources:
            findings += remarks(source.spec) if not config.stream.recording else []
        for expected in config.expect:
            for number, source in enumerate(sources):
                if fits(expected, source.spec):
                    spec = primary_spec(config, sources) if number == 0 else source.spec
                    findings += _compared(expected, spec)
    except BaseException:
        for source in sources:
            source.close()
        raise
    return sources, findings


def _open_expected(expected: ExpectSection, config: SessionConfig, sources: list[Source]) -> list[Finding]:
    """Add an expected stream to the sources; where it is missing, say so."""
    from bci.sources.lsl import open_source

    asked = (expected.name, expected.type, expected.source_id)
    who, s = " ".join(filter(None, asked)), config.stream
    try:
        if s.recording:
            raise SourceError(f"{s.recording} holds no stream with {who}")
        if s.fieldtrip and expected.type and not (expected.name or expected.source_id):
            raise SourceError(
                f"the FieldTrip buffer is of type {sources[0].spec.type}, {expected.type} is expected: where its "
                "header tells no types, say it by type under [stream], or --type"
            )
        sources.append(open_source(*asked, wait_s=s.wait_s, silence_s=s.silence_s, reconnect_s=s.reconnect_s))
    except SourceError as error:
        if expected.need == "critical":
            return [Finding("fail", who, str(error))]
        return [Finding("warn", who, f"optional, and not there: {error}")]
    return []


def _compared(expected: ExpectSection, spec: StreamSpec) -> list[Finding]:
    problems = mismatches(expected, spec)
    if problems and expected.need == "critical":
        text = f"stream {spec.name!r} is not as session.toml expects: {'; '.join(problems)}"
        return [Finding("fail", spec.name, text)]
    return [Finding("warn", spec.name, text) for text in problems]


def _open_live(config: SessionConfig) -> list[Source]:
    from bci.sources import fieldtrip
    from bci.sources.lsl import find_markers, open_source

    s = config.stream
    options = {"wait_s": s.wait_s, "silence_s": s.silence_s, "reconnect_s": s.reconnect_s}
    first = (
        fieldtrip.open_source(s.fieldtrip, type_=s.type, **options)
        if s.fieldtrip
        else open_source(s.name, s.type, s.source_id, **options)
    )
    sources: list[Source] = [first]
    try:
        if s.markers or not s.fieldtrip:  # nothing tells which LSL markers belong to a FieldTrip buffer
            sources += find_markers(first.spec, s.markers, **options)
        for name in s.also:
            sources.append(open_source(name, **options))
    except BaseException:
        for source in sources:
            source.close()
        raise
    return sources


def _open_recording(config: SessionConfig) -> Sequence[Source]:
    """The streams of a file in real time; the primary one is the only signal, or the one that is named."""
    from bci.host.clock import now_s
    from bci.sources.files import load_recording
    from bci.sources.recording import play_together
    from bci.sources.schedule import playable

    recording = load_recording(config.stream.recording, rate_hz=config.stream.rate_hz)
    playable_streams, _ = playable(recording.streams)
    named = [s for s in playable_streams if not s.spec.is_marker_stream and config.stream.name in ("", s.spec.name)]
    if len(named) != 1:
        names = ", ".join(repr(s.spec.name) for s in recording.signals) or "none"
        raise ConfigError(f"stream.name = {config.stream.name!r}: name one signal of {recording.path}: {names}")
    streams = [named[0], *(s for s in playable_streams if s is not named[0])]
    return play_together(streams, 0, speed=1.0, clock=now_s)
