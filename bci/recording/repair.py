"""Save what is whole in a damaged XDF file."""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bci.errors import RecordingError
from bci.recording.folder import private
from bci.recording.scan import MAGIC, Tag
from bci.recording.xdf import scan_file


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was kept. ``n_damaged`` counts the places where bytes were left out; ``n_samples`` is by stream name."""

    path: str
    out: str
    n_bytes_kept: int
    n_bytes_cut: int
    n_chunks: int
    n_damaged: int
    n_samples: dict[str, int]


def repair(path: str | Path, out: str | Path) -> RepairReport:
    """Copy the whole chunks of ``path`` to the new file ``out``.

    Raises
    ------
    RecordingError
        ``path`` is not XDF or cannot be read; ``out`` exists (nothing is overwritten) or cannot be written.
    """
    path, out = Path(path), Path(out)
    found, _ = scan_file(path)
    try:
        with path.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
            n_bytes = len(data)
            target = open(out, "xb", opener=private)  # noqa: SIM115 (an `out` that exists must not reach the unlink)
            try:
                with target:
                    n_kept = _copy(data, found.damage, target)
            except OSError:
                with contextlib.suppress(OSError):
                    out.unlink()  # closed by now, or Windows would keep it
                raise
    except FileExistsError:
        raise RecordingError(f"{out} exists and is not overwritten; choose another name for --out") from None
    except OSError as error:
        raise RecordingError(f"cannot write {out}: {error.strerror}") from None
    n_samples = {stream.name: 0 for stream in found.streams.values()}
    for chunk in found.chunks:
        if chunk.tag is Tag.SAMPLES:
            n_samples[found.streams[chunk.stream].name] += chunk.n_samples
    return RepairReport(str(path), str(out), n_kept, n_bytes - n_kept, len(found.chunks), len(found.damage), n_samples)


def _copy(data: mmap.mmap, damage: list[tuple[int, int]], target: BinaryIO) -> int:
    """Everything of ``data`` but the damage, durably; the number of bytes."""
    n_kept = target.write(MAGIC)
    at = len(MAGIC)
    for start, end in [*damage, (len(data), len(data))]:
        n_kept += target.write(data[at:start])
        at = end
    target.flush()
    os.fsync(target.fileno())
    return n_kept
