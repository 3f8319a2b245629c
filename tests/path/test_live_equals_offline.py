"""The same samples give the same bits: through `bci stream`, LSL and `bci run`, and in one pass over the file."""

import math

import numpy as np
import pytest

from bci.control.gate import GateSettings
from bci.offline.evaluate import evaluate
from bci.offline.stream import play as play_offline
from bci.pipeline import Pipeline
from bci.recording.replay import HOP_LABELS
from bci.session import Session
from bci.sources.files import load_recording
from bci.sources.schedule import cut, playable
from bci.sources.simulated import SimulatedPerson
from bci.types import Channel, Flag, Prediction, RecordedStream, Recording, StreamSpec
from decoders.checkpoint import load_model
from tests.helpers.played import noise_model, play, write_xdf

pytestmark = pytest.mark.timeout(300)
LABELS = {"left": "left", "right": "right"}
FILTERS = {"bandpass_hz": (8.0, 30.0)}
ALL_FILTERS = {**FILTERS, "notch_hz": 50.0, "reference": "average"}


def assert_same_hops(got, model, recording):
    """Live predictions are those of an offline pass, hop by hop, bit by bit."""
    source = recording.signals[0]
    pipeline = Pipeline(model, source.spec)
    session = Session(source.spec, {model.hash: pipeline}, model.hash, GateSettings(classes=tuple(model.spec.classes)))
    offline = [o for o in play_offline(session, source, recording) if isinstance(o, Prediction)]
    live = got.streams["bci-hops"].samples
    assert [row[0] for row in live] == list(range(len(offline)))
    assert np.array_equal(live[:, 1], [p.sample_index for p in offline])
    assert np.array_equal(live[:, 4], [p.flags for p in offline])
    p_live, p_offline = np.ascontiguousarray(live[:, len(HOP_LABELS) :]), np.array([p.p for p in offline])
    assert p_live.tobytes() == p_offline.tobytes()
    assert len(np.unique(p_offline[:, 0])) > len(p_offline) / 2
    return live


def assert_equal(got, model_folder, recording):
    """Hops are the same, and so are the decisions on trials; nothing was lost."""
    model, source = load_model(model_folder), recording.signals[0]
    live = assert_same_hops(got, model, recording)

    report, scored = got.report, evaluate(model, [recording])
    assert (report["n_samples"], report["n_samples_lost"], report["n_segments"]) == (len(source.stamps_s), 0, 1)
    assert report["n_predictions"] == report["n_hops"] == len(live)
    assert report["n_trials"] == scored["n_trials"] > 0
    assert {k: report[k] for k in ("accuracy", "n_abstained")} == {k: scored[k] for k in ("accuracy", "n_abstained")}
    return len(live)


@pytest.mark.parametrize(
    ("decoder", "sfreq_hz", "hop", "preprocessing"),
    [
        ("bandpower", 250.0, 10, FILTERS),
        ("riemann", 250.0, 25, ALL_FILTERS),
        ("eegnet", 125.0, 5, ALL_FILTERS),
        ("bandpower", 160.0, 8, FILTERS),
    ],
    ids=["bandpower", "riemann-average-notch", "eegnet-average-notch-to-125-hz", "bandpower-to-160-hz"],
)
def test_the_simulated_person(decoder, sfreq_hz, hop, preprocessing, unique_name, tmp_path):
    person = SimulatedPerson(3, 1.0, session=1, n_trials=1).recording()
    path = write_xdf(tmp_path / "person.xdf", *person.streams)
    spec = person.signals[0].spec
    model = noise_model(tmp_path / "model", decoder, spec, LABELS, sfreq_hz, hop, preprocessing)
    got = play(path, model, unique_name, tmp_path)
    n_hops = assert_equal(got, model, load_recording(path))
    expected = math.floor(len(person.signals[0].stamps_s) * sfreq_hz / spec.sfreq_hz / hop)
    assert n_hops == expected if sfreq_hz == spec.sfreq_hz else expected - n_hops in (0, 1)


def test_losses_are_filled_or_start_a_segment_at_the_same_sample(unique_name, tmp_path):
    channels = tuple(Channel(f"ch{i}", "EEG", "uV") for i in range(1, 5))
    spec, n = StreamSpec(name="eeg", sfreq_hz=250.0, channels=channels), 3000
    generator = np.random.default_rng(2)
    samples = generator.normal(0, 20, (n, 4)).astype(np.float32)
    stamps_s = 100 + np.arange(n) / 250.0 + np.abs(generator.normal(0, 0.0003, n))
    kept = np.r_[0:900, 910:1700, 1800:n]  # 40 ms and 400 ms are missing
    source = RecordedStream(spec, samples[kept], stamps_s[kept])
    path = write_xdf(tmp_path / "lossy.xdf", source)
    model = noise_model(tmp_path / "model", "bandpower", spec, LABELS, 250.0, 10, FILTERS)
    got = play(path, model, unique_name, tmp_path)
    got.assert_whole(source)
    assert [v for v in got.verdicts if v[0] != "late"] == [("lost", 900, 10), ("lost", 1690, 100)]
    live = assert_same_hops(got, load_model(model), load_recording(path))
    assert len(live) == 1700 // 10 + 1200 // 10  # what was filled counts
    assert {Flag(int(f)) & ~Flag.PRIMING for f in live[:, 4]} == {Flag(0), Flag.FILLED}
    assert (got.report["n_samples_lost"], got.report["n_segments"]) == (110, 2)


def test_a_real_recording(data_dir, unique_name, tmp_path):
    path = data_dir / "motor_imagery_64ch" / "S001R04.edf.xz"
    recording = load_recording(path)
    streams, primary = playable(recording.streams)
    part = Recording(str(path), tuple(cut(streams, primary, 10.0, 30.0)))
    assert len(part.signals[0].stamps_s) == 3200
    labels = {"T1": "left", "T2": "right"}
    model = noise_model(tmp_path / "model", "riemann", part.signals[0].spec, labels, 160.0, 16, ALL_FILTERS)
    got = play(path, model, unique_name, tmp_path, stream=("--start", 10, "--stop", 30))
    assert assert_equal(got, model, part) == 3200 // 16
    assert got.raw.samples.tobytes() == part.signals[0].samples.tobytes()
