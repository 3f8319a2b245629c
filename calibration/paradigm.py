"""Paradigms: what a person is shown, in which order and for how long. Pure; drawn by ``bci/gui/cues``.

Trials are balanced within blocks and shuffled by a seed. What comes next, and when, must not be foreseen: a decoder
could learn the clock instead of the person. So the rest before a cue has a random length with a flat hazard
(Luce 1986): however long one has waited, the cue is as likely to come now as before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np

from calibration.flicker import FlickerError, check_flicker

PhaseKind = Literal["pause", "rest", "cue", "imagery", "flicker", "feedback"]
REST: Final = "rest"  # markers of what is no class
PAUSE: Final = "pause"
MIN_PHASE_S: Final = 0.2  # a patch that flips at each onset makes at most 2.5 flashes a second (WCAG 2.3.1: 3)
MAX_TRIALS: Final = 5000


class ParadigmError(ValueError):
    """A paradigm that cannot be; one line that says what would work."""


class Timing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long everything lasts, in seconds, and how long a block is.

    Parameters
    ----------
    lead_s
        What to do is shown before the first trial.
    rest_s
        Shortest and longest rest before a cue; a cross is fixated meanwhile.
    cue_s
        How long the cue is shown by itself.
    imagery_s
        From the cue's onset to the end of imagination; of flicker: how long it lasts.
    feedback_s
        What was decoded is shown at the end of the trial; 0: not.
    block_per_class
        Trials of each class between two pauses.
    pause_s
        Between blocks.
    """

    lead_s: float = 5.0
    rest_s: tuple[float, float] = (1.5, 4.0)
    cue_s: float = 1.0
    imagery_s: float = 4.5
    feedback_s: float = 0.0
    block_per_class: int = 5
    pause_s: float = 10.0

    def __post_init__(self) -> None:
        for key in ("cue_s", "imagery_s"):
            _at_least(key, getattr(self, key), MIN_PHASE_S)
        for key in ("lead_s", "feedback_s", "pause_s"):
            if getattr(self, key) != 0:
                _at_least(key, getattr(self, key), MIN_PHASE_S, "or 0")
        _at_least("rest_s", self.rest_s[0], MIN_PHASE_S)
        if not self.rest_s[0] <= self.rest_s[1] < math.inf:
            raise ParadigmError(f"rest_s = {list(self.rest_s)}: must be the shortest and the longest, in this order")
        if self.block_per_class < 1:
            raise ParadigmError(f"block_per_class = {self.block_per_class}: must be 1 or more")


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch in which the screen stays as it is; ``marker`` is sent at its onset, "" is none."""

    kind: PhaseKind
    duration_s: float
    marker: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One cue; ``label`` is its class."""

    label: str
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class Paradigm:
    """All trials in order. ``frequencies_hz`` are those of the labels, in order; () where nothing flickers."""

    labels: tuple[str, ...]
    trials: tuple[Trial, ...]
    seed: int
    lead_s: float = 0.0
    frequencies_hz: tuple[float, ...] = ()

    @property
    def flickers(self) -> bool:
        """Whether a warning must be acknowledged before it is shown."""
        return bool(self.frequencies_hz)

    @property
    def phases(self) -> Iterator[tuple[int, Phase]]:
        """Each phase with the number of its trial (from 0)."""
        return ((k, phase) for k, trial in enumerate(self.trials) for phase in trial.phases)

    @property
    def duration_s(self) -> float:
        """From the beginning to the end."""
        return self.lead_s + sum(phase.duration_s for _, phase in self.phases)

    @property
    def markers(self) -> tuple[str, ...]:
        """All that are sent, in order."""
        return tuple(phase.marker for _, phase in self.phases if phase.marker)


def imagery(
    labels: Sequence[str],
    n_per_class: int,
    seed: int,
    *,
    markers: Mapping[str, str] | None = None,
    **timing: Any,
) -> Paradigm:
    """Cued imagery, as in the Graz paradigm (Pfurtscheller & Neuper 2001, doi:10.1109/5.939829): cross, cue, imagery.

    Parameters
    ----------
    labels
        Classes, such as left and right.
    n_per_class
        Trials of each.
    seed
        Of order and rests.
    markers
        What is sent for a class, such as ``{"left": "T1"}``; the class's own name otherwise.
    **timing
        Fields of `Timing`.

    Raises
    ------
    ParadigmError
        Something is out of range.
    """
    told = _timing(timing)
    called = {label: (markers or {}).get(label, label) for label in labels}
    if unknown := sorted(set(markers or {}) - set(labels)):
        raise ParadigmError(f"marker for {unknown[0]!r}: there is no such class; classes are {', '.join(labels)}")
    if len(set(called.values())) < len(called):
        raise ParadigmError(f"markers {', '.join(called.values())}: each class needs one of its own")
    cue_s = min(told.cue_s, told.imagery_s / 2)

    def trial(label: str, rest_s: float) -> list[Phase]:
        phases = [Phase("rest", rest_s, REST), Phase("cue", cue_s, called[label])]
        return [*phases, Phase("imagery", told.imagery_s - cue_s)]

    return _paradigm(labels, n_per_class, seed, told, trial)


