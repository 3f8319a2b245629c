"""``bci view``."""

from __future__ import annotations

import click


@click.command()
@click.option("--session", "group", default="", metavar="ID", help="Which one, where several are visible.")
@click.option("--theme", type=click.Choice(["dark", "light"]), help="Colours; remembered.")
def command(group: str, theme: str | None) -> None:
    r"""Look at a session that shares itself, here or on another machine: signals, decoder, health, latency.

    \b
    bci run --stream eeg --model MODEL --share
    bci view

    It reads LSL and owns nothing: close it, and the session goes on. The space bar is this machine's emergency stop.
    """
    from bci.gui.app import main

    raise SystemExit(main([*(["--group", group] if group else []), *(["--theme", theme] if theme else [])]))
