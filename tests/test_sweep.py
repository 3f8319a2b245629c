"""A sweep proposes, scores, gives up and remembers; what it says of the best setting trains the same."""

from __future__ import annotations

import json
import sys
from functools import partial

import msgspec
import pytest

from bci.__main__ import main
from bci.errors import ConfigError, ModelError, RecordingError
from bci.offline.protocols import cross_validate
from bci.offline.sweep import Choices, KeptScores, Range, parse_search, score_unit, sweep
from bci.offline.workers import done, workers
from tests.test_protocols import OPTIONS, SETTINGS, people

KINDS = {"window": float, "filter_order": int, "bandpass": str, "decoder": str}


# --- the space -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "what"),
    [
        ("window=1..3", "window", Range(1.0, 3.0)),
        ("window=0.001..0.03:log", "window", Range(0.001, 0.03, is_log=True)),
        ("--filter-order=2..6", "filter_order", Range(2, 6, is_whole=True)),
        ("window=2,3", "window", Choices(("2", "3"))),
        ("bandpass=8 30,- 40", "bandpass", Choices(("8 30", "- 40"))),
        ("decoder=csp,riemann", "decoder", Choices(("csp", "riemann"))),
    ],
)
def test_what_may_be_searched(text, name, what):
    assert parse_search(text, KINDS) == (name, what)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("speed=1..2", "there is no 'speed' to search; there are window, filter_order, bandpass, decoder"),
        ("window", "give two values or more"),
        ("window=2", "give two values or more, such as window=A,B"),
        ("window=2,2", "give two values or more"),
        ("decoder=a..b", "decoder is no number"),
        ("window=a..3", "a to 3 are no numbers"),
        ("filter_order=1.5..3", "1.5 to 3 are no whole numbers"),
        ("window=3..1", "LOW below HIGH"),
        ("window=nan..1", "LOW below HIGH"),
        ("window=0..3:log", "LOW above 0"),
        ("window=1..3:lin", "write LOW..HIGH"),
    ],
)
def test_what_may_not(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_search(text, KINDS)


# --- the sweep -------------------------------------------------------------------------------------------------------

WINDOWS = {"window": Range(1.0, 2.5), "channels": Choices(("C3 C4", "Fp1 Fp2"))}  # only the first two know of hands


def settings_of(drawn):
    return msgspec.structs.replace(SETTINGS, window_s=drawn["window"], channels=tuple(drawn["channels"].split()))


def knows_the_hands(function, recordings, settings, protocol):
    """Scores without decoding: above chance for the channels over the hands; people differ, and windows a bit."""
    if "Oz" in settings.channels:
        return done({"why": "there is no channel Oz"})
    person = int(recordings[0].path[1:4])
    accuracy = 0.95 - 0.05 * person + 0.01 * settings.window_s if "C3" in settings.channels else 0.4 + 0.01 * person
    return done({"accuracy": accuracy, "chance": 0.5, "n_trials": 10})


SIX = people(6, skill=1.0)


@pytest.fixture
def sweeping(tmp_path):
    """A sweep of six people, scored by the fake above."""

    def run(n_settings=8, folder="kept", **more):
        asked = {
            "recordings": SIX, "settings_of": settings_of, "space": WINDOWS, "seeds": (0,), "protocol": "across-runs",
            "seed": 1, "kept": KeptScores(tmp_path / folder), "n_settings": n_settings, "submit": knows_the_hands,
        }  # fmt: skip
        return sweep(**(asked | more))

    return run


def test_the_best_is_found_and_what_is_hopeless_is_given_up(sweeping):
    result = sweeping()
    assert [row["setting"] for row in result["rows"] if row["state"] == "failed"] == []
    assert result["best"]["parameters"]["channels"] == "C3 C4"
    assert result["best"]["mean"] > 0.8
    hopeless = [row for row in result["rows"] if row["parameters"]["channels"] == "Fp1 Fp2"]
    pruned = [row for row in result["rows"] if row["state"] == "pruned"]
    assert pruned
    assert [row for row in pruned if row not in hopeless] == []
    assert {len(row["scores"]) for row in pruned} <= {4, 5}  # of six people
    assert result["n_pruned"] == len(pruned)
    assert result["n_units_computed"] == sum(len(row["scores"]) for row in result["rows"])


def test_a_mean_is_of_the_scores_that_an_evaluation_gives(sweeping):
    two = SIX[:4]
    with workers(1) as submit:
        result = sweeping(n_settings=1, recordings=two, submit=submit)
    (evaluated,) = cross_validate(two, settings_of(result["best"]["parameters"]), "across-runs")
    assert result["best"]["mean"] == pytest.approx(evaluated["mean"])
    assert [s["accuracy"] for s in result["best"]["scores"]] == [s["accuracy"] for s in evaluated["per_subject"]]
    assert result["chance"] == pytest.approx(evaluated["chance"])


def test_a_sweep_run_again_computes_nothing_and_says_the_same(sweeping):
    first, again = sweeping(), sweeping()
    assert (again["n_units_computed"], again["n_units_known"]) == (0, first["n_units_computed"])
    assert again["rows"] == first["rows"]


def test_a_sweep_cut_short_goes_on_as_if_nothing_had_happened(sweeping):
    whole = sweeping(folder="other")
    sweeping(n_settings=3)
    on = sweeping()
    assert on["n_units_known"] > 0
    assert on["rows"] == whole["rows"]


def test_units_ahead_change_nothing_but_what_is_computed(sweeping):
    assert sweeping(n_ahead=3, folder="other")["rows"] == sweeping()["rows"]


def test_every_seed_is_a_unit_and_a_score_is_of_its_data(sweeping):
    result = sweeping(n_settings=1, seeds=(0, 5))
    assert [(s["subject"], s["seed"]) for s in result["best"]["scores"]][5:7] == [("S005", 0), ("S000", 5)]
    assert sweeping(n_settings=1)["n_units_computed"] == 0
    assert sweeping(n_settings=1, protocol="within-run")["n_units_computed"] == 6
    assert sweeping(n_settings=1, recordings=SIX[::-1])["n_units_computed"] == 6  # other last runs


def test_another_seed_proposes_other_settings(sweeping):
    first, other = sweeping(n_settings=1), sweeping(n_settings=1, seed=2)
    assert first["best"]["parameters"] != other["best"]["parameters"]


def test_drawn_numbers_are_what_is_printed(sweeping):
    (row,) = sweeping(n_settings=1, space=WINDOWS | {"window": Range(1.00001, 1.00002)})["rows"]
    assert 1.00001 <= row["parameters"]["window"] <= 1.00002
    rows = sweeping(n_settings=4)["rows"]
    assert {len(str(row["parameters"]["window"])) for row in rows} <= {3, 4}


def test_a_setting_that_cannot_be_fails_alone(sweeping):
    space = WINDOWS | {"channels": Choices(("C3 C4", "C3 Oz"))}
    result = sweeping(space=space)
    failed = [row for row in result["rows"] if row["state"] == "failed"]
    assert failed
    assert {row["parameters"]["channels"] for row in failed} == {"C3 Oz"}
    assert "Oz" in failed[0]["why"]
    with pytest.raises(ModelError, match=r"none of 2 settings could be scored; the first: S000: .*Oz"):
        sweeping(n_settings=2, space=WINDOWS | {"channels": Choices(("C3 Oz", "Oz C4"))})


def test_a_damaged_score_is_computed_again(sweeping, tmp_path):
    sweeping(n_settings=1)
    path = sorted((tmp_path / "kept").iterdir())[0]
    path.write_text("{")
    assert sweeping(n_settings=1)["n_units_computed"] == 1
    assert json.loads(path.read_text())["n_trials"] == 10


def test_why_there_is_no_score():
    one = people(1)
    settings = msgspec.structs.replace(SETTINGS, channels=("Oz",))
    assert "Oz" in score_unit(one, settings, "across-runs")["why"]


def test_what_cannot_be_swept(sweeping, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="across-runs: S000 has 1 recording"):
        sweeping(recordings=people(2, runs=("R1",)))
    with pytest.raises(ConfigError, match="no marker is called A or B"):
        sweeping(settings_of=lambda drawn: msgspec.structs.replace(settings_of(drawn), labels={"A": "a", "B": "b"}))
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"--work .*file: File exists; name a folder"):
        KeptScores(tmp_path / "file")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"needs Optuna: pip install 'rolandic\[sweep\]'"):
        sweeping()


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def files(monkeypatch):
    by_name = {r.path: r for r in people(2, skill=1.0)}
    monkeypatch.setattr("bci.sources.files.load_recording", lambda path, rate_hz=None: by_name[path])
    return list(by_name)


