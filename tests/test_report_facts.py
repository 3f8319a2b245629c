"""The numbers of a report: those of the run itself, and right where something went wrong."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bci.offline.train import train
from bci.recording.folder import SessionFolder
from bci.recording.replay import HOP_LABELS
from bci.recording.runs import read_runs
from bci.report.facts.channels import problems
from bci.report.facts.session import session_facts
from bci.report.facts.streams import stamp_quality
from bci.report.facts.verdicts import verdicts_text
from bci.report.write import session_report
from tests.helpers.fault_sender import fitted_model
from tests.helpers.pages import problems as problems_of_page
from tests.helpers.pages import text_of
from tests.helpers.recorded import MARKERS, Run, with_channels
from tests.test_epochs import SETTINGS as FLASHES
from tests.test_epochs import recording as flashing

TOML = '[gate]\nthreshold = 0.6\ndwell_s = 0.06\nrefractory_s = 0.2\n[devices]\nurls = ["udp://127.0.0.1:9"]\n'
SHIPPED = Path(__file__).parents[1] / "replay_data" / "sub-simulated" / "ses-1"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fitted_model(tmp_path_factory.mktemp("facts") / "model")


def facts(path):
    folder = SessionFolder(path)
    report = session_facts(folder, read_runs(folder))
    json.dumps(report)  # nothing in it that JSON has no word for
    return report


def levels(report):
    return [v["level"] for v in report["verdicts"]]


def said(report):
    return verdicts_text(report)


def armed(folder, model, **options):
    run = Run(folder, model, TOML, **options)
    run.play(2.0)
    run.control("arm")
    return run


# --- one truth -------------------------------------------------------------------------------------------------------


def test_the_report_of_a_recording_has_the_numbers_of_the_run_that_made_it():
    """What `bci run` printed when it ended, out of its own counters, against what its recording tells."""
    told, report = json.loads((SHIPPED / "run.json").read_text()), facts(SHIPPED)
    other = {"recording", "recording_parts", "streams", "preflight"}
    assert {k: report[k] for k in told.keys() - other} == {k: told[k] for k in told.keys() - other}
    assert [(s["name"], s["n"]) for s in report["streams"]] == [(s["name"], s["n"]) for s in told["streams"]]
    assert len(report["trials"]) == told["n_trials"]
    assert sum(t["is_right"] for t in report["trials"]) == told["accuracy"] * told["n_trials"]
    assert len(report["commands"]) == told["n_commands"]
    assert sum(c["is_false"] for c in report["commands"]) == told["n_false_commands"]
    assert report["max_backlog_samples"] == told["max_backlog_samples"]  # no recording has it: taken over


def test_without_what_the_program_told_the_rest_is_the_same(model, tmp_path):
    run = armed(tmp_path, model)
    run.play(3.0)
    run.end()
    before = facts(tmp_path)
    SessionFolder(tmp_path).write(
        tmp_path / "run.json",
        '{"n_samples": 1, "preflight": [{"level": "ok", "stream": "eeg", "text": "fine"}], "x": 1}',
    )
    after = facts(tmp_path)
    assert after["preflight"] == [{"run": 1, "level": "ok", "stream": "eeg", "text": "fine"}]
    assert after["x"] == 1  # whatever a run told is in the report
    assert {k: after[k] for k in before.keys() - {"preflight"}} == {k: before[k] for k in before.keys() - {"preflight"}}


# --- nothing wrong ---------------------------------------------------------------------------------------------------


def test_a_session_with_cues_and_commands(model, tmp_path):
    run = armed(tmp_path / "sub-P01" / "ses-3", model)
    for _ in range(6):
        run.cue("left")  # the wave holds left for 0.6 s from each even second on
        run.play(1.0)
        run.cue("right")
        run.play(1.0)
    run.control("note", "yawned")
    run.end()
    report = facts(tmp_path / "sub-P01" / "ses-3")
    assert (report["subject"], report["session"], report["n_trials"]) == ("P01", "3", 12)
    assert report["accuracy"] == 1.0
    assert report["n_commands"] == report["n_commands_sent"] == len(report["commands"]) >= 12
    assert {c["cued"] for c in report["commands"]} == {"left", "right"}
    assert report["armed_s"] == pytest.approx(12.0, abs=0.1)
    assert report["command_delay_ms"]["p50"] == pytest.approx(1.0)
    assert [(n["action"], n["text"]) for n in report["notes"]][:2] == [("arm", ""), ("note", "yawned")]
    assert report["alarms"] == report["gaps"] == []
    assert levels(report)[:3] == ["ok", "ok", "ok"]
    assert "All 3,500 samples of eeg arrived" in said(report)
    assert "to udp://127.0.0.1:9" in said(report)
    assert report["ended_because"] == "the stream has ended"


def test_a_session_without_cues_and_without_arming(model, tmp_path):
    run = Run(tmp_path, model, TOML, markers=None)
    run.play(3.0)
    run.end()
    report = facts(tmp_path)
    assert levels(report) == ["ok", "ok", "none", "none"]
    assert "No cue of the decoder's classes" in said(report)
    assert "never armed" in said(report)
    assert (report["n_false_commands"], report["false_commands_per_min"], report["accuracy"]) == (None, None, None)


def test_armed_but_never_sure_enough(model, tmp_path):
    run = Run(tmp_path, model, "[gate]\nthreshold = 0.999\n")
    run.play(2.0)
    run.control("arm")
    run.play(4.0)
    run.end()
    report = facts(tmp_path)
    assert report["n_commands"] == 0
    assert 0.5 < report["highest_p_armed"] < 0.999
    assert f"the highest probability was {report['highest_p_armed']:.3f}" in said(report)


def test_guessing_is_not_better_than_chance_and_is_said(model, tmp_path):
    run = armed(tmp_path, model)
    for k in range(10):
        run.cue(("left", "right")[k // 2 % 2])  # cues that have nothing to do with the wave
        run.play(1.0)
    run.end()
    report = facts(tmp_path)
    assert report["accuracy"] == pytest.approx(0.5, abs=0.11)
    assert report["verdicts"][2]["answer"] == "No: not better than chance"


def test_worse_than_chance_asks_about_the_labels(model, tmp_path):
    run = armed(tmp_path, model)
    for k in range(12):
        run.cue(("right", "left")[k % 2])
        run.play(1.0)
    run.end()
    report = facts(tmp_path)
    assert report["accuracy"] == 0.0
    assert (levels(report)[2], "labels swapped?" in said(report)) == ("bad", True)


def test_trials_before_the_decoder_may_be_trusted_are_abstentions(model, tmp_path):
    run = Run(tmp_path, model, TOML)
    run.play(0.02)
    run.cue("left")
    run.control("pause")
    run.play(2.0)
    run.end()
    report = facts(tmp_path)
    assert (report["n_trials"], report["n_abstained"], report["accuracy"]) == (1, 1, 0.0)
    assert report["trials"][0]["said"] is None
    assert "1 trial without an answer counts as wrong" in said(report)
    assert "Only left was cued" in said(report)


def test_three_trials_cannot_show_anything(model, tmp_path):
    run = armed(tmp_path, model)
    for label in ("left", "right", "left"):
        run.cue(label)
        run.play(1.0)
    run.end()
    report = facts(tmp_path)
    assert report["accuracy"] == 1.0
    assert report["verdicts"][2]["answer"] == "Too few trials to tell"


def test_a_stream_named_like_a_training_file_is_no_result(model, tmp_path):
    run = armed(tmp_path, model)
    for _ in range(6):
        run.cue("left")
        run.play(2.0)
    run.end()
    spec = next((tmp_path / "models").iterdir()) / "spec.json"
    described = json.loads(spec.read_text())
    described["info"]["trained_on"] = [{"file": "eeg.xdf"}, {"file": "other.xdf"}]
    spec.write_text(json.dumps(described))
    report = facts(tmp_path)
    assert report["decoder_info"]["is_perhaps_training_data"]
    assert report["verdicts"][2]["level"] == "bad"
    assert "training accuracy and says nothing" in said(report)


def test_a_session_whose_model_is_gone_is_still_counted(model, tmp_path):
    run = armed(tmp_path, model)
    run.play(2.0)
    run.end()
    before = facts(tmp_path)
    for path in sorted((tmp_path / "models").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    after = facts(tmp_path)
    assert after["n_commands"] == before["n_commands"] > 0
    assert after["decoder"] is None


# --- models that answer markers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flashes(tmp_path_factory):
    """An xdawn model, and the signal that it was trained on the like of: (samples, index of each marker, its code)."""
    folder = tmp_path_factory.mktemp("flashes") / "model"
    train([flashing(0)[0], flashing(1)[0]], FLASHES).save(str(folder))
    return folder


def flashed(folder, model, toml="", *, markers=True):
    """A run over a recording with 60 flashes, cued by its markers or by its trigger channel."""
    recording, at, codes = flashing(3)
    samples = np.asarray(recording.signals[0].samples)
    spec = recording.signals[0].spec
    run = Run(
        folder, model, toml, spec=spec, signal=lambda first, n: samples[first : first + n],
        markers=MARKERS if markers else None, chunk_s=16 / spec.sfreq_hz,
    )  # fmt: skip
    waiting = list(zip(at, codes, strict=True))
    run.control("note", "flashes")
    for first in range(0, len(samples) - 16, 16):
        if first == 1024:
            run.control("arm")
        run.play(16 / spec.sfreq_hz)
        while markers and waiting and waiting[0][0] < first + 16:
            index, code = waiting.pop(0)
            run.cue(str(code), run.start_s + index / spec.sfreq_hz)
    run.end()
    return at, codes


@pytest.mark.parametrize("markers", [True, False], ids=["markers", "trigger channel"])
def test_answers_to_markers_are_scored_by_their_own_epochs(markers, flashes, tmp_path):
    toml = "[gate]\nthreshold = 0.9\n" + ("" if markers else '[stream]\ntrigger_channel = "STI"\n')
    at, codes = flashed(tmp_path, flashes, toml, markers=markers)
    report, html = session_report(SessionFolder(tmp_path))
    assert report["is_epoch_model"]
    assert report["n_epochs"] == report["n_decisions"] == len(report["trials"]) == len(at)
    assert [t["cued"] for t in report["trials"]] == [{1: "other", 2: "target"}[c] for c in codes]
    assert report["auc"] == report["score"]["value"] > 0.95
    assert report["score"]["band"] == pytest.approx([0.34, 0.66], abs=0.03)
    assert "target is told from other with an AUC of" in said(report)
    assert report["n_commands"] > 0
    assert "at a probability of 0.9 or more" in said(report)
    assert problems_of_page(html) == []
    assert "One decision a marker, from its own epoch, which ends 700 ms after it" in text_of(html)


def test_markers_that_expired_are_listed(flashes, tmp_path):
    recording, _, _ = flashing(3)
    samples = np.asarray(recording.signals[0].samples)
    spec = recording.signals[0].spec
    run = Run(
        tmp_path, flashes, spec=spec, signal=lambda first, n: samples[first : first + n], chunk_s=16 / spec.sfreq_hz
    )
    run.play(2.0)
    run.cue("2", run.start_s - 100.0)
    run.cue("1", run.start_s + 1.5)
    run.play(20.0)
    run.cue("2", run.start_s + 3.0)
    run.play(2.0)
    run.end()
    report, html = session_report(SessionFolder(tmp_path))
    assert report["n_expired"] == len(report["expired"]) >= 1
    assert "expired" in text_of(html)


def test_a_recording_of_the_first_format_has_a_report_too(model, tmp_path, monkeypatch):
    """It has no columns for markers."""
    monkeypatch.setattr("bci.host.books.HOP_LABELS", HOP_LABELS[:5])
    monkeypatch.setattr("bci.host.books.hop_row", lambda p: (p.hop, p.sample_index, p.stamp_s, p.age_s, p.flags, *p.p))
    run = armed(tmp_path, model)
    run.cue("left")
    run.play(2.0)
    run.end()
    report = facts(tmp_path)
    assert report["decoder_info"]["classes"] == ["rest", "left", "right"]
    assert (report["n_trials"], report["accuracy"], report["is_epoch_model"]) == (1, 1.0, False)
    assert report["n_commands"] > 0


# --- something wrong -------------------------------------------------------------------------------------------------


def test_lost_late_and_unknown_stretches_are_told_apart(model, tmp_path):
    run = armed(tmp_path, model)
    run.play(10.0)
    run.silence(0.4, "lost")
    run.play(4.0)
    run.silence(1.0, "late", "nothing arrived meanwhile")
    run.play(2.0, late_s=1.0)
    run.silence(3.0, "unknown", "reconnected")
    run.play(2.0)
    run.silence(0.3, "unknown", "the sender's clock jumped")
    run.play(2.0)
    run.end()
    report = facts(tmp_path)
    assert [(g["verdict"], g["n_about"]) for g in report["gaps"]] == [
        ("lost", 100), ("late", 0), ("unknown", 750), ("unknown", None),
    ]  # fmt: skip
    assert (report["n_samples_lost"], report["n_gaps"], report["n_late"]) == (100, 3, 1)
    eeg = report["streams"][0]
    assert (eeg["n"], eeg["n_expected"], eeg["n_lost"]) == (run.n, run.n + 850, 100)
    text = said(report)
    assert "Yes. 100 samples" in text
    assert "broke off once, for 3.0 s in all" in text
    assert "clock jumped once: whether anything is missing there cannot be told" in text
    assert "stood still once, for 1.0 s; those samples came afterwards" in text
    assert report["n_too_old"] >= 100
    assert "Yes. " in text.split("Was it late?")[1]
    assert len(report["alarms"]) == 4
    assert [d["reasons"] for d in report["disarmings"]] == [["trouble for more than 2 s"]]


def test_gaps_end_when_samples_come_again(model, tmp_path):
    run = armed(tmp_path, model)
    run.silence(3.0, "unknown", "reconnected")
    run.play(1.0)
    run.end()
    report = facts(tmp_path)
    assert report["gaps"][0]["t_s"] == pytest.approx(5.0, abs=0.1)
    assert report["alarms"][0]["t_s"] == pytest.approx(2.0, abs=0.1)
    assert report["alarms"][0]["duration_s"] == pytest.approx(3.0, abs=0.1)


def test_refused_commands_and_their_reason(model, tmp_path):
    run = armed(tmp_path, model)
    run.refuse = "stopped: bci stop"
    run.play(4.0)
    run.end()
    report = facts(tmp_path)
    assert (report["n_commands_sent"], report["n_commands_refused"]) == (0, report["n_commands"])
    assert {c["reason"] for c in report["commands"]} == {"stopped: bci stop"}
    assert "all refused by the device host (stopped: bci stop)" in said(report)


def test_killed(model, tmp_path):
    run = armed(tmp_path, model)
    run.play(4.0)
    run.die()
    report = facts(tmp_path)
    assert report["ended_because"] is None
    assert levels(report)[0] == "bad"
    assert "breaks off without the end of the session" in said(report)
    assert report["n_commands"] > 0


def test_cut_short_on_disk(model, tmp_path):
    run = armed(tmp_path, model)
    run.play(4.0)
    run.end()
    path = tmp_path / "session.xdf"
    path.write_bytes(path.read_bytes()[:-20_001])
    report = facts(tmp_path)
    assert report["n_bytes_damaged"] > 0
    assert "damaged or cut" in said(report)


def test_a_recorder_that_died_in_between(model, tmp_path):
    run = armed(tmp_path, model)
    run.play(2.0)
    run.recorder.flush()
    run.play(1.0)
    run.recorder.restart()
    run.play(2.0)
    run.end()
    report = facts(tmp_path)
    assert (report["n_samples"], report["streams"][0]["n_recorded"]) == (run.n, run.n - 250)
    assert "250 samples arrived and are not on disk. The recorder was restarted once." in said(report)
    told = '{"n_unconfirmed": {"eeg": 250}, "n_unrecorded": {"cues": 2}}'
    SessionFolder(tmp_path).write(tmp_path / "run.json", told)
    text = said(facts(tmp_path))
    assert "2 samples arrived and could not be recorded. 250 samples were on their way" in text
    assert "not on disk" not in text  # not said twice


def test_two_runs_are_counted_together(model, tmp_path):
    runs = []
    for start_s in (1000.0, 500.0):  # the machine was started again: its clock began anew
        runs.append(armed(tmp_path, model, start_s=start_s))
        for _ in range(3):
            runs[-1].cue("left")
            runs[-1].play(2.0)
        runs[-1].die() if start_s == 1000.0 else runs[-1].end()
    report = facts(tmp_path)
    assert [r["run"] for r in report["runs"]] == [1, 2]
    assert {c["run"] for c in report["commands"]} == {t["run"] for t in report["trials"]} == {1, 2}
    assert report["n_samples"] == sum(r.n for r in runs)
    assert report["n_trials"] == 6
    assert report["n_commands"] == len(report["commands"])
    assert report["duration_s"] == pytest.approx(16.0, abs=0.2)
    assert "1 run broke off" in said(report)


def test_runs_with_other_classes_are_not_thrown_together(model, tmp_path):
    for start_s in (1000.0, 2000.0):
        run = armed(tmp_path, model, start_s=start_s)
        run.cue("left")
        run.play(2.0)
        run.end()
    first, second = read_runs(SessionFolder(tmp_path))
    report = session_facts(SessionFolder(tmp_path), [replace(first, classes=("rest", "feet", "tongue")), second])
    assert (report["n_trials"], report["is_scored_whole"]) == (1, False)


@pytest.mark.parametrize("n_channels", [2, 306])
def test_few_and_many_channels(n_channels, tmp_path):
    from bci.bench.latency import linear_model

    linear_model(tmp_path / "model", n_channels, 250.0, 25)
    spec, noise = with_channels(n_channels)
    run = Run(tmp_path / "ses", tmp_path / "model", spec=spec, signal=noise)
    run.play(4.0)
    run.end()
    report = facts(tmp_path / "ses")
    assert report["signal"]["n_seconds"] == 4
    assert len(report["signal"]["channels"]) == n_channels
    assert [c["problems"] for c in report["signal"]["channels"]] == [[]] * n_channels
    assert report["signal"]["channels"][1]["amplitude"] == pytest.approx(10, rel=0.2)


def test_channels_that_are_bad_in_every_way(tmp_path):
    from bci.bench.latency import linear_model

    linear_model(tmp_path / "model", 7, 250.0, 25)
    spec, noise = with_channels(8)
    units = ("uV",) * 7 + ("furlong",)
    channels = tuple(msgspec.structs.replace(c, unit=u) for c, u in zip(spec.channels, units, strict=True))

    def signal(first, n):
        x = noise(first, n).copy()
        t_s = np.arange(first, first + n) / 250.0
        x[:, 1] = 5.0
        x[:, 2] = np.where(t_s % 1 < 0.3, 300.0, np.minimum(x[:, 2], 299))
        x[:, 3] = np.nan
        x[:, 4] += 30 * np.sin(2 * np.pi * 50 * t_s)
        x[:, 5] *= 30
        x[:, 6] /= 30
        x[:, 7] = 7.0
        return x

    spec = msgspec.structs.replace(spec, channels=channels)
    run = Run(tmp_path / "ses", tmp_path / "model", spec=spec, signal=signal)
    run.play(5.0)
    run.end()
    report, html = session_report(SessionFolder(tmp_path / "ses"))
    found = report["signal"]
    assert [c["problems"] for c in found["channels"]] == [
        [], ["flat"], ["saturated"], ["no numbers"], ["mains hum"], ["much larger than the others"],
        ["much smaller than the others"], ["flat"],
    ]  # fmt: skip
    assert found["mains_hz"] == 50.0
    assert "1 of 8 channels without a problem" in text_of(html)
    assert problems_of_page(html) == []


def test_a_session_that_ended_before_anything_came(model, tmp_path):
    Run(tmp_path, model, TOML).end()
    report, html = session_report(SessionFolder(tmp_path))
    assert report["verdicts"][0]["answer"] == "Nothing arrived"
    assert report["verdicts"][1]["level"] == "none"
    assert "NaN" not in json.dumps(report)
    assert html


# --- parts -----------------------------------------------------------------------------------------------------------


def test_rate_and_jitter_of_stamps():
    rng = np.random.default_rng(0)
    even = 50 + np.arange(10_000) / 249.5
    assert stamp_quality(even, 250.0) == pytest.approx(
        {"effective_hz": 249.5, "jitter_ms": 0, "n_backward": 0}, abs=1e-3
    )
    jittered = stamp_quality(even + rng.uniform(-0.002, 0.002, len(even)), 250.0)
    assert jittered["effective_hz"] == pytest.approx(249.5, abs=0.01)
    assert jittered["jitter_ms"] == pytest.approx(1.9, abs=0.05)
    with_gap = even + np.where(np.arange(len(even)) > 5000, 7.0, 0.0)
    assert stamp_quality(with_gap, 250.0)["jitter_ms"] < 1e-3
    backward = even.copy()
    backward[[100, 3000]] -= 0.5
    assert stamp_quality(backward, 250.0)["n_backward"] == 2
    assert stamp_quality(np.array([1.0, np.nan]), 250.0)["effective_hz"] is None
    assert stamp_quality(np.ones(1000), 250.0)["effective_hz"] is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, []),
        ({"share_flat": 0.5, "amplitude": 0.0}, ["flat"]),
        ({"share_saturated": 0.02, "share_missing": 0.3}, ["saturated", "no numbers"]),
        ({"line_noise": 8.0}, ["mains hum"]),
        ({"amplitude": 80.0}, ["much larger than the others"]),
        ({"amplitude": 1.0, "line_noise": 0.1}, ["much smaller than the others"]),
        ({"type": "TRIG", "share_flat": 1.0}, []),
    ],
)
def test_problems_of_a_channel(wrong, words):
    fine = {"type": "EEG", "amplitude": 10.0, "line_noise": 1.0}
    fine |= {"share_flat": 0.0, "share_saturated": 0.0, "share_missing": 0.0}
    assert problems(fine | wrong, 10.0) == words
