"""``bci view``."""

from __future__ import annotations

import click

from bci.cli.common import emit, output_options
from bci.cli.control import the_engine
from bci.errors import RolandicError
from bci.host.control_socket import send_control


@click.command()
@click.option("--session", "group", default="", metavar="ID", help="Which one, where several are visible.")
@click.option("--control", is_flag=True, help="Control the session that runs on this machine, disarmed at first.")
@click.option("--pid", type=int, help="Process of the engine, where several sessions run here.")
@click.option("--theme", type=click.Choice(["dark", "light"]), help="Colours; remembered.")
@output_options
def command(group: str, control: bool, pid: int | None, theme: str | None, json_path: str | None, quiet: bool) -> None:
    r"""Look at a session that shares itself, here or on another machine: signals, decoder, health, latency.

    \b
    bci run --stream eeg --model MODEL --share
    bci view

    It reads LSL and owns nothing: close it, and the session goes on. It only looks, unless --control asks for more, as
    when the window of `bci run --window` has been closed. The space bar is this machine's emergency stop.
    """
    arguments = ["--theme", theme] if theme else []
    if control:
        engine = the_engine(pid)
        status = send_control(engine, {"action": "status"})
        if not status["group"]:
            raise RolandicError(f"the session of process {engine.pid} is not shared: start it with bci run --window")
        group = status["group"]  # what is shown is what is controlled
        arguments += ["--control", str(engine.pid)]
    from bci.gui.app import main

    drawn = main([*(["--group", group] if group else []), *arguments])
    emit(drawn, f"{drawn['n_frames']} frames drawn, {drawn['n_dropped_frames']} dropped", json_path, quiet)