@pytest.fixture
def swept(files, tmp_path, monkeypatch):
    monkeypatch.setattr("bci.offline.sweep.score_unit", _score)
    return partial(_main, "sweep", *files, *OPTIONS, "--work", str(tmp_path / "work"), "--trials", "4")


def _score(recordings, settings, protocol):
    return {"accuracy": 0.9 - 0.1 * settings.window_s, "chance": 0.5, "n_trials": 10}


def _main(*arguments):
    main(list(arguments))


def test_the_flags_that_it_prints_train_the_best_setting(swept, files, tmp_path, capsys):
    search = ("--search", "window=1..2", "bandpass=8 30,- 20", "channels=C3 C4,Fp1 Fp2", "filter_order=2,4")
    swept(*search, "--seeds", "3,4", "--json", "-")
    result = json.loads(capsys.readouterr().out)
    drawn = result["best"]["parameters"]
    assert (result["decoder"], result["seeds"], len(result["rows"])) == ("bandpower", [3, 4], 4)
    main(["train", *files[:2], *result["train"], "--out", str(tmp_path / "m"), "--json", "-"])
    trained = json.loads(capsys.readouterr().out)
    spec = json.loads((tmp_path / "m" / "spec.json").read_text())
    assert trained["channels"] == drawn["channels"].split()
    assert spec["info"]["window_s"] == drawn["window"]
    low, high = drawn["bandpass"].split()
    assert spec["preprocessing"]["bandpass_hz"] == [None if low == "-" else float(low), float(high)]
    assert spec["preprocessing"]["filter_order"] == int(drawn["filter_order"])
    assert spec["info"]["seed"] == 3


