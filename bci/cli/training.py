"""Options that say how to train, which ``bci train`` and ``bci evaluate --protocol`` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bci.cli.common import rate_option
from bci.config import read_config
from bci.errors import ConfigError
from decoders import DECODERS

if TYPE_CHECKING:
    from bci.offline.train import TrainSettings

F = TypeVar("F", bound=Callable[..., Any])
_AUGMENTATIONS = "mirror, shift, gain, dropout, noise, surrogate, mixup, bandstop"


def _defaults_from(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Take what ``[model]`` and ``[stream]`` of a session.toml say for what the command line does not."""
    if not path:
        return
    config = read_config(path)
    model, stream = config.model, config.stream
    named = {"bandpass_hz": "bandpass", "notch_hz": "notch", "window_s": "window", "hop_s": "hop"}
    named |= {"epoch_s": "epoch", "decide_at_s": "decide_at"}
    settings = {named.get(key, key): value for key, value in model.model_dump(exclude={"path"}).items()}
    if model.bipolar_pairs:  # they are the reference
        settings |= {"bipolar": ["-".join(pair) for pair in model.bipolar_pairs], "reference": None}
    settings |= {"stream": stream.name or None, "unit": stream.unit or None}
    ctx.default_map = {key: value for key, value in settings.items() if value is not None}


class Edge(click.ParamType):
    """A frequency, or ``-`` where a band has no such edge."""

    name = "edge"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """The number; None for ``-``."""
        return None if value in ("-", None) else click.FLOAT.convert(value, param, ctx)


_OPTIONS = (
    click.option(
        "--config",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_defaults_from,
        help="session.toml: its settings of model and stream stand for options that are not given.",
    ),
    click.option("--decoder", default="riemann", show_default=True, help=f"{', '.join(DECODERS)}."),
    click.option("--channels", multiple=True, metavar="LABEL ...", help="Inputs by name; all of EEG or MEG otherwise."),
    click.option("--stream", help="Signal stream, where a recording has several."),
    click.option("--unit", help="Unit of channels that say none, such as uV."),
    rate_option,
    click.option("--trigger", default="", metavar="LABEL", help="A channel whose changes are markers."),
    click.option(
        "--bandpass", nargs=2, type=Edge(), default=(8.0, 30.0), show_default=True, metavar="LOW HIGH",
        help="Hz; '-' for an edge that is not there.",
    ),
    click.option(
        "--bands", multiple=True, metavar="LOW-HIGH ...", help="A filter bank instead, such as 8-12 11-16 15-22 20-30."
    ),
    click.option("--filter-order", default=4, show_default=True, help="Of the band-pass."),
    click.option("--notch", type=float, metavar="HZ", help="Mains frequency to remove."),
    click.option("--notch-harmonics", default=1, show_default=True, help="Multiples of it, itself included."),
    click.option(
        "--reference",
        type=click.Choice(["none", "average", "laplacian"]),
        default="none",
        show_default=True,
        help="What is subtracted from each channel.",
    ),
    click.option(
        "--bipolar", multiple=True, metavar="A-B ...", help="Differences of electrodes instead, such as C3-Cz."
    ),
    click.option(
        "--bad", "bad_channels", multiple=True, metavar="LABEL ...", help="Channels to rebuild from the others, always."
    ),
    click.option("--clip", type=float, metavar="X", help="Limit the filtered signal to ±X (uV, or T for MEG)."),
    click.option(
        "--recentre", type=click.Choice(["none", "riemann"]), default="none", show_default=True,
        help="Let the alignment follow the signal, live too (riemann_fb, csp, networks).",
    ),
    click.option(
        "--mirror", is_flag=True,
        help="Two classes are left and right: learn from mirrored heads too (the same decoders).",
    ),
    click.option("--sfreq", type=float, metavar="HZ", help="Rate of the decoder; that of the recording otherwise."),
    click.option("--window", default=3.0, show_default=True, metavar="S", help="Signal that one decision uses."),
    click.option(
        "--epoch", nargs=2, type=float, default=(0.0, 0.8), show_default=True, metavar="FROM TO",
        help="For decoders that answer markers (xdawn, cca): seconds from the marker.",
    ),
    click.option("--hop", default=0.1, show_default=True, metavar="S", help="Time between decisions."),
    click.option(
        "--decide-at", default=3.5, show_default=True, metavar="S", help="From the cue to the decision of a trial."
    ),
    click.option("--seed", default=0, show_default=True, help="Of all that is left to chance."),
    click.option("--epochs", type=click.IntRange(1), metavar="N", help="Networks: passes over the trials."),
    click.option(
        "--stop-on",
        type=click.Choice(["run", "session", "person"]),
        help="Networks: as many epochs as suit the last one best, which is held out to find out.",
    ),
    click.option(
        "--schedule", type=click.Choice(["one-cycle", "cosine"]), help="Networks: course of the rate (one-cycle)."
    ),
    click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Networks: the highest one (0.01)."),
    click.option(
        "--augment", metavar="NAME,...", help=f"Networks: {_AUGMENTATIONS}, or none (gain,dropout)."
    ),
    click.option("--init", metavar="MODEL", default="", help="Networks: begin with the weights of this model."),
    click.option(
        "--freeze", type=click.IntRange(0), metavar="N", help="Networks: leave the first N layers as they are."
    ),
)  # fmt: skip


