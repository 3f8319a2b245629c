"""Marker-locked decoding through a file, `bci stream`, LSL and `bci run`: live, offline and replay agree bit by bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bci.__main__ import main
from bci.build import load
from bci.offline.evaluate import evaluate
from bci.recording.replay import HOP_LABELS
from bci.sources.files import load_recording
from bci.types import Channel, RecordedStream, StreamSpec, marker_spec
from decoders import load_class
from decoders.checkpoint import save_model
from decoders.spec import Request
from tests.helpers.pages import reported
from tests.helpers.played import play, write_xdf

pytestmark = pytest.mark.timeout(300)
SFREQ_HZ, N, HOP = 250.0, 3000, 20
LABELS = {"1": "other", "2": "target"}


def signal(lost=None, trigger_at=()):
    """Noise with jittered stamps, perhaps a loss, and a trigger channel."""
    generator = np.random.default_rng(3)
    channels = (*(Channel(f"ch{i}", "EEG", "uV") for i in range(4)), Channel("STI", "STIM"))
    samples = generator.normal(0, 20, (N, 5)).astype(np.float32)
    samples[:, -1] = 0
    for k, at in enumerate(trigger_at):
        samples[at : at + 5, -1] = 1 + k % 2
    stamps_s = 100 + np.arange(N) / SFREQ_HZ + np.abs(generator.normal(0, 0.0003, N))
    kept = np.delete(np.arange(N), slice(*lost)) if lost else np.arange(N)
    return RecordedStream(StreamSpec(name="eeg", sfreq_hz=SFREQ_HZ, channels=channels), samples[kept], stamps_s[kept])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """`xdawn` fitted to noise: what it says is worthless, but every bit of it depends on the signal."""
    family = load_class("xdawn")
    channels = tuple(f"ch{i}" for i in range(4))
    spec = family.design(
        Request(channels=channels, sfreq_hz=SFREQ_HZ, hop=HOP, classes=("other", "target"), epoch_s=(0.0, 0.8))
    )
    x = np.random.default_rng(1).normal(0, 10, (40, 4, spec.receptive_field)).astype(np.float32)
    fitted = family.fit(spec, x, np.arange(40) % 2, seed=1)
    how = {"channels": channels, "sfreq_hz": SFREQ_HZ, "hop": HOP, "bandpass_hz": (1.0, 30.0), "filter_order": 2}
    folder = tmp_path_factory.mktemp("xdawn") / "model"
    save_model(folder, spec, fitted, how, {"labels": LABELS, "decide_at_s": 0.8}, "# fitted to noise\n")
    return folder


def verify(folder, *options):
    main(["replay", str(folder / "session"), "--verify", "--json", str(folder / "verify.json"), "--quiet", *options])
    return json.loads((folder / "verify.json").read_text())


def answers(came):
    rows = np.asarray(came.streams["bci-hops"].samples)
    return rows[rows[:, HOP_LABELS.index("marker")] >= 0]


def test_live_offline_and_replay_say_the_same(model, unique_name, tmp_path):
    source = signal()
    at = np.arange(40, N, 150)  # an epoch lasts longer than from one to the next
    labels = [("1", "2", "flash", "1", "1")[k % 5] for k in range(len(at))]
    markers = RecordedStream(marker_spec("eeg-markers"), labels, 100 + (at + 0.3) / SFREQ_HZ)
    path = write_xdf(tmp_path / "oddball.xdf", source, markers)
    options = ("--arm", "--device", "null:", "--threshold", 0.55, "--lock-to", "flash")
    came = play(path, model, unique_name, tmp_path, run=options)
    came.assert_whole(source)
    live = answers(came)
    whole = at + 0.8 * SFREQ_HZ < N // HOP * HOP
    assert live[:, HOP_LABELS.index("marker_index")].tolist() == at[whole].tolist()
    scored = evaluate(load(model), [load_recording(path)])
    known = live[[label in LABELS for label in np.array(labels)[whole]]]
    trusted = known[known[:, 4] == 0]
    assert len(trusted) > 8
    assert [tuple(row[len(HOP_LABELS) :]) for row in trusted] == [tuple(t["p"]) for t in scored["trials"] if t["p"]]
    report = came.report
    assert (report["n_trials"], report["auc"]) == (scored["n_trials"], scored["auc"])
    assert report["n_epochs"] == whole.sum()
    assert report["n_commands"] == report["n_commands_sent"] > 0
    for more in ((), ("--rechunk", "5")):
        said = verify(tmp_path, *more)
        assert (said["n_differences"], said["bitwise"], said["n_trials"]) == (0, True, report["n_trials"])
    assert said["n_commands"] == report["n_commands"]
    made = reported(tmp_path / "session", report)
    assert (made["score"]["kind"], made["score"]["value"]) == ("AUC", report["auc"])


def test_triggers_of_a_channel_stand_at_their_own_samples_through_a_loss(model, unique_name, tmp_path):
    trigger_at = np.arange(60, N - 300, 170)
    source = signal(lost=(1500, 1510), trigger_at=trigger_at)
    path = write_xdf(tmp_path / "triggers.xdf", source)
    came = play(path, model, unique_name, tmp_path, run=("--trigger", "STI"))
    live = answers(came)
    expected = trigger_at - 10 * (trigger_at >= 1510)
    assert live[:, HOP_LABELS.index("marker_index")].tolist() == expected.tolist()
    assert (live[:, 4] > 0).sum() < len(live)
    assert came.report["n_trials"] == evaluate(load(model), [load_recording(path)], trigger="STI")["n_trials"]
    assert verify(tmp_path, "--rechunk", "11")["n_differences"] == 0
    reported(tmp_path / "session", came.report)
