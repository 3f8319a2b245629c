"""pyxdf and MNE read what `bci run` records: streams, counts, stamps, labels, units, markers."""

import json

import mne
import numpy as np
import pytest
import pyxdf

from bci.recording.xdf import read_xdf
from bci.sources.simulated import SimulatedPerson
from bci.types import RecordedStream
from tests.helpers.played import noise_model, play, write_xdf

pytestmark = pytest.mark.timeout(300)
OURS = {"bci-events", "bci-hops", "bci-commands", "bci-health", "bci-latency"}
LOST = slice(1000, 1075)  # 300 ms


@pytest.fixture(scope="module")
def person():
    """EEG with a loss, and its markers."""
    eeg, markers = SimulatedPerson(3, 1.0, session=1, n_trials=1).recording().streams
    kept = np.delete(np.arange(len(eeg.stamps_s)), LOST)
    return RecordedStream(eeg.spec, eeg.samples[kept], eeg.stamps_s[kept]), markers


@pytest.fixture(scope="module")
def got(person, tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROLANDIC_RUNTIME_DIR", str(folder / "runtime"))
        path = write_xdf(folder / "person.xdf", *person)
        labels = {"left": "left", "right": "right"}
        model = noise_model(
            folder / "model", "bandpower", person[0].spec, labels, 250.0, 10, {"bandpass_hz": (8.0, 30.0)}
        )
        return play(path, model, f"foreign-{folder.name}", folder)


def load(got, **options):
    """By pyxdf, by name; what it says about anything odd is an error here."""
    streams, _ = pyxdf.load_xdf(got.folder / "session" / "session.xdf", **options)
    return {s["info"]["name"][0]: s for s in streams}


def shape_of(stream):
    return len(stream["time_stamps"]), int(stream["info"]["channel_count"][0])


def test_pyxdf_reads_every_stream_as_it_was_recorded(got, person):
    eeg, markers = person
    streams = load(got, dejitter_timestamps=False, synchronize_clocks=False)
    assert set(streams) == {got.name, f"{got.name}-markers"} | OURS
    raw = streams[got.name]
    assert raw["time_series"].dtype == np.float32
    assert raw["time_series"].tobytes() == eeg.samples.tobytes()
    assert np.array_equal(raw["time_stamps"], eeg.stamps_s + got.sent["shift_s"])
    mark = streams[f"{got.name}-markers"]
    assert [row[0] for row in mark["time_series"]] == [*markers.samples, "rolandic:end"]
    assert np.array_equal(mark["time_stamps"][:-1], markers.stamps_s + got.sent["shift_s"])
    assert shape_of(streams["bci-hops"]) == (got.report["n_hops"], 9)
    assert shape_of(streams["bci-latency"])[0] == got.report["n_hops"]
    for name, stream in streams.items():
        assert int(stream["footer"]["info"]["sample_count"][0]) == len(stream["time_stamps"]), name
    for name in ("bci-events", "bci-commands", "bci-health"):
        assert all(isinstance(json.loads(row[0]), dict) for row in streams[name]["time_series"])
    assert len(streams["bci-events"]["time_series"]) == len(got.events)


def test_pyxdf_reads_labels_units_positions_and_clock_offsets(got, person):
    raw = load(got, dejitter_timestamps=False, synchronize_clocks=False)[got.name]
    channels = raw["info"]["desc"][0]["channels"][0]["channel"]
    spec = person[0].spec
    assert [c["label"][0] for c in channels] == list(spec.labels)
    assert {(c["type"][0], c["unit"][0]) for c in channels} == {("EEG", "microvolts")}
    for channel, known in zip(channels, spec.channels, strict=True):
        place_mm = [float(channel["location"][0][axis][0]) for axis in "XYZ"]
        assert place_mm == pytest.approx([1000 * x for x in known.position_m])
    assert float(raw["info"]["nominal_srate"][0]) == spec.sfreq_hz
    assert len(raw["clock_values"]) >= 1
    assert np.abs(raw["clock_values"]).max() < 1.0  # one machine, one clock


def test_pyxdf_with_its_defaults_says_nothing_and_keeps_all(got, person, caplog):
    streams = load(got)
    assert caplog.messages == []
    assert streams[got.name]["time_series"].tobytes() == person[0].samples.tobytes()
    assert np.array_equal(streams["bci-hops"]["time_series"], got.streams["bci-hops"].samples)
    drift_s = streams["bci-hops"]["time_stamps"] - got.streams["bci-hops"].stamps_s
    assert np.abs(drift_s).max() < 1e-6  # our own streams are on the clock that readers move the others to


def test_pyxdf_finds_the_loss_in_the_stamps(got, person):
    raw = load(got, jitter_break_threshold_seconds=0.2, jitter_break_threshold_samples=10)[got.name]
    assert [tuple(s) for s in raw["info"]["segments"]] == [(0, 999), (1000, len(person[0].samples) - 1)]


def test_mne_takes_it_with_its_units_and_markers(got, person):
    eeg, markers = person
    streams = load(got, dejitter_timestamps=False, synchronize_clocks=False)
    raw, mark = streams[got.name], streams[f"{got.name}-markers"]
    channels = raw["info"]["desc"][0]["channels"][0]["channel"]
    info = mne.create_info([c["label"][0] for c in channels], float(raw["info"]["nominal_srate"][0]), "eeg")
    array = mne.io.RawArray(1e-6 * raw["time_series"].T.astype(np.float64), info, verbose="ERROR")
    places_m = {c["label"][0]: [float(c["location"][0][a][0]) / 1000 for a in "XYZ"] for c in channels}
    array.set_montage(mne.channels.make_dig_montage(places_m, coord_frame="head"))
    onsets_s = np.searchsorted(raw["time_stamps"], mark["time_stamps"] - 1e-4) / info["sfreq"]
    array.set_annotations(mne.Annotations(onsets_s, 0.0, [row[0] for row in mark["time_series"]]))
    events, ids = mne.events_from_annotations(array, verbose="ERROR")
    assert len(array.times) == got.report["n_samples"]
    assert np.array_equal(array.get_data(units="uV").astype(np.float32), eeg.samples.T)
    assert {"left", "right"} & set(ids)
    cue = next(k for k, label in enumerate(markers.samples) if label in ("left", "right"))
    named = {number: label for label, number in ids.items()}
    assert [named[e] for e in events[:, 2]][cue] == markers.samples[cue]
    assert eeg.stamps_s[events[cue, 0]] == pytest.approx(markers.stamps_s[cue], abs=1e-9)


def test_the_ledger_in_the_file_says_what_was_lost(got, person):
    assert ("lost", 1000, 75) in got.verdicts
    assert got.report["n_samples_lost"] == 75
    assert len(read_xdf(got.folder / "session" / "session.xdf").streams) == 2 + len(OURS)
