"""What every verb shares: ``--json``, ``--quiet``, and progress that appears on a terminal only.

Two variables of the environment are for a program that starts a verb as its child, as the start page does:
``ROLANDIC_PROGRESS=lines`` prints progress as lines on standard error, and ``ROLANDIC_TIED=1`` ends a verb that would
go on by itself when its standard input ends, for that happens on every system, however its starter ended.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from bci.errors import RecordingError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def output_options(function: F) -> F:
    """Add ``--json PATH|-`` and ``--quiet``."""
    function = click.option(
        "--quiet", is_flag=True, help="Print nothing but errors (and the JSON that was asked for)."
    )(function)
    return click.option(
        "--json",
        "json_path",
        metavar="PATH|-",
        callback=writable,
        help="Write the result as one JSON object.",
    )(function)


def rate_option(function: F) -> F:
    """Add ``--rate``, what a recording leaves open."""
    return click.option(
        "--rate",
        "rate_hz",
        type=click.FloatRange(0, min_open=True),
        metavar="HZ",
        help="Rate of EEG or MEG that does not tell it.",
    )(function)


class SeveralValues(click.Command):
    """Lets ``--labels T1=left T2=right`` stand as people write it: click knows only one value, or a fixed number.

    An option that may be repeated takes all values up to the next option.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option in front of each of its values."""
        several = {o for p in self.params if isinstance(p, click.Option) and p.multiple for o in p.opts}
        spread: list[str] = []
        option = ""
        for arg in args:
            if arg.startswith("--"):
                option = arg if arg in several else ""
                spread += [] if option else [arg]
            else:
                spread += [option, arg] if option else [arg]
        return super().parse_args(ctx, spread)


def writable(_: click.Context, __: click.Parameter, json_path: str | None) -> str | None:
    """Say at once, not after the work, that a result could not be written."""
    if json_path is None or json_path == "-":
        return json_path
    path = Path(json_path)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise RecordingError(f"cannot write {json_path}; choose a file in a folder that exists and is writable")
    return json_path


def emit(result: dict[str, Any], text: str, json_path: str | None, quiet: bool) -> None:
    """Print the report for people, and write the object for programs where it was asked for."""
    if not quiet and json_path != "-":
        click.echo(text)
    if json_path == "-":
        click.echo(json.dumps(_finite(result), default=_plain))
    elif json_path:
        try:
            Path(json_path).write_text(json.dumps(_finite(result), indent=2, default=_plain) + "\n")
        except OSError as error:
            raise RecordingError(
                f"cannot write {json_path}: {error.strerror}; choose a folder that exists and is writable"
            ) from None


def _finite(value: Any) -> Any:
    """JSON has no word for NaN and infinity: null."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def progress(items: Iterable[T], label: str, total: int | None = None, quiet: bool = False) -> Iterator[T]:
    """Iterate with a bar on standard error, where that is a terminal; as lines where those were asked for."""
    if quiet:
        yield from items
    elif os.environ.get("ROLANDIC_PROGRESS") == "lines":
        yield from _progress_lines(items, label, total or 0)
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=label, total=total, console=Console(stderr=True))
    else:
        yield from items


def _progress_lines(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """``progress DONE/TOTAL LABEL``, at most a hundred times; TOTAL is 0 where it is not known."""
    step = max(1, total // 100)
    if total:
        click.echo(f"progress 0/{total} {label}", err=True)
    for n, item in enumerate(items, 1):
        yield item
        if total and (n % step == 0 or n == total):
            click.echo(f"progress {n}/{total} {label}", err=True)


def end_with_input(stop: Callable[[], object]) -> None:
    """Call ``stop``, from a thread, when standard input ends, where our starter asked for it."""
    if os.environ.get("ROLANDIC_TIED") != "1" or sys.stdin is None:
        return

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):  # not sys.stdin: a thread that holds its lock would hang the interpreter's end
                pass
        stop()

    threading.Thread(target=read, name="tied", daemon=True).start()
