"""The command line: every verb is there, says how it is used, and loads nothing heavy for it; --json is one object."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bci.__main__ import VERBS, main
from bci.cli.common import progress
from bci.errors import ConfigError, RecordingError, RolandicError
from tests.helpers.played import counted, write_xdf

HEAVY = ("torch", "mne", "PyQt5", "numpy", "scipy", "sklearn", "pyriemann", "pylsl", "pydantic", "msgspec")


@pytest.fixture
def bci(capsys):
    """Run a verb here: its exit code, standard output and standard error."""

    def run(*arguments):
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_help_lists_all_verbs_and_imports_nothing_heavy():
    program = (
        "import sys\nfrom bci.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    text, _, loaded = done.stdout.rpartition("LOADED")
    assert loaded.split() == []
    assert [verb for verb in VERBS if not re.search(rf"^  {verb} ", text, re.MULTILINE)] == []


@pytest.mark.parametrize(("platform", "display", "is_terminal", "opens"), [
    ("linux", ":0", True, True), ("linux", "", True, False), ("linux", ":0", False, False), ("win32", "", True, True),
    ("darwin", "", True, True), ("darwin", "", False, False),
])  # fmt: skip
def test_bci_alone_is_the_start_page_where_there_is_a_screen(monkeypatch, bci, platform, display, is_terminal, opens):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    opened = []
    monkeypatch.setattr("bci.gui.start.window.main", lambda arguments: opened.append(arguments) or {})
    code, out, errors = bci()
    assert opened == ([[]] if opens else [])
    assert ("Commands:" in out + errors) != opens
    assert code in ((0, None) if opens else (0, 2))


def test_progress_is_lines_where_a_program_asked_for_them(monkeypatch, capsys):
    monkeypatch.setenv("ROLANDIC_PROGRESS", "lines")
    assert list(progress(range(250), "working", 250)) == list(range(250))
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0], lines[1], lines[-1]) == (
        "progress 0/250 working", "progress 2/250 working", "progress 250/250 working",
    )  # fmt: skip
    assert len(lines) < 130
    list(progress(range(3), "unknown"))
    list(progress(range(3), "quiet", 3, quiet=True))
    assert capsys.readouterr().err == ""


def commands():
    """(words, command) of every verb, and of the verbs of a group."""
    found = []
    for verb, (module, _) in VERBS.items():
        command = importlib.import_module(module).command
        if isinstance(command, click.Group):
            found += [((verb, name), sub) for name, sub in command.commands.items()]
        else:
            found.append(((verb,), command))
    return found


@pytest.mark.parametrize(("words", "command"), [pytest.param(*c, id="-".join(c[0])) for c in commands()])
def test_every_verb_has_help_with_an_example(words, command, bci):
    code, text, errors = bci(*words, "--help")
    assert (code, errors) == (0, "")
    assert f"bci {' '.join(words)}" in text.split("\n", 1)[1], "no example"
    for option in ("--json", "--quiet"):
        assert option in text, option
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == [], "options without help"


def test_loading_every_verb_brings_no_library_that_only_its_work_needs():
    program = (
        "import importlib, sys\nfrom bci.__main__ import VERBS\n"
        "for module, _ in VERBS.values():\n    importlib.import_module(module)\n"
        "print(*[n for n in ('torch', 'mne', 'PyQt5', 'sklearn', 'pyriemann', 'pylsl') if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_the_version(bci):
    code, text, _ = bci("--version")
    assert code == 0
    assert re.fullmatch(r"bci, version \d+\.\d+\.\d+\n", text)


def test_no_such_verb_and_no_such_option(bci):
    code, text, errors = bci("fly")
    assert (code, text) == (2, "")
    assert errors.endswith("Error: No such command 'fly'.\n")
    code, text, errors = bci("repair", "a.xdf", "--fast")
    assert (code, text) == (2, "")
    assert "Error: No such option" in errors


@pytest.mark.parametrize(("error", "code"), [(ConfigError("asked wrongly"), 2), (RolandicError("cannot"), 1)])
def test_an_error_is_one_line_and_its_exit_code(error, code, bci, monkeypatch):
    @click.command()
    def fails():
        raise error

    monkeypatch.setattr("bci.cli.stop.command", fails)
    assert bci("stop") == (code, "", f"bci: {error}\n")


# --- --json and --quiet ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model and a cued recording that it fits."""
    root = tmp_path_factory.mktemp("cli")
    main(["simulate", "--trials", "12", "--seed", "3", "--skill", "1", "--out", str(root / "cued.xdf"), "--quiet"])
    options = ["--labels", "left=left", "right=right", "--decoder", "bandpower", "--window", "1", "--quiet"]
    main(["train", str(root / "cued.xdf"), *options, "--out", str(root / "model")])
    write_xdf(root / "plain.xdf", counted(500, 4, 250.0))
    return root


