"""Reports into files: reads a session's folder, and writes ``report.json`` and ``report.html``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from bci.errors import RecordingError
from bci.recording.folder import SessionFolder
from bci.recording.runs import read_runs
from bci.report.facts.session import session_facts
from bci.report.page.session import session_page


def write_session_report(folder: SessionFolder) -> dict[str, Any]:
    """Make the report of a session anew, from its recording, into its folder; returns what ``report.json`` holds.

    Raises
    ------
    RecordingError
        There is no recording, or the folder cannot be written.
    """
    report, html = session_report(folder)
    folder.write(folder.report, json.dumps(report, indent=2) + "\n")
    folder.write(folder.report_page, html)
    return report


def session_report(folder: SessionFolder) -> tuple[dict[str, Any], str]:
    """The report of a session and its page, without writing anything."""
    runs = read_runs(folder)
    report = finite(session_facts(folder, runs))
    return report, session_page(report, runs)


def finite(value: Any) -> Any:
    """JSON has no word for NaN and infinity: None. Only then are page and file the same."""
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_page(path: Path, html: str) -> None:
    """Write a page that was asked for by name.

    Raises
    ------
    RecordingError
        It cannot be written.
    """
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise RecordingError(
            f"cannot write {path}: {error.strerror}; choose a folder that exists and is writable"
        ) from None
