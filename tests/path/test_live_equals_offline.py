"""The same samples give the same bits: through `bci stream`, LSL and `bci run`, and in one pass over the file."""

import math

import numpy as np
import pytest

from bci.control.gate import GateSettings
from bci.offline.evaluate import evaluate
from bci.offline.stream import play as play_offline
from bci.pipeline import Pipeline
from bci.session import Session
from bci.sources.files import load_recording
from bci.sources.schedule import cut, playable
from bci.sources.simulated import SimulatedPerson
from bci.types import Prediction, Recording
from decoders import load_class
from decoders.checkpoint import load_model, save_model
from decoders.spec import Request
from tests.helpers.played import play, write_xdf

pytestmark = pytest.mark.timeout(300)
FILTERS = {"bandpass_hz": (8.0, 30.0)}
ALL_FILTERS = {**FILTERS, "notch_hz": 50.0, "reference": "average"}


def noise_model(folder, decoder, spec, labels, sfreq_hz, hop, preprocessing):
    """A model for all channels of a stream: what it says is worthless, but every bit of it depends on the signal."""
    family, channels, classes = load_class(decoder), spec.labels, tuple(labels.values())
    request = Request(channels=channels, sfreq_hz=sfreq_hz, hop=hop, classes=classes, window_s=1.0, unit="uV")
    design = family.design(request)
    n = (design.receptive_field or int(sfreq_hz)) + 5 * hop
    x = np.random.default_rng(1).normal(0, 10, (24, len(channels), n // hop * hop)).astype(np.float32)
    fitted = family.fit(design, x, np.arange(24) % 2, seed=1)
    how = {"channels": channels, "sfreq_hz": sfreq_hz, "hop": hop, **preprocessing}
    save_model(folder, design, fitted, how, {"labels": labels, "decide_at_s": 2.0}, "# fitted to noise\n")
    return folder


def assert_equal(got, model_folder, recording):
    """Live predictions are those of an offline pass, hop by hop, bit by bit; so are the decisions on trials."""
    model, source = load_model(model_folder), recording.signals[0]
    pipeline = Pipeline(model, source.spec)
    session = Session(source.spec, {model.hash: pipeline}, model.hash, GateSettings(classes=tuple(model.spec.classes)))
    offline = [o for o in play_offline(session, source, recording) if isinstance(o, Prediction)]
    live = got.streams["bci-hops"].samples
    assert [row[0] for row in live] == list(range(len(offline)))
    assert np.array_equal(live[:, 1], [p.sample_index for p in offline])
    assert np.array_equal(live[:, 4], [p.flags for p in offline])
    p_live, p_offline = np.ascontiguousarray(live[:, 5:]), np.array([p.p for p in offline])
    assert p_live.tobytes() == p_offline.tobytes()
    assert len(np.unique(p_offline[:, 0])) > len(p_offline) / 2

    report, scored = got.report, evaluate(model, [recording])
    assert (report["n_samples"], report["n_samples_lost"], report["n_segments"]) == (len(source.stamps_s), 0, 1)
    assert report["n_predictions"] == report["n_hops"] == len(offline)
    assert report["n_trials"] == scored["n_trials"] > 0
    assert {k: report[k] for k in ("accuracy", "n_abstained")} == {k: scored[k] for k in ("accuracy", "n_abstained")}
    return len(offline)


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
    labels = {"left": "left", "right": "right"}
    spec = person.signals[0].spec
    model = noise_model(tmp_path / "model", decoder, spec, labels, sfreq_hz, hop, preprocessing)
    got = play(path, model, unique_name, tmp_path)
    n_hops = assert_equal(got, model, load_recording(path))
    expected = math.floor(len(person.signals[0].stamps_s) * sfreq_hz / spec.sfreq_hz / hop)
    assert n_hops == expected if sfreq_hz == spec.sfreq_hz else expected - n_hops in (0, 1)


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
