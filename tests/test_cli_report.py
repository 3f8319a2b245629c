"""`bci report`: one session anew, several compared; what is wrong is one line."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from bci.__main__ import group
from tests.helpers.fault_sender import fitted_model
from tests.helpers.pages import headings, problems, text_of
from tests.helpers.recorded import Run

SHIPPED = Path(__file__).parents[1] / "replay_data" / "sub-simulated" / "ses-1"
TOML = "[gate]\nthreshold = 0.6\ndwell_s = 0.06\nrefractory_s = 0.2\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fitted_model(tmp_path_factory.mktemp("cli-report") / "model")


@pytest.fixture(scope="module")
def sessions(model, tmp_path_factory):
    """Three of one person: with cues, with other cues and a loss, without cues and killed; and one of another."""
    root = tmp_path_factory.mktemp("sessions")
    for number, cues in ((1, "left right left right left right"), (2, "right " * 8 + "left " * 8), (10, "")):
        run = Run(root / "sub-P01" / f"ses-{number}", model, TOML, start_s=1000.0 * number)
        run.play(2.0)
        run.control("arm")
        for label in cues.split():
            run.cue(label)
            run.play(1.0)
        if number == 2:
            run.silence(0.4, "lost")
            run.play(2.0)
        run.die() if number == 10 else run.end()
    other = Run(root / "sub-P02" / "ses-1", model, TOML)
    other.play(2.0)
    other.end()
    return root


def bci(*arguments, code=0):
    result = CliRunner().invoke(group, ["report", *map(str, arguments)])
    if result.exit_code and code:
        error = result.exception
        assert getattr(error, "exit_code", None) == code, result.output
        assert "\n" not in str(error)
        return str(error)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def copied(tmp_path):
    folder = tmp_path / "sub-simulated" / "ses-1"
    shutil.copytree(SHIPPED, folder)
    return folder


def test_the_shipped_session(tmp_path):
    folder = copied(tmp_path)
    said = bci(folder)
    assert "Was anything lost?          No. All 9,295 samples of simulated arrived and are on disk." in said
    assert "14 commands" in said
    assert f"report          {folder / 'report.html'}" in said
    html, report = (folder / "report.html").read_text(), json.loads((folder / "report.json").read_text())
    assert problems(html) == []
    assert "What happened" in headings(html)
    assert report["n_samples"] == 9295
    assert len(html) < 200_000
    bci(folder / "session.xdf", "--quiet")  # named by its recording, and again: the same
    assert (folder / "report.html").read_text() == html
    assert json.loads((folder / "report.json").read_text()) == report


def test_out_leaves_the_folder_alone(tmp_path):
    folder = copied(tmp_path)
    before = sorted(p.name for p in folder.rglob("*"))
    result = json.loads(bci(folder, "--out", tmp_path / "page.html", "--json", "-"))
    assert sorted(p.name for p in folder.rglob("*")) == before
    assert result["n_trials"] == 6
    assert problems((tmp_path / "page.html").read_text()) == []


def test_several_sessions_are_compared(sessions, tmp_path):
    folders = [sessions / "sub-P01" / f"ses-{n}" for n in (10, 1, 2)]
    said = bci(*folders, folders[0], "--out", tmp_path / "all.html", "--json", tmp_path / "all.json")
    lines = said.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["session", "1", "2", "10"]
    compared = json.loads((tmp_path / "all.json").read_text())
    rows = {row["session"]: row for row in compared["sessions"]}
    assert set(rows) == {"1", "2", "10"}
    assert (compared["subject"], compared["n_sessions"], compared["n_trials"]) == ("P01", 3, 22)
    assert rows["1"]["accuracy"] == 1.0
    assert rows["2"]["n_samples_lost"] == rows["2"]["n_missing_about"] == 100
    assert rows["10"]["answers"]["lost"] == "Yes"
    total = rows["1"]["accuracy"] * 6 + rows["2"]["accuracy"] * 16
    assert compared["score"]["value"] == pytest.approx(total / 22)
    html = (tmp_path / "all.html").read_text()
    assert problems(html) == []
    assert headings(html) == ["Session by session", "In numbers"]
    text = text_of(html)
    assert "Something was lost in session 2 and session 10." in text
    assert "P01, 3 sessions" in text
    for folder in folders:  # the sessions themselves are not touched
        assert not (folder / "report.json").exists()


def test_each_row_has_the_numbers_of_its_own_report(sessions, tmp_path):
    folders = [sessions / "sub-P01" / f"ses-{n}" for n in (1, 2)]
    compared = json.loads(bci(*folders, "--json", "-"))
    for folder, row in zip(folders, compared["sessions"], strict=True):
        report = json.loads(bci(folder, "--out", tmp_path / "x.html", "--json", "-"))
        report["latency_ms"] = report["latency_ms"]["total"]
        same = row.keys() & report.keys()
        assert len(same) > 20
        assert {key: row[key] for key in same} == {key: report[key] for key in same}


def test_sessions_of_two_people_are_refused(sessions):
    error = bci(sessions / "sub-P01" / "ses-1", sessions / "sub-P02" / "ses-1", code=2)
    assert "sessions of P01 and P02; compare those of one person" in error


def test_what_is_no_session_is_refused(tmp_path):
    assert "holds no session.xdf" in bci(tmp_path, code=1)
    assert "holds no session.xdf" in bci(tmp_path / "absent", code=1)


def test_a_page_that_is_no_html_is_refused(sessions):
    assert "ends in .html" in bci(sessions / "sub-P02" / "ses-1", "--out", "page.pdf", code=2)
    assert "cannot write" in bci(sessions / "sub-P02" / "ses-1", "--out", "/absent/page.html", code=1)


def test_without_a_session_it_says_how():
    result = CliRunner().invoke(group, ["report"])
    assert result.exit_code == 2
    assert "SESSION" in result.output
