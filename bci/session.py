"""THE DATA PATH. Everything that decides a command happens here, in the order in which it happens.

Read `Session.receive` top-down. It takes one event and returns what follows from it; it reads no clock, file, thread or
random number, so the same numbered events give the same outputs: live, in replay, and offline. The shell that feeds it
is ``bci.host.engine`` (live), ``bci.recording.replay`` (recorded events), or ``bci.offline.stream`` (any recording).

A block of raw samples is computed at a `Step` event and judged by the gate at a `Now` event, never when a chunk
arrives: how a stream was chunked therefore cannot change an output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import msgspec
from numpy.typing import NDArray

from bci.control import gate
from bci.errors import ModelError
from bci.signal.markers import Markers
from bci.signal.timeline import Block, Timeline
from bci.types import (
    Chunk,
    ClockOffset,
    Control,
    Drift,
    Flag,
    Gap,
    GateChange,
    Health,
    HealthChange,
    InputEvent,
    Marker,
    MarkerExpired,
    MarkerPlaced,
    Now,
    OutputEvent,
    Prediction,
    SegmentStarted,
    Step,
    StreamSpec,
    Swap,
)

PRIME_S = 15.0  # how much raw signal is kept to prime a model that is swapped in
DRIFT_STEP = 0.1  # a change of the score that is worth a line
PRIME_BLOCKS = 5  # it gets so many blocks a step until it has caught up
_LEVELS = ("ok", "warn", "bad")


class HopModel(Protocol):
    """Filters and decoder of one model, fitted to one stream (`bci.pipeline.Pipeline`)."""

    model_hash: str
    classes: tuple[str, ...]
    block: int  # raw samples per block
    drift_limit: float  # where `drift` is too far
    n_prime_blocks: int  # blocks after which a prediction no longer depends on where the pipeline was started

    @property
    def is_epoch_model(self) -> bool: ...  # it answers markers, not hops
    def start(self, first_sample: NDArray) -> None: ...
    def step(self, samples: NDArray, n_filled: int, mark: Callable[[str], None]) -> list[tuple[NDArray, Flag]]: ...
    @property
    def bad_channels(self) -> tuple[str, ...]: ...  # inputs that carry no signal now
    @property
    def drift(self) -> float: ...  # how far the signal is from that of calibration
    @property
    def has_drifted(self) -> bool: ...  # too far
    def answers(self, label: str) -> bool: ...
    def epoch(self, n_back: int) -> tuple[NDArray, Flag, float] | None: ...


def no_mark(stage: str) -> None:
    """Latency is measured by whoever gives a better one."""


class Session:
    """Events in, outputs out.

    Parameters
    ----------
    spec
        The primary stream, whose samples define the hops.
    pipelines
        The models that a `Swap` can name, by hash; the shell adds to it before it issues the swap.
    model_hash
        The one to start with.
    settings
        Of the gate.
    primary
        Number of the primary stream in the events.
    max_fill_s
        A loss up to this long is filled by holding the last sample; a longer one starts a new segment.
    trigger
        Number of the channel whose changes are markers, if there is one; markers come from it alone then.
    mark
        Called with the name of each stage as it ends, for the latency ledger; it cannot change an output.
    """

    def __init__(
        self,
        spec: StreamSpec,
        pipelines: Mapping[str, HopModel],
        model_hash: str,
        settings: gate.GateSettings,
        *,
        primary: int = 0,
        max_fill_s: float = 0.1,
        trigger: int | None = None,
        mark: Callable[[str], None] = no_mark,
    ):
        self.spec, self.pipelines, self.primary = spec, pipelines, primary
        self.pipeline = pipelines[model_hash]
        self.settings = settings
        self.gate = gate.GateState()
        self.timeline = Timeline(primary, len(spec.channels), spec.sfreq_hz, self.pipeline.block, max_fill_s=max_fill_s)
        self.health = Health("ok")
        self._worst: Health | None = None  # bad since the last `Now`, also if all is well again
        self.n_blocks = 0
        self.n_hops = 0
        self._mark = mark
        self._troubles: dict[str, HealthChange] = {}
        self._pending: deque[Prediction] = deque()
        self._recent: deque[tuple[NDArray, int]] = deque(
            maxlen=max(1, int(PRIME_S * spec.sfreq_hz / self.pipeline.block))
        )
        self._is_paused = False
        self._incoming: tuple[HopModel, deque[tuple[NDArray, int]]] | None = None  # a model, and what primes it
        self.refusal: tuple[str, ...] = ()  # what the gate said to the last control
        self._bad_channels: tuple[str, ...] = ()
        self._has_drifted, self._said_drift = False, 0.0
        self._markers = Markers(self.timeline, trigger)
        self._on: dict[type, Callable] = {
            Chunk: self._on_chunk,
            Gap: self._on_gap,
            ClockOffset: self._on_clock_offset,
            Marker: self._on_marker,
            HealthChange: self._on_health_change,
            Control: self._on_control,
            Swap: self._on_swap,
            Step: self._on_step,
            Now: self._on_now,
        }

    def receive(self, event: InputEvent) -> list[OutputEvent]:
        """Take one event; return what follows from it, in order."""
        return self._on[type(event)](event)

    @property
    def n_ready(self) -> int:
        """Blocks that a `Step` can compute now."""
        return self.timeline.n_ready

    def settle(self) -> None:
        """Do what nobody should wait for later; changes no output."""
        self.timeline.fit.settle()

    @property
    def n_pending(self) -> int:
        """Predictions that wait for a `Now`."""
        return len(self._pending)

    # --- samples become blocks ---------------------------------------------------------------------------------------

    def _on_chunk(self, chunk: Chunk) -> list[OutputEvent]:
        if chunk.stream == self.primary:
            self.timeline.chunk(chunk)
            self._markers.chunk(chunk)
        return []

    def _on_gap(self, gap: Gap) -> list[OutputEvent]:
        if gap.stream != self.primary:
            return []
        self.timeline.gap(gap)
        if gap.verdict == "open":
            return self._on_health_change(HealthChange("gap", "bad", "a gap is being judged"))
        return self._on_health_change(HealthChange("gap", "ok"))

    def _on_clock_offset(self, offset: ClockOffset) -> list[OutputEvent]:
        if offset.stream == self.primary:
            self.timeline.clock_offset(offset)
        else:
            self._markers.clock_offset(offset)
        return []

    # --- a block becomes predictions ---------------------------------------------------------------------------------

    def _on_step(self, step: Step) -> list[OutputEvent]:
        block = self.timeline.next_block()
        outputs: list[OutputEvent] = []
        if block.is_first:
            outputs.append(SegmentStarted(block.segment, block.sample_index + 1 - block.samples.shape[1], block.reason))
            self._recent.clear()
            self._take_over()
            self.pipeline.start(block.samples[:, 0])
        self._recent.append((block.samples, block.n_filled))
        for p, flags in self.pipeline.step(block.samples, block.n_filled, self._mark):
            self._pending.append(self._prediction(block, p, flags))
            self.n_hops += 1
        for placed in self._markers.of_channel(block):
            outputs += self._placed(placed)
        outputs += self._complete_epochs(block)
        outputs += self._look_at_channels()
        outputs += self._look_at_drift()
        self.n_blocks += 1
        self._prime(block)
        return outputs

    def _look_at_channels(self) -> list[OutputEvent]:
        """Name the inputs that carry no signal: their flag alone would leave a person wondering."""
        if (bad := self.pipeline.bad_channels) == self._bad_channels:
            return []
        self._bad_channels = bad
        if not bad:
            return self._on_health_change(HealthChange("channels", "ok"))
        reason = f"channel {', '.join(bad)} carries no signal: mend it, or name it by --bad"
        return self._on_health_change(HealthChange("channels", "warn", reason))

    def _look_at_drift(self) -> list[OutputEvent]:
        """Say the score when it has changed, and sound or end the alarm."""
        outputs: list[OutputEvent] = []
        score, limit = self.pipeline.drift, self.pipeline.drift_limit
        if abs(score - self._said_drift) >= DRIFT_STEP:
            self._said_drift = score
            outputs.append(Drift(self.n_hops - 1, score, limit))
        if (has_drifted := self.pipeline.has_drifted) != self._has_drifted:
            self._has_drifted = has_drifted
            reason = (
                f"the signal has drifted from calibration ({score:.1f} deviations, limit {limit:g}): "
                "check the electrodes, or calibrate again"
            )
            change = HealthChange("drift", "bad", reason) if has_drifted else HealthChange("drift", "ok")
            outputs += self._on_health_change(change)
        return outputs

    def _prediction(self, block: Block, p: NDArray, flags: Flag) -> Prediction:
        if self._is_paused:
            flags |= Flag.PAUSED
        return Prediction(
            hop=self.n_hops,
            sample_index=block.sample_index,
            stamp_s=block.stamp_s,
            p=tuple(p.tolist()),
            flags=int(flags),
            model_hash=self.pipeline.model_hash,
        )

    def _complete_epochs(self, block: Block) -> list[MarkerExpired]:
        """Decide the markers whose epochs are whole now."""

        def decide(number: int, index: int) -> bool:
            answer = self.pipeline.epoch(block.sample_index - index)
            if answer is None:
                return False
            p, flags, end_s = answer
            hop = self._prediction(block, p, flags)
            self._pending.append(
                msgspec.structs.replace(
                    hop, hop=self.n_hops - 1, stamp_s=block.stamp_s - end_s, marker=number, marker_index=index
                )
            )
            self._mark("decoded")
            return True

        return list(self._markers.complete(decide))

    # --- a prediction becomes a proposal -----------------------------------------------------------------------------

    def _on_now(self, now: Now) -> list[OutputEvent]:
        outputs: list[OutputEvent] = []
        prediction = None
        if self._pending:
            prediction = self._pending.popleft()
            prediction = msgspec.structs.replace(prediction, age_s=now.now_s - prediction.stamp_s)
            outputs.append(prediction)
        before = self.gate
        health, self._worst = self._worst or self.health, None  # trouble that came and went must be seen too
        is_between = prediction is not None and bool(prediction.flags & Flag.BETWEEN_EPOCHS)
        evidence = None if is_between else prediction  # the gate hears of epochs, and that time goes on between them
        self.gate, command, reasons = gate.step(self.settings, self.gate, evidence, health, now.now_s)
        outputs += self._gate_change(before, reasons)
        if command is not None:
            outputs.append(command)
        self._mark("gated")
        return outputs

    def _gate_change(self, before: gate.GateState, reasons: tuple[str, ...]) -> list[OutputEvent]:
        if before.name is self.gate.name and before.arm_id == self.gate.arm_id:
            return []
        return [GateChange(self.gate.name, self.n_hops - 1, reasons, self.gate.arm_id)]

    # --- what people and other processes say -------------------------------------------------------------------------

    def _on_control(self, control: Control) -> list[OutputEvent]:
        if control.action in ("pause", "resume"):
            self._is_paused = control.action == "pause"
        if control.action == "threshold":
            self.settings = gate.with_threshold(self.settings, float(control.value))
        if control.action == "dwell":
            self.settings = gate.with_dwell(self.settings, float(control.value))
        if control.action == "command":
            return self._command_by_hand(control)
        self.gate, self.refusal = gate.control(self.settings, self.gate, control, self.health)
        if not self.refusal:
            return []
        return [GateChange(self.gate.name, self.n_hops - 1, self.refusal, self.gate.arm_id)]

    def _command_by_hand(self, control: Control) -> list[OutputEvent]:
        self.gate, command, reasons = gate.command_by_hand(
            self.settings, self.gate, control.value, control.by, self._worst or self.health, self.n_hops - 1
        )
        change = GateChange(self.gate.name, self.n_hops - 1, reasons, self.gate.arm_id)
        return [change] if command is None else [change, command]

    def _on_health_change(self, change: HealthChange) -> list[OutputEvent]:
        if change.level == "ok":
            self._troubles.pop(change.source, None)
        else:
            self._troubles[change.source] = change
        worst = max(self._troubles.values(), key=lambda t: _LEVELS.index(t.level), default=None)
        health = Health(worst.level if worst else "ok", tuple(t.reason or t.source for t in self._troubles.values()))
        if health == self.health:
            return []
        self.health = health
        if health.level == "bad":
            self._worst = health
        return [health]

    def _on_marker(self, marker: Marker) -> list[OutputEvent]:
        placed = self._markers.receive(marker)
        if isinstance(placed, MarkerPlaced):
            return self._placed(placed)
        return [placed] if placed is not None and self.pipeline.answers(marker.label) else []

    def _placed(self, placed: MarkerPlaced) -> list[OutputEvent]:
        if self.pipeline.answers(placed.label):
            self._markers.wait(placed)
        return [placed]

    # --- another model -----------------------------------------------------------------------------------------------

    def _on_swap(self, swap: Swap) -> list[OutputEvent]:
        new = self.pipelines[swap.model_hash]
        check_swap(self.pipeline, new)
        if swap.model_hash == self.pipeline.model_hash:  # it decides already: whoever was to follow does not
            self._incoming = None
            return []
        if self._incoming is not None and swap.model_hash == self._incoming[0].model_hash:
            return []
        recent = deque(list(self._recent)[-new.n_prime_blocks :])
        self._incoming = (new, recent)
        if recent:  # it starts where its answer no longer depends on the start, as far as signal is there
            new.start(recent[0][0][:, 0])
        else:
            self._take_over()
        return []

    def _prime(self, block: Block) -> None:
        """Feed a model that is coming in, a few blocks a step, so that no hop waits for it; then it decides."""
        if self._incoming is None:
            return
        new, recent = self._incoming
        recent.append((block.samples, block.n_filled))
        for _ in range(min(PRIME_BLOCKS, len(recent))):
            new.step(*recent.popleft(), no_mark)
        if not recent:
            self._take_over()

    def _take_over(self) -> None:
        if self._incoming is not None:
            self.pipeline, self._incoming = self._incoming[0], None


def check_swap(old: HopModel, new: HopModel) -> None:
    """A model may take over in a running session if it counts hops alike and names the same classes.

    Raises
    ------
    ModelError
        It names what differs.
    """
    if new.block != old.block:
        raise ModelError(
            f"the new model computes every {new.block} samples, the running one every {old.block}: train with that hop"
        )
    if new.is_epoch_model != old.is_epoch_model:
        kinds = ("every hop", "markers")
        raise ModelError(
            f"the new model answers {kinds[new.is_epoch_model]}, the running one {kinds[old.is_epoch_model]}: "
            "swap like for like, or start a session with it"
        )
    if new.classes != old.classes:
        raise ModelError(
            f"the new model has classes {', '.join(new.classes)}, the running one {', '.join(old.classes)}"
        )


def advance(session: Session, now_s: Callable[[], float]) -> Iterator[tuple[InputEvent, list[OutputEvent]]]:
    """Compute and judge all that is ready: the inner loop of every shell. Yields each event with its outputs."""
    while session.n_ready:
        step = Step(session.n_blocks)
        yield step, session.receive(step)
        while session.n_pending:
            now = Now(now_s())
            yield now, session.receive(now)
