"""``bci run``: a live session."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable
from typing import Any

import click

from bci.cli.common import emit, output_options, rate_option
from bci.config import SessionConfig, parse_config, read_config
from bci.errors import ConfigError


@click.command()
@click.option("--config", "config_path", type=click.Path(dir_okay=False), help="session.toml; flags win over it.")
@click.option("--stream", "stream_name", metavar="NAME", help="Name of the LSL stream to decode.")
@click.option("--type", "stream_type", metavar="TYPE", help="Type of the LSL stream, such as EEG.")
@click.option("--source-id", metavar="ID", help="source_id of the LSL stream.")
@click.option("--recording", metavar="FILE", help="A recording instead of a stream, in real time.")
@click.option("--fieldtrip", metavar="HOST:PORT", help="A FieldTrip buffer instead of an LSL stream.")
@click.option(
    "--markers", multiple=True, metavar="NAME", help="Marker streams; default: those that belong to the stream."
)
@click.option("--also", multiple=True, metavar="NAME", help="More signal streams to record.")
@click.option("--unit", type=click.Choice(["uV", "mV", "V", "T"]), help="Unit of a stream that does not say it.")
@click.option(
    "--bad", "bad_channels", multiple=True, metavar="LABEL", help="A channel without signal, rebuilt from the others."
)
@rate_option
@click.option("--wait", "wait_s", type=float, metavar="S", help="How long to wait for the stream (default 10).")
@click.option("--silence", "silence_s", type=float, metavar="S", help="Silence that counts as trouble.")
@click.option(
    "--reconnect", "reconnect_s", type=float, metavar="S", help="End this long after the last sample (default 30)."
)
@click.option("--trigger", "trigger_channel", metavar="LABEL", help="A channel whose changes are markers.")
@click.option(
    "--lock-to", multiple=True, metavar="LABEL", help="More markers that an epoch model answers; '*' is all of them."
)
@click.option("--counter", "counter_channel", metavar="LABEL", help="A channel that counts samples.")
@click.option("--model", metavar="DIR", help="Model folder, as `bci train` writes it.")
@click.option(
    "--compute", type=click.Choice(["auto", "cpu", "cuda"]), help="Where hops are decoded (default auto, the CPU)."
)
@click.option("--rest", metavar="CLASS", help="A class that never commands, such as nontarget.")
@click.option("--threshold", type=float, help="Confidence needed for a command (default: as trained, else 0.8).")
@click.option(
    "--dwell", "dwell_s", type=float, metavar="S", help="How long it must be held (default: as trained, else 0.5)."
)
@click.option(
    "--evidence", "evidence_s", type=float, metavar="S", help="Time constant of leaky evidence (default none)."
)
@click.option(
    "--velocity", "velocity", multiple=True, metavar="CLASS=X,Y", help="Steer instead: where a class steers to."
)
@click.option("--refractory", "refractory_s", type=float, metavar="S", help="Least time between commands (default 1).")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="URL",
    help="null:, lsl:NAME, udp://host:port, and more (docs/devices.md); may be repeated.",
)
@click.option("--arm", is_flag=True, help="Arm once predictions can be trusted.")
@click.option("--session", "session_dir", metavar="DIR", help="Folder of this session; default sessions/sub-ID/ses-N.")
@click.option("--subject", metavar="ID", help="Whose session it is.")
@click.option("--share", is_flag=True, help="Let viewers read the session over LSL (anyone on the network can).")
@click.option("--window", is_flag=True, help="Show and control it in a window; it is shared over LSL for that.")
@click.option("--resume", is_flag=True, help="Go on in the same folder after a crash, disarmed.")
@click.option("--preflight-only", is_flag=True, help="Only look at the streams, for their first second, and say it.")
@click.option("--seconds", type=float, metavar="S", help="End after this long.")
@output_options
def command(**options: Any) -> None:
    r"""Decode a stream live: record everything, and command devices when armed.

    \b
    bci stream R12.edf --name eeg --wait &
    bci run --stream eeg --model MODEL --arm --device null:

    Ends when the stream ends, at --seconds, or on Ctrl-C. While it runs: `bci control`, `bci stop`, or type
    arm, disarm, pause, resume, or a note, and Enter.
    """
    from bci.host.realtime import limit_threads

    limit_threads()
    config = _config(options, is_preflight=options["preflight_only"])
    from bci.live import preflight, run_live  # heavy: liblsl, numpy, the decoder

    if options["preflight_only"]:
        findings = preflight(config)
        lines = [{"level": f.level, "stream": f.stream, "text": f.text} for f in findings]
        emit({"findings": lines}, "\n".join(map(str, findings)), options["json_path"], options["quiet"])
        raise SystemExit(any(f.level == "fail" for f in findings))

    result = run_live(
        config,
        arm=options["arm"],
        seconds=options["seconds"],
        session_dir=options["session_dir"],
        resume=options["resume"],
        quiet=options["quiet"] or options["json_path"] == "-",
        share=f"session-{uuid.uuid4().hex[:12]}" if options["share"] or options["window"] else "",
        window=options["window"],
        on_stop=stop_on_signals,
    )
    emit(result.report, result.text, options["json_path"], options["quiet"])
    if result.error is not None:
        raise result.error


def _config(options: dict[str, Any], is_preflight: bool) -> SessionConfig:
    stream = {
        key: options[key]
        for key in (
            "source_id",
            "recording",
            "fieldtrip",
            "unit",
            "rate_hz",
            "wait_s",
            "silence_s",
            "reconnect_s",
            "counter_channel",
            "trigger_channel",
        )
    }
    stream |= {"name": options["stream_name"], "type": options["stream_type"]}
    stream |= {key: list(options[key]) or None for key in ("markers", "also", "bad_channels")}
    overrides: dict[str, dict[str, Any]] = {
        "stream": stream,
        "model": {
            "path": options["model"],
            "compute": options["compute"],
            "lock_to": list(options["lock_to"]) or None,
        },
        "gate": {key: options[key] for key in ("rest", "threshold", "dwell_s", "evidence_s", "refractory_s")},
        "velocity": {"directions": _directions(options["velocity"]) or None},
        "devices": {"urls": list(options["devices"]) or None},
        "recording": {"subject": options["subject"]},
    }
    path = options["config_path"]
    config = read_config(path, overrides) if path else parse_config("", overrides, where="options")
    if not config.model.path and not is_preflight:
        raise ConfigError("no model: give --model DIR, or model.path in session.toml; `bci train` makes one")
    s = config.stream
    if not any((s.name, s.type, s.source_id, s.recording, s.fieldtrip)):
        raise ConfigError(
            "no stream: give --stream NAME, --type TYPE, --source-id ID, --recording FILE or --fieldtrip HOST:PORT"
        )
    if s.fieldtrip and (s.recording or s.name or s.source_id):
        raise ConfigError(f"stream.fieldtrip = {s.fieldtrip!r}: with it goes no stream name, source_id or recording")
    return config


def _directions(values: tuple[str, ...]) -> dict[str, list[float]]:
    """``left=-1,0`` and so on."""
    directions = {}
    for value in values:
        name, _, numbers = value.partition("=")
        try:
            x, y = map(float, numbers.split(","))
        except ValueError:
            raise ConfigError(f"--velocity {value}: write CLASS=X,Y, such as left=-1,0") from None
        directions[name] = [x, y]
    return directions


def stop_on_signals(stop: Callable[[str], None]) -> None:
    """Ctrl-C and SIGTERM end the session in order."""
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda *_: stop("stopped by the user"))
