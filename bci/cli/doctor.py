"""``bci doctor``: is this machine fit for a session, and what to do where it is not."""

from __future__ import annotations

import click

from bci.cli.common import emit, output_options


@click.command()
@click.option("--stream", default="", metavar="NAME", help="Look at the first second of this LSL stream, too.")
@click.option("--model", default="", metavar="DIR", help="Time this model; default: a small one of 64 channels.")
@click.option("--wait", "wait_s", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, metavar="S",
              help="How long to wait for the stream.")  # fmt: skip
@output_options
def command(stream: str, model: str, wait_s: float, json_path: str | None, quiet: bool) -> None:
    r"""Check LSL, the network, streams, clocks, the decoder and the window; one line each, with what to do.

    \b
    bci doctor
    bci doctor --stream eeg --model MODEL

    Ends with 1 if a line says fail.
    """
    from bci.host.realtime import limit_threads

    limit_threads()  # as a session does
    from bci.doctor import examine

    findings = examine(stream, model, wait_s)
    lines = [{"level": f.level, "what": f.stream, "text": f.text} for f in findings]
    emit({"findings": lines}, "\n".join(map(str, findings)), json_path, quiet)
    raise SystemExit(any(f.level == "fail" for f in findings))
