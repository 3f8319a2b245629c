"""``bci augment``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
import numpy as np

from bci.cli.common import SeveralValues, emit, output_options, progress, writable
from bci.cli.training import settings_of, training_options


@click.command(cls=SeveralValues)
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@click.option(
    "--labels", multiple=True, required=True, metavar="MARKER=CLASS ...", help="Which marker cues which class."
)
@click.option("--out", required=True, metavar="FILE.npz", callback=writable, help="File to write.")
@click.option(
    "--trials", "n_per_class", type=click.IntRange(1), metavar="N", help="Of each class; as many as are real."
)
@click.option("--steps", "n_steps", type=click.IntRange(1), default=1500, show_default=True, help="Of the generator.")
@training_options
@output_options
def command(
    recordings: tuple[str, ...], labels: tuple[str, ...], out: str, n_per_class: int | None, n_steps: int,
    json_path: str | None, quiet: bool, **given: Any,
) -> None:  # fmt: skip
    r"""Make synthetic trials from real ones, by a generative adversarial network; recordings first, then the options.

    Score a decoder with and without them by bci evaluate, with the same options; name training recordings alone here.

    \b
    bci augment S001R04.edf S001R08.edf --labels T1=left T2=right --decoder eegnet --out synthetic.npz
    bci evaluate S001R*.edf --protocol across-runs --labels T1=left T2=right --decoder eegnet --synthetic synthetic.npz
    """
    from bci.offline.augment import augment
    from bci.sources.files import load_recording

    def bar(steps: range) -> Iterable[int]:
        return progress(list(steps), "generator and critic", total=len(steps), quiet=quiet)

    recorded = [load_recording(path, rate_hz=given["rate_hz"]) for path in recordings]
    made = augment(recorded, settings_of(labels, given), out, n_per_class=n_per_class, n_steps=n_steps, each=bar)
    classes = made.about["classes"]
    n = dict(zip(classes, np.bincount(made.y, minlength=len(classes)).tolist(), strict=True))
    result = {"file": out, "n_trials": n, "n_channels": made.x.shape[1], "n_samples": made.x.shape[2], **made.about}
    del result["preprocessing"]
    text = f"{', '.join(f'{count} {name}' for name, count in n.items())} synthetic trials, {out}"
    emit(result, text, json_path, quiet)
