"""``bci train``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from bci.cli.common import SeveralValues, emit, output_options, progress
from bci.cli.training import settings_of, training_options
from bci.errors import ModelError


@click.command(cls=SeveralValues)
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@click.option(
    "--labels", multiple=True, required=True, metavar="MARKER=CLASS ...", help="Which marker cues which class."
)
@click.option("--out", required=True, metavar="MODEL", help="Folder to write; an older model there is replaced.")
@training_options
@click.option(
    "--false-commands-per-min", type=float, metavar="R",
    help="Choose threshold and dwell for so many commands at rest; the model keeps them. Two or more recordings.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Networks: go on with a training that was cut off, to the same bits.")
@output_options
def command(
    recordings: tuple[str, ...],
    labels: tuple[str, ...],
    out: str,
    resume: bool,
    json_path: str | None,
    quiet: bool,
    **given: Any,
) -> None:
    r"""Train a decoder from cued recordings; they come first, then the options.

    A network writes losses.csv, losses.png and what --resume needs to MODEL.training.

    \b
    bci train S001R04.edf S001R08.edf --labels T1=left T2=right --out MODEL
    """
    from bci.offline.train import train
    from bci.offline.work import WorkFolder
    from bci.sources.files import load_recording
    from decoders.checkpoint import check_place
    from decoders.spec import DecoderError

    settings = settings_of(labels, given)

    def bar(fits: list[Any]) -> Iterable[Any]:
        return progress(fits, f"training {settings.decoder}", total=len(fits), quiet=quiet)

    try:
        check_place(out)
    except DecoderError as error:
        raise ModelError(str(error)) from None
    work = WorkFolder(out, resume=resume)
    recorded = [load_recording(path, rate_hz=given["rate_hz"]) for path in recordings]
    trained = train(recorded, settings, each=bar, work=work)
    digest = trained.save(out)
    work.finish()
    scores = trained.info["scores"]
    result = {
        "model": out,
        "model_hash": digest,
        "decoder": settings.decoder,
        "classes": list(trained.spec.classes),
        "channels": list(trained.spec.channels),
        "sfreq_hz": trained.spec.sfreq_hz,
        "hop": trained.spec.hop,
        "n_trials": sum(trained.info["n_trials"].values()),
        "n_left_out": trained.info["n_left_out"],
        "seed": settings.seed,
        "held_out": scores,
        "gate": trained.info.get("gate"),
        "step": {"computed_by": trained.step.computed_by, "export_s": trained.step.seconds},
    }
    low, high = scores["chance_band"]
    auc = ""
    if scores["auc"] is not None:
        auc = "; AUC {:.3f}, by chance {:.2f}-{:.2f}".format(scores["auc"], *scores["auc_band"])
    bands = f" in {trained.spec.n_bands} bands" if trained.spec.n_bands > 1 else ""
    text = (
        f"{settings.decoder}: {result['n_trials']} trials ({result['n_left_out']} left out), "
        f"{len(trained.spec.channels) // trained.spec.n_bands} channels{bands}\n"
        f"held-out accuracy {scores['accuracy']:.3f} ({scores['split']}); "
        f"chance {scores['chance']:.2f}, 95 % band {low:.2f}-{high:.2f}{auc}\n"
        f"{_gate(trained.info.get('gate'))}"
        f"a hop is computed by {trained.step.computed_by}\n"
        f"model {out} ({digest[:12]})"
    )
    emit(result, text, json_path, quiet)


def _gate(gate: dict[str, Any] | None) -> str:
    """What was chosen, on runs that had no part in the choice."""
    if gate is None:
        return ""
    shown = "" if gate["is_shown"] else f"; too little rest to show {gate['wanted_per_min']:g}"
    risk = "-" if gate["risk"] is None else f"{gate['risk']:.2f}"
    return (
        f"threshold {gate['threshold']:g} held for {gate['dwell_s']:g} s: {gate['n_false']} false commands in "
        f"{gate['rest_min']:.1f} min of rest, at most {gate['upper95_per_min']:.2g} a minute (95 %){shown}; "
        f"a command at {gate['coverage']:.2f} of the cues, {risk} of them wrong\n"
    )
