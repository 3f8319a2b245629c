"""How sure a gate must be for a wanted rate of false commands at rest, and what that costs. Pure counting.

Hops are correlated, so probabilities of hops say little about commands: what is counted here are the commands that a
gate gave on held-out streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from decoders.spec import FitError


class Setting(NamedTuple):
    """What is chosen: a probability, and how long it must be held."""

    threshold: float
    dwell_s: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What a gate did on a stretch of held-out stream.

    Attributes
    ----------
    n_false : int
        Commands at rest.
    rest_min : float
        Minutes of rest.
    n_trials, n_commanded, n_right : int
        Cues, those with a command before their time was over, and those whose first one was of the cued class.
    """

    n_false: int = 0
    rest_min: float = 0.0
    n_trials: int = 0
    n_commanded: int = 0
    n_right: int = 0


def total(tallies: Sequence[Tally]) -> Tally:
    """The sum of stretches."""
    fields = Tally.__dataclass_fields__
    return Tally(**{name: sum(getattr(t, name) for t in tallies) for name in fields})


def rate_per_min(tally: Tally) -> float:
    """False commands a minute of rest."""
    return tally.n_false / tally.rest_min


def upper_bound_per_min(n: int, minutes: float, level: float = 0.95) -> float:
    """One-sided exact upper limit of a Poisson rate after ``n`` events (Garwood 1936).

    After none it is -ln(1 - level) / minutes: at 95 %, the rule of three (Hanley & Lippman-Hand 1983).
    """
    from scipy.stats import chi2

    return float(chi2.ppf(level, 2 * (n + 1)) / 2 / minutes)


def choose(tallies: Mapping[Setting, Sequence[Tally]], wanted_per_min: float) -> Setting | None:
    """Of the settings whose rate is at most the wanted one, that with most right commands; None if there is none.

    Ties go to the lower rate, then to the higher threshold, then to the longer dwell.
    """
    sums = {setting: total(runs) for setting, runs in tallies.items()}
    allowed = [s for s, t in sums.items() if rate_per_min(t) <= wanted_per_min]
    return max(allowed, key=lambda s: (sums[s].n_right, -sums[s].n_false, s.threshold, s.dwell_s), default=None)


def report(tallies: Mapping[Setting, Sequence[Tally]], wanted_per_min: float) -> dict[str, Any]:
    """Choose a setting, and say how it does on runs that had no part in the choice.

    Parameters
    ----------
    tallies : mapping of Setting to one Tally a run
        All with the same runs, two or more.
    wanted_per_min : float

    Returns
    -------
    dict
        ``threshold, dwell_s, wanted_per_min``; ``rate_per_min, n_false, rest_min, upper95_per_min, coverage, risk`` of
        each run by the setting chosen on the others, together; ``is_shown``: whether the upper limit is at most the
        wanted rate; ``risk_coverage[{threshold, coverage, risk, rate_per_min}]`` at the chosen dwell, all runs.

    Raises
    ------
    FitError
        No rest in the runs, or no setting reaches the wanted rate.
    """
    n_runs = len(next(iter(tallies.values())))
    if not total(next(iter(tallies.values()))).rest_min > 0:
        raise FitError("there is no rest between the cues, so that false commands cannot be counted")
    chosen = choose(tallies, wanted_per_min)
    if chosen is None:
        best = min(rate_per_min(total(runs)) for runs in tallies.values())
        raise FitError(
            f"no threshold gives {wanted_per_min:g} false commands a minute at rest; the fewest are {best:.2g}: "
            "ask for more, or train a better decoder"
        )
    strictest = max(tallies)
    outer = []
    for k in range(n_runs):
        others = {s: [t for i, t in enumerate(runs) if i != k] for s, runs in tallies.items()}
        has_rest = total(others[strictest]).rest_min > 0
        outer.append(tallies[(choose(others, wanted_per_min) if has_rest else None) or strictest][k])
    honest = total(outer)
    bound = upper_bound_per_min(honest.n_false, honest.rest_min)
    curve = [
        {"threshold": s.threshold, **_shares(total(runs)), "rate_per_min": rate_per_min(total(runs))}
        for s, runs in sorted(tallies.items())
        if s.dwell_s == chosen.dwell_s
    ]
    return {
        "threshold": chosen.threshold,
        "dwell_s": chosen.dwell_s,
        "wanted_per_min": wanted_per_min,
        "rate_per_min": rate_per_min(honest),
        "n_false": honest.n_false,
        "rest_min": honest.rest_min,
        "upper95_per_min": bound,
        "is_shown": bound <= wanted_per_min,
        **_shares(honest),
        "risk_coverage": curve,
    }


def _shares(tally: Tally) -> dict[str, float | None]:
    """Coverage: share of cues with a command. Risk: share of those whose first was wrong."""
    return {
        "coverage": tally.n_commanded / tally.n_trials if tally.n_trials else None,
        "risk": 1 - tally.n_right / tally.n_commanded if tally.n_commanded else None,
    }
