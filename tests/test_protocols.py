"""Cross-validation keeps groups whole, scores say all that is asked, and each control finds its own confound."""

from __future__ import annotations

import csv
import json

import msgspec
import numpy as np
import pytest

from bci.__main__ import main
from bci.errors import ConfigError
from bci.offline.controls import control, reordered
from bci.offline.protocols import cross_validate, splits
from bci.offline.score import paired, score, tidy
from bci.offline.stream import primary_stream
from bci.offline.train import TrainSettings
from bci.types import Channel, RecordedStream, Recording, StreamSpec
from calibration.trials import Trials

LABELS = {"L": "left", "R": "right"}
SFREQ_HZ, N_CUES, PART_S = 64.0, 10, 4.0
CHANNELS = ("Fp1", "Fp2", "F7", "F8", "C3", "C4")
SETTINGS = TrainSettings(labels=LABELS, decoder="bandpower", window_s=2.0, hop_s=0.25, decide_at_s=2.5)


def recording(subject, run, seed, *, skill=0.0, gaze=0.0, paired_cues=False):
    """Noise with a rest and a cue in each part; mu power, eye position and order of cues tell the class if asked."""
    rng = np.random.default_rng(seed)
    right = rng.permutation(np.arange(N_CUES) % 2)
    if paired_cues:  # the second cue of each pair is the other one
        first = rng.permutation(np.arange(N_CUES // 2) % 2)
        right = np.stack([first, 1 - first], axis=1).ravel()
    n_part = int(PART_S * SFREQ_HZ)
    n = N_CUES * n_part + int(SFREQ_HZ)
    x = rng.normal(size=(n, len(CHANNELS))) * 5
    t = np.arange(n) / SFREQ_HZ
    markers = []
    for k, side in enumerate(right):
        rest = k * n_part + int(SFREQ_HZ)
        cue = rest + int(SFREQ_HZ)
        markers += [(rest / SFREQ_HZ, "rest"), (cue / SFREQ_HZ, "LR"[side])]
        held = slice(cue, cue + 3 * int(SFREQ_HZ))
        x[held, 4 + side] += skill * 10 * np.sin(2 * np.pi * 11 * t[held])
        x[held, 0] += gaze * (1 if side else -1) * 30
        x[held, 1] -= gaze * (1 if side else -1) * 30
    channels = tuple(Channel(label=label, type="EEG", unit="uV") for label in CHANNELS)
    signal = StreamSpec(name="eeg", type="EEG", source_id="e", sfreq_hz=SFREQ_HZ, channels=channels, format="double64")
    marks = StreamSpec(
        name="m", type="Markers", source_id="m", sfreq_hz=0.0,
        channels=(Channel(label="m", type="Markers", unit=""),), format="string",
    )  # fmt: skip
    stamps_s = np.array([s for s, _ in markers])
    streams = (RecordedStream(signal, x, t), RecordedStream(marks, [label for _, label in markers], stamps_s))
    return Recording(f"{subject}{run}.xdf", streams, sha256=f"{subject}{run}")


def people(n=3, runs=("R1", "R2"), **signal):
    return [recording(f"S{s:03d}", run, 10 * s + i, **signal) for s in range(n) for i, run in enumerate(runs)]


def validated(recordings, protocol):
    (result,) = cross_validate(recordings, SETTINGS, protocol)
    return result


# --- protocols -------------------------------------------------------------------------------------------------------


def groups(protocol, n_people=3, n_runs=2):
    n = n_people * n_runs * 10
    names = tuple(f"S{i // n_runs}" for i in range(n_people * n_runs))
    trials = Trials(
        np.zeros((n, 1, 1), np.float32), np.arange(n) % 2, np.arange(n) // 10, ("a", "b"), 0, names, (),
        np.arange(n) % 10,
    )  # fmt: skip
    return trials, splits(trials, protocol, ["R1", "R2"] * n_people)


def test_people_are_tested_by_what_never_saw_them():
    trials, found = groups("across-people", n_people=7)
    person = trials.groups("person")
    assert len(found) == 5
    for _, train, test in found:
        assert not set(person[train]) & set(person[test])
    assert np.sum([test for _, _, test in found], axis=0).tolist() == [1] * 140


def test_the_last_run_is_tested_by_the_runs_before_it_of_the_same_person():
    trials, found = groups("across-runs")
    assert [name for name, _, _ in found] == ["S0 R2", "S1 R2", "S2 R2"]
    for k, (_, train, test) in enumerate(found):
        assert set(trials.run[train]) == {2 * k}
        assert set(trials.run[test]) == {2 * k + 1}


def test_within_a_run_parts_are_consecutive():
    trials, found = groups("within-run", n_people=1)
    assert len(found) == 10
    for _, train, test in found:
        assert len(set(trials.run[train | test])) == 1
        assert not (train & test).any()
        assert (train | test).sum() == 10
        assert np.diff(np.flatnonzero(test)).max() == 1


@pytest.mark.parametrize(("protocol", "n_tested"), [("within-run", 40), ("across-runs", 20), ("across-people", 40)])
def test_skill_is_found_by_every_protocol_and_the_result_is_whole(protocol, n_tested):
    result = validated(people(2, skill=1.0), protocol)
    assert result["n_trials"] == n_tested
    assert result["mean"] > result["chance_band"][1]
    assert {(t["subject"], t["run"], t["index"]) for t in result["trials"]} == {
        (f"S00{s}", run, i)
        for s in range(2)
        for run in (("R1", "R2") if n_tested == 40 else ("R2",))
        for i in range(10)
    }
    curve = {point["time_s"]: point["mean"] for point in result["curve"]}
    assert curve[2.5] == pytest.approx(result["accuracy"])
    assert curve[2.5] > curve[min(curve)]


def test_recentring_follows_a_person_who_is_another():
    """An electrode over one hand is twenty times as loud on them: without recentring that decides alone."""
    tested = [recording("S9", run, 90 + k, skill=1.0) for k, run in enumerate(("R1", "R2"))]
    for one in tested:
        one.streams[0].samples[:, CHANNELS.index("C4")] *= 20
    settings = msgspec.structs.replace(SETTINGS, decoder="riemann_fb", bands_hz=((8.0, 14.0),), bandpass_hz=None)
    scores = {}
    for how in ("none", "riemann"):
        asked = msgspec.structs.replace(settings, recentre=how)
        (result,) = cross_validate([*people(skill=1.0), *tested], asked, "across-people")
        scores[how] = next(s["accuracy"] for s in result["per_subject"] if s["subject"] == "S9")
    assert scores["none"] < 0.7 < 0.8 < scores["riemann"]


def test_no_skill_stays_within_chance():
    result = validated(people(2), "across-people")
    low, high = result["chance_band"]
    assert low <= result["mean"] <= high


def test_what_a_protocol_cannot_be_served_by():
    with pytest.raises(ConfigError, match=r"across-people: these recordings are of one person \(S000\)"):
        cross_validate(people(1), SETTINGS, "across-people")
    with pytest.raises(ConfigError, match="across-runs: S000 has 1 run"):
        cross_validate(people(1, runs=("R1",)), SETTINGS, "across-runs")


# --- controls --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "signal"), [("gaze", {"gaze": 1.0}), ("history", {"paired_cues": True})])
def test_a_confound_is_found_by_its_control_alone(name, signal):
    data = people(5, ("R1",), **signal)
    found = control(name, data, SETTINGS, "across-people")
    other = control({"gaze": "history", "history": "gaze"}[name], data, SETTINGS, "across-people")
    assert found["mean"] > 0.7
    assert found["control"] == name
    assert other["mean"] < 0.67


def test_the_eyes_are_scored_in_their_own_band_whatever_the_decoder():
    data = people(5, ("R1",), gaze=1.0)
    other = msgspec.structs.replace(
        SETTINGS, decoder="riemann_fb", bands_hz=((8.0, 12.0), (11.0, 16.0)), recentre="riemann", mirror=True
    )
    mine, theirs = (control("gaze", data, settings, "across-people") for settings in (SETTINGS, other))
    assert mine["trials"] == theirs["trials"]


def test_history_leaves_out_the_first_cue_of_each_run():
    result = control("history", people(2), SETTINGS, "across-people")
    assert sorted({t["index"] for t in result["trials"]}) == list(range(1, 10))


def test_frontal_channels_alone_know_nothing_of_the_hands():
    data = people(2, skill=1.0)
    assert control("frontal", data, SETTINGS, "across-people")["mean"] < 0.7
    signal, markers = data[0].streams
    spec = msgspec.structs.replace(signal.spec, channels=signal.spec.channels[4:])
    bare = Recording("S000R1.xdf", (RecordedStream(spec, signal.samples[:, 4:], signal.stamps_s), markers))
    with pytest.raises(ConfigError, match=r"needs two or more of the frontal channels .* there are none"):
        control("frontal", [bare], SETTINGS, "across-people")


def test_a_recording_in_another_order_has_its_cues_on_the_same_signal():
    data = people(1, runs=("R1",), skill=1.0)
    ((after, order),) = reordered(data, SETTINGS, 0)
    assert sorted(order) == list(range(10))
    assert order.tolist() != list(range(10))
    before = [label for label in data[0].markers[0].samples if label != "rest"]
    assert [label for label in after.markers[0].samples if label != "rest"] == [before[k] for k in order]
    assert len(primary_stream(after).samples) == len(primary_stream(data[0]).samples)


def test_shuffled_order_costs_honest_skill_nothing_and_counts_each_trial_once():
    data = people(2, ("R1",), skill=1.0)
    plain, shuffled = validated(data, "across-people"), control("shuffle", data, SETTINGS, "across-people")
    assert len(shuffled["means"]) == 5
    assert abs(np.mean(shuffled["means"]) - plain["mean"]) < 0.1
    assert shuffled["n_trials"] == len(shuffled["trials"]) == plain["n_trials"] == 20
    assert shuffled["chance_band"] == plain["chance_band"]


# --- scores ----------------------------------------------------------------------------------------------------------


def rows_of(says):
    return [{"subject": s, "run": r, "index": i, "label": label, "p": p} for i, (s, r, label, p) in enumerate(says)]


SAID = rows_of(
    [
        ("A", "1", "l", [0.9, 0.1]),
        ("A", "1", "r", [0.2, 0.8]),
        ("A", "2", "r", [0.7, 0.3]),
        ("B", "1", "l", [0.8, 0.2]),
        ("B", "1", "r", None),
    ]
)


def test_every_score_is_there_and_an_abstention_is_wrong_and_counted_apart():
    result = score(SAID, ("l", "r"), 3.5, seed=0, temperature=2.0)
    assert result["confusion"] == [[2, 0, 0], [1, 1, 1]]
    assert result["recall"] == [1.0, pytest.approx(1 / 3)]
    assert result["precision"] == [pytest.approx(2 / 3), 1.0]
    assert result["f1"] == [pytest.approx(0.8), pytest.approx(0.5)]
    assert result["balanced_accuracy"] == pytest.approx(2 / 3)
    assert (result["n_abstained"], [s["n_abstained"] for s in result["per_subject"]]) == (1, [0, 1])
    assert result["worst_decile"] == 0.5
    assert result["spread"] == pytest.approx(np.std([2 / 3, 0.5], ddof=1))
    assert result["ece"]["before"] != result["ece"]["after"]
    for s in result["per_subject"]:
        assert s["ece"]["after_ci95"][0] <= s["ece"]["after"] <= 1


def test_a_result_is_compared_with_another_trial_by_trial():
    rng = np.random.default_rng(0)
    cues = [(f"S{s}", str(r), "lr"[(s + r + i) % 2]) for s in range(8) for r in range(2) for i in range(10)]

    def result(share_right):
        right = rng.random(len(cues)) < share_right
        p = [[1.0, 0.0] if (c[2] == "l") == ok else [0.0, 1.0] for c, ok in zip(cues, right, strict=True)]
        return {"classes": ["l", "r"], "trials": rows_of([(*c, one) for c, one in zip(cues, p, strict=True)])}

    good, bad = result(0.9), result(0.6)
    better = paired(good, bad, seed=0)
    assert better["difference"] == pytest.approx(0.3, abs=0.1)
    assert better["ci95"][0] > 0
    assert better["p"] < 0.05
    assert (better["n_people"], better["n_trials"]) == (8, 160)
    assert paired(good, good, seed=0)["p"] == 1
    with pytest.raises(ConfigError, match="150 trials are in both results, 10 in this one only and 0 in the other"):
        paired(good, {**bad, "trials": bad["trials"][10:]}, seed=0)
    with pytest.raises(ConfigError, match="it holds no trials"):
        paired(good, {"mean": 0.5}, seed=0)


def test_tidy_rows_are_flat():
    assert tidy(SAID, ("l", "r"))[0] == {
        "subject": "A", "run": "1", "index": 0, "label": "l", "said": "l", "p_l": 0.9, "p_r": 0.1,
    }  # fmt: skip
    assert tidy(SAID, ("l", "r"))[4]["said"] == ""


# --- command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(monkeypatch):
    by_name = {r.path: r for r in people(2, skill=1.0)}
    monkeypatch.setattr("bci.sources.files.load_recording", lambda path, rate_hz=None: by_name[path])
    return list(by_name)


OPTIONS = [
    "--labels",
    "L=left",
    "R=right",
    "--decoder",
    "bandpower",
    "--window",
    "2",
    "--hop",
    "0.25",
    "--decide-at",
    "2.5",
]


def test_protocols_and_comparisons_from_the_command_line(files, tmp_path, capsys):
    first, table = str(tmp_path / "a.json"), tmp_path / "trials.csv"
    main(
        [
            "evaluate",
            *files,
            "--protocol",
            "across-people",
            *OPTIONS,
            "--json",
            first,
            "--csv",
            str(table),
            "--report",
            str(tmp_path / "r.html"),
        ]
    )
    assert "calibration" in capsys.readouterr().out
    page = (tmp_path / "r.html").read_text()
    for words in (
        "bandpower, across-people",
        "Confusions",
        "Reliability",
        "Accuracy by time",
        "calibration error after",
    ):
        assert words in page
    with table.open() as file:
        assert len(list(csv.DictReader(file))) == 40
    main(
        [
            "evaluate",
            *files,
            "--protocol",
            "across-people",
            *OPTIONS,
            "--channels",
            "Fp1,Fp2",
            "--against",
            first,
            "--json",
            "-",
        ]
    )
    assert json.loads(capsys.readouterr().out)["against"]["difference"] < -0.2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--protocol", "across-people"], "--protocol needs --labels"),
        (["--decoder", "riemann"], "--decoder is for --protocol; a MODEL brings its own"),
        (["--control", "gaze"], "--control gaze fits a decoder: add --protocol and --labels"),
        (["--against", "none.json"], "--against none.json: it cannot be read"),
    ],
)
def test_what_was_asked_wrongly(arguments, says, files, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *files, *arguments])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def test_a_model_is_scored_in_shuffled_orders_too(files, tmp_path, capsys):
    model = str(tmp_path / "m")
    main(["train", *files[:2], *OPTIONS, "--out", model, "--quiet"])
    main(["evaluate", model, *files[2:], "--json", "-"])
    plain = json.loads(capsys.readouterr().out)
    assert [point["time_s"] for point in plain["curve"]][-1] == 2.5
    assert plain["curve"][-1]["mean"] == pytest.approx(plain["accuracy"])
    main(["evaluate", model, *files[2:], "--control", "shuffle", "--json", "-"])
    shuffled = json.loads(capsys.readouterr().out)
    assert (shuffled["control"], shuffled["n_trials"], len(shuffled["means"])) == ("shuffle", 20, 5)
