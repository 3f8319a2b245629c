"""``bci start``."""

from __future__ import annotations

from pathlib import Path

import click

from bci.cli.common import emit, output_options


@click.command()
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Folder of people, models and sessions (default: the one chosen last, else sessions).")  # fmt: skip
@click.option("--theme", type=click.Choice(["dark", "light"]), help="Colours.")
@output_options
def command(root: Path | None, theme: str | None, json_path: str | None, quiet: bool) -> None:
    r"""Open the start page: pick a stream, a person and a model; check, calibrate, run and replay.

    \b
    bci
    bci start --root lab

    `bci` alone opens it where there is a screen. Sessions run in processes of their own, with a window of their own.
    """
    from bci.gui.start.window import main

    arguments = [*(["--root", str(root)] if root else []), *(["--theme", theme] if theme else [])]
    emit(main(arguments), "closed", json_path, quiet)
