"""Who runs here: one small file a session process, for its owner alone, with port and token of its control server."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from bci.errors import RolandicError


@dataclass(frozen=True, slots=True)
class Entry:
    """One running process. ``role`` is engine or device_host; ``path`` its file."""

    role: str
    pid: int
    port: int
    token: str
    session: str = ""
    started_s: float = 0.0  # seconds since 1970
    path: str = ""


def runtime_dir() -> Path:
    """The folder of the entries: ``ROLANDIC_RUNTIME_DIR``, else the user's runtime folder; made if need be, mode 0700.

    Raises
    ------
    RolandicError
        It cannot be made, or belongs to somebody else.
    """
    if not (name := os.environ.get("ROLANDIC_RUNTIME_DIR")):
        import platformdirs

        with warnings.catch_warnings():  # without XDG_RUNTIME_DIR it takes a folder under /tmp, which is checked below
            warnings.simplefilter("ignore")
            name = platformdirs.user_runtime_dir("rolandic")
    folder = Path(name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise RolandicError(
            f"runtime folder {folder} cannot be used ({error.strerror}); set ROLANDIC_RUNTIME_DIR to one that can"
        ) from None
    if sys.platform != "win32" and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise RolandicError(
            f"runtime folder {folder} can be written by others; set ROLANDIC_RUNTIME_DIR to one of your own"
        )
    return folder


def publish(entry: Entry) -> Entry:
    """Write the entry, whole or not at all, mode 0600; returned with its path."""
    folder = runtime_dir()
    entry = Entry(**{**asdict(entry), "path": str(folder / f"{entry.role}-{entry.pid}-{entry.port}.json")})
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".")  # mkstemp makes it 0600
    with os.fdopen(handle, "w") as file:
        json.dump(asdict(entry), file)
    Path(temporary).replace(entry.path)
    return entry


def withdraw(entry: Entry) -> None:
    """Remove the entry's file."""
    with contextlib.suppress(OSError):
        Path(entry.path).unlink()


def published(role: str) -> list[Entry]:
    """Entries of a role, oldest first; their processes may be dead by now (`is_alive`)."""
    entries: list[Entry] = []
    for path in runtime_dir().glob(f"{role}-*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):  # being removed, or not ours
            entries.append(Entry(**{**json.loads(path.read_text()), "path": str(path)}))
    return sorted(entries, key=lambda e: e.started_s)


def is_alive(entry: Entry) -> bool:
    """Whether its process runs. Not asked on the way of a stop: it loads psutil."""
    import psutil

    try:
        return psutil.Process(entry.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
