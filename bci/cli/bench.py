"""``bci bench NAME``: measure on this machine what the documentation claims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from bci.cli.common import emit, output_options, progress
from bci.errors import ConfigError


@click.group()
def command() -> None:
    """Measure on this machine. Figures are ratios within one run where they can be."""


@command.command()
@click.option("--seconds", default=30.0, show_default=True, help="Length of the stream.")
@click.option("--channels", "n_channels", default=64, show_default=True, help="Of the stream.")
@click.option("--sfreq", "sfreq_hz", default=1000.0, show_default=True, help="Its rate in Hz.")
@click.option(
    "--hop", "hop_ms", default=20.0, show_default=True, help="Length of a hop in ms; also the sender's chunk."
)
@output_options
def latency(
    seconds: float, n_channels: int, sfreq_hz: float, hop_ms: float, json_path: str | None, quiet: bool
) -> None:
    r"""Last sample to prediction, stage by stage, beside a bare pylsl pull loop on the same stream at the same time.

    \b
    bci bench latency --json -
    """
    from bci.bench.latency import measure, table

    result = measure(seconds, n_channels, sfreq_hz, round(sfreq_hz * hop_ms / 1000))
    emit(result, table(result), json_path, quiet)


@command.command("command")
@click.option("--n", default=1000, show_default=True, help="Emergency stops in each state of the engine.")
@click.option("--seconds", default=30.0, show_default=True, help="Of the session whose commands are timed; 0: none.")
@output_options
def command_(n: int, seconds: float, json_path: str | None, quiet: bool) -> None:
    r"""Last sample to the datagram of a command, and emergency stop to neutral, at a UDP listener.

    \b
    bci bench command --n 100 --json -
    """
    from bci.bench.command import measure, table

    result = measure(n, seconds)
    emit(result, table(result), json_path, quiet)


@command.command()
@click.option("--decoder", "names", multiple=True, metavar="NAME", help="Only these networks; default: all.")
@output_options
def decode(names: tuple[str, ...], json_path: str | None, quiet: bool) -> None:
    r"""What a hop costs each network: streaming, and by its whole window, in eager torch and in ONNX Runtime.

    \b
    bci bench decode --json -
    """
    from bci.bench.decode import NETWORKS, measure, table

    if unknown := sorted(set(names) - set(NETWORKS)):
        raise ConfigError(f"--decoder {', '.join(unknown)}: no network; there are {', '.join(NETWORKS)}")

    def bar(each: Sequence[str]) -> Iterable[str]:
        return progress(each, "measuring", total=len(each), quiet=quiet)

    result = measure(names or NETWORKS, each=bar)
    emit(result, table(result), json_path, quiet)


@command.command()
@click.option("--seconds", default=60.0, show_default=True, help="Of each stretch, without and with the window.")
@click.option("--rounds", default=2, show_default=True, help="How often in turn.")
@click.option("--channels", "n_channels", default=64, show_default=True, help="Of the stream.")
@click.option("--sfreq", "sfreq_hz", default=1000.0, show_default=True, help="Its rate in Hz.")
@output_options
def window(seconds: float, rounds: int, n_channels: int, sfreq_hz: float, json_path: str | None, quiet: bool) -> None:
    r"""Frames and memory of the window, and the engine's latency with and without it, in one session.

    \b
    bci bench window --json -
    """
    from bci.bench.window import measure, table

    result = measure(seconds, n_channels, sfreq_hz, round(0.02 * sfreq_hz), rounds)
    emit(result, table(result), json_path, quiet)