def test_a_flag_is_searched_as_yes_and_no(swept, capsys):
    swept("--decoder", "csp", "--bands", "8-14", "--search", "mirror=yes,no", "--json", "-")
    result = json.loads(capsys.readouterr().out)
    assert ("--mirror" in result["train"]) == (result["best"]["parameters"]["mirror"] == "yes")
    assert {row["parameters"]["mirror"] for row in result["rows"]} == {"yes", "no"}


def test_the_table_has_the_best_first_and_says_what_it_is_worth(swept, capsys):
    swept("--search", "window=1..2", "channels=C3 C4,Fp1 Fp2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bandpower, across-runs: 2 people, seeds 0: 4 settings (4 complete, 0 pruned, 0 failed)")
    assert lines[1].split() == ["mean", "units", "state", "window", "channels"]
    means = [float(line.split()[0]) for line in lines[2:6]]
    assert means == sorted(means, reverse=True)
    assert "optimistic; confirm it by bci evaluate" in lines[6]
    assert lines[7].startswith("bci train RECORDING... --labels L=left R=right --decoder bandpower ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--search", "window=1..2", "window=2,3"], "--search names an option twice"),
        (["--search", "recentre=riemann,maybe"], "--search recentre: 'maybe' is not one of 'none', 'riemann'"),
        (["--search", "epochs=0..5"], "--search epochs: 0 is not in the range"),
        (["--search", "bandpass=8 30,9"], "--search bandpass: "),
        (["--search", "seed=1,2"], "there is no 'seed' to search; there are decoder, channels,"),
        (["--search", "window=1..2", "--seeds", "a"], "--seeds a: whole numbers with commas between"),
        (["--search", "hop=-1,1"], "--hop -1: it must be above 0"),
    ],
)
def test_what_was_asked_wrongly(arguments, says, swept, capsys):
    with pytest.raises(SystemExit) as stop:
        swept(*arguments)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
