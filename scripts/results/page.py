"""What sections of docs/results.md share: rows in CSV files that grow, and marked parts of the page."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[2]
PAGE, FOLDER = ROOT / "docs" / "results.md", ROOT / "docs" / "results"
Row: TypeAlias = dict[str, str]


@dataclass(frozen=True)
class Section:
    """One marked part of the page.

    Attributes
    ----------
    name : str
        Of its marks, and of its CSV file.
    takes : str
        Time on one core of a CPU, or what else it needs.
    compute : callable
        (data, work, CSV file): adds the rows that the file lacks.
    tables : callable
        All rows of the file -> Markdown.
    """

    name: str
    takes: str
    compute: Callable[[Path, Path, Path], None]
    tables: Callable[[list[Row]], str]


def read(path: Path) -> list[Row]:
    """All rows of a CSV file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def has(path: Path, **wanted: object) -> bool:
    """Whether a row with these values is there."""
    return any(all(row[key] == str(value) for key, value in wanted.items()) for row in read(path))


def add(path: Path, rows: Iterable[dict[str, object]]) -> None:
    """Append rows, all or none; numbers with a point are kept to five digits behind it."""
    new = [{k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = [*read(path), *new]
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(whole[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(whole)
    part.replace(path)


def with_section(page: str, name: str, text: str) -> str:
    """The page with the part between the marks of ``name`` replaced; at its end where there are none."""
    begin, end = f"<!-- {name}: made by scripts/results -->", f"<!-- end of {name} -->"
    if begin not in page:
        return f"{page.rstrip()}\n\n{begin}\n{text.strip()}\n{end}\n"
    before, _, rest = page.partition(begin)
    if end not in rest:
        raise ValueError(f"docs/results.md: {begin} has no {end}")
    return f"{before}{begin}\n{text.strip()}\n{end}{rest.partition(end)[2]}"


def column(rows: Iterable[Row], name: str) -> list[float]:
    """One column as numbers."""
    return [float(row[name]) for row in rows]
