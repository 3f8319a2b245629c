"""``bci control``: what a person asks of the session that runs here."""

from __future__ import annotations

import time
from pathlib import Path

import click

from bci.cli.common import emit, output_options
from bci.errors import ConfigError, RolandicError
from bci.host.control_socket import Message, send_control
from bci.host.runtime import Entry, is_alive, published, runtime_dir, withdraw

ACTIONS = ("status", "arm", "disarm", "pause", "resume", "reset", "threshold", "dwell", "command", "swap", "note")
ARM_S = 1.0  # the gate answers at its next hop
SWAP_S = 20.0  # a torch model may have to be imported first
_TAKES = {
    "threshold": "a probability", "dwell": "seconds", "command": "the name of a class", "swap": "a model folder",
    "note": "a text",
}  # fmt: skip


@click.command()
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("value", nargs=-1)
@click.option("--pid", type=int, help="Process of the engine, where several sessions run.")
@output_options
def command(action: str, value: tuple[str, ...], pid: int | None, json_path: str | None, quiet: bool) -> None:
    """Status, arm, disarm, pause, resume, reset, threshold P, dwell S, command CLASS, swap MODEL, or note TEXT.

    reset releases an emergency stop; command gives a command by hand, as the gate allows.

    Example: bci control note electrode C3 fixed
    """
    text = _checked(action, " ".join(value))
    engine = the_engine(pid)
    was_armed = action == "arm" and _status(engine)["is_armed"]
    reply = send_control(engine, {"action": action, "value": text})
    if action == "arm":
        reply = _wait_until_armed(engine) | {"was_armed": was_armed}
    if action == "swap":
        reply = _wait_until_swapped(engine, text)
    emit({"action": action, "value": text, **reply}, _said(action, reply), json_path, quiet)


def the_engine(pid: int | None) -> Entry:
    """The engine of this process, or the only one that runs here.

    Raises
    ------
    RolandicError
        There is none; ConfigError where there are several.
    """
    engines = []
    for entry in published("engine"):
        if is_alive(entry):
            engines.append(entry)
        else:
            withdraw(entry)
    if pid is not None:
        engines = [entry for entry in engines if entry.pid == pid]
    if not engines:
        which = f"with process {pid} " if pid is not None else ""
        raise RolandicError(f"no session {which}runs here (looked in {runtime_dir()}); start one with bci run")
    if len(engines) > 1:
        listed = ", ".join(f"{entry.pid} ({entry.session or 'no folder'})" for entry in engines)
        raise ConfigError(f"{len(engines)} sessions run here: {listed}; name one by --pid")
    return engines[0]


def _status(engine: Entry) -> Message:
    return send_control(engine, {"action": "status", "value": ""})


def _wait_until_armed(engine: Entry) -> Message:
    """The gate decides; say so if it refused."""
    until_s = time.monotonic() + ARM_S
    while not (reply := _status(engine))["is_armed"]:
        if time.monotonic() > until_s:
            why = (
                "it is stopped: bci control reset first" if reply["gate"] == "stopped" else "; ".join(reply["reasons"])
            )
            raise RolandicError(f"not armed: {why or 'the gate gave no reason; try again'}")
        time.sleep(0.02)
    return reply


def _wait_until_swapped(engine: Entry, model: str) -> Message:
    """It is loaded, checked, and primed by recent signal, before it takes over."""
    try:
        wanted = (Path(model) / "SHA256").read_text().strip()
    except OSError:
        raise RolandicError(f"not swapped: {model} is no model folder; bci train makes one") from None
    until_s = time.monotonic() + SWAP_S
    while (reply := _status(engine))["model_hash"] != wanted:
        if reply["swap_error"]:
            raise RolandicError(f"not swapped: {reply['swap_error']}")
        if time.monotonic() > until_s:
            raise RolandicError(f"not swapped within {SWAP_S:g} s; is the stream running? bci control status")
        time.sleep(0.05)
    return reply


def _said(action: str, reply: Message) -> str:
    if action == "command":
        return "command: asked; the gate sends or refuses it (bci control status, or the window's log)"
    if action not in ("status", "arm"):
        return f"{action}: done"
    reasons = f" ({'; '.join(reply['reasons'])})" if reply["reasons"] else ""
    armed = "" if action == "status" else "armed already: " if reply["was_armed"] else "armed: "
    return f"{armed}gate {reply['gate']}, health {reply['health']}{reasons}, {reply['n_hops']} hops, {reply['session']}"


def _checked(action: str, text: str) -> str:
    if action not in _TAKES:
        if text:
            raise ConfigError(f"control {action} takes no value, got {text!r}")
        return ""
    if not text:
        raise ConfigError(f"control {action} takes {_TAKES[action]}")
    if action in ("threshold", "dwell"):
        try:
            number = float(text)
            ok = 0 < number <= 1 if action == "threshold" else 0 <= number < float("inf")
        except ValueError:
            ok = False
        if not ok:
            allowed = "above 0 and at most 1" if action == "threshold" else "0 or more seconds"
            raise ConfigError(f"control {action} = {text!r}: must be {allowed}")
    if action == "swap":
        if not (folder := Path(text).expanduser().resolve()).is_dir():
            raise ConfigError(f"control swap: {text} is no folder; name a model folder that bci train wrote")
        return str(folder)  # the engine may run elsewhere
    return text
