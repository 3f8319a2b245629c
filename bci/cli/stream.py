"""``bci stream``: a recording as LSL streams, with its original sample times."""

from __future__ import annotations

import signal
import threading
from typing import Any

import click

from bci.cli.common import emit, end_with_input, output_options, progress, rate_option


@click.command()
@click.argument("recording", type=click.Path())
@click.option("--name", help="Name of the signal stream (default: as in the recording).")
@click.option("--stream", "main", metavar="NAME",
              help="Which signal --name names and the pace follows (default: the largest).")  # fmt: skip
@rate_option
@click.option("--wait", "n_wait", type=click.IntRange(1), is_flag=False, flag_value=1, metavar="[=N]",
              help="Hold until one consumer (or N) reads the signal stream.")  # fmt: skip
@click.option("--wait-timeout", type=float, default=60.0, show_default=True, help="Seconds that --wait waits at most.")
@click.option("--speed", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
              help="Times faster. Stamps stay spaced as recorded, so above 1 they run ahead of the clock.")  # fmt: skip
@click.option("--loop", is_flag=True, help="Start again at the end, until Ctrl-C; stamps run on.")
@click.option("--start", type=float, default=0.0, help="Seconds into the recording to start at.")
@click.option("--stop", type=float, help="Seconds into the recording to stop at.")
@click.option("--even", is_flag=True, help="Nominal sample times instead of the recorded ones.")
@click.option("--chunk-ms", type=click.FloatRange(0.1), default=20.0, show_default=True,
              help="Samples that are due within this time are sent together.")  # fmt: skip
@output_options
def command(recording: str, n_wait: int | None, wait_timeout: float, json_path: str | None, quiet: bool,
            **options: Any) -> None:  # fmt: skip
    """Play RECORDING as LSL streams, signals and markers side by side.

    It may be EDF, BDF, GDF, BrainVision (.vhdr), EEGLAB (.set), FIF, XDF, text of the OpenBCI GUI or CSV of a Muse.

    Samples leave as they came: with their jitter, bursts and gaps, in their own format, all stamps shifted by one
    constant. After the last one, the marker `rolandic:end` is sent.

    Example: bci stream S001R12.edf --name eeg --wait
    """
    from bci.sources import player, schedule
    from bci.sources.files import load_recording

    loaded = load_recording(recording, rate_hz=options["rate_hz"])
    streams, primary = schedule.playable(loaded.streams, options["main"])
    if options["even"]:
        streams = schedule.even(streams, primary)
    streams = schedule.cut(streams, primary, options["start"], options["stop"])
    chunk_s = options["chunk_ms"] / 1000
    pushes: Any = schedule.schedule(streams, primary, chunk_s=chunk_s, loop=options["loop"])
    total = None
    if not options["loop"]:
        pushes = list(pushes)
        total = len(pushes)
    name = options["name"] or streams[primary].spec.name
    specs = player.outlet_specs([s.spec for s in streams], primary, name, loaded.sha256)
    first_s = float(streams[primary].stamps_s[0])
    lowest_s = min(float(s.stamps_s.min()) for s in streams if len(s.stamps_s))
    played = play(
        specs, primary, progress(pushes, f"playing {name}", total, quiet), first_s, lowest_s,
        speed=options["speed"], n_wait=n_wait, wait_timeout_s=wait_timeout,
    )  # fmt: skip
    result = report(played, primary, recording=recording, sha256=loaded.sha256, speed=options["speed"])
    emit(result, _text(result), json_path, quiet)


def play(
    specs: Any, primary: int, pushes: Any, first_stamp_s: float, lowest_stamp_s: float, *,
    speed: float, n_wait: int | None, wait_timeout_s: float,
) -> Any:  # fmt: skip
    """Open the outlets, wait, play, and end in order; also on SIGINT and SIGTERM."""
    from bci.sources.player import Player

    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    end_with_input(stop.set)
    player = Player(specs, primary)
    try:
        if n_wait:
            player.wait(n_wait, wait_timeout_s, stop)
        played = player.play(pushes, first_stamp_s, lowest_stamp_s, speed, stop)
        player.finish(played)
    finally:
        player.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    return played


def report(played: Any, primary: int, **more: Any) -> dict[str, Any]:
    """What was sent, for ``--json``."""
    streams = [
        {"name": s.name, "type": s.type, "format": s.format, "sfreq_hz": s.sfreq_hz, "n_channels": len(s.channels),
         "n_samples": n}
        for s, n in zip(played.specs, played.n_samples, strict=True)
    ]  # fmt: skip
    return {
        **more, "name": played.specs[primary].name, "group": played.specs[primary].group,
        "n_samples": played.n_samples[primary], "streams": streams, "shift_s": played.shift_s,
        "max_late_ms": played.max_late_s * 1000, "is_interrupted": played.is_interrupted,
    }  # fmt: skip


def _text(result: dict[str, Any]) -> str:
    parts = ", ".join(f"{s['name']} {s['n_samples']}" for s in result["streams"])
    return f"sent: {parts} (samples or markers){'; interrupted' if result['is_interrupted'] else ''}"
