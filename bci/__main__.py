"""``bci``: the command line. Verbs are loaded only when they are used, so that ``bci --help`` answers at once."""

from __future__ import annotations

import importlib
import os
import sys

import click

from bci.errors import RolandicError

# name -> (module that holds `command`, one line for --help)
VERBS: dict[str, tuple[str, str]] = {
    "start": ("bci.cli.start", "The start page: pick a stream, check, calibrate, run, replay. Also `bci` alone."),
    "demo": ("bci.cli.demo", "A simulated person from calibration to a live session, with a report."),
    "simulate": ("bci.cli.simulate", "A simulated person as an LSL stream, or as a recording."),
    "stream": ("bci.cli.stream", "Play a recording as LSL streams."),
    "run": ("bci.cli.run", "Run a live session from a stream or a recording."),
    "control": ("bci.cli.control", "Arm, disarm, pause, note or swap the model of the session that runs here."),
    "view": ("bci.cli.view", "Look at a session that shares itself, in a window."),
    "cues": ("bci.cli.cues", "Show cues on a screen and send them as markers; measure the display's delay."),
    "stop": ("bci.cli.stop", "Emergency stop of the session that runs here."),
    "record": ("bci.cli.record", "Record LSL streams to XDF."),
    "replay": ("bci.cli.replay", "Run a recorded session again; --verify compares it bit by bit."),
    "report": ("bci.cli.report", "The report of a session as a page, or several sessions of one person compared."),
    "repair": ("bci.cli.repair", "Cut a damaged XDF file to its last whole chunk."),
    "fetch": ("bci.cli.fetch", "Get real recordings from the internet."),
    "train": ("bci.cli.train", "Train a decoder from recordings."),
    "augment": ("bci.cli.augment", "Make synthetic trials from real ones."),
    "pretrain": ("bci.cli.pretrain", "Pretrain a network on recordings without labels."),
    "ensemble": ("bci.cli.ensemble", "Combine trained models into one that averages what they say."),
    "evaluate": ("bci.cli.evaluate", "Score a model on recordings, by the live code path."),
    "sweep": ("bci.cli.sweep", "Search settings of a decoder over people and seeds, resumable."),
    "explain": ("bci.cli.explain", "Show what a model looks at, and say when that means nothing."),
    "card": ("bci.cli.card", "Print what a model is, what it was trained on, and what its score does not show."),
    "doctor": ("bci.cli.doctor", "Is this machine fit for a session, and what to do where it is not."),
    "bench": ("bci.cli.bench", "Measure latency and throughput on this machine."),
}


def has_screen() -> bool:
    """Whether a window would be seen: somebody is at a terminal, on a system with a desktop."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    has_display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return sys.platform in ("win32", "darwin") or has_display


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`bci` alone is the start page, where a person at a screen asks."""
        return super().parse_args(ctx, args or (["start"] if has_screen() else []))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module and take its command."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(VERBS[cmd_name][0]).command
        for each in (command, *getattr(command, "commands", {}).values()):
            # docstrings are raw; to click, a real backspace says that a paragraph's lines stay as they are
            each.help = (each.help or "").replace("\\b", "\b")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rolandic", prog_name="bci")
def group() -> None:
    """Real-time brain-computer interface: decode EEG or MEG from the Lab Streaming Layer, safely and replayably.

    `bci` alone opens the start page, where there is a screen. `bci demo` shows all of it on a simulated person.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run one verb; a `RolandicError` is one line on standard error and its exit code."""
    try:
        group.main(args=arguments, prog_name="bci", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(1)
    except RolandicError as error:
        click.echo(f"bci: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("ROLANDIC_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        click.echo(f"bci: this should not have happened: {what} (ROLANDIC_DEBUG=1 shows where)", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
