"""`bci sweep`: settings of a decoder proposed by Optuna, each scored on every person with every seed.

A unit of work is one person with one seed under one setting; its score is kept in a folder. The next setting depends on
the scores so far and on the seed alone, so a sweep that was killed is simply run again: it proposes the same settings,
finds the scores that it has, and goes on.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np

from bci.errors import ConfigError, ModelError, RecordingError, RolandicError
from bci.offline.protocols import Protocol, cross_validate
from bci.offline.stream import subject_and_run
from bci.offline.train import TrainSettings, check_labels
from bci.offline.workers import Submit, done, map_units
from bci.types import Recording
from decoders.checkpoint import load_model
from decoders.engine import use_one_thread
from decoders.spec import DecoderError

N_UNITS_TO_PRUNE = 4  # with fewer pairs the test below cannot reach its level
P_TO_PRUNE = 0.1
N_DIGITS = 3  # of a number that was drawn, so that what is printed is what was used
_LIBRARIES = ("rolandic", "numpy", "scipy", "scikit-learn", "pyriemann", "torch")


class Range(msgspec.Struct, frozen=True):
    """Numbers from ``low`` to ``high``, both included; on a logarithmic scale, or whole ones."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False


class Choices(msgspec.Struct, frozen=True):
    """One of these, as they stand on the command line."""

    values: tuple[str, ...]


Search: TypeAlias = Range | Choices
Setting: TypeAlias = dict[str, Any]  # what was drawn, by name


class Unit(msgspec.Struct, frozen=True):
    """One person with one seed under one setting; ``key`` is a hash of all that decides the score."""

    subject: str
    recordings: tuple[Recording, ...]
    settings: TrainSettings
    protocol: Protocol
    key: str


def parse_search(text: str, kinds: Mapping[str, type]) -> tuple[str, Search]:
    """Read ``name=low..high``, ``name=low..high:log`` or ``name=one,other``.

    Parameters
    ----------
    text : str
    kinds : mapping of str to type
        What may be searched, and whether its values are int, float or anything else.

    Raises
    ------
    ConfigError
        No such name, or values that are none.
    """
    name, _, said = text.partition("=")
    name = name.removeprefix("--").replace("-", "_")
    if name not in kinds:
        raise ConfigError(f"--search {text}: there is no {name!r} to search; there are {', '.join(kinds)}")
    if ".." not in said:
        values = tuple(value for value in said.split(",") if value)
        if len(set(values)) < 2:
            raise ConfigError(f"--search {text}: give two values or more, such as {name}=A,B or {name}=LOW..HIGH")
        return name, Choices(values)
    if kinds[name] not in (int, float):
        raise ConfigError(f"--search {text}: {name} is no number; give its values, such as {name}=A,B")
    ends, _, scale = said.partition(":")
    low, _, high = ends.partition("..")
    try:
        found = Range(kinds[name](low), kinds[name](high), scale == "log", kinds[name] is int)
    except ValueError:
        kind = "whole numbers" if kinds[name] is int else "numbers"
        raise ConfigError(f"--search {text}: {low} to {high} are no {kind}") from None
    if scale not in ("", "log") or not found.low < found.high or (found.is_log and found.low <= 0):
        raise ConfigError(f"--search {text}: write LOW..HIGH with LOW below HIGH, or LOW..HIGH:log with LOW above 0")
    return name, found


def score_unit(recordings: Sequence[Recording], settings: TrainSettings, protocol: Protocol) -> dict[str, Any]:
    """Accuracy over the cued trials of one person: ``{accuracy, chance, n_trials}``; or ``{why}`` there is none."""
    use_one_thread()
    try:
        (result,) = cross_validate(recordings, settings, protocol)
    except RolandicError as error:
        return {"why": str(error)}
    return {name: result[name] for name in ("accuracy", "chance", "n_trials")}


