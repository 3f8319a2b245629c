"""The score of the cursor's task, from the stream of `bci.devices.cursor`. No Qt, no LSL."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# columns of the stream
X, Y, VX, VY, TX, TY, RADIUS, HITS, MISSES, LEFT = range(10)
KEPT = 500


@dataclass(frozen=True, slots=True)
class Attempt:
    """One target: hit or missed, in which time, on which way. ``efficiency``: the straight way over the way taken."""

    is_hit: bool
    seconds: float
    efficiency: float
    difficulty_bits: float


@dataclass
class CursorScore:
    """What a panel shows of the task.

    Attributes
    ----------
    path : list of (x, y)
        Of this attempt.
    attempts : deque of Attempt
        Those whose beginning and end were both seen.
    """

    x: float = 0.0
    y: float = 0.0
    velocity: tuple[float, float] = (0.0, 0.0)
    target: tuple[float, float] | None = None
    radius: float = 0.0
    n_hits: int = 0
    n_misses: int = 0
    left_s: float = float("nan")
    seen_s: float = float("nan")
    path: list[tuple[float, float]] = field(default_factory=list)
    attempts: deque[Attempt] = field(default_factory=lambda: deque(maxlen=KEPT))
    _began_s: float | None = None  # None: the beginning of this attempt was not seen

    def receive(self, rows: NDArray[np.floating], stamps_s: NDArray[np.float64]) -> None:
        """Rows (n, 10) of the device's stream."""
        for row, stamp_s in zip(rows, stamps_s, strict=True):
            n_hits, n_misses = int(row[HITS]), int(row[MISSES])
            change = (n_hits - self.n_hits, n_misses - self.n_misses)
            if self.target is None or min(change) < 0 or sum(change) > 1:  # the first row; a device begun anew; a loss
                self._begin(None)
            elif sum(change) == 1:
                self._take(change[0] == 1, float(stamp_s))
                self._begin(float(stamp_s))
            self.n_hits, self.n_misses = n_hits, n_misses
            self.x, self.y, self.velocity = float(row[X]), float(row[Y]), (float(row[VX]), float(row[VY]))
            self.target, self.radius = (float(row[TX]), float(row[TY])), float(row[RADIUS])
            self.left_s, self.seen_s = float(row[LEFT]), float(stamp_s)
            if not self.path or self.path[-1] != (self.x, self.y):
                self.path.append((self.x, self.y))

    def _begin(self, began_s: float | None) -> None:
        self._began_s, self.path = began_s, []

    def _take(self, is_hit: bool, ended_s: float) -> None:
        if self._began_s is None or self.target is None or not self.path:
            return
        way = sum(math.dist(a, b) for a, b in pairwise(self.path))
        straight = math.dist(self.path[0], self.path[-1])
        distance = math.dist(self.path[0], self.target)
        bits = math.log2(distance / (2 * self.radius) + 1) if self.radius else 0.0
        efficiency = straight / way if way else 0.0
        self.attempts.append(Attempt(is_hit, ended_s - self._began_s, efficiency, bits))

    # --- means over the attempts that were seen whole ----------------------------------------------------------------

    @property
    def hits(self) -> list[Attempt]:
        """Those that reached their target."""
        return [attempt for attempt in self.attempts if attempt.is_hit]

    @property
    def time_to_target_s(self) -> float:
        """Mean over hits, with the time that the target must be held; NaN without one."""
        return float(np.mean([a.seconds for a in self.hits])) if self.hits else math.nan

    @property
    def efficiency(self) -> float:
        """Mean over hits; 1 is a straight line."""
        return float(np.mean([a.efficiency for a in self.hits])) if self.hits else math.nan

    @property
    def bits_per_s(self) -> float:
        """Fitts' throughput as ISO 9241-411 defines it, here with the targets' own width; misses take time, give none.

        The difficulty of a target is log2(distance / width + 1) bits (MacKenzie 1992, doi:10.1207/s15327051hci0701_3).
        """
        seconds = sum(a.seconds for a in self.attempts)
        return sum(a.difficulty_bits for a in self.hits) / seconds if seconds else math.nan
