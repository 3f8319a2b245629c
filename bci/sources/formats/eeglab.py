"""EEGLAB ``.set`` through MNE, with the samples inside or in a ``.fdt`` file beside it."""

from __future__ import annotations

from pathlib import Path

from bci.errors import SourceError
from bci.sources.formats import raw
from bci.types import RecordedStream


def read_eeglab(path: Path, name: str) -> list[RecordedStream]:
    """A continuous set. EEGLAB knows one unit, microvolts."""
    import mne

    try:
        data = mne.io.read_raw_eeglab(path, preload=True, verbose="ERROR")
    except TypeError as error:
        if "number of trials" in str(error):
            raise SourceError("it holds epochs, not a continuous recording; save the set before it was cut") from None
        raise
    except NotImplementedError:  # of SciPy
        raise SourceError(
            "a MATLAB 7.3 file is not read here; save it from EEGLAB with 'Save file as v6' in its preferences"
        ) from None
    return [raw.signal(data, name, ["V"] * len(data.ch_names)), raw.markers(name, raw.notes(data))]


def companions(path: Path) -> list[Path]:
    """The ``.fdt`` file of the same name, if there is one."""
    beside = path.with_suffix(".fdt")
    return [beside] if beside.is_file() else []
