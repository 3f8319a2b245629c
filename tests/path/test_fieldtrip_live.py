"""`bci run --fieldtrip` on MEG: types, units and places reach the recording, and every sample, whatever happens."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from bci.recording.xdf import read_xdf
from bci.sources.files import load_recording
from bci.types import Gap, Numbered
from tests.helpers.fieldtrip_server import Server, fif_header, meg_rows, meg_spec, recorded
from tests.helpers.live import bci, wait_for
from tests.helpers.played import ended, noise_model, running

LIMIT_S = 90.0


def served(data_dir=None):
    """What the server has: the recording of a person where it is there, else noise in 306 sensors."""
    if data_dir is None:
        spec = meg_spec(306)
        return spec, meg_rows(spec, 600)
    return recorded(load_recording(data_dir / "meg_fif" / "human_audvis_5s_raw.fif.gz").signals[0])


def model_on_magnetometers(folder, spec, sfreq_hz):
    magnetometers = tuple(c for c in spec.channels if c.type == "MAG")
    spec = msgspec.structs.replace(spec, channels=magnetometers)
    band = {"bandpass_hz": (8.0, 30.0)}
    return noise_model(folder / "model", "bandpower", spec, {"L": "left", "R": "right"}, sfreq_hz, 15, band, unit="T")


def run_arguments(server, model, folder, *options):
    return ["-m", "bci", "run", "--fieldtrip", server.address, "--model", model, "--session", folder / "session",
            "--json", folder / "report.json", "--arm", "--device", "null:", "--silence", 0.4, *options]  # fmt: skip


def events_of(streams):
    return [msgspec.json.decode(line, type=Numbered).event for line in streams["bci-events"].samples]


def wait_for_start(server):
    """Header, header again, and it waits for samples: the session has begun."""
    wait_for(lambda: server.n_requests >= 3, "the session", LIMIT_S)


def check_recorded(raw, server):
    """Every sample of the recording is the server's, without a hole."""
    spec = raw.spec
    assert (spec.type, spec.stamps, spec.sfreq_hz) == ("MEG", "arrival", server.spec.sfreq_hz)
    for got, want in zip(spec.channels, server.spec.channels, strict=True):
        assert (got.label, got.type, got.unit) == (want.label, want.type, want.unit)
        if got.type in ("MAG", "GRAD"):
            assert np.allclose(got.position_m, want.position_m, atol=1e-6)
    match = np.flatnonzero((server.rows == raw.samples[0]).all(axis=1))
    assert len(match) == 1
    assert np.array_equal(raw.samples, server.row(match[0] + np.arange(len(raw.samples))))
    assert (np.diff(raw.stamps_s) > 0).all()


@pytest.fixture(params=["noise", "a person"])
def meg(request):
    spec, rows = served(request.getfixturevalue("data_dir") if request.param == "a person" else None)
    with Server(spec, rows, fif=fif_header(spec)) as server:
        yield server


def test_meg_runs_live_with_types_units_and_places(meg, tmp_path):
    sfreq_hz = meg.spec.sfreq_hz
    model = model_on_magnetometers(tmp_path, meg.spec, sfreq_hz)
    with running(*run_arguments(meg, model, tmp_path, "--seconds", 6)) as live:
        meg.play(120)
        printed = ended(live, "bci run", LIMIT_S)
    report = json.loads((tmp_path / "report.json").read_text())
    streams = {s.spec.name: s for s in read_xdf(tmp_path / "session" / "session.xdf").streams}
    raw = streams[f"fieldtrip {meg.address}"]
    check_recorded(raw, meg)
    assert (report["n_samples"], report["n_samples_lost"]) == (len(raw.stamps_s), 0)
    assert report["n_samples"] > 2 * sfreq_hz
    assert report["streams"][0]["stamps"] == "arrival"
    assert report["n_predictions"] > 20
    assert f"times of arrival: 'fieldtrip {meg.address}' has none of its own" in printed
    page = (tmp_path / "session" / "report.html").read_text()
    assert "its stamps are times of arrival" in page
    verified = bci("replay", str(tmp_path / "session" / "session.xdf"), "--verify", "--json", "-")
    assert json.loads(verified.stdout)["n_differences"] == 0


def test_losses_by_count_and_a_new_acquisition(tmp_path):
    spec, rows = served()
    spec = msgspec.structs.replace(spec, sfreq_hz=200.0)
    with Server(spec, rows, fif=fif_header(spec), ring=100) as server:
        model = model_on_magnetometers(tmp_path, spec, 200.0)
        with running(*run_arguments(server, model, tmp_path, "--seconds", 8)) as live:
            wait_for_start(server)
            server.play(1.5).join()
            server.put(400)  # 100 of them are held
            server.play(1.5).join()
            server.reset()
            server.play(60)
            ended(live, "bci run", LIMIT_S)
    streams = {s.spec.name: s for s in read_xdf(tmp_path / "session" / "session.xdf").streams}
    events = events_of(streams)
    gaps = [e for e in events if isinstance(e, Gap)]
    lost = {e.first_index: e.n for e in gaps if e.verdict == "lost"}
    raw = streams[f"fieldtrip {server.address}"]
    row = np.array([np.flatnonzero((rows == sample).all(axis=1))[0] for sample in raw.samples])
    for at, n in lost.items():
        assert (row[at] - row[at - 1] - 1) % len(rows) == n % len(rows)
    assert max(lost.values()) >= 300
    assert json.loads((tmp_path / "report.json").read_text())["n_samples_lost"] == sum(lost.values())
    (anew,) = [e.first_index for e in gaps if e.reason == "reconnected"]
    holes = set(np.flatnonzero(np.diff(row) % len(rows) != 1) + 1)
    assert holes - {anew} == set(lost)


def test_a_server_that_dies_in_a_buffer_leaves_one_line_and_a_whole_recording(tmp_path):
    spec, rows = served()
    with Server(spec, rows, fif=fif_header(spec)) as server:
        model = model_on_magnetometers(tmp_path, spec, 300.0)
        with running(*run_arguments(server, model, tmp_path, "--reconnect", 1)) as live:
            wait_for_start(server)
            server.play(60)
            wait_for(lambda: server.n > 900, "three seconds of MEG")
            server.die_in_answer = True
            out, errors = live.communicate(timeout=LIMIT_S)
            assert live.returncode == 1
    assert errors.count("\n") == 1
    assert errors.startswith(f"bci: FieldTrip buffer {server.address}: no samples for 1 s; nobody answers")
    assert "recording       " in out
    session = read_xdf(tmp_path / "session" / "session.xdf")
    streams = {s.spec.name: s for s in session.streams}
    check_recorded(streams[f"fieldtrip {server.address}"], server)
    health = [json.loads(line) for line in streams["bci-health"].samples]
    assert any("is silent" in str(h.get("reasons")) and h.get("level") == "bad" for h in health)
    assert events_of(streams)[-1].action == "end"
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["n_unrecorded"], report["recorder"]) == ({}, "ok")


def test_without_units_a_model_is_refused_until_they_are_given(tmp_path):
    spec, rows = served()
    with Server(spec, rows) as server:
        model = model_on_magnetometers(tmp_path, spec, 300.0)
        with running(*run_arguments(server, model, tmp_path, "--wait", 5)) as live:
            _, errors = live.communicate(timeout=LIMIT_S)
        assert live.returncode == 1
        assert "does not say in which unit channel MEG" in errors
        with running(*run_arguments(server, model, tmp_path, "--unit", "T", "--seconds", 2)) as live:
            server.play(60)
            ended(live, "bci run", LIMIT_S)
