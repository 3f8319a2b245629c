"""A live session, put together and run: find the stream, check the model on it, start the children, decode, report."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bci.build import (
    build_session,
    check_expectations,
    fit_to_stream,
    gate_settings,
    host_settings,
    load,
    session_metadata,
)
from bci.config import ExpectSection, SessionConfig, to_toml, with_chosen_gate
from bci.control.gate import with_dwell, with_threshold
from bci.devices import check_continuous, make_device
from bci.errors import ConfigError, RecordingError, RolandicError, SourceError, one_line
from bci.host.books import Stopwatch
from bci.host.claim import Claim
from bci.host.control_socket import ControlServer
from bci.host.device_host import DeviceHost
from bci.host.engine import Engine, SwapRequest, gap_detector
from bci.host.inbox import Inbox
from bci.host.share import Shared
from bci.host.window import check_screen, open_window
from bci.offline.stream import with_labels, with_unit
from bci.ports import Pulled, Source
from bci.preflight import LOOK_S, Finding, FirstLook, fits, mismatches, remarks
from bci.recording.folder import SessionFolder, check_free_space, next_part
from bci.report.text import live_report, report_text
from bci.scoring import Scorer
from bci.session import HopModel, check_swap
from bci.types import Control, StreamSpec
from decoders.checkpoint import CheckpointError, Model


@dataclass(frozen=True)
class LiveResult:
    """What `run_live` leaves: the report, its text, and the error that ended the session, if one did."""

    report: dict[str, Any]
    text: str
    error: RolandicError | None


def run_live(
    config: SessionConfig,
    *,
    arm: bool = False,
    seconds: float | None = None,
    session_dir: str | None = None,
    resume: bool = False,
    quiet: bool = True,
    share: str = "",
    window: bool = False,
    on_stop: Callable[[Callable[[str], None]], None] | None = None,
) -> LiveResult:
    """Run one session to its end.

    Parameters
    ----------
    share
        Open LSL outlets of what the session says of itself, for a window or viewers, as this group.
    window
        Show it in a window that controls it; needs ``share``.
    on_stop
        Called once with the function that ends the session in order, for signal handlers.

    Raises
    ------
    RolandicError
        Something that the session needs is not there or does not fit; nothing was started.
    """
    from bci.host.clock import now_s
    from bci.host.realtime import settle
    from bci.host.recorder import RecorderProcess
    from bci.recording.xdf import bytes_per_s

    if window:
        check_screen()
    model = load(config.model.path)
    check_expectations(config.model, model)
    config = with_chosen_gate(config, model.info)
    gate_settings(config, tuple(model.spec.classes), model.spec.epoch is not None)
    for url in config.devices.urls:
        make_device(url)  # a wrong one is said before anything is made
        if config.velocity.directions:
            check_continuous(url)
    sources, findings = open_sources(config)
    recorder = devices = control = None
    try:
        if wrong := [f.text for f in findings if f.level == "fail"]:
            raise SourceError("; ".join(wrong))
        spec = primary_spec(config, sources)
        pipeline = fit_to_stream(model, spec, config)
        hop_s = model.spec.hop / model.spec.sfreq_hz
        detectors = [gap_detector(n, source.spec, config) for n, source in enumerate(sources)]
        pipelines: dict[str, HopModel] = {model.hash: pipeline}
        folder = _folder(config, session_dir, resume)
        recording = next_part(folder.xdf)
        planned_s = seconds or config.recording.planned_s
        check_free_space(recording, sum(bytes_per_s(s.spec) for s in sources) + 32e3, planned_s)
        part = recording.stem.removeprefix("session")  # "", or ".part2" after a crash
        folder.write(folder.path / f"session{part}.toml", to_toml(config))
        folder.add_model(Path(config.model.path), model.hash)
        devices = DeviceHost(list(config.devices.urls), host_settings(config, hop_s), session=str(folder.path))
        devices.start()  # before the recorder: where a device cannot be opened, no recording is left behind
        recorder = RecorderProcess(recording)
        inbox = Inbox()
        stopwatch = Stopwatch(now_s)
        session = build_session(config, spec, pipelines, model.hash, mark=stopwatch.mark)
        scorer = Scorer.of(model, spec.sfreq_hz)
        books = Shared(recorder, share, raw=not config.stream.is_lsl) if share else recorder
        engine = Engine(
            session, pipelines, sources, detectors, books, devices, inbox, scorer, stopwatch, now_s,
            metadata=session_metadata(config, spec, model, pipeline.compute), arm=arm and not resume, seconds=seconds,
            first_look=first_look(config, sources), findings=findings,
        )  # fmt: skip
        handler = ControlHandler(engine, inbox, folder, lambda other: fit_to_stream(other, spec, config), share)
        control = handler.serve()
        if on_stop is not None:
            on_stop(engine.stop)
        if window:
            open_window(share, folder.path / "window.log")
        if not quiet and sys.stdin is not None and sys.stdin.isatty():
            handler.read_terminal()
        if not quiet and sys.stderr.isatty():
            arming = "armed at the start" if arm and not resume else "disarmed"
            print(_start_line(sources, model, folder, arming), file=sys.stderr)
            if arm and resume:
                print("resumed: disarmed, whatever was asked; bci control arm", file=sys.stderr)
        settle()
        engine.run()
    except BaseException:
        for closable in (*sources, devices, recorder):
            if closable is not None:
                closable.close()
        raise
    finally:
        if control is not None:
            control.close()
    error = None if engine.error is None else _explained(engine.error, folder)
    if error is None and (trouble := recorder.trouble()):
        error = RecordingError(f"the recording is not whole: {trouble}")
    told = live_report(engine, model, pipeline, recorder.report(), model_path=config.model.path)
    try:
        folder.write(folder.path / f"run{part}.json", json.dumps(told, indent=2, default=str) + "\n")
    except RolandicError as problem:  # a full disk; the report is shown all the same
        error = error or problem
    if not quiet and sys.stderr.isatty():
        print("making the report (Ctrl-C leaves it to `bci report`)", file=sys.stderr)
    return LiveResult(told, f"{report_text(told)}\n{'report':<16}{_make_page(folder)}", error)


def _make_page(folder: SessionFolder) -> str:
    """The session's report, from what is on disk. All is neutral and closed; a failure here is a line of text."""
    from bci.report.write import write_session_report

    with interruptible():
        try:
            write_session_report(folder)
            return str(folder.report_page)
        except KeyboardInterrupt:
            why = "interrupted"
        except Exception as error:
            why = one_line(error)
    return f"not made ({why}); make it by: bci report {folder.path}"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends what is inside: there is no session left that it would have to end in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _explained(error: Exception, folder: SessionFolder) -> RolandicError:
    """One line for an error that nobody foresaw; where it comes from is kept in the session's folder."""
    if isinstance(error, RolandicError):
        return error
    path = folder.path / "error.txt"
    with contextlib.suppress(RolandicError):
        folder.write(path, "".join(traceback.format_exception(error)))
    return RolandicError(
        f"the session ended by an error in the program: {type(error).__name__}: {error}; details in {path}"
    )


