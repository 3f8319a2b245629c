"""The live shell around `bci.session.Session`: it numbers every event, feeds it, and carries out what follows.

One decode thread (the process's main thread) takes from the inbox what sources, people and background work put there.
Whatever enters the session is journalled under its sequence number, so that replay can feed the same again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bci.config import SessionConfig, channel_index
from bci.control.host_table import HostState
from bci.errors import RolandicError, SourceError
from bci.host.books import Books, Counts, Stopwatch
from bci.host.device_host import DeviceHost
from bci.host.inbox import Inbox
from bci.host.lease import Lease
from bci.ports import END_MARKER, Ended, Offset, Pulled, Recorder, Resumed, Silent, Source, SourceEvent
from bci.preflight import Finding, FirstLook
from bci.scoring import Scorer
from bci.session import HopModel, Session, check_swap
from bci.signal.gaps import GapDetector
from bci.types import (
    Acknowledged,
    Chunk,
    ClockOffset,
    Command,
    Control,
    Flag,
    Gap,
    GateChange,
    Health,
    HealthChange,
    InputEvent,
    Marker,
    Now,
    OutputEvent,
    Prediction,
    Receipt,
    SegmentStarted,
    Step,
    StreamSpec,
    Swap,
    number_label,
)

CLOSE_S = 12.0  # a source drains for at most a few seconds
TICK_S = 0.05  # the longest that the decode thread waits before it looks at children, silence and the clock


@dataclass(frozen=True)
class SwapRequest:
    """A model that was loaded, fitted to the stream, and made safe on disk, ready to take over."""

    model_hash: str
    pipeline: HopModel
    source: str


class Engine:
    """Runs one session until its stream ends, ``seconds`` have passed, or `stop` is called.

    Parameters
    ----------
    sources
        The primary stream first; then markers and other streams in any order.
    detectors
        For each source, as `gap_detector` makes them.
    recorder, devices
        Already started; the engine closes them in order: sources, devices (neutral), recorder.
    stopwatch
        Whose ``mark`` was given to the session.
    first_look, findings
        The preflight: who judges the first second, and what was noticed before.
    now_s
        The LSL clock.
    """

    def __init__(
        self,
        session: Session,
        pipelines: dict[str, HopModel],
        sources: Sequence[Source],
        detectors: Sequence[GapDetector | None],
        recorder: Recorder,
        devices: DeviceHost,
        inbox: Inbox,
        scorer: Scorer,
        stopwatch: Stopwatch,
        now_s: Callable[[], float],
        *,
        metadata: str = "",
        arm: bool = False,
        seconds: float | None = None,
        first_look: FirstLook | None = None,
        findings: Sequence[Finding] = (),
    ):
        self.session, self.pipelines, self.sources = session, pipelines, list(sources)
        self.recorder, self.devices, self.inbox, self.scorer = recorder, devices, inbox, scorer
        self.now_s, self.seconds = now_s, seconds
        self.stopwatch = stopwatch
        self.findings = list(findings)  # of the preflight
        self._first_look = first_look
        self.counts = Counts([0] * len(self.sources))
        self.books = Books(recorder, [s.spec for s in self.sources], session.pipeline.classes, metadata)
        self.error: Exception | None = None
        self.ended_because = ""
        self.lease = Lease()
        self._wants_arm = arm
        self._is_stopping = self._is_broken = False
        self._waiting: deque[Any] = deque()  # taken from the inbox, not yet handled
        self._dequeued_s = self._last_tick_s = 0.0
        self._newest_s = float("-inf")  # stamp of the newest sample that was decided on
        self._device_trouble = self._recorder_trouble = ""
        self._arm_id = 0
        self._detectors = list(detectors)

    # --- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live until the end; everything is closed when it returns, also after an error."""
        try:
            for number, source in enumerate(self.sources):
                source.start(lambda event, number=number: self.inbox.put((number, event)))
            started_s = self.now_s()
            while not self._is_stopping:
                self._take(TICK_S)
                while self._waiting and not self._is_stopping:
                    self._handle(self._waiting.popleft())
                    self._advance()
                    if self.now_s() - self._last_tick_s >= TICK_S:  # a backlog must not hold up stop, children, books
                        self._look_after(self.now_s())
                self._look_after(self.now_s())
                if self.seconds is not None and self.now_s() - started_s >= self.seconds:
                    self.stop(f"{self.seconds:g} s are over")
        except Exception as error:
            self._failed(error)
        finally:
            try:
                self._close()
            except Exception as error:
                self._failed(error)

    @property
    def age_ms(self) -> float | None:
        """Age of the newest sample that was decided on; None before the first."""
        return 1000 * (self.now_s() - self._newest_s) if self._newest_s > float("-inf") else None

    def stop(self, why: str) -> None:
        """End the session in order; may be called from a signal handler."""
        self._is_stopping = True
        self.ended_because = self.ended_because or why

    def _failed(self, error: Exception) -> None:
        """The first error ends the session. After one that nobody foresaw, the session is not asked again."""
        self._is_broken = self._is_broken or not isinstance(error, RolandicError)
        if self.error is None:
            self.error = error
            self.ended_because = f"{type(error).__name__}: {error}" if self._is_broken else str(error)

    def _take(self, timeout_s: float) -> None:
        """What people ask comes before data that wait."""
        self._waiting.extend(sorted(self.inbox.take(timeout_s), key=lambda item: isinstance(item, tuple)))
        self._dequeued_s = self.now_s()

    def _handle(self, item: Any) -> None:
        if isinstance(item, Control):
            if item.action == "reset":
                self.devices.reset()
            self._issue(Now(self.now_s()))  # the gate judges a control by a time that is true now
            self._issue(item)
        elif isinstance(item, SwapRequest):
            self._swap(item)
        else:
            number, event = item
            self._handle_source(number, event)

    def _handle_source(self, number: int, event: SourceEvent) -> None:
        if isinstance(event, Pulled):
            if self.sources[number].spec.is_marker_stream:
                self._markers(number, event)
            else:
                self._samples(number, event)
        elif isinstance(event, Offset):
            self.books.offset(number, event)
            self._issue(ClockOffset(number, event.collected_s, event.offset_s, event.uncertainty_s))
        elif isinstance(event, Silent):
            if self.ended_because:  # it said that it is done
                return
            self._trouble(
                f"stream{number}",
                "bad" if number == 0 else "warn",
                f"stream {self.sources[number].spec.name!r} is silent",
            )
        elif isinstance(event, Resumed):
            if detector := self._detectors[number]:
                if event.reconnected:
                    self._gap(detector.restart("reconnected", event.silent_s, self.counts.n_samples[number]))
                else:
                    detector.resumed(event.silent_s)
            self._trouble(f"stream{number}", "ok")
        elif isinstance(event, Ended):
            self._source_ended(number, event)

    def _samples(self, number: int, pulled: Pulled) -> None:
        first = self.counts.n_samples[number]
        self.books.raw(number, pulled)
        if self._first_look is not None:
            self._look(self._first_look, number, pulled)
        chunk = Chunk(number, first, pulled.samples, pulled.stamps_s, pulled.arrival_s)  # type: ignore[arg-type]
        self.counts.n_samples[number] = first + chunk.n
        if detector := self._detectors[number]:
            for gap in detector.receive(chunk, pulled.first_count):
                self._gap(gap)
        self._issue(chunk)
        if number == 0:
            self.stopwatch.arrived(first + chunk.n - 1, pulled.arrival_s, self._dequeued_s)

    def _look(self, look: FirstLook, number: int, pulled: Pulled) -> None:
        """The first second of a stream is judged as it passes."""
        for finding in look.take(number, pulled.samples, pulled.stamps_s):  # type: ignore[arg-type]
            self.findings.append(finding)
            if finding.level == "fail":
                raise SourceError(f"stream {finding.stream!r}: {finding.text}")
        if look.is_done:
            self._first_look = None

    def _markers(self, number: int, pulled: Pulled) -> None:
        self.books.raw(number, pulled)
        self.counts.n_samples[number] += len(pulled.stamps_s)
        for row, stamp_s in zip(pulled.samples, pulled.stamps_s.tolist(), strict=True):
            label = row[0] if isinstance(row, list) else number_label(row[0])
            if label == END_MARKER and self.sources[number].spec.group == self.sources[0].spec.group != "":
                self.ended_because = "the stream said that it has ended"
                self._issue(Control("disarm", value="the stream has ended", by="engine"))
                for source in self.sources:
                    source.finish()
            self._issue(Marker(number, label, stamp_s))

    def _source_ended(self, number: int, event: Ended) -> None:
        name = self.sources[number].spec.name
        if number == 0 and event.error is None:
            self.stop("the stream has ended")
        elif number == 0:
            self._trouble("stream0", "bad", str(event.error))
            raise event.error if isinstance(event.error, RolandicError) else SourceError(f"{name!r}: {event.error}")
        elif event.error is not None:
            self._trouble(f"stream{number}", "warn", f"stream {name!r} has ended: {event.error}")

    # --- into the session, and what follows --------------------------------------------------------------------------

    def _advance(self) -> None:
        """Every block that is ready, one at a time: decode, judge, send; then the books."""
        self.counts.max_backlog_samples = max(self.counts.max_backlog_samples, self.session.timeline.backlog)
        while self.session.n_ready and not self._is_broken:
            self._issue(Step(self.session.n_blocks))
            while self.session.n_pending:
                self._issue(Now(self.now_s()))
                if (row := self.stopwatch.lap()) is not None:
                    self.books.latency.append(row)

    def _issue(self, event: InputEvent) -> None:
        if self._is_broken:
            return
        if isinstance(event, Control) and event.action in ("arm", "disarm", "stopped", "reset"):
            self._wants_arm = False  # what people and the device host say later outweighs --arm at the start
        self.books.event(event)
        for output in self.session.receive(event):
            self._carry_out(output)

    def _carry_out(self, output: OutputEvent) -> None:
        if isinstance(output, Command):
            self.devices.send(output)
            self.stopwatch.sent()
            self.books.commands.append(output)
        elif isinstance(output, Prediction):
            self._predicted(output)
        else:
            self._changed(output)
            self.books.health.append(output)
        self.scorer.receive(output)

    def _predicted(self, prediction: Prediction) -> None:
        if prediction.marker < 0:  # an epoch may be older than the newest hop
            self._newest_s = prediction.stamp_s
            self.devices.heartbeat(prediction.hop, prediction.age_s, self.now_s())
        self.stopwatch.judged(prediction)
        self.books.hops.append(prediction)
        if self._wants_arm and not prediction.flags & ~Flag.BETWEEN_EPOCHS and self.session.health.level != "bad":
            self._wants_arm = False
            self._waiting.appendleft(Control("arm", by="command line"))

    def _changed(self, output: OutputEvent) -> None:
        """What a change of the gate, of health or of the segment means for the devices and the counts."""
        if isinstance(output, GateChange):
            if output.state in ("disarmed", "stopped"):
                self.devices.disarm("; ".join(output.reasons))
            elif output.arm_id != self._arm_id:
                self.devices.arm(output.arm_id)
            elif output.state == "recovering":  # a flag is trouble too, and no health says so
                self.devices.neutral("; ".join(output.reasons))
            self._arm_id = output.arm_id
        elif isinstance(output, Health):
            if output.level == "bad":
                self.devices.neutral("; ".join(output.reasons))
            self.counts.trouble(output.reasons)
        elif isinstance(output, SegmentStarted):
            self.counts.n_segments += 1

    def _gap(self, gap: Gap) -> None:
        if gap.verdict != "open":
            self.counts.gap(gap)
        self._issue(gap)

    def _trouble(self, source: str, level: str, reason: str = "") -> None:
        self._issue(HealthChange(source, level, reason))  # type: ignore[arg-type]

    # --- children, clock, books --------------------------------------------------------------------------------------

    def _look_after(self, now_s: float) -> None:
        for message in self.devices.poll(now_s):
            if isinstance(message, Receipt):
                self.books.commands.append(message)
                self.scorer.receipt(message)
            elif isinstance(message, Acknowledged):
                self.books.commands.append(message)
            else:
                self._device_host_changed(message)
        if (trouble := self.devices.trouble) != self._device_trouble:
            self._device_trouble = trouble
            self._trouble("device host", "bad" if trouble else "ok", trouble)
        if (trouble := self.recorder.trouble()) != self._recorder_trouble:
            self._recorder_trouble = trouble
            self._trouble("recorder", "bad" if trouble else "ok", trouble)
        if trouble:
            self.recorder.restart()  # only if it has died, and at most once a second; the queue is kept
        if now_s - self._last_tick_s >= TICK_S:
            self._last_tick_s = now_s
            if self.lease.is_lost(now_s):
                self._issue(Control("disarm", value="the window that armed it is not heard any more", by="engine"))
            if now_s - self.stopwatch.gated_s >= 2 * TICK_S:
                self._issue(Now(now_s))  # the gate must notice silence too
            self.devices.heartbeat(self.session.n_hops - 1, now_s - self._newest_s, now_s)
        self.books.write(now_s)
        self.session.settle()
        for detector in self._detectors:
            if detector is not None:
                detector.fit.settle()

    def _device_host_changed(self, state: HostState) -> None:
        """The gate mirrors the latch; a host that has died is replaced, and the new one is stopped until a reset."""
        self.books.health.append(state)
        if state.state == "stopped" and self.session.gate.name != "stopped":
            self._issue(Control("stopped", value=state.reason, by="device host"))
        elif state.state == "dead":
            self._issue(Control("disarm", value=f"the device host has died: {state.reason}", by="engine"))
            self.devices.restart()
        elif state.state == "disarmed" and state.arm_id == self._arm_id and self.session.gate.is_armed:
            self._issue(Control("disarm", value=state.reason, by="device host"))  # a device failed, or it held too long
        elif state.refused:
            self._issue(Control("disarm", value=f"arming refused: {state.refused}", by="device host"))
        elif state.state == "held":  # it may be well again by now; the gate must have seen it, to come back slowly
            self._device_trouble = f"device host holds: {state.reason}"
            self._trouble("device host", "bad", self._device_trouble)
            self._issue(Now(self.now_s()))

    def _swap(self, request: SwapRequest) -> None:
        try:
            check_swap(self.session.pipeline, request.pipeline)
        except RolandicError as error:
            self._issue(Control("note", value=f"swap refused: {error}", by="engine"))
            return
        self.pipelines[request.model_hash] = request.pipeline
        self._issue(Swap(request.model_hash, request.source))

    # --- the end -----------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Sources first, with what they still hold; then devices (neutral), then the recorder, whatever failed."""
        with contextlib.ExitStack() as always:
            for step in (self.inbox.close, self.scorer.finish, self.recorder.close, self._close_devices):
                always.callback(step)
            self._issue(Control("disarm", value="the session ends", by="engine"))  # what is drained commands nothing
            self.devices.neutral("the session ends")
            self._close_sources()

    def _close_sources(self) -> None:
        closers = [threading.Thread(target=source.close, daemon=True) for source in self.sources]
        for closer in closers:
            closer.start()
        deadline_s = time.monotonic() + CLOSE_S
        while any(c.is_alive() for c in closers) and time.monotonic() < deadline_s:
            self._drain(0.02)
        self._drain(0.0)
        for detector in self._detectors:
            for gap in detector.finish() if detector else ():
                self._gap(gap)
        with contextlib.suppress(RolandicError):
            self._advance()

    def _close_devices(self) -> None:
        for report in self.devices.close():
            if isinstance(report, Receipt):
                self.books.commands.append(report)
                self.scorer.receipt(report)
            elif isinstance(report, Acknowledged):
                self.books.commands.append(report)
            else:
                self.books.health.append(report)
        self._issue(Control("end", value=self.ended_because, by="engine"))  # replay knows by it that nothing is cut
        self.books.write(self.now_s())

    def _drain(self, timeout_s: float) -> None:
        self._take(timeout_s)
        while self._waiting:
            item = self._waiting.popleft()
            is_note = isinstance(item, Control) and item.action == "note"
            if is_note or (isinstance(item, tuple) and isinstance(item[1], Pulled | Offset | Resumed)):
                with contextlib.suppress(RolandicError):
                    self._handle(item)
                    self._advance()
        self.books.write(self.now_s())


def gap_detector(number: int, spec: StreamSpec, config: SessionConfig) -> GapDetector | None:
    """The judge of gaps for a source, by stamps or by its sample counter; None for irregular streams.

    Raises
    ------
    ConfigError
        There is no such counter channel.
    """
    if spec.is_marker_stream or spec.sfreq_hz <= 0:
        return None
    counter = config.stream.counter_channel if number == 0 else ""
    channel = channel_index(spec, "stream.counter_channel", counter)
    return GapDetector(number, spec.sfreq_hz, channel, config.stream.counter_modulo if counter else None)