def flicker(
    frequencies_hz: Sequence[float], n_per_class: int, seed: int, *, refresh_hz: float, **timing: Any
) -> Paradigm:
    """Targets that flicker, one of which is cued (SSVEP); classes and markers are such as ``12Hz``, which `cca` reads.

    Each lasts ``imagery_s``; the marker is sent when the flicker begins.

    Raises
    ------
    ParadigmError
        Something is out of range, or the flicker must not be shown (`calibration.flicker.check_flicker`).
    """
    try:
        check_flicker(frequencies_hz, refresh_hz)
    except FlickerError as error:
        raise ParadigmError(str(error)) from None
    if len(frequencies_hz) > 4:
        raise ParadigmError(f"{len(frequencies_hz)} frequencies: at most 4 targets stand far enough from each other")
    told = _timing(timing)

    def trial(label: str, rest_s: float) -> list[Phase]:
        return [Phase("rest", rest_s, REST), Phase("cue", told.cue_s), Phase("flicker", told.imagery_s, label)]

    labels = [f"{hz:g}Hz" for hz in frequencies_hz]
    return _paradigm(labels, n_per_class, seed, told, trial, tuple(float(hz) for hz in frequencies_hz))


def from_table(table: Mapping[str, Any], refresh_hz: float) -> Paradigm:
    """A paradigm as a TOML file says it: ``labels`` or ``frequencies_hz``, ``n_per_class``, ``seed``, and `Timing`.

    Raises
    ------
    ParadigmError
        A key is unknown, missing or out of range.
    """
    rest = dict(table)
    try:
        n_per_class, seed = rest.pop("n_per_class"), rest.pop("seed", 0)
        if not all(isinstance(n, int) for n in (n_per_class, seed)):
            raise ParadigmError(f"n_per_class = {n_per_class!r}, seed = {seed!r}: must be whole numbers")
        if "frequencies_hz" in rest and "labels" not in rest:
            return flicker(rest.pop("frequencies_hz"), n_per_class, seed, refresh_hz=refresh_hz, **rest)
        return imagery(rest.pop("labels"), n_per_class, seed, **rest)
    except KeyError as missing:
        raise ParadigmError(
            f"{missing.args[0]} is missing: a paradigm has n_per_class, and labels or frequencies_hz"
        ) from None


def _timing(values: Mapping[str, Any]) -> Timing:
    try:
        return msgspec.convert(dict(values), Timing)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ParadigmError):
            raise error.__cause__ from None
        raise ParadigmError(f"timing: {error}; known are {', '.join(Timing.__struct_fields__)}") from None


def _paradigm(
    labels: Sequence[str], n_per_class: int, seed: int, told: Timing, phases_of: Any, hz: tuple[float, ...] = ()
) -> Paradigm:
    labels = tuple(labels)
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
        raise ParadigmError(f"classes {', '.join(labels) or 'none'}: must be two or more, each with a name of its own")
    if taken := {REST, PAUSE} & set(labels):
        raise ParadigmError(f"class {min(taken)!r}: that is sent between the cues already; leave it out")
    if not 1 <= n_per_class * len(labels) <= MAX_TRIALS or n_per_class < 1:
        raise ParadigmError(f"{n_per_class} trials of each of {len(labels)} classes: from 1 to {MAX_TRIALS} in all")
    if seed < 0:
        raise ParadigmError(f"seed = {seed}: must be 0 or more")
    chance = np.random.default_rng(seed)
    trials = []
    left = n_per_class
    while left:
        block = list(labels) * min(told.block_per_class, left)
        left -= len(block) // len(labels)
        block = [block[i] for i in chance.permutation(len(block))]
        for k, label in enumerate(block, 1):
            phases = phases_of(label, _rest_s(told.rest_s, float(chance.random())))
            if told.feedback_s:
                phases.append(Phase("feedback", told.feedback_s))
            if k == len(block) and left and told.pause_s:
                phases.append(Phase("pause", told.pause_s, PAUSE))
            trials.append(Trial(label, tuple(phases)))
    return Paradigm(labels, tuple(trials), seed, told.lead_s, hz)


def _rest_s(limits_s: tuple[float, float], u: float) -> float:
    """An exponential law between the limits: its scale is half the span, which leaves 14 % that the limit cuts off."""
    low, high = limits_s
    scale = (high - low) / 2
    return low - scale * math.log1p(-u * (1 - math.exp(-2))) if scale else low


def _at_least(key: str, value: float, least: float, other: str = "") -> None:
    if not least <= value < math.inf:
        raise ParadigmError(f"{key} = {value:g}: must be at least {least:g} s{' ' + other if other else ''}")
