"""What is shown, in plain words: streams, scores, sessions, replays. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bci.types import BRAIN, StreamSpec
from bci.units import UNITS
from calibration.stats import accuracy_interval

NO_STREAM = (
    "No stream found. Is the amplifier's LSL app running and streaming? On another machine: is it in the same network, "
    "and does the firewall let LSL through (UDP 16571-16604)? To try without hardware: Simulated person."
)
NO_MODEL = "No model yet. Calibrate first: it takes a few minutes and makes one."
NO_SESSION = "No session recorded yet. Run one, or open the folder of another."


@dataclass(frozen=True, slots=True)
class Score:
    """A held-out score, and what guessing would give."""

    accuracy: float
    low: float
    high: float
    chance: float
    chance_low: float
    chance_high: float
    n: int

    @property
    def level(self) -> str:
        """``ok`` where luck does not explain it, ``warn`` where it may, ``bad`` where guessing does as well."""
        if self.accuracy > self.chance_high:
            return "ok"
        return "warn" if self.accuracy > self.chance else "bad"


def percent(share: float) -> str:
    """As people read it."""
    return f"{100 * share:.0f}\u00a0%"


def score_of(scores: dict[str, Any] | None) -> Score | None:
    """Of a model's ``scores``; None where it has none that can be shown."""
    try:
        assert scores is not None
        n, accuracy = int(scores["n_trials"]), float(scores["accuracy"])
        low, high = accuracy_interval(round(accuracy * n), n)
        return Score(accuracy, low, high, float(scores["chance"]), *map(float, scores["chance_band"]), n)
    except (AssertionError, KeyError, TypeError, ValueError):
        return None


def score_words(score: Score) -> tuple[str, str]:
    """A headline, and what it means and what to do."""
    right, by_luck = round(score.accuracy * score.n), percent(score.chance_high)
    numbers = (
        f"{right} of {score.n} trials it had not seen were decoded right: {percent(score.accuracy)}, with 95\u00a0% "
        f"confidence between {percent(score.low)} and {percent(score.high)}. Guessing gets {percent(score.chance)}, "
        f"and with luck up to {by_luck}."
    )
    if score.level == "ok":
        return "It works: better than guessing", f"{numbers} You can run a session with it now."
    if score.level == "warn":
        return "Not shown yet: luck may explain it", f"{numbers} Record more trials, and train again on all of them."
    return (
        "It does not work: no better than guessing",
        f"{numbers} Check the electrodes over the hand areas (C3, C4), imagine how the movement feels rather than how "
        "it looks, and calibrate again.",
    )


def rate(spec: StreamSpec) -> str:
    """Rate of a stream."""
    return f"{spec.sfreq_hz:g} Hz" if spec.sfreq_hz else "irregular"


def stream_line(spec: StreamSpec) -> str:
    """Type, channels, rate and host."""
    n = len(spec.channels)
    return f"{spec.type or 'no type'}  ·  {n} channel{'s' * (n != 1)}  ·  {rate(spec)}  ·  {spec.hostname or 'no host'}"


def lacks_unit(spec: StreamSpec) -> bool:
    """Whether the person has to say the unit, for the stream does not."""
    return any(c.unit not in UNITS for c in spec.channels if c.type.upper() in BRAIN)


def data_line(n_samples: int, rate_hz: float, age_s: float) -> tuple[str, str]:
    """What the picked stream sends: level, and words. The rate is NaN as long as it is not known."""
    if not n_samples:
        return "warn", "nothing yet: is the device on and sending?"
    if age_s > 2.0:
        return "fail", f"silent for {age_s:.0f} s: is the device still on?"
    newest = "just now" if age_s < 0.5 else f"{age_s:.1f} s ago"
    how_many = "" if math.isnan(rate_hz) else f" {rate_hz:.0f} samples a second"
    return "ok", f"sending{how_many}, the newest {newest}"


def duration(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"


def session_words(told: dict[str, Any]) -> str:
    """One session in a line; of ``run.json``."""
    if not told:
        return "it left no report: it was cut off, or still runs"
    lost = told.get("n_samples_lost", 0)
    parts = [f"{lost} samples lost" if lost else "nothing lost", f"{told.get('n_commands_sent') or 0} commands sent"]
    if told.get("n_trials"):
        parts.append(f"{percent(told['accuracy'])} of {told['n_trials']} trials (chance {percent(told['chance'])})")
    return "  ·  ".join(parts)


def replay_words(result: dict[str, Any]) -> tuple[str, str, str]:
    """Level, headline and details of ``bci replay --verify``."""
    n, k = result.get("n_predictions", 0), result.get("n_commands", 0)
    checked = f"{n} predictions and {k} commands were computed again from the recorded samples and compared."
    differences = result.get("n_differences", 0)
    if differences:
        first = result.get("first_difference") or {}
        return (
            "fail",
            f"{differences} differences",
            f"{checked} The first is {first.get('kind', '')} {first.get('index', '')}. A changed recording, another "
            "version of the program, or a fault: keep the folder, and look at the report.",
        )
    largest = result.get("max_abs_dp", 0.0)
    how = ", bit for bit" if result.get("bitwise") else ""
    near = (
        f" Probabilities agree within {largest:.0e}: equal bits are promised where it was recorded." if not how else ""
    )
    tails = result.get("n_tail_recorded", 0) + result.get("n_tail_replayed", 0)
    cut = f" {tails} predictions at the end have no counterpart: the session was cut off." if tails else ""
    return "ok", f"0 differences{how}", f"{checked}{near}{cut}"
