"""The task of the simulated cursor, as values: a point in a square, targets on a circle, hits and misses.

Centre-out, as in cursor control by EEG (Wolpaw & McFarland 2004, doi:10.1073/pnas.0403504101): the cursor begins in the
middle, the target is reached by staying in it, and the next begins from the middle again. x and y run from -1 to 1.
"""

from __future__ import annotations

import math
import random
from typing import Final

import msgspec
from msgspec.structs import replace

RING: Final = 0.75  # distance of the targets from the middle
DIRECTIONS: Final = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, 1.0), "down": (0.0, -1.0)}


class TaskSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``step`` of a command, ``speed`` a second at full velocity; after ``trial_s`` a target is missed."""

    n_targets: int = 4
    radius: float = 0.2
    step: float = 0.25
    speed: float = 1.0
    hold_s: float = 0.3
    trial_s: float = 15.0
    seed: int = 0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """All that the task remembers. ``until_s``: when the velocity ends by itself."""

    now_s: float
    began_s: float  # of this trial
    x: float = 0.0
    y: float = 0.0
    velocity: tuple[float, float] = (0.0, 0.0)
    until_s: float = -math.inf
    inside_since_s: float | None = None
    n_hits: int = 0
    n_misses: int = 0

    @property
    def n_trials(self) -> int:
        """Trials that are over."""
        return self.n_hits + self.n_misses


def target(settings: TaskSettings, task: Task) -> tuple[float, float]:
    """Where the target of this trial lies; the order is the seed's."""
    k = random.Random(f"{settings.seed}/{task.n_trials}").randrange(settings.n_targets)
    angle = 2 * math.pi * k / settings.n_targets
    return RING * math.cos(angle), RING * math.sin(angle)


def advance(settings: TaskSettings, task: Task, now_s: float) -> Task:
    """Let time pass: move, look whether the target is reached, begin the next trial."""
    moving_s = max(0.0, min(now_s, task.until_s) - task.now_s)
    vx, vy = task.velocity
    x, y = _inside(task.x + settings.speed * vx * moving_s, task.y + settings.speed * vy * moving_s)
    velocity = task.velocity if now_s < task.until_s else (0.0, 0.0)
    task = replace(task, now_s=now_s, x=x, y=y, velocity=velocity)
    tx, ty = target(settings, task)
    since_s = task.inside_since_s
    if math.hypot(x - tx, y - ty) > settings.radius:
        since_s = None
    elif since_s is None:
        since_s = now_s
    if since_s is not None and now_s - since_s >= settings.hold_s:
        return Task(now_s=now_s, began_s=now_s, n_hits=task.n_hits + 1, n_misses=task.n_misses)
    if now_s - task.began_s >= settings.trial_s:
        return Task(now_s=now_s, began_s=now_s, n_hits=task.n_hits, n_misses=task.n_misses + 1)
    return replace(task, inside_since_s=since_s)


def step_to(settings: TaskSettings, task: Task, direction: tuple[float, float], now_s: float) -> Task:
    """A discrete command: one step."""
    task = advance(settings, task, now_s)
    x, y = _inside(task.x + settings.step * direction[0], task.y + settings.step * direction[1])
    return advance(settings, replace(task, x=x, y=y), now_s)


def steer(settings: TaskSettings, task: Task, velocity: tuple[float, float], until_s: float, now_s: float) -> Task:
    """A velocity (1 is full speed) that ends by itself at ``until_s``."""
    return replace(advance(settings, task, now_s), velocity=velocity, until_s=until_s)


def halt(settings: TaskSettings, task: Task, now_s: float) -> Task:
    """Neutral: it stays where it is."""
    return replace(advance(settings, task, now_s), velocity=(0.0, 0.0), until_s=-math.inf)


def _inside(x: float, y: float) -> tuple[float, float]:
    return min(1.0, max(-1.0, x)), min(1.0, max(-1.0, y))
