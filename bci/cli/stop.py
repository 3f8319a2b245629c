"""``bci stop``: straight to every device host of this person on this machine; no engine is needed for it."""

from __future__ import annotations

import click

from bci.cli.common import emit, output_options
from bci.errors import DeviceError
from bci.host.control_socket import ControlError, ask_all
from bci.host.runtime import published, runtime_dir


@click.command()
@click.option("--timeout", "timeout_s", default=2.0, show_default=True, help="Seconds to wait for the answers.")
@output_options
def command(timeout_s: float, json_path: str | None, quiet: bool) -> None:
    """Emergency stop: every device that runs here goes neutral now and stays stopped until `bci control reset`.

    Example: bci stop
    """
    replies = ask_all(published("device_host"), {"action": "stop", "value": "bci stop"}, timeout_s)
    stopped, failed = [], []
    for entry, reply in replies:
        if isinstance(reply, ControlError) or not reply.get("ok"):
            failed.append(str(reply) if isinstance(reply, ControlError) else f"process {entry.pid}: {reply['error']}")
        else:
            stopped.append({"pid": entry.pid, "session": entry.session, "devices": reply["devices"]})
    if not replies:
        raise DeviceError(f"nothing to stop: no session with devices runs here (looked in {runtime_dir()})")
    if stopped:
        lines = [f"stopped {', '.join(s['devices'])} of {s['session'] or 'process ' + str(s['pid'])}" for s in stopped]
        emit({"stopped": stopped, "failed": failed}, "\n".join(lines), json_path, quiet)
    if failed:
        raise DeviceError(f"NOT stopped: {'; '.join(failed)}; cut the power of the device")
