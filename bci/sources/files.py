"""Recordings as files: whatever format, `load_recording` gives the streams as an amplifier would have sent them."""

from __future__ import annotations

import hashlib
import lzma
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace as with_fields

from bci.errors import RecordingError, SourceError
from bci.sources.formats import brainvision, edf, eeglab, fif, text, xdf
from bci.types import RecordedStream, Recording


class Format(NamedTuple):
    """How files of a suffix are read: ``read(path, name)``, and which other files belong to one."""

    read: Callable[[Path, str], list[RecordedStream]]
    companions: Callable[[Path], list[Path]] = lambda path: []


FORMATS = {
    ".edf": Format(edf.read_edf),
    ".bdf": Format(edf.read_bdf),
    ".gdf": Format(edf.read_gdf),
    ".vhdr": Format(brainvision.read_brainvision, brainvision.companions),
    ".set": Format(eeglab.read_eeglab, eeglab.companions),
    ".fif": Format(fif.read_fif),
    ".fif.gz": Format(fif.read_fif),
    ".xdf": Format(xdf.read_xdf),
    ".txt": Format(text.read_text),
    ".csv": Format(text.read_text),
}
PACKED = ".xz"
NOT_PACKED = (".vhdr", ".set", ".fif.gz")  # more than one file, or packed already
_HEADER_OF = {".eeg": ".vhdr", ".vmrk": ".vhdr", ".fdt": ".set"}


def load_recording(path: str | Path, *, rate_hz: float | None = None) -> Recording:
    """Read a recording whole.

    Voltages of formats with a fixed unit are microvolts, float32 (text: float64); MEG is in T and T/m; trigger channels
    keep their values. Annotations and the events of trigger channels form the marker stream ``<file>-markers``; their
    stamps, and those of formats without stamps of their own, count seconds from the first sample of the acquisition.
    A file with several sampling rates gives one stream a rate. What a file does not tell stays empty (unit, rate): who
    needs it asks. The readers in `bci.sources.formats` say what each format keeps.

    Positions are metres in MNE's head frame (origin between the ears, x right, y front): those of the file, else those
    of the label in the 10-05 system. MEG sensors are placed in the frame of the device, as in the file.

    Parameters
    ----------
    path
        A file, or the header file of a format that is several.
    rate_hz
        Nominal rate of EEG or MEG that has none in the file.

    Raises
    ------
    SourceError, RecordingError
        No such file, an unknown format, or a file that is damaged, cut off, or empty.
    """
    path = Path(path)
    name, suffix, is_packed = _split(path)
    format_ = FORMATS[suffix]
    try:
        files = [path, *format_.companions(path)] if path.is_file() else [path]
        sha256 = _sha256(files)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MNE, on naming conventions and the like
            streams = _unpacked(path, name, suffix, format_) if is_packed else format_.read(path, name)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    except RecordingError:  # from the XDF reader, with the path
        raise
    except Exception as error:  # the readers raise whatever a damaged file leads them to
        reason = (str(error).splitlines() or [""])[0].split(", please report")[0].replace(f" in {path}", "")
        reason = reason or type(error).__name__
        kind = suffix + PACKED if is_packed else suffix
        raise SourceError(f"{path}: not a readable {kind} recording ({reason})") from error
    if not any(len(s.stamps_s) for s in streams):
        raise SourceError(f"{path}: the recording holds no samples")
    return Recording(str(path), tuple(_with_rate(s, rate_hz) for s in streams), sha256)


def _split(path: Path) -> tuple[str, str, bool]:
    """The bare name, the suffix that tells the format, and whether it is packed."""
    is_packed = path.name.lower().endswith(PACKED)
    name = path.name[: -len(PACKED)] if is_packed else path.name
    if header := _HEADER_OF.get(Path(name).suffix.lower()):
        raise SourceError(f"{path}: give the header file that belongs to it, {Path(name).with_suffix(header)}")
    suffix = next((s for s in sorted(FORMATS, key=len, reverse=True) if name.lower().endswith(s)), "")
    if not suffix or (is_packed and suffix in NOT_PACKED):
        packed = " ".join(s for s in FORMATS if s not in NOT_PACKED)
        raise SourceError(
            f"{path}: not a kind of recording that is read here ({' '.join(FORMATS)}; packed as .xz: {packed})"
        )
    return name[: -len(suffix)], suffix, is_packed


def _sha256(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as opened:
                if not opened.seek(0, 2):
                    raise SourceError("the file is empty" if file is files[0] else f"{file.name} is empty")
                opened.seek(0)
                while block := opened.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise SourceError(f"cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _unpacked(path: Path, name: str, suffix: str, format_: Format) -> list[RecordedStream]:
    with tempfile.TemporaryDirectory(prefix="rolandic-") as folder:
        file = Path(folder) / f"{name}{suffix}"
        file.write_bytes(lzma.decompress(path.read_bytes()))
        return format_.read(file, name)


def _with_rate(stream: RecordedStream, rate_hz: float | None) -> RecordedStream:
    spec = stream.spec
    if rate_hz and not spec.sfreq_hz and not spec.is_marker_stream and spec.type.upper() in ("EEG", "MEG"):
        return replace(stream, spec=with_fields(spec, sfreq_hz=rate_hz))
    return stream
