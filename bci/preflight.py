"""What is wrong with a stream before a session relies on it, in words for the person who has to mend it. Pure.

Three looks: at what is visible when a stream is missing (`why_missing`), at what it says of itself (`mismatches`),
and at the first second of its samples (`FirstLook`), which are those of the session: nothing is sampled twice or thrown
away.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.config import ExpectSection
from bci.signal.montage import same_label
from bci.types import BRAIN, StreamSpec
from bci.units import UNITS, flat_threshold

LOOK_S = 1.0
RATE_TOLERANCE = 0.05  # of the nominal rate, over one second
STATED_TOLERANCE = 1e-3  # of a rate that is only said
BACKWARD_S = 0.5  # stamps that go back by less jitter, and are smoothed
NAMELESS = "it does not name its {} channels, so nobody knows their order: name them in order by labels under [stream]"
_LISTED = 6


class Finding(msgspec.Struct, frozen=True):
    """One line of the preflight: ``fail`` refuses, ``warn`` is said and recorded."""

    level: Literal["ok", "warn", "fail"]
    stream: str
    text: str

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.level:<5}{self.stream}: {self.text}"


def fits(expected: ExpectSection, spec: StreamSpec) -> bool:
    """Whether a stream is the one that is meant."""
    asked = ((expected.name, spec.name), (expected.type, spec.type), (expected.source_id, spec.source_id))
    return all(not wanted or wanted == has for wanted, has in asked)


def why_missing(
    name: str, type_: str, source_id: str, seen: Sequence[StreamSpec], *, this_host: str, has_known_peers: bool
) -> str:
    """The likeliest cause that a stream is not found, by what else is visible, and what to do about it."""
    if not seen:
        where = "" if has_known_peers else "; on another machine: name it under KnownPeers in lsl_api.cfg"
        return (
            "no LSL stream is visible at all: its program is not started or not yet streaming, or a firewall blocks "
            f"UDP multicast and the ports from 16571 on{where}"
        )
    same_name = [s for s in seen if name and s.name == name]
    if same_name and type_ and all(s.type != type_ for s in same_name):
        return f"{name!r} is there, but of type {_listed({s.type for s in same_name})}: ask for that type"
    if same_name and source_id:
        return f"{name!r} is there, but with source_id {_listed({s.source_id for s in same_name})}: ask for that one"
    near = difflib.get_close_matches(name.casefold(), [s.name.casefold() for s in seen], 1, 0.6) if name else []
    if near:
        found = next(s.name for s in seen if s.name.casefold() == near[0])
        return f"there is {found!r}: if that is meant, ask for it by this name"
    if type_ and not name:
        return f"types there are {_listed({s.type for s in seen})}: ask for one of them, or start its program"
    if all(s.hostname == this_host for s in seen) and not has_known_peers:
        return (
            "only streams of this machine are visible: start its program, or, if it runs on another machine, let "
            "multicast through the firewall or name that machine under KnownPeers in lsl_api.cfg"
        )
    return "its program is not started, or not yet streaming: start it, or ask for one that is there"


def mismatches(expected: ExpectSection, spec: StreamSpec) -> list[str]:
    """What a stream says of itself against what was expected; empty when all is as it should be."""
    found = []
    if expected.sfreq_hz is not None and abs(spec.sfreq_hz - expected.sfreq_hz) > STATED_TOLERANCE * expected.sfreq_hz:
        found.append(
            f"it says {spec.sfreq_hz:g} Hz, {expected.sfreq_hz:g} Hz is expected: set the rate in its program, or "
            "expect.sfreq_hz to what it has"
        )
    if expected.channels is not None:
        found += _channel_mismatch(expected.channels, spec)
    elif expected.need == "critical" and not names_channels(spec) and not spec.is_marker_stream:
        found += [NAMELESS.format(len(spec.channels))]
    if expected.unit is None and expected.need == "critical" and _lacks_unit(spec):
        found.append("it does not say in which unit its samples are: set unit under [stream] if you know it")
    elif expected.unit is not None:
        units = {c.unit for c in spec.channels}
        if "" in units:
            found.append(
                f'it does not say in which unit its samples are, {expected.unit} is expected: set unit = "'
                f'{expected.unit}" under [stream] if you know it'
            )
        elif units != {expected.unit}:
            found.append(f"it is in {_listed(units)}, {expected.unit} is expected: change one of them")
    return found


def _channel_mismatch(wanted: Sequence[str], spec: StreamSpec) -> list[str]:
    if not names_channels(spec):
        return [NAMELESS.format(len(spec.channels))]
    has = spec.labels
    if [same_label(c) for c in has] == [same_label(c) for c in wanted]:
        return []
    if missing := [c for c in wanted if same_label(c) not in {same_label(h) for h in has}]:
        return [f"channel {_listed(missing)} is missing; it has {_listed(has)}"]
    if len(has) != len(wanted):
        return [f"it has {len(has)} channels, {len(wanted)} are expected: {_listed(c for c in has if c not in wanted)}"]
    i = next(i for i, (a, b) in enumerate(zip(has, wanted, strict=True)) if same_label(a) != same_label(b))
    return [f"its channels come in another order: number {i + 1} is {has[i]}, {wanted[i]} is expected"]


def _lacks_unit(spec: StreamSpec) -> bool:
    return any(c.unit not in UNITS for c in spec.channels if c.type.upper() in BRAIN)


def names_channels(spec: StreamSpec) -> bool:
    """Whether the labels are the stream's own, and not numbers that stand for missing ones."""
    return spec.labels != tuple(f"ch{i + 1}" for i in range(len(spec.channels)))


