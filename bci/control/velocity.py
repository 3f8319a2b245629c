"""Continuous control: which way the decoder means, smoothed, and limited in speed and change. Pure.

Velocities are (x, y); 1 is full speed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from bci.errors import ConfigError

Velocity = tuple[float, float]
STILL = 0.01  # slower than this is standing still


class VelocitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a velocity follows what the decoder says.

    Parameters
    ----------
    directions : dict of str to (x, y)
        Where each class steers to; a class that is not named steers nowhere.
    smoothing_s : float
        Time constant of an exponential filter.
    max_speed : float
        Longest velocity.
    max_change : float
        Largest change of velocity a second.
    interval_s : float
        Shortest time between two proposals.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    directions: Mapping[str, Velocity]
    smoothing_s: float = 0.2
    max_speed: float = 1.0
    max_change: float = 5.0
    interval_s: float = 0.125

    def __post_init__(self) -> None:
        if not self.directions:
            raise ConfigError("gate velocity: at least one class must steer somewhere, such as left = [-1.0, 0.0]")
        for name, direction in self.directions.items():
            if not math.hypot(*direction) <= 1:
                raise ConfigError(f"gate velocity {name} = {list(direction)}: at most 1 long")
        for key in ("smoothing_s", "interval_s"):
            if not 0 <= getattr(self, key) < math.inf:
                raise ConfigError(f"gate velocity {key} = {getattr(self, key):g}: must be 0 or more")
        for key in ("max_speed", "max_change"):
            if not 0 < getattr(self, key) < math.inf:
                raise ConfigError(f"gate velocity {key} = {getattr(self, key):g}: must be above 0")


def meant(settings: VelocitySettings, classes: Sequence[str], p: Sequence[float]) -> Velocity:
    """The mean direction under the class probabilities: nowhere at chance, where directions cancel."""
    known = [(settings.directions[c], q) for c, q in zip(classes, p, strict=True) if c in settings.directions]
    return sum(d[0] * q for d, q in known), sum(d[1] * q for d, q in known)


def follow(settings: VelocitySettings, velocity: Velocity, target: Velocity, dt_s: float) -> Velocity:
    """The velocity ``dt_s`` later on its way to ``target``; also for the outputs of a regression."""
    tx, ty = _shortened(target, settings.max_speed)
    gain = 1 - math.exp(-dt_s / settings.smoothing_s) if settings.smoothing_s else 1.0
    change = gain * (tx - velocity[0]), gain * (ty - velocity[1])
    dx, dy = _shortened(change, settings.max_change * dt_s)
    x, y = _shortened((velocity[0] + dx, velocity[1] + dy), settings.max_speed)
    return (0.0, 0.0) if math.hypot(x, y) < STILL and math.hypot(tx, ty) < STILL else (x, y)


def _shortened(vector: Velocity, longest: float) -> Velocity:
    length = math.hypot(*vector)
    if not length < math.inf:  # a decoder that says nonsense steers nowhere
        return 0.0, 0.0
    scale = min(1.0, longest / length) if length else 1.0
    return vector[0] * scale, vector[1] * scale