class KeptScores:
    """Scores of units in a folder, a file each.

    Parameters
    ----------
    folder : Path
        Made where it is not there; RecordingError where that cannot be.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingError(f"--work {folder}: {error.strerror}; name a folder that can be written") from None

    def get(self, unit: Unit) -> dict[str, Any] | None:
        """The score of that unit, where it is known."""
        try:
            return msgspec.json.decode((self._folder / f"{unit.key}.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            return None

    def keep(self, unit: Unit, score: dict[str, Any]) -> None:
        """Write it; a kill leaves the whole file or none."""
        path = self._folder / f"{unit.key}.json"
        new = path.with_suffix(f".{os.getpid()}")
        about = {"subject": unit.subject, "protocol": unit.protocol, "settings": unit.settings}
        try:
            new.write_bytes(msgspec.json.encode(score | about))
            new.replace(path)
        except OSError as error:
            raise RecordingError(f"cannot write {path}: {error.strerror}; make space, then run it again") from None


def sweep(
    recordings: Sequence[Recording],
    settings_of: Callable[[Setting], TrainSettings],
    space: Mapping[str, Search],
    *,
    protocol: Protocol,
    seeds: Sequence[int],
    n_settings: int,
    seed: int,
    kept: KeptScores,
    submit: Submit,
    n_ahead: int = 1,
    each: Callable[[list[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Propose settings (tree-structured Parzen estimator, Bergstra et al. 2011) and score them.

    A setting that is worse than the best one so far on the same people and seeds (Wilcoxon's signed-rank test, at
    least four of them, p < 0.1) is given up before the rest is computed.

    Parameters
    ----------
    recordings : sequence of Recording
        Of all people. A person is one group of units, by `bci.offline.stream.subject_and_run`.
    settings_of : callable
        A setting to what is trained; ConfigError where it makes no sense, which fails that setting only.
    space : mapping of str to Range or Choices
    protocol : {"within-run", "across-runs"}
        How a person is scored.
    seeds : sequence of int
        Of the fits.
    n_settings : int
        To try, those of an earlier run into the same folder included.
    seed : int
        Of the proposals.
    kept : KeptScores
    submit, n_ahead
        Where units are computed (`bci.offline.workers.workers`), and how many at a time.
    each : callable
        Wraps the list of settings, for a progress bar.

    Returns
    -------
    dict
        ``rows[{setting, state, parameters, mean, scores[{subject, seed, accuracy, n_trials}], why}]``, the best first
        (complete, then pruned, then failed); ``best`` is the first of them; ``people, seeds, chance, n_complete,
        n_pruned, n_failed, n_units_computed, n_units_known``.

    Raises
    ------
    ConfigError
        The recordings cannot serve the protocol or the labels; Optuna is not installed.
    ModelError
        No setting could be scored.
    """
    optuna = _optuna()
    people: dict[str, list[Recording]] = {}
    for recording in recordings:
        people.setdefault(subject_and_run(recording.path)[0], []).append(recording)
    for name, mine in people.items() if protocol == "across-runs" else ():
        if len(mine) < 2:
            raise ConfigError(f"--protocol across-runs: {name} has 1 recording; at least 2 are needed")
    check_labels(recordings, settings_of({name: _any(what) for name, what in space.items()}))
    n_units = {"computed": 0, "known": 0}

    def ask(unit: Unit) -> Future[Any]:
        known = kept.get(unit)
        n_units["computed" if known is None else "known"] += 1
        return submit(score_unit, unit.recordings, unit.settings, protocol) if known is None else done(known)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=P_TO_PRUNE, n_startup_steps=N_UNITS_TO_PRUNE)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    rows = []
    for number in each(list(range(n_settings))):
        trial = study.ask()
        drawn = {name: _draw(trial, name, what) for name, what in space.items()}
        row: dict[str, Any] = {"setting": number, "state": "failed", "parameters": drawn, "mean": None, "scores": []}
        rows.append(row)
        try:
            units = [_unit(who, mine, settings_of(drawn), protocol, s) for s in seeds for who, mine in people.items()]
        except RolandicError as error:
            row["why"] = str(error)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        _score(row, units, map_units(ask, units, n_ahead), kept, trial)
        state = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}[row["state"]]
        study.tell(trial, row["mean"] if row["state"] == "complete" else None, optuna.trial.TrialState[state])
    return _result(rows, tuple(people), seeds, protocol, n_units)


def _score(row: dict[str, Any], units: Sequence[Unit], results: Any, kept: KeptScores, trial: Any) -> None:
    """Fill the row, until all units have a score, one has none, or it is not worth going on."""
    for k, (unit, result) in enumerate(zip(units, results, strict=False)):
        if "why" in result:
            row["why"] = f"{unit.subject}: {result['why']}"
            break
        kept.keep(unit, result)
        known = {name: result[name] for name in ("accuracy", "chance", "n_trials")}
        row["scores"].append({"subject": unit.subject, "seed": unit.settings.seed} | known)
        row["mean"] = float(np.mean([score["accuracy"] for score in row["scores"]]))
        trial.report(result["accuracy"], k)
        if k + 1 < len(units) and trial.should_prune():
            row["state"] = "pruned"
            break
    else:
        row["state"] = "complete"
    results.close()


def _result(
    rows: list[dict[str, Any]], people: Sequence[str], seeds: Sequence[int], protocol: str, n_units: dict[str, int]
) -> dict[str, Any]:
    states = ("complete", "pruned", "failed")
    rows = sorted(rows, key=lambda r: (states.index(r["state"]), -(r["mean"] or 0.0), r["setting"]))
    if rows[0]["state"] != "complete":
        raise ModelError(f"none of {len(rows)} settings could be scored; the first: {rows[0].get('why')}")
    return {
        "protocol": protocol,
        "people": list(people),
        "seeds": list(seeds),
        "best": rows[0],
        "chance": float(np.mean([score["chance"] for score in rows[0]["scores"]])),
        **{f"n_{state}": sum(row["state"] == state for row in rows) for state in states},
        **{f"n_units_{name}": n for name, n in n_units.items()},
        "rows": rows,
    }


def _unit(subject: str, recordings: Sequence[Recording], base: TrainSettings, protocol: Protocol, seed: int) -> Unit:
    settings = msgspec.structs.replace(base, seed=seed)
    try:
        init = load_model(settings.init).hash if settings.init else ""
    except DecoderError as error:
        raise ModelError(str(error)) from None
    parts = [settings, init, protocol, [(Path(r.path).name, r.sha256) for r in recordings]]
    parts += [version(name) for name in _LIBRARIES]
    key = hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]
    return Unit(subject, tuple(recordings), settings, protocol, key)


def _draw(trial: Any, name: str, what: Search) -> Any:
    if isinstance(what, Choices):
        return trial.suggest_categorical(name, what.values)
    if what.is_whole:
        return trial.suggest_int(name, int(what.low), int(what.high), log=what.is_log)
    drawn = float(f"{trial.suggest_float(name, what.low, what.high, log=what.is_log):.{N_DIGITS}g}")
    return min(max(drawn, what.low), what.high)


def _any(what: Search) -> Any:
    """A value of it, whichever."""
    return what.values[0] if isinstance(what, Choices) else int(what.low) if what.is_whole else what.low


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError("bci sweep needs Optuna: pip install 'rolandic[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