def remarks(spec: StreamSpec) -> list[Finding]:
    """What will hurt later, though nothing is wrong now."""
    said = []
    if not spec.source_id and not spec.is_marker_stream:
        said.append("it has no source_id: when its program restarts, the session ends; set one in the program")
    if not spec.sfreq_hz and not spec.is_marker_stream:
        said.append("it has no regular rate, so its first second is not judged, and no decoder runs on it")
    return [Finding("warn", spec.name, text) for text in said]


class FirstLook:
    """The first second of every signal of a session, judged once; the samples go on to the session as they are.

    Parameters
    ----------
    specs
        Of the sources, by number.
    expected
        For each, what ``session.toml`` expects of it, or None.
    """

    def __init__(self, specs: Sequence[StreamSpec], expected: Sequence[ExpectSection | None]):
        self._specs, self._expected = specs, expected
        self._parts: dict[int, list[tuple[NDArray[Any], NDArray[np.float64]]]] = {
            n: [] for n, spec in enumerate(specs) if spec.sfreq_hz > 0 and not spec.is_marker_stream
        }

    @property
    def is_done(self) -> bool:
        """Whether every signal has been judged."""
        return not self._parts

    def take(self, number: int, samples: NDArray[Any], stamps_s: NDArray[np.float64]) -> list[Finding]:
        """Look at what came; findings when the second of that stream is whole, else none."""
        if number not in self._parts:
            return []
        self._parts[number].append((samples, stamps_s))
        n = sum(len(s) for _, s in self._parts[number])
        return self._judge(number) if n > LOOK_S * self._specs[number].sfreq_hz else []

    def finish(self) -> list[Finding]:
        """Judge what never had its second."""
        return [finding for number in list(self._parts) for finding in self._judge(number)]

    def _judge(self, number: int) -> list[Finding]:
        parts, spec, expected = self._parts.pop(number), self._specs[number], self._expected[number]
        bad: Literal["warn", "fail"] = "fail" if expected is not None and expected.need == "critical" else "warn"
        n = sum(len(s) for _, s in parts)
        if n < LOOK_S * spec.sfreq_hz / 2:
            text = f"{n} samples came, {spec.sfreq_hz * LOOK_S:g} a second should: is its device on and sending?"
            return [Finding(bad, spec.name, text)]
        samples = np.concatenate([np.asarray(s) for s, _ in parts])
        stamps_s = np.concatenate([s for _, s in parts])
        found = [
            Finding(bad if is_bad else "warn", spec.name, text)
            for text, is_bad in _rate_problem(stamps_s, spec.sfreq_hz)
        ]
        found += [Finding("warn", spec.name, text) for text in _sample_problems(samples, spec)]
        if not found:
            rate_hz = _rate_hz(stamps_s)
            found = [Finding("ok", spec.name, f"{len(spec.channels)} channels, {rate_hz:.4g} Hz in the first second")]
        return found


def _rate_hz(stamps_s: NDArray[np.float64]) -> float:
    """Slope of the stamps, which a late first or last sample does not bend much."""
    steps = np.arange(len(stamps_s)) - (len(stamps_s) - 1) / 2
    slope = float(steps @ (stamps_s - stamps_s.mean()) / (steps @ steps))
    return 1 / slope if slope > 0 else 0.0


def _rate_problem(stamps_s: NDArray[np.float64], nominal_hz: float) -> list[tuple[str, bool]]:
    """What is wrong, and whether it is more than jitter."""
    back_s = -float(np.diff(stamps_s).min(initial=0.0))
    if back_s > BACKWARD_S:
        return [
            (
                f"its time stamps go back by {back_s:.3g} s: its clock was set, or two programs send under one name",
                True,
            )
        ]
    rate_hz = _rate_hz(stamps_s)
    if abs(rate_hz / nominal_hz - 1) > RATE_TOLERANCE:
        text = f"it says {nominal_hz:g} Hz but sends {rate_hz:.4g} Hz: set the rate in its program, or look for losses"
        return [(text, True)]
    if back_s > 0:
        return [(f"its time stamps jitter, and go back by up to {1000 * back_s:.3g} ms: they are smoothed", False)]
    return []


def _sample_problems(samples: NDArray[Any], spec: StreamSpec) -> list[str]:
    found, labels = [], np.array(spec.labels)
    x = samples.astype(np.float64)
    is_finite = np.isfinite(x).all(axis=0)
    if not is_finite.all():
        found.append(f"NaN or inf in channel {_listed(labels[~is_finite])}: is it plugged in?")
    is_signal = np.array([c.type.upper() not in ("STIM", "MISC", "AUX") for c in spec.channels])
    flat = np.array([flat_threshold(c.unit) if c.unit in UNITS else 0.0 for c in spec.channels])
    is_flat = is_finite & is_signal & (np.ptp(np.where(is_finite, x, 0), axis=0) <= flat)
    if is_flat.any():
        who = "all channels are" if is_flat[is_signal].all() else f"channel {_listed(labels[is_flat])} is"
        found.append(f"{who} flat: is the electrode on, and the amplifier not in a test mode?")
    return found


def _listed(names: Any) -> str:
    names = sorted({str(n) for n in names}) if isinstance(names, set) else [str(n) for n in names]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(name or "none" for name in names[:_LISTED]) + more
