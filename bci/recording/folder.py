"""Where a session lies: ``ROOT/sub-ID/ses-N/`` with its recording, configuration, report and models."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from bci.errors import ConfigError, RecordingError


@dataclass(frozen=True, slots=True)
class SessionFolder:
    """Paths of one session. Everything in it is for its owner alone (0600; folders 0700)."""

    path: Path

    @classmethod
    def create(cls, root: str | Path, subject: str, session: str | None = None) -> SessionFolder:
        """A new folder; the next free number if ``session`` is None.

        Raises
        ------
        ConfigError
            A name that BIDS does not allow, or a session that exists.
        RecordingError
            The folder cannot be made.
        """
        parent = Path(root) / f"sub-{_name(subject, 'subject')}"
        try:
            parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if session is not None:
                return cls._make(parent / f"ses-{_name(session, 'session')}")
            taken = (re.fullmatch(r"ses-(\d+)", p.name) for p in parent.iterdir())
            n = max((int(m[1]) for m in taken if m), default=0)
            while True:  # mkdir is atomic: of two that start at once, one goes on to the next number
                n += 1
                try:
                    return cls._make(parent / f"ses-{n}")
                except FileExistsError:
                    continue
        except FileExistsError:
            raise ConfigError(
                f"session {session!r} of subject {subject!r} exists in {root}; choose another or --resume it"
            ) from None
        except OSError as error:
            raise RecordingError(
                f"cannot make a session folder in {root}: {error.strerror}; choose a folder that is writable"
            ) from None

    @classmethod
    def _make(cls, path: Path) -> SessionFolder:
        path.mkdir(mode=0o700)
        fsync_folder(path.parent)
        return cls(path)

    @classmethod
    def at(cls, path: str | Path) -> SessionFolder:
        """The folder as named, made if need be; it must not hold a session yet.

        Raises
        ------
        ConfigError
            It holds one.
        RecordingError
            It cannot be made.
        """
        folder = cls(Path(path))
        if folder.xdf.exists():
            raise ConfigError(f"{path} holds a session; choose another folder, or --resume it")
        try:
            folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise RecordingError(
                f"cannot make the session folder {path}: {error.strerror}; choose a folder that is writable"
            ) from None
        return folder

    @classmethod
    def resume(cls, path: str | Path) -> SessionFolder:
        """An existing session.

        Raises
        ------
        RecordingError
            There is none.
        """
        folder = cls(Path(path))
        if not folder.xdf.exists():
            raise RecordingError(f"{path} holds no session.xdf to resume; give the session's folder (sub-ID/ses-N)")
        return folder

    @property
    def xdf(self) -> Path:
        """The recording's first part; see `parts`."""
        return self.path / "session.xdf"

    @property
    def toml(self) -> Path:
        """The configuration as resolved."""
        return self.path / "session.toml"

    @property
    def report(self) -> Path:
        """What came of the session, made from everything else in the folder."""
        return self.path / "report.json"

    @property
    def report_page(self) -> Path:
        """The same for people."""
        return self.path / "report.html"

    def model(self, model_hash: str) -> Path:
        """The folder of a model that was used."""
        return self.path / "models" / model_hash

    def write(self, path: Path, text: str) -> None:
        """Write one of the small files, durably and as a whole: a crash leaves the old one or the new one.

        Raises
        ------
        RecordingError
            It cannot be written.
        """
        new = path.with_name(path.name + ".new")
        try:
            with open(new, "w", encoding="utf-8", opener=private) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            fsync_folder(path.parent)
        except OSError as error:
            raise RecordingError(f"cannot write {path}: {error.strerror}") from None

    def add_model(self, model: str | Path, model_hash: str) -> Path:
        """Copy a model folder to ``models/<hash>/``; it is durable when this returns.

        Raises
        ------
        RecordingError
            It cannot be copied.
        """
        target = self.model(model_hash)
        if target.exists():  # a hash names its content
            return target
        new = target.with_name(model_hash + ".new")
        try:
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(model, new, copy_function=_copy)
            for folder in (new, *(p for p in new.rglob("*") if p.is_dir())):
                folder.chmod(0o700)
                fsync_folder(folder)
            new.replace(target)
            fsync_folder(target.parent)
            fsync_folder(self.path)
        except (OSError, shutil.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise RecordingError(f"cannot copy the model {model} to {target}: {reason}") from None
        return target


def parts(path: str | Path) -> list[Path]:
    """The files that exist of one recording, named by any of them: ``session.xdf``, ``session.part2.xdf``, ..."""
    first = _first_part(Path(path))
    numbered = [(_part_number(first, p), p) for p in first.parent.iterdir()] if first.parent.is_dir() else []
    return [p for n, p in sorted((n, p) for n, p in numbered if n)]


def next_part(path: str | Path) -> Path:
    """The name that the next of `parts` gets."""
    first = _first_part(Path(path))
    n = max((_part_number(first, p) for p in parts(first)), default=0) + 1
    return first if n == 1 else first.with_name(f"{first.stem}.part{n}{first.suffix}")


def _first_part(path: Path) -> Path:
    return path.with_name(re.sub(r"\.part\d+$", "", path.stem) + path.suffix)


def _part_number(first: Path, other: Path) -> int:
    """1 for ``first`` itself, N for its part N, 0 for any other file."""
    if other.name == first.name:
        return 1
    match = re.fullmatch(re.escape(first.stem) + r"\.part(\d+)" + re.escape(first.suffix), other.name)
    return int(match[1]) if match else 0


def check_free_space(path: str | Path, bytes_per_s: float, planned_s: float) -> None:
    """Make sure that a recording of ``planned_s`` fits where ``path`` will be.

    Raises
    ------
    RecordingError
        It does not; the message has both numbers.
    """
    folder = Path(path).absolute().parent
    while not folder.exists():
        folder = folder.parent
    free, needed = shutil.disk_usage(folder).free, bytes_per_s * planned_s
    if needed > free:
        raise RecordingError(
            f"{folder} has {free / 1e6:.0f} MB free; {planned_s / 60:.0f} min at {bytes_per_s / 1e6:.2f} MB/s need "
            f"{needed / 1e6:.0f} MB: free some space or record elsewhere"
        )


def private(path: str, flags: int) -> int:
    """An ``opener`` for `open`: a new file is for its owner alone."""
    return os.open(path, flags, 0o600)


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable (Windows does so by itself)."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _copy(source: str, target: str) -> str:
    with Path(source).open("rb") as old, open(target, "xb", opener=private) as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
    return target


def _name(value: str, what: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]+", value):
        raise ConfigError(f"{what} {value!r}: letters and digits only (BIDS), for example 'P01'")
    return value
