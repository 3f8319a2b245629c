"""``bci repair``: save what is whole in a damaged recording."""

from __future__ import annotations

import dataclasses

import click

from bci.cli.common import emit, output_options


@click.command()
@click.argument("file", type=click.Path())
@click.option("--out", required=True, type=click.Path(), help="The new file; nothing is overwritten.")
@output_options
def command(file: str, out: str, json_path: str | None, quiet: bool) -> None:
    """Copy the whole chunks of a cut or damaged XDF file to a new one.

    Example: bci repair session.xdf --out session-fixed.xdf
    """
    from bci.recording.repair import repair

    report = repair(file, out)
    lines = [
        f"{out}: {report.n_chunks} chunks, {report.n_bytes_kept} bytes kept; "
        f"{report.n_bytes_cut} bytes left out at {report.n_damaged} places"
    ]
    lines += [f"  {name}: {n} samples" for name, n in report.n_samples.items()]
    emit(dataclasses.asdict(report), "\n".join(lines), json_path, quiet)
