"""``bci cues``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bci.cli.common import SeveralValues, emit, output_options
from bci.errors import ConfigError, RolandicError

if TYPE_CHECKING:
    from calibration.paradigm import Paradigm


@click.command(cls=SeveralValues)
@click.option("--classes", multiple=True, metavar="NAME", help="What is imagined, such as left right, or hands feet.")
@click.option("--flicker", "hz", multiple=True, type=float, metavar="HZ",
              help="Targets that flicker instead, at most 4; a warning must be acknowledged first.")  # fmt: skip
@click.option("--trials", "n_trials", type=click.IntRange(2), help="Cues in all, as many of each class.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the order and of the rests.")
@click.option("--markers", multiple=True, metavar="CLASS=MARKER", help="What is sent for a class (default: its name).")
@click.option("--imagery", "imagery_s", type=float, metavar="S", help="From a cue to the end of its trial.")
@click.option("--lead", "lead_s", type=float, metavar="S", help="Time to get ready; Enter begins before.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), metavar="FILE.toml",
              help="The paradigm as a file: labels or frequencies_hz, n_per_class, seed, rest_s, …")  # fmt: skip
@click.option("--group", default="", metavar="ID", help="Of the marker stream; `bci record` takes those of its stream.")
@click.option("--feedback", is_flag=True, help="Show what the decoder of a session says that shares itself.")
@click.option("--session", default="", metavar="ID", help="Which session, where several are visible.")
@click.option("--measure-delay", is_flag=True, help="Flash, and say how long after its marker the light is there.")
@click.option("--stream", metavar="NAME", help="With --measure-delay: the stream of the photodiode.")
@click.option("--channel", metavar="LABEL", help="With --measure-delay: its channel.")
@click.option("--flashes", "n_flashes", type=click.IntRange(5, 1000), default=60, show_default=True,
              help="With --measure-delay: how many, about one a second.")  # fmt: skip
@click.option("--close", is_flag=True, help="With --measure-delay: do not wait for Enter when it is done.")
@click.option("--window", is_flag=True, help="A window, not the full screen.")
@click.option("--theme", type=click.Choice(["dark", "light"]), default="dark", show_default=True,
              help="Of cards; the ground is dark.")  # fmt: skip
@output_options
def command(json_path: str | None, quiet: bool, **options: Any) -> None:
    r"""Show cues on the second screen, or the only one, and send each as an LSL marker (stream bci-cues).

    \b
    bci cues --classes left right --trials 40 --seed 1
    bci cues --measure-delay --stream amplifier --channel AUX1

    Esc twice ends it, F11 makes it a window. The space bar is the emergency stop of what runs on this machine.
    """
    from bci.gui.cues import app

    show = {"group": options["group"], "theme": options["theme"], "full_screen": not options["window"]}
    if options["measure_delay"]:
        if not (options["stream"] and options["channel"]):
            raise ConfigError("--measure-delay: say where the photodiode is by --stream NAME --channel LABEL")
        more = {"n_flashes": options["n_flashes"], "keep": not options["close"]}
        found = app.measure_delay(options["stream"], options["channel"], **more, **show)
        emit(found, _delay_text(found), json_path, quiet)
        return
    feedback = options["session"] if options["feedback"] else None
    result = app.show_cues(lambda hz: _paradigm(options, hz), feedback=feedback, **show)
    emit(result, _text(result), json_path, quiet)
    if not result["is_complete"]:
        raise RolandicError(f"ended after {result['n_cues_shown']} of {result['n_trials']} cues")


def _paradigm(options: dict[str, Any], refresh_hz: float) -> Paradigm:
    from calibration.paradigm import ParadigmError, flicker, from_table, imagery

    asked = [name for name in ("classes", "hz", "config_path") if options[name]]
    if len(asked) != 1:
        raise ConfigError("say what to show: --classes left right, --flicker 10 12, or --config FILE.toml")
    timing = {key: options[key] for key in ("imagery_s", "lead_s") if options[key] is not None}
    try:
        if options["config_path"]:
            return from_table({**_table(options["config_path"]), **timing}, refresh_hz)
        n_classes = len(options["classes"] or options["hz"])
        n_trials = options["n_trials"] or 20 * n_classes
        if n_trials % n_classes:
            raise ConfigError(f"--trials {n_trials}: must be a multiple of the {n_classes} classes, for balance")
        if options["hz"]:
            return flicker(options["hz"], n_trials // n_classes, options["seed"], refresh_hz=refresh_hz, **timing)
        markers = dict(_pair(text) for text in options["markers"])
        return imagery(options["classes"], n_trials // n_classes, options["seed"], markers=markers, **timing)
    except ParadigmError as error:
        raise ConfigError(str(error)) from None


def _table(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a TOML file that describes a paradigm") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML ({error})") from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, marker = text.partition("=")
    if not (name and equals and marker):
        raise ConfigError(f"--markers {text}: must be CLASS=MARKER, such as left=T1")
    return name, marker


def _text(result: dict[str, Any]) -> str:
    said = f"{result['n_cues_shown']} of {result['n_trials']} cues, {len(result['onsets'])} markers"
    if not result["n_frames"]:
        return said
    return (
        f"{said}; {result['n_dropped_frames']} of {result['n_frames']} frames dropped at {result['refresh_hz']:g} Hz; "
        f"painted in {result['paint_ms']['p50']:.1f} ms (p50), {result['paint_ms']['max']:.1f} ms at most"
    )


def _delay_text(found: dict[str, Any]) -> str:
    return (
        f"marker to light: {found['median_ms']:.1f} ms (median), {found['p5_ms']:.1f} to {found['p95_ms']:.1f} ms "
        f"(5 to 95 %), jitter {found['jitter_ms']:.2f} ms (SD); {found['n_flashes'] - found['n_missed']} of "
        f"{found['n_flashes']} flashes seen, {found['n_dropped_frames']} frames dropped"
    )
