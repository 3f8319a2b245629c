"""Every table of docs/results.md by one command, which goes on where it stopped.

    python scripts/results DATA --work WORK [--only imagery_cpu p300 ...]
    python scripts/results --tables      # the page from docs/results/*.csv, nothing computed
    python scripts/results --list

DATA is the folder of recordings. Each section adds rows to WORK/NAME.csv as they are found; rows that are there are not
computed again (take them out of the file for that). Then the file goes to docs/results/NAME.csv, and the part of the
page between the marks of NAME is written from it. Sections that stream over LSL want a machine to themselves.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import shutil
from importlib import import_module
from pathlib import Path

from page import FOLDER, PAGE, Section, read, with_section

MODULES = ("live", "muse_live", "demo", "confounds", "alarms", "imagery", "streams", "p300", "ssvep", "neurons")


def sections() -> list[Section]:
    """All of them, in the order of the page."""
    return [import_module(name).SECTION for name in MODULES]


def page_of(page: str, folder: Path) -> str:
    """The page with every section that has a CSV file in ``folder`` made anew."""
    for section in sections():
        if rows := read(folder / f"{section.name}.csv"):
            page = with_section(page, section.name, section.tables(rows))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument("--work", type=Path, help="A folder outside the repository.")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="Sections by name; all otherwise.")
    parser.add_argument("--tables", action="store_true", help="Compute nothing.")
    parser.add_argument("--list", action="store_true", help="Name the sections, and what each takes.")
    a = parser.parse_args()
    known = {section.name: section for section in sections()}
    if unknown := set(a.only or ()) - set(known):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if a.list:
        print("\n".join(f"{section.name:12s} {section.takes}" for section in known.values()))
        return
    if not a.tables:
        if a.data is None or a.work is None:
            parser.error("DATA and --work WORK are needed to compute; --tables writes the page from what is kept")
        for name in a.only or known:
            print(f"--- {name}: {known[name].takes}", flush=True)
            path = a.work / f"{name}.csv"
            known[name].compute(a.data, a.work, path)
            FOLDER.mkdir(exist_ok=True)
            shutil.copyfile(path, FOLDER / path.name)
    PAGE.write_text(page_of(PAGE.read_text(encoding="utf-8"), FOLDER), encoding="utf-8", newline="\n")
    print(f"{PAGE} written")


if __name__ == "__main__":
    main()
