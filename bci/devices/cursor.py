"""``cursor:[NAME][?n_targets=4&hands=up&feet=down…]``: a simulated cursor that goes to targets and keeps the score.

Commands called left, right, up and down move it by a step; others do where an option names their direction
(``hands=up``). Velocities steer it. Its state is an LSL stream NAME (``cursor`` unless said) of type ``Cursor`` that
anything can draw, one sample each 50 ms and after each command: `LABELS`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bci.devices.cursor_task import DIRECTIONS, Task, TaskSettings, advance, halt, steer, step_to, target
from bci.devices.lines import parse_url, positive
from bci.devices.lsl_outlet import outlet
from bci.errors import ConfigError, DeviceError
from bci.ports import Means
from bci.types import Command

if TYPE_CHECKING:
    import pylsl

SPELLING = "cursor:NAME, such as cursor: or cursor:practice?n_targets=8"
LABELS = ("x", "y", "vx", "vy", "target_x", "target_y", "target_radius", "n_hits", "n_misses", "left_s")


class CursorDevice:
    """The task of `cursor_task` and its stream."""

    means = Means(neutral="zero", stop="zero", loss="release")  # the picture vanishes with the host
    is_continuous = True

    def __init__(self, url: str):
        self.url = url
        numbers = dict.fromkeys(("radius", "step", "speed", "hold_s", "trial_s"), positive)
        parts, options = parse_url(url, SPELLING, {"n_targets": _count, "seed": int, **numbers}, others=_direction)
        if parts.netloc or parts.path.startswith("/"):
            raise ConfigError(f"device {url!r}: must be {SPELLING}")
        self._name = parts.path or "cursor"
        known = TaskSettings.__struct_fields__
        self._settings = TaskSettings(**{key: value for key, value in options.items() if key in known})
        self._directions = DIRECTIONS | {key: value for key, value in options.items() if key not in known}
        self._task: Task | None = None
        self._outlet: pylsl.StreamOutlet | None = None

    def open(self) -> None:
        """Begin the first trial; announce the stream. Opened again, it goes on where it was."""
        self.close()
        now_s = time.monotonic()
        self._outlet = outlet(self.url, self._name, LABELS, "Cursor")
        self._task = self._task or Task(now_s=now_s, began_s=now_s)

    def send(self, command: Command) -> str:
        """Move; the answer says where it is now."""
        if self._task is None or self._outlet is None:
            raise DeviceError(f"device {self.url} is not open")
        now_s = time.monotonic()
        if command.velocity is not None:
            until_s = now_s + command.ttl_ms / 1000
            self._task = steer(self._settings, self._task, command.velocity, until_s, now_s)
        elif command.name in self._directions:
            self._task = step_to(self._settings, self._task, self._directions[command.name], now_s)
        else:
            return f"nothing: no direction for {command.name}; say it by ?{command.name}=up"
        self._show(self._task)
        vx, vy = self._task.velocity
        return f"{command.name}: at {self._task.x:.3f} {self._task.y:.3f}, velocity {vx:.3f} {vy:.3f}"

    def check(self) -> Sequence[int]:
        """Let time pass, and say where it is."""
        if self._task is not None and self._outlet is not None:
            self._task = advance(self._settings, self._task, time.monotonic())
            self._show(self._task)
        return ()

    def neutral(self, reason: str) -> None:
        """Stop where it is."""
        if self._task is not None and self._outlet is not None:
            self._task = halt(self._settings, self._task, time.monotonic())
            self._show(self._task)

    def close(self) -> None:
        """End the stream."""
        self._outlet = None

    def _show(self, task: Task) -> None:
        assert self._outlet is not None
        left_s = self._settings.trial_s - (task.now_s - task.began_s)
        place = (task.x, task.y, *task.velocity, *target(self._settings, task))
        self._outlet.push_sample([*place, self._settings.radius, task.n_hits, task.n_misses, left_s])


def _count(text: str) -> int:
    if not (text.isdigit() and int(text) > 0):
        raise ValueError("must be a whole number above 0")
    return int(text)


def _direction(text: str) -> tuple[float, float]:
    if text not in DIRECTIONS:
        raise ValueError(f"must be one of {', '.join(DIRECTIONS)}")
    return DIRECTIONS[text]
