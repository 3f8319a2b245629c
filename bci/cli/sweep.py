"""``bci sweep``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bci.cli.common import SeveralValues, emit, output_options, progress
from bci.cli.training import settings_of, training_options
from bci.errors import ConfigError

_NOT_SEARCHED = {"stream", "unit", "rate_hz", "trigger", "seed"}  # of the training options: they are of the recordings
_N_SHOWN = 10


@click.command(cls=SeveralValues)
@click.argument("paths", nargs=-1, required=True, metavar="RECORDING...")
@click.option(
    "--labels", multiple=True, required=True, metavar="MARKER=CLASS ...", help="Which marker cues which class."
)
@click.option(
    "--search", multiple=True, required=True, metavar="OPTION=VALUES ...",
    help="An option of training, and low..high, low..high:log, or values with commas between.",
)  # fmt: skip
@click.option("--work", required=True, metavar="DIR", help="Keeps scores; the same command goes on after a kill.")
@click.option("--trials", "n_settings", type=click.IntRange(1), default=20, show_default=True, help="Settings to try.")
@click.option("--seeds", default="0", show_default=True, metavar="N,...", help="Of the fits; --seed is of the search.")
@click.option(
    "--protocol", type=click.Choice(["across-runs", "within-run"]), default="across-runs", show_default=True,
    help="How each person is scored.",
)  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True,
    help="People and seeds at a time, each in a process of its own.",
)  # fmt: skip
@click.option(
    "--cluster", type=click.Choice(["ray"]), help="Compute on Ray (here, or at RAY_ADDRESS) instead; --jobs at a time."
)
@training_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    labels: tuple[str, ...],
    search: tuple[str, ...],
    work: str,
    n_settings: int,
    seeds: str,
    protocol: Any,
    jobs: int,
    cluster: Any,
    json_path: str | None,
    quiet: bool,
    **given: Any,
) -> None:
    r"""Search settings of a decoder that suit several people, each scored within their own recordings.

    \b
    bci sweep S*R04.edf S*R08.edf --labels T1=left T2=right --decoder eegnet --work sweep --seeds 0,1 --jobs 2
              --search learning_rate=0.001..0.03:log epochs=5..20 window=2,3 "bandpass=8 30,4 40"

    A setting that is clearly worse than the best one is given up early. The best score was chosen on these people, so
    it is optimistic: confirm it by bci evaluate on others. The last line printed trains with the best setting.
    """
    from bci.offline.sweep import Choices, KeptScores, parse_search, sweep
    from bci.offline.workers import workers
    from bci.sources.files import load_recording

    searched = {p.name: p for p in ctx.command.params if p.name in given and p.name not in _NOT_SEARCHED}
    parsed = [parse_search(text, {str(name): _kind(p) for name, p in searched.items()}) for text in search]
    space = dict(parsed)
    if len(space) < len(parsed):
        raise ConfigError("--search names an option twice; give all its values at once")

    def values_of(setting: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _value(ctx, searched[name], str(value)) for name, value in setting.items()}

    for name, what in space.items():
        for value in what.values if isinstance(what, Choices) else (what.low, what.high):
            values_of({name: value})  # says now what it cannot be

    def bar(numbers: list[int]) -> Iterable[int]:
        return progress(numbers, "settings", total=len(numbers), quiet=quiet)

    fits = _seeds(seeds)
    kept = KeptScores(Path(work))
    recordings = [load_recording(path, rate_hz=given["rate_hz"]) for path in paths]
    with workers(jobs, cluster) as submit:
        result = sweep(
            recordings, lambda setting: settings_of(labels, given | values_of(setting)), space, protocol=protocol,
            seeds=fits, n_settings=n_settings, seed=given["seed"], kept=kept, submit=submit, n_ahead=jobs, each=bar,
        )  # fmt: skip
    best = values_of(result["best"]["parameters"])
    options = {"labels": labels, **_chosen(ctx, given), **best, "seed": fits[0]}
    result = {"decoder": (given | best)["decoder"], "seed": given["seed"], **result, "train": _flags(ctx, options)}
    emit(result, _text(result, list(space)), json_path, quiet)


def _kind(param: click.Parameter) -> type:
    if param.nargs != 1 or param.multiple:
        return str
    kinds = ((click.types.IntParamType, int), (click.types.FloatParamType, float))
    return next((kind for of, kind in kinds if isinstance(param.type, of)), str)


def _value(ctx: click.Context, param: click.Parameter, text: str) -> Any:
    """As if the option stood on the command line; words of an option with several values have spaces between."""
    words: Any = text.split() if param.multiple or param.nargs != 1 else text
    try:
        return param.type_cast_value(ctx, words)
    except click.BadParameter as error:
        raise ConfigError(f"--search {param.name}: {error.message.rstrip('.')}") from None


def _seeds(text: str) -> list[int]:
    try:
        return list(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError:
        raise ConfigError(f"--seeds {text}: whole numbers with commas between, such as 0,1,2") from None


def _chosen(ctx: click.Context, given: dict[str, Any]) -> dict[str, Any]:
    """The training options that the command line or --config gave."""
    sources = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    return {name: value for name, value in given.items() if ctx.get_parameter_source(name) in sources}


def _flags(ctx: click.Context, options: Mapping[str, Any]) -> list[str]:
    """The options as words of a command line."""
    params = {p.name: p for p in ctx.command.params}
    words: list[str] = []
    for name, value in options.items():
        flag = params[name].opts[0]
        if isinstance(value, bool):
            words += [flag] if value else []
        else:
            several = value if isinstance(value, tuple | list) else (value,)
            words += [flag, *("-" if one is None else str(one) for one in several)]
    return words


def _text(result: dict[str, Any], names: list[str]) -> str:
    """Settings with the best first, each once, and what the best score is worth."""
    best, seeds = result["best"], ", ".join(map(str, result["seeds"]))
    rows = {tuple(row["parameters"].items()): row for row in reversed(result["rows"])}
    shown = list(reversed(rows.values()))[:_N_SHOWN]
    cells = [["mean", "units", "state", *names]]
    cells += [
        ["-" if row["mean"] is None else f"{row['mean']:.3f}", str(len(row["scores"])), row["state"],
         *(str(row["parameters"][name]) for name in names)]
        for row in shown
    ]  # fmt: skip
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    failed = [f"setting {row['setting']} failed: {row['why']}" for row in shown if row["state"] == "failed"]
    n = len(result["rows"])
    return "\n".join(
        [
            f"{result['decoder']}, {result['protocol']}: {len(result['people'])} people, seeds {seeds}: {n} settings "
            f"({result['n_complete']} complete, {result['n_pruned']} pruned, {result['n_failed']} failed); "
            f"{result['n_units_computed']} scores computed, {result['n_units_known']} known before",
            *table,
            *failed,
            f"best {best['mean']:.3f} (chance {result['chance']:.2f}): chosen as the highest of {len(rows)} on these "
            "people, so it is optimistic; confirm it by bci evaluate on people who had no part",
            f"bci train RECORDING... {shlex.join(result['train'])} --out MODEL",
        ]
    )