def _start_line(sources: Sequence[Source], model: Model, folder: SessionFolder, arming: str) -> str:
    first = sources[0].spec
    others = ", ".join(repr(s.spec.name) for s in sources[1:]) or "no markers"
    return (
        f"decoding {first.name!r} ({len(first.channels)} channels, {first.sfreq_hz:g} Hz; with {others}) by "
        f"{model.spec.name} {model.hash[:12]} into {folder.path}; {arming}"
    )


def preflight(config: SessionConfig) -> list[Finding]:
    """All that a session would find out in its first second, and nothing else: no model, recorder or device."""
    try:
        sources, findings = open_sources(config)
    except RolandicError as error:
        return [Finding("fail", config.stream.name or "streams", str(error))]
    inbox, look = Inbox(), first_look(config, sources)
    try:
        if config.model.path:
            try:
                fit_to_stream(load(config.model.path), primary_spec(config, sources), config)
            except RolandicError as error:
                findings.append(Finding("fail", sources[0].spec.name, str(error)))
        if any(f.level == "fail" for f in findings):
            return findings
        for number, source in enumerate(sources):
            source.start(lambda event, number=number: inbox.put((number, event)))
        until_s = time.monotonic() + LOOK_S + config.stream.wait_s
        while not look.is_done and time.monotonic() < until_s:
            for number, event in inbox.take(0.1):
                if isinstance(event, Pulled) and not isinstance(event.samples, list):
                    findings += look.take(number, event.samples, event.stamps_s)
    finally:
        inbox.close()
        for source in sources:
            source.close()
    return findings + look.finish()


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


def _folder(config: SessionConfig, session_dir: str | None, resume: bool) -> SessionFolder:
    r = config.recording
    number = None if r.session is None else str(r.session)
    if resume:
        if session_dir is None and number is None:
            raise ConfigError("--resume: say which session by --session DIR, or recording.session in session.toml")
        default = Path(r.root) / f"sub-{r.subject}" / f"ses-{number}"
        return SessionFolder.resume(session_dir if session_dir is not None else default)
    if session_dir is not None:
        return SessionFolder.at(session_dir)
    return SessionFolder.create(r.root, r.subject, number)


