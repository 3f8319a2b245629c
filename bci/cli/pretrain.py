"""``bci pretrain``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from bci.cli.common import SeveralValues, emit, output_options, progress
from bci.cli.training import settings_of, training_options
from bci.errors import ConfigError, ModelError

_NOT_HERE = ("stop_on", "schedule", "augment", "init", "freeze")


@click.command(cls=SeveralValues)
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@click.option("--out", required=True, metavar="MODEL", help="Folder to write; an older model there is replaced.")
@training_options
@output_options
def command(recordings: tuple[str, ...], out: str, json_path: str | None, quiet: bool, **given: Any) -> None:
    r"""Pretrain a network on recordings without labels; they come first, then the options, as for bci train.

    Spans of each channel are hidden, and their power is told from the rest. Train with the same --decoder, channels and
    filters.

    \b
    bci pretrain S*R01.edf S*R02.edf --decoder tcn --out PRETRAINED
    bci train S001R04.edf S001R08.edf --labels T1=left T2=right --decoder tcn --init PRETRAINED --out MODEL
    """
    from bci.offline.pretrain import pretrain_to
    from bci.sources.files import load_recording
    from decoders.checkpoint import check_place
    from decoders.spec import DecoderError

    if foreign := [name for name in _NOT_HERE if given[name]]:
        raise ConfigError(f"--{foreign[0].replace('_', '-')} is for bci train; leave it out")
    rate, n_epochs = given.pop("learning_rate"), given.pop("epochs")
    settings = settings_of(("a=a", "b=b"), given | {"learning_rate": None, "epochs": None})
    try:
        check_place(out)
    except DecoderError as error:
        raise ModelError(str(error)) from None

    def bar(passes: range) -> Iterable[int]:
        return progress(list(passes), f"pretraining {settings.decoder}", total=len(passes), quiet=quiet)

    recorded = [load_recording(path, rate_hz=given["rate_hz"]) for path in recordings]
    result = pretrain_to(out, recorded, settings, n_epochs=n_epochs, rate=rate, each=bar)
    losses = result["losses"]
    text = (
        f"{result['decoder']}: {result['n_windows']} windows to learn from, {result['n_held_out']} held out\n"
        f"held-out error on what was hidden {losses[-1]:.3f} of that of saying the mean ({losses[0]:.3f} at first)\n"
        f"weights {out} ({result['model_hash'][:12]}); use them by: bci train --init {out}"
    )
    emit(result, text, json_path, quiet)
