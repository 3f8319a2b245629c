"""``bci explain``."""

from __future__ import annotations

import click

from bci.cli.common import emit, output_options, progress, rate_option, writable
from bci.errors import ConfigError, ModelError


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@click.option("--out", required=True, metavar="FILE.html|png", callback=writable, help="Picture to write.")
@click.option("--stream", help="Signal stream, where a recording has several.")
@click.option("--unit", help="Unit of channels that say none, such as uV.")
@rate_option
@click.option("--trigger", default="", metavar="LABEL", help="A channel whose changes are markers.")
@click.option("--seed", default=0, show_default=True, help="Of the shuffled weights that the map is checked against.")
@output_options
def command(
    model: str,
    recordings: tuple[str, ...],
    out: str,
    stream: str | None,
    unit: str | None,
    rate_hz: float | None,
    trigger: str,
    seed: int,
    json_path: str | None,
    quiet: bool,
) -> None:
    r"""Show what a model looks at in cued recordings, and say when the picture means nothing.

    Networks: integrated gradients. Others (riemann, csp, bandpower, xdawn, ...): Haufe patterns.

    \b
    bci explain MODEL S001R12.edf --out what.html
    """
    from bci.offline.explain import draw, explain, save
    from bci.sources.files import load_recording
    from decoders.checkpoint import load_model, load_weights
    from decoders.spec import DecoderError

    if not out.lower().endswith((".html", ".png")):
        raise ConfigError(f"--out {out}: give a name that ends in .html or .png")
    try:
        loaded, weights = load_model(model), load_weights(model)
    except DecoderError as error:
        raise ModelError(str(error)) from None
    paths = progress(recordings, "reading", total=len(recordings), quiet=quiet)
    read = [load_recording(path, rate_hz=rate_hz) for path in paths]
    result = explain(loaded, weights, read, seed=seed, stream=stream, unit=unit, trigger=trigger)
    save(draw(result, loaded.spec.name), result, out, f"{loaded.spec.name} {loaded.hash[:12]}")
    verdict = "the map may be read" if result["means_something"] else "the map means nothing"
    text = f"{result['method']} ({result['n_trials']} trials)\n{verdict}: {result['why']}\n{out}"
    emit({"model": model, "model_hash": loaded.hash, "out": out, "seed": seed, **result}, text, json_path, quiet)