def training_options(function: F) -> F:
    """Add all of them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def settings_of(labels: tuple[str, ...], given: dict[str, Any]) -> TrainSettings:
    """What `training_options` gave; ConfigError for what makes no sense."""
    from bci.offline.train import TrainSettings

    return TrainSettings(
        labels=labels_of(labels),
        decoder=given["decoder"],
        channels=_names(given["channels"]) or None,
        stream=given["stream"],
        unit=given["unit"],
        reference=given["reference"],
        bipolar_pairs=_pairs(given["bipolar"]),
        bandpass_hz=None if given["bandpass"] == (None, None) else given["bandpass"],
        bands_hz=_bands(given["bands"]),
        notch_hz=given["notch"],
        notch_harmonics=given["notch_harmonics"],
        clip=given["clip"],
        bad_channels=_names(given["bad_channels"]),
        recentre=given["recentre"],
        mirror=given["mirror"],
        sfreq_hz=given["sfreq"],
        window_s=_positive("--window", given["window"]),
        epoch_s=given["epoch"],
        filter_order=given["filter_order"],
        trigger=given["trigger"],
        hop_s=_positive("--hop", given["hop"]),
        decide_at_s=_positive("--decide-at", given["decide_at"]),
        seed=given["seed"],
        false_commands_per_min=_rate(given.get("false_commands_per_min")),
        plan=_plan(given),
        init=given["init"],
    )


def _plan(given: dict[str, Any]) -> Any:
    """How to train a network, where anything of it was given."""
    from decoders.training.plan import Plan

    names = {
        "epochs": "n_epochs",
        "stop_on": "stop_on",
        "schedule": "schedule",
        "learning_rate": "rate",
        "freeze": "n_frozen",
    }
    chosen = {field: given[name] for name, field in names.items() if given[name] is not None}
    if given["augment"] is not None:
        wanted = tuple(name for name in given["augment"].split(",") if name)
        chosen["augment"] = () if wanted == ("none",) else wanted
    return Plan(**chosen) if chosen else None


def _rate(per_min: float | None) -> float | None:
    return None if per_min is None else _positive("--false-commands-per-min", per_min, "")


def _names(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for value in values for name in value.split(",") if name)


def _pairs(values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [tuple(pair.split("-")) for pair in _names(values)]
    for pair in pairs:
        if len(pair) != 2 or not all(pair):
            raise ConfigError(f"--bipolar {'-'.join(pair)}: two electrodes with a hyphen between, such as C3-Cz")
    return tuple((pair[0], pair[1]) for pair in pairs)


def _bands(values: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
    bands = []
    for band in (b for value in values for b in value.split(",") if b):
        low, _, high = band.partition("-")
        try:
            bands.append((float(low), float(high)))
        except ValueError:
            raise ConfigError(f"--bands {band}: two frequencies with a hyphen between, such as 8-12") from None
    return tuple(bands)


def labels_of(pairs: tuple[str, ...]) -> dict[str, str]:
    """``T1=left`` and the like to a dict; a marker without a class is its own."""
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


def _positive(option: str, value: float, unit: str = " s") -> float:
    if not 0 < value < float("inf"):
        raise ConfigError(f"{option} {value:g}: it must be above 0{unit}")
    return value
