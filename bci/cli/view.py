"""``bci view``."""

from __future__ import annotations

import click

from bci.cli.common import emit, output_options


@click.command()
@click.option("--session", "group", default="", metavar="ID", help="Which one, where several are visible.")
@click.option("--theme", type=click.Choice(["dark", "light"]), help="Colours; remembered.")
@output_options
def command(group: str, theme: str | None, json_path: str | None, quiet: bool) -> None:
    r"""Look at a session that shares itself, here or on another machine: signals, decoder, health, latency.

    \b
    bci run --stream eeg --model MODEL --share
    bci view

    It reads LSL and owns nothing: close it, and the session goes on. The space bar is this machine's emergency stop.
    """
    from bci.gui.app import main

    drawn = main([*(["--group", group] if group else []), *(["--theme", theme] if theme else [])])
    emit(drawn, f"{drawn['n_frames']} frames drawn, {drawn['n_dropped_frames']} dropped", json_path, quiet)
