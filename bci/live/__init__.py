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
from bci.config import SessionConfig, to_toml, with_chosen_gate
from bci.devices import check_continuous, make_device
from bci.errors import ConfigError, RecordingError, RolandicError, SourceError, one_line
from bci.host.books import Stopwatch
from bci.host.device_host import DeviceHost
from bci.host.engine import Engine, gap_detector
from bci.host.inbox import Inbox
from bci.host.share import Shared
from bci.host.window import check_screen, open_window
from bci.live.control import ControlHandler
from bci.live.sources import first_look, open_sources, primary_spec
from bci.ports import Pulled, Source
from bci.preflight import LOOK_S, Finding
from bci.recording.folder import SessionFolder, check_free_space, next_part
from bci.report.text import live_report, report_text
from bci.scoring import Scorer
from bci.session import HopModel
from decoders.checkpoint import Model


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
