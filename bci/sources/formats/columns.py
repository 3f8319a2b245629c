"""Columns of numbers out of lines of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bci.errors import SourceError
from bci.types import RecordedStream, marker_spec, number_label


def numbers(rows: Sequence[str], columns: Sequence[int]) -> NDArray[np.float64]:
    """These columns of comma-separated ``rows``, shape (n_rows, n_columns).

    Raises
    ------
    SourceError
        A row has fewer columns, or something that is no number.
    """
    if not rows:
        return np.empty((0, len(columns)))
    try:
        return np.loadtxt(rows, np.float64, delimiter=",", usecols=columns, comments=None, ndmin=2)
    except ValueError:
        number, row = next((i, row) for i, row in enumerate(rows, 1) if not _is_good(row, columns))
        raise SourceError(f"row {number} of its samples is not one of numbers, or was cut off: {row[:60]!r}") from None


def _is_good(row: str, columns: Sequence[int]) -> bool:
    fields = row.split(",")
    try:
        return all(np.isreal(float(fields[i])) for i in columns)
    except (ValueError, IndexError):
        return False


def coded_markers(name: str, codes: NDArray[np.float64], stamps_s: NDArray[np.float64]) -> RecordedStream:
    """A column that is 0 but where something happened, as a marker stream: each code with the stamp of its row."""
    at = np.flatnonzero(codes)
    return RecordedStream(marker_spec(name), [number_label(code) for code in codes[at]], stamps_s[at])
