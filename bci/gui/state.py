"""What a window knows of a session, gathered from the session's own streams. No Qt, no LSL."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.gui.cursor_score import CursorScore
from bci.types import Flag

HISTORY_S = 60.0
N_LATENCIES = 3000
N_COMMANDS = 50
N_LINES = 500
# columns of bci-hops before the probabilities, and of bci-latency
HOP, SAMPLE, STAMP, AGE, FLAGS, MARKER, MARKER_INDEX, P = range(8)
STAGES = ("arrival", "dequeued", "filtered", "decoded", "gated", "sent")


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened: when (s, LSL clock), of what kind, and in words. ``level``: ok, warn, bad or info."""

    at_s: float
    kind: str
    text: str
    level: str = "info"


@dataclass
class Sent:
    """A command, and what became of it; times of the LSL clock, None as long as it is not known."""

    name: str
    asked_s: float
    sent_s: float | None = None
    heard_s: float | None = None
    what: str = ""

    def row(self) -> tuple[str, str, str, str]:
        """As a table shows it."""
        sent, heard = (
            "" if at_s is None else f"{1000 * (at_s - self.asked_s):.1f} ms" for at_s in (self.sent_s, self.heard_s)
        )
        return self.name, sent, heard, self.what


@dataclass
class SessionState:
    """All panels draw from it.

    Attributes
    ----------
    hops : deque of (stamp_s, probabilities, flags)
        Of the last minute.
    latency_s : deque of ndarray, shape (6,)
        Duration of each stage of `STAGES` of the last hops; NaN where there was none.
    """

    classes: tuple[str, ...] = ()
    threshold: float = 0.8
    release: float | None = None
    dwell_s: float = 0.5
    rest: str | None = None
    model: str = ""
    session: str = ""
    gate: str = "unknown"
    gate_reasons: tuple[str, ...] = ()
    arm_id: int = 0
    health: str = "unknown"
    health_reasons: tuple[str, ...] = ()
    age_s: float = float("nan")
    n_hops: int = 0
    n_flagged: int = 0
    drift: float = 0.0
    is_paused: bool = False
    drift_limit: float = float("inf")
    n_commands: int = 0
    n_lost: int = 0
    hops: deque[tuple[float, NDArray[np.float64], int]] = field(default_factory=lambda: deque(maxlen=4096))
    markers: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=1000))
    gaps: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=N_LINES))
    offsets: dict[int, dict[str, float]] = field(default_factory=dict)
    streams: tuple[str, ...] = ()
    latency_s: deque[NDArray[np.float64]] = field(default_factory=lambda: deque(maxlen=N_LATENCIES))
    is_steering: bool = False
    commands: dict[int, Sent] = field(default_factory=dict)  # the last ones, by number
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=N_LINES))
    cursor: CursorScore = field(default_factory=CursorScore)

    def describe(self, metadata: str, hop_labels: list[str]) -> None:
        """Take the session's configuration, as the header of ``bci-events`` has it, and the classes of ``bci-hops``."""
        self.classes = tuple(label.removeprefix("p_") for label in hop_labels[P:])
        try:
            about = json.loads(metadata)
            config = tomllib.loads(about.get("config", ""))
        except ValueError:
            return
        gate = config.get("gate", {})
        self.threshold = float(gate.get("threshold", self.threshold))
        self.release = gate.get("release")
        self.dwell_s = float(gate.get("dwell_s", self.dwell_s))
        self.is_steering = bool(config.get("velocity", {}).get("directions"))
        self.rest = gate.get("rest", "rest" if "rest" in self.classes else None)
        self.model = str(about.get("model_hash", ""))[:12]
        self.streams = (str(about.get("primary", {}).get("name", "")),)

    # --- the session's streams, by name ------------------------------------------------------------------------------

    def receive(self, stream: str, rows: Any, stamps_s: NDArray[np.float64]) -> None:
        """Rows of one of the ``bci-`` streams: numbers (n, columns), or lines of JSON."""
        if not len(stamps_s):
            return
        if stream == "bci-hops":
            self._hops(np.asarray(rows, float), stamps_s)
        elif stream == "bci-latency":
            self._latency(np.asarray(rows, float))
        elif stream in ("bci-health", "bci-commands", "bci-events"):
            for row, at_s in zip(rows, stamps_s, strict=True):
                try:
                    said = json.loads(row[0])
                except ValueError:
                    continue
                said = said.get("event", said)
                handler = getattr(self, f"_on_{said.get('kind')}", None)
                if handler is not None:
                    handler(said, float(at_s))

    def _hops(self, rows: NDArray[np.float64], stamps_s: NDArray[np.float64]) -> None:
        self.is_paused = bool(int(rows[-1, FLAGS]) & Flag.PAUSED)  # also for a window that came later
        for row, stamp_s in zip(rows, stamps_s, strict=True):
            self.hops.append((float(stamp_s), row[P:], int(row[FLAGS])))
            self.n_flagged += int(row[FLAGS]) != 0
        self.n_hops, self.age_s = int(rows[-1, HOP]) + 1, float(rows[-1, AGE])

    def _latency(self, rows: NDArray[np.float64]) -> None:
        times = rows[:, 1:8].copy()
        times[times[:, 6] == 0, 6] = np.nan
        self.latency_s.extend(np.diff(times, axis=1))

    def say(self, at_s: float, kind: str, text: str, level: str = "info") -> None:
        """Add a line to the log."""
        self.lines.append(Line(at_s, kind, text, level))

    def _on_gate(self, said: dict[str, Any], at_s: float) -> None:
        changed = said["state"] != self.gate
        self.gate, self.gate_reasons = said["state"], tuple(said.get("reasons", ()))
        self.arm_id = said.get("arm_id", 0)
        if changed and self.gate in ("armed", "disarmed", "stopped", "recovering"):
            level = {"armed": "ok", "stopped": "bad", "recovering": "warn"}.get(self.gate, "info")
            self.say(at_s, "gate", " – ".join((self.gate, *self.gate_reasons)), level)

    def _on_health(self, said: dict[str, Any], at_s: float) -> None:
        if (said["level"], tuple(said["reasons"])) != (self.health, self.health_reasons):
            self.say(at_s, "health", "; ".join(said["reasons"]) or said["level"], said["level"])
        self.health, self.health_reasons = said["level"], tuple(said["reasons"])

    def _on_drift(self, said: dict[str, Any], at_s: float) -> None:
        self.drift, self.drift_limit = said["score"], said["limit"]

    def _on_segment(self, said: dict[str, Any], at_s: float) -> None:
        self.say(at_s, "segment", f"a new segment begins: {said.get('reason') or 'start'}")

    def _on_gap(self, said: dict[str, Any], at_s: float) -> None:
        if said["verdict"] == "open":
            return
        self.gaps.append({**said, "at_s": at_s})
        if said["stream"] == 0:
            self.n_lost += said["n"]
        level = "info" if said["verdict"] == "late" else "warn"
        n = f"{said['n']} samples" if said["n"] else f"{1000 * said['duration_s']:.0f} ms"
        self.say(at_s, "gap", f"{said['verdict']}: {n} at sample {said['first_index']}", level)

    def _on_marker(self, said: dict[str, Any], at_s: float) -> None:
        self.markers.append((said["stamp_s"], said["label"]))

    def _on_control(self, said: dict[str, Any], at_s: float) -> None:
        if said["action"] == "threshold":
            self.threshold = float(said["value"])
        if said["action"] == "dwell":
            self.dwell_s = float(said["value"])
        if said["action"] in ("pause", "resume"):
            self.is_paused = said["action"] == "pause"
        self.say(at_s, "control", " ".join(filter(None, (said["action"], said.get("value"), f"({said.get('by')})"))))

    def _on_swap(self, said: dict[str, Any], at_s: float) -> None:
        self.model = said["model_hash"][:12]
        self.say(at_s, "model", f"now model {self.model}", "ok")

    def _on_clock_offset(self, said: dict[str, Any], at_s: float) -> None:
        self.offsets[said["stream"]] = {
            "offset_s": said["offset_s"],
            "uncertainty_s": said["uncertainty_s"],
            "at_s": at_s,
        }

    def _on_command(self, said: dict[str, Any], at_s: float) -> None:
        self.n_commands += 1
        by = " (by hand)" if said.get("by_hand") else ""
        if said.get("velocity") is None:  # one every hop would fill the log
            self.say(at_s, "command", f"asked: {said['name']}{by}", "ok")
        self.commands[said["id"]] = Sent(said["name"] + by, said["issued_s"])
        while len(self.commands) > N_COMMANDS:
            del self.commands[next(iter(self.commands))]

    def _on_acknowledged(self, said: dict[str, Any], at_s: float) -> None:
        if command := self.commands.get(said["command_id"]):
            command.heard_s = said["heard_s"]

    def _on_receipt(self, said: dict[str, Any], at_s: float) -> None:
        command = self.commands.get(said["command_id"])
        if command is not None:
            command.sent_s = said.get("sent_s") or None
            command.what = ", ".join(said["sent"]) if said["accepted"] else f"refused: {said['reason']}"
        if said["accepted"] and self.is_steering:
            return
        if said["accepted"]:
            self.say(
                at_s, "device", f"sent: {', '.join(said['sent'])}" + (f" ({said['reason']})" if said["reason"] else "")
            )
        else:
            self.say(at_s, "device", f"refused: {said['reason']}", "warn")

    def _on_marker_expired(self, said: dict[str, Any], at_s: float) -> None:
        self.say(at_s, "marker", f"{said['label']} gets no answer: {said['reason']}", "warn")

    # --- for panels --------------------------------------------------------------------------------------------------

    def stage_percentiles_ms(self) -> NDArray[np.float64]:
        """p50, p95, p99 and largest of each stage: (6, 4) ms; NaN where nothing was measured."""
        if not self.latency_s:
            return np.full((len(STAGES), 4), np.nan)
        rows = 1000 * np.array(self.latency_s)
        result = np.full((len(STAGES), 4), np.nan)
        for stage in range(len(STAGES)):
            values = rows[np.isfinite(rows[:, stage]), stage]
            if len(values):
                result[stage] = [*np.percentile(values, (50, 95, 99)), values.max()]
        return result

    def late_hops(self) -> tuple[int, int]:
        """Of the last hops, how many took longer than a hop lasts (deadline misses), and how many there are.

        Counted from arrival to the gate, without the way to here.
        """
        if len(self.hops) < 2 or not self.latency_s:
            return 0, 0
        stamps = [s for s, _, _ in itertools.islice(reversed(self.hops), 20)]
        hop_s = float(np.median(-np.diff(stamps)))
        spent_s = np.nansum(np.array(self.latency_s)[:, 1:5], axis=1)
        return int((spent_s > hop_s).sum()), len(spent_s)

    def dwell(self) -> tuple[str, float]:
        """The class that is above the threshold now, and for how long without a break, in s."""
        if not self.hops or not self.classes:
            return "", 0.0
        last = int(np.argmax(self.hops[-1][1]))
        name = self.classes[last]
        if self.hops[-1][1][last] < self.threshold or self.hops[-1][2] or name == self.rest:
            return "", 0.0
        since_s = self.hops[-1][0]
        for stamp_s, p, flags in reversed(self.hops):
            if flags or p[last] < self.threshold:
                break
            since_s = stamp_s
        return name, self.hops[-1][0] - since_s
