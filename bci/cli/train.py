"""``bci train``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from bci.cli.common import SeveralValues, emit, output_options, progress, rate_option
from bci.config import read_config
from bci.errors import ConfigError, ModelError
from decoders import DECODERS


def _defaults_from(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Take what ``[model]`` and ``[stream]`` of a session.toml say for what the command line does not."""
    if not path:
        return
    config = read_config(path)
    model, stream = config.model, config.stream
    named = {"bandpass_hz": "bandpass", "notch_hz": "notch", "window_s": "window", "hop_s": "hop"}
    settings = {named.get(key, key): value for key, value in model.model_dump(exclude={"path"}).items()}
    settings |= {"stream": stream.name or None, "unit": stream.unit or None}
    ctx.default_map = {key: value for key, value in settings.items() if value is not None}


@click.command(cls=SeveralValues)
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...")
@click.option(
    "--labels", multiple=True, required=True, metavar="MARKER=CLASS ...", help="Which marker cues which class."
)
@click.option(
    "--config",
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_defaults_from,
    help="session.toml: its settings of model and stream stand for options that are not given.",
)
@click.option("--out", required=True, metavar="MODEL", help="Folder to write; an older model there is replaced.")
@click.option("--decoder", default="riemann", show_default=True, help=f"{', '.join(DECODERS)}.")
@click.option("--channels", multiple=True, metavar="LABEL ...", help="Inputs by name; all of EEG or MEG otherwise.")
@click.option("--stream", help="Signal stream, where a recording has several.")
@click.option("--unit", help="Unit of channels that say none, such as uV.")
@rate_option
@click.option("--trigger", default="", metavar="LABEL", help="A channel whose changes are markers.")
@click.option("--bandpass", nargs=2, type=float, default=(8.0, 30.0), show_default=True, metavar="LOW HIGH", help="Hz.")
@click.option("--filter-order", default=4, show_default=True, help="Of the band-pass.")
@click.option("--notch", type=float, metavar="HZ", help="Mains frequency to remove.")
@click.option(
    "--reference",
    type=click.Choice(["none", "average", "laplacian"]),
    default="none",
    show_default=True,
    help="What is subtracted from each channel.",
)
@click.option("--bipolar", multiple=True, metavar="A-B ...", help="Differences of electrodes instead, such as C3-Cz.")
@click.option(
    "--bad", "bad_channels", multiple=True, metavar="LABEL ...", help="Channels to rebuild from the others, always."
)
@click.option("--clip", type=float, metavar="X", help="Limit the filtered signal to ±X (uV, or T for MEG).")
@click.option("--sfreq", type=float, metavar="HZ", help="Rate of the decoder; that of the recording otherwise.")
@click.option("--window", default=3.0, show_default=True, metavar="S", help="Signal that one decision uses.")
@click.option(
    "--epoch", nargs=2, type=float, default=(0.0, 0.8), show_default=True, metavar="FROM TO",
    help="For decoders that answer markers (xdawn, cca): seconds from the marker.",
)  # fmt: skip
@click.option("--hop", default=0.1, show_default=True, metavar="S", help="Time between decisions.")
@click.option(
    "--decide-at", default=3.5, show_default=True, metavar="S", help="From the cue to the decision of a trial."
)
@click.option("--seed", default=0, show_default=True, help="Of all that is left to chance.")
@output_options
def command(
    recordings: tuple[str, ...],
    labels: tuple[str, ...],
    out: str,
    decoder: str,
    channels: tuple[str, ...],
    stream: str | None,
    unit: str | None,
    rate_hz: float | None,
    trigger: str,
    bandpass: tuple[float, float],
    filter_order: int,
    notch: float | None,
    reference: Any,
    bipolar: tuple[str, ...],
    bad_channels: tuple[str, ...],
    clip: float | None,
    sfreq: float | None,
    window: float,
    epoch: tuple[float, float],
    hop: float,
    decide_at: float,
    seed: int,
    json_path: str | None,
    quiet: bool,
) -> None:
    r"""Train a decoder from cued recordings; they come first, then the options.

    \b
    bci train S001R04.edf S001R08.edf --labels T1=left T2=right --out MODEL
    """
    from bci.offline.train import TrainSettings, train
    from bci.sources.files import load_recording
    from decoders.checkpoint import check_place
    from decoders.spec import DecoderError

    settings = TrainSettings(
        labels=_labels(labels),
        decoder=decoder,
        channels=tuple(name for value in channels for name in value.split(",") if name) or None,
        stream=stream,
        unit=unit,
        reference=reference,
        bipolar_pairs=_pairs(bipolar),
        bandpass_hz=bandpass,
        notch_hz=notch,
        clip=clip,
        bad_channels=tuple(name for value in bad_channels for name in value.split(",") if name),
        sfreq_hz=sfreq,
        window_s=_positive("--window", window),
        epoch_s=epoch,
        filter_order=filter_order,
        trigger=trigger,
        hop_s=_positive("--hop", hop),
        decide_at_s=_positive("--decide-at", decide_at),
        seed=seed,
    )

    def bar(fits: list[Any]) -> Iterable[Any]:
        return progress(fits, f"training {decoder}", total=len(fits), quiet=quiet)

    try:
        check_place(out)
    except DecoderError as error:
        raise ModelError(str(error)) from None
    trained = train([load_recording(path, rate_hz=rate_hz) for path in recordings], settings, each=bar)
    digest = trained.save(out)
    scores = trained.info["scores"]
    result = {
        "model": out,
        "model_hash": digest,
        "decoder": decoder,
        "classes": list(trained.spec.classes),
        "channels": list(trained.spec.channels),
        "sfreq_hz": trained.spec.sfreq_hz,
        "hop": trained.spec.hop,
        "n_trials": sum(trained.info["n_trials"].values()),
        "n_left_out": trained.info["n_left_out"],
        "seed": seed,
        "held_out": scores,
        "step": {"computed_by": trained.step.computed_by, "export_s": trained.step.seconds},
    }
    low, high = scores["chance_band"]
    text = (
        f"{decoder}: {result['n_trials']} trials ({result['n_left_out']} left out), "
        f"{len(trained.spec.channels)} channels\n"
        f"held-out accuracy {scores['accuracy']:.3f} ({scores['split']}); "
        f"chance {scores['chance']:.2f}, 95 % band {low:.2f}-{high:.2f}\n"
        f"a hop is computed by {trained.step.computed_by}\n"
        f"model {out} ({digest[:12]})"
    )
    emit(result, text, json_path, quiet)


def _pairs(values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [tuple(pair.split("-")) for value in values for pair in value.split(",") if pair]
    for pair in pairs:
        if len(pair) != 2 or not all(pair):
            raise ConfigError(f"--bipolar {'-'.join(pair)}: two electrodes with a hyphen between, such as C3-Cz")
    return tuple((pair[0], pair[1]) for pair in pairs)


def _labels(pairs: tuple[str, ...]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in (p for value in pairs for p in _split(value) if p):
        marker, _, name = pair.partition("=")
        if not marker or ("=" in pair and not name):
            raise ConfigError(f"--labels {pair!r}: write MARKER=CLASS, such as T1=left")
        labels[marker] = name or marker
    return labels


def _split(value: str) -> list[str]:
    """At commas, where each part names a marker; a marker such as ``switch,3,0,2`` has commas of its own."""
    parts = value.split(",")
    return parts if len({"=" in part for part in parts if part}) == 1 else [value]


def _positive(option: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise ConfigError(f"{option} {value:g}: it must be above 0 s")
    return value
