"""``bci report``: the report of a session made anew, or several sessions of one person compared."""

from __future__ import annotations

from pathlib import Path

import click

from bci.cli.common import emit, output_options
from bci.errors import ConfigError


@click.command()
@click.argument("sessions", nargs=-1, required=True, type=click.Path(), metavar="SESSION...")
@click.option(
    "--out", type=click.Path(), metavar="FILE.html", help="Write the page there, and nothing into the folders."
)
@output_options
def command(sessions: tuple[str, ...], out: str | None, json_path: str | None, quiet: bool) -> None:
    r"""Make the report of SESSION (a session's folder, or its session.xdf) from its recording, or compare several.

    \b
    bci report sessions/sub-P01/ses-1                             # report.html and report.json, into the folder
    bci report sessions/sub-P01/ses-* --out progress.html         # one person's sessions side by side

    A session gets its report when it ends; this verb is for sessions that were killed, for folders that were moved, and
    for comparing. Everything comes from the recording, which is only read.
    """
    from bci.recording.folder import SessionFolder
    from bci.report.facts.comparison import comparison, comparison_text
    from bci.report.facts.verdicts import verdicts_text
    from bci.report.page.comparison import comparison_page
    from bci.report.write import session_report, write_page, write_session_report

    folders = [SessionFolder(path) for path in dict.fromkeys(_folder(s) for s in sessions)]
    if len(folders) == 1 and out is None:
        report = write_session_report(folders[0])
        emit(report, f"{verdicts_text(report)}\n{'report':<16}{folders[0].report_page}", json_path, quiet)
        return
    made = [session_report(folder) for folder in folders]
    if len(made) == 1:
        result, html = made[0]
        text = verdicts_text(result)
    else:
        result = comparison([report for report, _ in made])
        html, text = comparison_page(result), comparison_text(result)
    if out is not None:
        if Path(out).suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"--out {out}: the page is HTML; give a name that ends in .html")
        write_page(Path(out), html)
        text += f"\n{'report':<16}{out}"
    emit(result, text, json_path, quiet)


def _folder(session: str) -> Path:
    path = Path(session)
    return path.parent if path.suffix.lower() == ".xdf" else path
