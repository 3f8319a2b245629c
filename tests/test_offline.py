"""Training and evaluation stand on the live data path, and say what they cannot do in one line."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from bci.__main__ import main
from bci.errors import ConfigError, ModelError
from bci.offline.evaluate import evaluate
from bci.offline.score import score
from bci.offline.stream import primary_stream, subject_and_run
from bci.offline.train import TrainSettings, preprocess, train
from bci.pipeline import Pipeline
from bci.sources.simulated import SimulatedPerson
from bci.types import RecordedStream, Recording
from decoders.checkpoint import load_model

LABELS = {"left": "left", "right": "right"}
SETTINGS = TrainSettings(labels=LABELS, channels=("C3", "Cz", "C4", "CP3", "CP4", "FC3", "FC4"))


def named(recording, path):
    return Recording(path, recording.streams, sha256="0" * 64)


@pytest.fixture(scope="module")
def sessions():
    """Two training runs and one to test on, of one simulated person."""
    runs = [SimulatedPerson(3, 1.0, session=i, sfreq_hz=125.0, n_trials=12).recording() for i in range(3)]
    return [named(r, f"S003R{i:02d}.xdf") for i, r in enumerate(runs)]


@pytest.fixture(scope="module")
def trained(sessions):
    return train(sessions[:2], SETTINGS)


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "m"
    trained.save(str(folder))
    return load_model(folder)


def altered(recording, *, samples=None, labels=None, spec=None):
    signal, markers = recording.signals[0], recording.markers[0]
    signal = RecordedStream(
        signal.spec if spec is None else spec, signal.samples if samples is None else samples, signal.stamps_s
    )
    if labels is not None:
        markers = RecordedStream(markers.spec, labels, markers.stamps_s[: len(labels)])
    return Recording(recording.path, (signal, markers), recording.sha256)


# --- from recordings to a model and its score ------------------------------------------------------------------------


def test_a_skilled_person_is_decoded_on_a_session_that_was_not_seen(trained, model, sessions):
    assert trained.info["scores"]["split"] == "leave one run out"
    assert trained.info["n_trials"] == {"left": 12, "right": 12}
    result = evaluate(model, sessions[2:])
    assert result["n_trials"] == 12
    assert result["n_abstained"] == 0
    assert result["accuracy"] > result["chance_band"][1]
    assert [t["label"] for t in result["trials"]] == [m for m in sessions[2].markers[0].samples if m != "rest"]
    (person,) = result["per_subject"]
    assert (person["subject"], person["n_trials"], person["accuracy"]) == ("S003", 12, result["mean"])
    assert result["ci95"] is None


def test_a_person_without_skill_stays_within_chance(model):
    unskilled = named(SimulatedPerson(4, 0.0, sfreq_hz=125.0, n_trials=30).recording(), "S004R01.xdf")
    result = evaluate(model, [unskilled])
    low, high = result["chance_band"]
    assert low <= result["accuracy"] <= high


def test_the_model_remembers_all_that_it_takes_to_run_it(model):
    assert model.info["labels"] == LABELS
    assert model.info["decide_at_s"] == 3.5
    assert model.info["trained_on"][0] == {
        "file": "S003R00.xdf", "sha256": "0" * 64, "subject": "S003", "run": "R00",
    }  # fmt: skip
    assert model.preprocessing["bandpass_hz"] == [8.0, 30.0]
    assert {"numpy", "torch", "scikit-learn", "pyriemann", "rolandic"} <= model.info["versions"].keys()


def test_training_twice_gives_the_same_hash(trained, sessions, tmp_path):
    again = train(sessions[:2], SETTINGS)
    assert trained.save(str(tmp_path / "a")) == again.save(str(tmp_path / "b"))
    card = (tmp_path / "a" / "card.md").read_text()
    assert "S003R00.xdf" in card
    assert "chance" in card


def test_training_sees_the_hops_that_the_live_pipeline_decodes(trained, model, sessions):
    run = preprocess(sessions[2], trained.preprocessing, SETTINGS, trained.spec)
    spec = sessions[2].signals[0].spec
    pipeline = Pipeline(model, spec)
    seen = []
    step = pipeline.runner.step
    pipeline.runner.step = lambda x: (seen.append(x), step(x))[1]
    samples = np.ascontiguousarray(sessions[2].signals[0].samples.T)
    pipeline.start(samples[:, 0])
    for at in range(0, samples.shape[1] - pipeline.block + 1, pipeline.block):
        pipeline.step(np.ascontiguousarray(samples[:, at : at + pipeline.block]), 0, lambda stage: None)
    assert np.array_equal(np.stack(seen), run.hops)
    assert np.array_equal(run.sample_index, np.arange(1, len(seen) + 1) * pipeline.block - 1)


def test_cues_fall_on_their_samples_and_settling_hops_are_not_good(trained, sessions):
    run = preprocess(sessions[0], trained.preprocessing, SETTINGS, trained.spec)
    stamps_s = [
        t for t, m in zip(sessions[0].markers[0].stamps_s, sessions[0].markers[0].samples, strict=True) if m != "rest"
    ]
    assert np.abs(np.array([c.sample_index for c in run.cues]) - np.array(stamps_s) * 125).max() <= 1
    assert not run.is_good[0]
    assert run.is_good[20:].all()


def test_samples_that_are_not_finite_cost_their_trials_only(sessions):
    samples = sessions[0].signals[0].samples.copy()
    cue_s = next(
        t for t, m in zip(sessions[0].markers[0].stamps_s, sessions[0].markers[0].samples, strict=True) if m != "rest"
    )
    at = int((cue_s + 2) * 125)
    samples[at : at + 5, :] = np.nan
    spoilt = train([altered(sessions[0], samples=samples), sessions[1]], SETTINGS)
    assert spoilt.info["n_left_out"] == 1
    assert sum(spoilt.info["n_trials"].values()) == 23


def test_a_gap_starts_a_segment_and_no_trial_spans_it(trained, sessions):
    signal, markers = sessions[0].signals[0], sessions[0].markers[0]
    lost = slice(30 * 125, 32 * 125)
    cut = RecordedStream(signal.spec, np.delete(signal.samples, lost, axis=0), np.delete(signal.stamps_s, lost))
    run = preprocess(Recording("gap.xdf", (cut, markers)), trained.preprocessing, SETTINGS, trained.spec)
    assert set(run.segment.tolist()) == {run.segment[0], run.segment[0] + 1}
    first_of_second = int(np.argmax(run.segment > run.segment[0]))
    assert run.sample_index[first_of_second] >= lost.start
    assert not run.is_good[first_of_second]


@pytest.mark.parametrize("decoder", ["bandpower", "eegnet"])
def test_the_other_decoders_train_and_evaluate_too(decoder, sessions, tmp_path, monkeypatch):
    monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 30)
    settings = msgspec.structs.replace(SETTINGS, decoder=decoder, reference="average")
    train(sessions[:2], settings).save(str(tmp_path / "m"))
    result = evaluate(load_model(tmp_path / "m"), sessions[2:])
    assert result["n_trials"] == 12
    assert all(sum(t["p"]) == pytest.approx(1) for t in result["trials"])


def test_numeric_markers_are_named_by_their_numbers(sessions, trained):
    def numbered(recording):
        codes = np.array([[{"left": 1, "right": 2}.get(m, 9)] for m in recording.markers[0].samples], np.int32)
        spec = msgspec.structs.replace(recording.markers[0].spec, format="int32")
        markers = RecordedStream(spec, codes, recording.markers[0].stamps_s)
        return Recording(recording.path, (recording.signals[0], markers), recording.sha256)

    settings = msgspec.structs.replace(SETTINGS, labels={"1": "left", "2": "right"})
    again = train([numbered(one) for one in sessions[:2]], settings)
    assert again.info["scores"] == trained.info["scores"]
    with pytest.raises(ConfigError, match="no marker is called left or right; there are 1, 2, 9"):
        train([numbered(sessions[0])], SETTINGS)


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (("T1=left", "T2=right"), {"T1": "left", "T2": "right"}),
        (("T1=left,T2=right",), {"T1": "left", "T2": "right"}),
        (("left,right",), {"left": "left", "right": "right"}),
        (("switch,3,0,2=a", "switch,3,1,2=b"), {"switch,3,0,2": "a", "switch,3,1,2": "b"}),
    ],
)
def test_markers_with_commas_can_be_named(words, labels):
    from bci.cli.training import labels_of

    assert labels_of(words) == labels


# --- what cannot be trained, evaluated or found ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"labels": {"left": "left"}}, ConfigError, "at least 2 classes"),
        ({"labels": {"T1": "a", "T2": "b"}}, ConfigError, "no marker is called T1 or T2; there are left, rest, right"),
        ({"decoder": "svm"}, ConfigError, "no decoder 'svm'; there are bandpower, "),
        ({"window_s": 0.1}, ConfigError, "use a window of"),
        ({"channels": ("C3", "XX")}, ModelError, "XX"),
        ({"bandpass_hz": (8.0, 90.0)}, ConfigError, "bandpass"),
        ({"stream": "other"}, ConfigError, "0 signal streams called 'other'"),
        ({"decide_at_s": 60.0}, ModelError, "trials"),
    ],
)
def test_what_was_asked_wrongly(changes, error, says, sessions):
    with pytest.raises(error, match=says):
        train(sessions[:1], msgspec.structs.replace(SETTINGS, **changes))


def test_recordings_that_teach_nothing(sessions):
    one = sessions[0]
    with pytest.raises(ConfigError, match="it has no markers"):
        train([Recording("x.edf", one.signals)], SETTINGS)
    with pytest.raises(ModelError, match="fewer than 2 trials"):
        train([altered(one, labels=[m if m == "rest" else "left" for m in one.markers[0].samples])], SETTINGS)
    with pytest.raises(ModelError, match="at least 4"):
        train([altered(one, labels=one.markers[0].samples[:5])], SETTINGS)
    flat = one.signals[0].samples.copy()
    flat[:, one.signals[0].spec.labels.index("C4")] = 12.0
    with pytest.raises(ModelError, match="channel C4 is constant; leave it out with --channels"):
        train([altered(one, samples=flat)], SETTINGS)
    dead = one.signals[0].samples.copy()
    dead[:, one.signals[0].spec.labels.index("C4")] = np.nan
    with pytest.raises(ModelError, match=r"no usable trial .*12 cues left out, whose signal has NaN or a gap"):
        train([altered(one, samples=dead)], SETTINGS)
    with pytest.raises(ConfigError, match="no recordings"):
        train([], SETTINGS)


def test_a_model_cannot_be_saved_where_no_one_can_write(trained, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="cannot write model"):
        trained.save(str(tmp_path / "file" / "m"))


def test_evaluation_without_cues_says_which_markers_there_are(model, sessions):
    silent = altered(sessions[0], labels=["rest", "pause"])
    with pytest.raises(ConfigError, match=r"no cue of left, right .*there are pause, rest"):
        evaluate(model, [silent])


def test_another_montage_is_refused_by_name(model, sessions):
    spec = sessions[0].signals[0].spec
    channels = tuple(msgspec.structs.replace(c, label=c.label.replace("C4", "Q4")) for c in spec.channels)
    with pytest.raises(ModelError, match="C4"):
        evaluate(model, [altered(sessions[0], spec=msgspec.structs.replace(spec, channels=channels))])


def test_primary_stream_is_the_brain_or_must_be_named(sessions):
    eeg = sessions[0].signals[0]
    other = RecordedStream(msgspec.structs.replace(eeg.spec, name="gaze", type="Gaze"), eeg.samples, eeg.stamps_s)
    second = RecordedStream(msgspec.structs.replace(eeg.spec, name="second"), eeg.samples, eeg.stamps_s)
    assert primary_stream(Recording("x", (other, eeg))) is eeg
    assert primary_stream(Recording("x", (other,))) is other
    assert primary_stream(Recording("x", (eeg, second)), "second") is second
    with pytest.raises(ConfigError, match=r"2 signal streams to decode; there are .*--stream"):
        primary_stream(Recording("x", (eeg, second)))


@pytest.mark.parametrize(
    ("path", "who"),
    [
        ("data/S001R04.edf.xz", ("S001", "R04")),
        ("sub-A7_ses-2_run-1.fif", ("sub-A7", "ses-2_run-1")),
        ("root/sub-A7/ses-2/session.xdf", ("sub-A7", "ses-2")),
        ("alice.xdf", ("alice", "alice")),
    ],
)
def test_subject_and_run_come_from_the_name(path, who):
    assert subject_and_run(path) == who


# --- scores ----------------------------------------------------------------------------------------------------------


def test_scores_are_means_over_people_and_abstentions_are_wrong():
    rows = [
        {"subject": s, "run": "1", "index": i, "label": label, "p": p}
        for i, (s, label, p) in enumerate(
            [
                ("A", "l", [0.9, 0.1]),
                ("A", "r", [0.2, 0.8]),
                ("B", "l", [0.3, 0.7]),
                ("B", "r", None),
                ("B", "r", [0.1, 0.9]),
            ]
        )
    ]
    result = score(rows, ("l", "r"), 3.5, seed=0)
    assert [round(s["accuracy"], 3) for s in result["per_subject"]] == [1.0, 0.333]
    assert result["mean"] == pytest.approx(2 / 3)
    assert result["accuracy"] == pytest.approx(3 / 5)
    assert result["n_abstained"] == 1
    low, high = result["ci95"]
    assert low == pytest.approx(1 / 3)
    assert high == 1


# --- command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(sessions, monkeypatch):
    """The command line reads these instead of files."""
    by_name = {r.path: r for r in sessions}
    monkeypatch.setattr("bci.sources.files.load_recording", lambda path, rate_hz=None: by_name[path])
    return list(by_name)


def test_train_and_evaluate_from_the_command_line(files, tmp_path, capsys):
    out = str(tmp_path / "m")
    arguments = ["train", *files[:2], "--labels", "left=L", "right=R", "--decoder", "bandpower", "--out", out]
    main([*arguments, "--channels", "C3", "C4", "Cz", "--reference", "average", "--json", "-"])
    said = json.loads(capsys.readouterr().out)
    assert (said["classes"], said["channels"], said["n_trials"]) == (["L", "R"], ["C3", "C4", "Cz"], 24)
    assert said["model_hash"] == load_model(out).hash
    main(["evaluate", out, files[2], "--json", "-"])
    result = json.loads(capsys.readouterr().out)
    assert {"per_subject", "mean", "ci95", "chance", "accuracy", "kappa", "n_trials", "trials"} <= result.keys()
    assert result["trials"][0].keys() == {"subject", "run", "index", "label", "p"}
    main(["evaluate", out, files[2]])
    assert "chance" in capsys.readouterr().out


def test_a_network_is_trained_as_the_flags_say_and_begins_with_another(files, tmp_path, capsys):
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    channels = ["--channels", "C3,C4,Cz", "--labels", "left", "right", "--decoder", "eegnet", "--json", "-"]
    main(["train", files[0], *channels, "--epochs", "2", "--augment", "mirror,noise", "--out", first])
    assert sorted(p.name for p in (tmp_path / "a.training").iterdir()) == ["losses.csv", "losses.png"]
    main(["train", files[1], *channels, "--epochs", "1", "--init", first, "--freeze", "1", "--out", second])
    capsys.readouterr()
    one, two = (load_model(folder).decoder.state_dict() for folder in (first, second))
    assert one["layers.0.weight"].equal(two["layers.0.weight"])
    assert not one["layers.7.weight"].equal(two["layers.7.weight"])
    for arguments, says in (
        (["--init", first, "--channels", "CP3"], "a network of the same kind and channels"),
        (["--resume"], "no snapshot in"),
        (["--augment", "warp"], "no augmentation warp"),
    ):
        with pytest.raises(SystemExit):
            main(["train", files[0], *channels, *arguments, "--out", str(tmp_path / "c")])
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--labels", "left", "right", "--epochs", "3"], 1, "decoder 'riemann' is no network"),
        (["--labels", "left=L"], 2, "at least 2 classes"),
        (["--labels", "=L", "right=R"], 2, "write MARKER=CLASS"),
        (["--labels", "left=L", "right=R", "--decoder", "svm"], 2, "no decoder 'svm'"),
        (["--labels", "left=L", "right=R", "--hop", "0"], 2, "--hop 0: it must be above 0 s"),
        (["--labels", "left=L", "right=R", "--channels", "XX"], 1, "XX"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(arguments, code, says, files, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", files[0], *arguments, "--out", str(tmp_path / "m")])
    error = capsys.readouterr().err.strip()
    assert stop.value.code == code
    assert says in error
    assert "\n" not in error


def test_evaluate_without_a_model_is_an_error(files, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(tmp_path / "none"), files[0]])
    assert stop.value.code == 1
    assert "no model folder" in capsys.readouterr().err


# --- real EEG --------------------------------------------------------------------------------------------------------


def test_real_eeg_trains_on_two_runs_and_is_scored_on_the_third(data_dir, tmp_path, capsys):
    runs = [str(data_dir / "motor_imagery_64ch" / f"S031R{r}.edf.xz") for r in ("04", "08", "12")]
    main(["train", *runs[:2], "--labels", "T1=left", "T2=right", "--out", str(tmp_path / "m"), "--json", "-"])
    said = json.loads(capsys.readouterr().out)
    assert (said["n_trials"], said["n_left_out"], len(said["channels"])) == (30, 0, 64)
    main(["evaluate", str(tmp_path / "m"), runs[2], "--json", "-"])
    result = json.loads(capsys.readouterr().out)
    assert (result["n_trials"], result["n_abstained"]) == (15, 0)
    assert result["trials"][0]["subject"] == "S031"
    assert result["mean"] > result["chance_band"][1]