LABELS = ("--labels", "left=left", "right=right", "--decoder", "bandpower", "--window", 1)
ANSWERS = {  # what answers without a session: arguments, and a key of the answer
    "simulate": (("--trials", 1, "--out", "{out}/one.xdf"), "n_samples"),
    "train": (("{files}/cued.xdf", *LABELS, "--out", "{out}/model"), "model_hash"),
    "evaluate": (("{files}/model", "{files}/cued.xdf"), "accuracy"),
    "demo": (("--trials", 2, "--decoder", "bandpower"), "n_trials"),
    "repair": (("{files}/plain.xdf", "--out", "{out}/fixed.xdf"), "n_chunks"),
    "stream": (("{files}/plain.xdf", "--name", "{name}", "--speed", 100), "n_samples"),
}


@pytest.mark.parametrize("verb", ANSWERS)
def test_json_to_standard_output_is_one_object_and_nothing_else(verb, files, bci, tmp_path, unique_name):
    arguments, key = ANSWERS[verb]
    places = {"files": files, "out": tmp_path, "name": unique_name}
    code, text, errors = bci(verb, *(str(a).format(**places) for a in arguments), "--json", "-")
    assert (code, errors) == (0, "")
    assert text.count("\n") == 1
    result = json.loads(text, parse_constant=_no_such_constant)
    assert key in result
    assert [name for name in result if not re.fullmatch("[a-z0-9_]+", name)] == []


def _no_such_constant(name):
    raise AssertionError(f"{name} is no JSON")


def test_json_to_a_file_leaves_the_text_for_people(files, bci, tmp_path):
    place = tmp_path / "result.json"
    code, text, errors = bci("evaluate", files / "model", files / "cued.xdf", "--json", place)
    assert (code, errors) == (0, "")
    assert "kappa" in text
    assert json.loads(place.read_text())["n_trials"] == 12


def test_quiet_says_nothing(files, bci, tmp_path):
    place = tmp_path / "result.json"
    assert bci("evaluate", files / "model", files / "cued.xdf", "--quiet", "--json", place) == (0, "", "")
    assert json.loads(place.read_text())["n_trials"] == 12
    code, text, errors = bci("evaluate", files / "model", files / "cued.xdf", "--quiet", "--json", "-")
    assert (code, errors) == (0, "")
    assert json.loads(text)["n_trials"] == 12


SHIPPED = Path(__file__).parents[1] / "replay_data" / "sub-simulated" / "ses-1"
KEYS = (
    "n_samples",
    "n_samples_lost",
    "n_gaps",
    "n_hops",
    "n_predictions",
    "n_trials",
    "accuracy",
    "chance",
    "kappa",
    "itr_bits_per_min",
    "n_commands",
    "false_commands_per_min",
    "latency_ms",
    "signal_delay_ms",
    "recording",
    "model",
    "model_hash",
)


def test_the_keys_that_programs_rely_on_are_in_every_report(capsys, tmp_path):
    main(["demo", "--trials", "2", "--skill", "1", "--json", "-"])
    demo = json.loads(capsys.readouterr().out)
    session = tmp_path / "ses"
    shutil.copytree(SHIPPED, session)
    main(["replay", str(session), "--verify", "--json", "-"])
    replay = json.loads(capsys.readouterr().out)
    run = json.loads((session / "run.json").read_text())
    for report in (demo, replay, run):
        assert [key for key in KEYS if key not in report] == []
    assert replay["latency_ms"]["total"]["p50"] == pytest.approx(run["latency_ms"]["total"]["p50"], rel=0.1)
    assert replay["signal_delay_ms"] == pytest.approx(run["signal_delay_ms"])
    assert {"n_differences", "first_difference", "max_abs_dp", "bitwise"} <= set(replay)
    main(["replay", str(session), "--threshold", "0.95", "--json", "-"])
    otherwise = json.loads(capsys.readouterr().out)
    assert otherwise["n_commands"] < run["n_commands"]
    assert otherwise["n_commands_sent"] is None  # nobody asked a device


def test_planned_time_is_what_free_space_is_checked_against(monkeypatch, tmp_path, capsys):
    asked = []

    def full(path, bytes_per_s, planned_s):
        asked.append(planned_s)
        raise RecordingError("no room")

    monkeypatch.setattr("bci.live.check_free_space", full)
    recording = tmp_path / "person.xdf"
    main(["simulate", "--trials", "8", "--out", str(recording), "--quiet"])
    main(["train", str(recording), "--labels", "left=left", "right=right", "--decoder", "bandpower", "--out",
          str(tmp_path / "model"), "--quiet"])  # fmt: skip
    for options in ([], ["--seconds", "36000"]):
        with pytest.raises(SystemExit):
            main(["run", "--recording", str(recording), "--model", str(tmp_path / "model"), "--session",
                  str(tmp_path / f"s{len(options)}"), *options])  # fmt: skip
    assert asked == [3600.0, 36000.0]