class ControlHandler:
    """What `bci control`, and a person at the terminal, may ask of the running session."""

    ACTIONS = ("arm", "disarm", "pause", "resume", "note", "threshold", "dwell", "command", "reset", "swap", "status")
    OF_WINDOWS = ("claim", "take over", "beat", "end")  # of a window, which says its name in every message

    def __init__(
        self,
        engine: Engine,
        inbox: Inbox,
        folder: SessionFolder,
        fit: Callable[[Model], HopModel],
        group: str = "",
    ):
        self._engine, self._inbox, self._folder, self._fit = engine, inbox, folder, fit
        self._group = group  # of the outlets, so that a window shows the session that it controls
        self._swap_error = ""
        self._claim = Claim()

    def serve(self) -> ControlServer:
        """Listen on the control socket."""
        server = ControlServer("engine", self.receive, session=str(self._folder.path))
        server.start()
        return server

    def receive(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; runs in the control socket's thread."""
        # what is no text (a lone surrogate, from a terminal of another encoding) could not be written down
        action, value, by, window = (
            str(message.get(key, default)).encode("utf-8", "replace").decode()
            for key, default in (("action", ""), ("value", ""), ("by", "control socket"), ("window", ""))
        )
        if window and (refused := self._of_window(window, action)) is not None:
            return refused
        try:
            if action == "swap":
                self._swap_error = ""
                threading.Thread(target=self._swap, args=(value,), name="swap", daemon=True).start()
            elif action == "status":
                return {"ok": True, **self._status()}
            elif action == "beat":
                self._engine.lease.beat(self._engine.now_s())
            elif action == "end" and window:
                self._engine.stop("ended from the window")
            elif action in self.ACTIONS:
                if action == "arm" and value == "lease":  # by a window, which beats from now on
                    self._engine.lease.begin(self._engine.now_s())
                elif action in ("arm", "disarm"):
                    self._engine.lease.end()
                if action in ("threshold", "dwell"):
                    change = with_threshold if action == "threshold" else with_dwell
                    change(self._engine.session.settings, float(value))
                self._inbox.put(Control(action, value=value, by=by))  # type: ignore[arg-type]
            else:
                allowed = ", ".join((*self.ACTIONS, *self.OF_WINDOWS))
                return {"ok": False, "error": f"unknown action {action!r}; allowed: {allowed}"}
        except (CheckpointError, RolandicError, ValueError) as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True}

    def _of_window(self, window: str, action: str) -> dict[str, Any] | None:
        """What stands before a window's controls: the claim. None where it has it, and may ask."""
        now_s = self._engine.now_s()
        if action in ("claim", "take over"):
            if not self._claim.take(window, now_s, over=action == "take over"):
                return {"ok": False, "error": f"{self._claim.holder(now_s)} controls this session"}
            if action == "take over":  # what another had armed does not stay armed
                self._engine.lease.break_off()
            settings = self._engine.session.settings  # they may have changed before the window came
            return {"ok": True, "threshold": settings.threshold, "dwell_s": settings.dwell_s}
        if action != "status" and not self._claim.beat(window, now_s):
            holder = self._claim.holder(now_s)
            why = f"{holder} controls this session: take it over first" if holder else "claim the session first"
            return {"ok": False, "error": why}
        return None

    def _status(self) -> dict[str, Any]:
        session = self._engine.session
        return {
            "gate": session.gate.name.value,
            "is_armed": session.gate.is_armed,
            "health": session.health.level,
            "reasons": list(session.refusal if session.health.level == "ok" else session.health.reasons),
            "n_hops": session.n_hops,
            "age_ms": self._engine.age_ms,
            "backlog_samples": session.timeline.backlog,
            "model_hash": session.pipeline.model_hash,
            "threshold": session.settings.threshold,
            "dwell_s": session.settings.dwell_s,
            "controlled_by": self._claim.holder(self._engine.now_s()),
            "group": self._group,
            "swap_error": self._swap_error,
            "session": str(self._folder.path),
        }

    def _swap(self, path: str) -> None:
        """Read, check, warm up and store a model; only then may it take over."""
        try:
            model = load(path)
            pipeline = self._fit(model)
            check_swap(self._engine.session.pipeline, pipeline)
            self._folder.add_model(path, model.hash)
        except RolandicError as error:
            self._swap_error = str(error)
            self._inbox.put(Control("note", value=f"swap to {path} refused: {error}", by="engine"))
        else:
            self._inbox.put(SwapRequest(model.hash, pipeline, path))

    def read_terminal(self) -> None:
        """Typed lines are controls or notes."""

        def read() -> None:
            for line in sys.stdin:
                word = line.strip()
                if not word:
                    continue
                if word in ("arm", "disarm", "pause", "resume", "reset"):
                    self.receive({"action": word, "by": "terminal"})
                else:
                    self.receive({"action": "note", "value": word, "by": "terminal"})

        threading.Thread(target=read, daemon=True).start()
