"""``bci ensemble``."""

from __future__ import annotations

import click

from bci.cli.common import emit, output_options


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--out", required=True, metavar="DIR", help="Model folder to write.")
@output_options
def command(models: tuple[str, ...], out: str, json_path: str | None, quiet: bool) -> None:
    r"""Combine trained MODELs into one that averages their logits.

    \b
    bci ensemble EEGNET RIEMANN --out BOTH

    They must take the same channels, filters and hop, and tell the same classes apart.
    """
    from bci.offline.ensemble import ensemble

    result = ensemble(models, out)
    named = ", ".join(f"{m['decoder']} {m['hash'][:12]}" for m in result["members"])
    emit(result, f"ensemble of {named}\nmodel {out} ({result['model_hash'][:12]})", json_path, quiet)
