"""``bci evaluate``."""

from __future__ import annotations

from typing import Any

import click

from bci.cli.common import emit, output_options, progress, rate_option


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@click.option("--stream", help="Signal stream, where a recording has several.")
@click.option("--unit", help="Unit of channels that say none, such as uV.")
@rate_option
@click.option("--trigger", default="", metavar="LABEL", help="A channel whose changes are markers.")
@click.option(
    "--bad", "bad_channels", multiple=True, metavar="LABEL", help="A channel without signal, rebuilt from the others."
)
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap over people.")
@output_options
def command(
    model: str,
    recordings: tuple[str, ...],
    stream: str | None,
    unit: str | None,
    rate_hz: float | None,
    trigger: str,
    bad_channels: tuple[str, ...],
    seed: int,
    json_path: str | None,
    quiet: bool,
) -> None:
    r"""Score a model on cued recordings by the live code path: one decision a cue.

    \b
    bci evaluate MODEL S001R12.edf --json -
    """
    from bci.errors import ModelError
    from bci.offline.evaluate import evaluate
    from bci.sources.files import load_recording
    from decoders.checkpoint import load_model
    from decoders.spec import DecoderError

    try:
        loaded = load_model(model)
    except DecoderError as error:
        raise ModelError(str(error)) from None
    paths = progress(recordings, "evaluating", total=len(recordings), quiet=quiet)
    read = (load_recording(path, rate_hz=rate_hz) for path in paths)
    result = evaluate(loaded, read, stream=stream, unit=unit, trigger=trigger, bad_channels=bad_channels, seed=seed)
    result = {"model": model, "model_hash": loaded.hash, "decoder": loaded.spec.name, "seed": seed, **result}
    emit(result, _text(result), json_path, quiet)


def _text(result: dict[str, Any]) -> str:
    low, high = result["chance_band"]
    lines = [f"{s['subject']:<12} {s['accuracy']:.3f}  ({s['n_trials']} trials)" for s in result["per_subject"]]
    ci = result["ci95"]
    lines.append(
        f"{'mean':<12} {result['mean']:.3f}"
        + (f"  (95 % interval over people {ci[0]:.3f}-{ci[1]:.3f})" if ci else "")
        + f"; chance {result['chance']:.2f}, 95 % band of {result['n_trials']} trials {low:.2f}-{high:.2f}"
    )
    auc = f"; AUC {result['auc']:.3f}" if result["auc"] is not None else ""
    lines.append(f"{'kappa':<12} {result['kappa']:.2f}{auc}; {result['n_abstained']} abstained (counted as wrong)")
    return "\n".join(lines)
