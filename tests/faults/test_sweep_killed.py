"""A sweep that was killed goes on where it was, to the result that it would have had."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

from bci.__main__ import main
from bci.sources.save import save_xdf
from tests.helpers.live import wait_for
from tests.test_protocols import OPTIONS, people


@pytest.fixture
def asked(tmp_path):
    """Words of a sweep whose settings never come twice."""
    files = []
    for one in people(3, skill=1.0):
        files.append(str(tmp_path / one.path))
        save_xdf(tmp_path / one.path, one.streams)
    return ["sweep", *files, *OPTIONS, "--search", "window=1..2", "channels=C3 C4,Fp1 Fp2"]


def test_a_sweep_that_was_killed_goes_on(asked, tmp_path, capsys):
    work = tmp_path / "work"
    words = [sys.executable, "-m", "bci", *asked, "--work", str(work), "--jobs", "2", "--trials", "1000"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    family = []
    try:
        wait_for(lambda: len(list(work.glob("*.json"))) >= 4, "four scores", 120)
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(20)
        gone, alive = psutil.wait_procs(family, 20)
        assert (len(gone) >= 2, alive) == (True, []), "workers outlive the sweep"
    finally:
        process.kill()
        process.wait(20)
        for child in family:
            if child.is_running():
                child.kill()
    n_known = len(list(work.glob("*.json")))
    results = []
    for folder in (work, tmp_path / "whole"):
        main([*asked, "--work", str(folder), "--trials", "3", "--json", "-"])
        results.append(json.loads(capsys.readouterr().out))
    on, whole = results
    assert on["n_units_known"] == min(n_known, 9)
    assert on["n_units_known"] + on["n_units_computed"] == whole["n_units_computed"] == 9
    assert on["rows"] == whole["rows"]
