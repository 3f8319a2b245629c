"""The data path itself: what chunking cannot change, and what each event does. No clock, no process, no file."""

import dataclasses
import math

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bci.build import build_session, fit_to_stream, load
from bci.config import AlarmSection, GateSection, SessionConfig
from bci.errors import ModelError
from bci.pipeline import Pipeline
from bci.session import advance, check_swap
from bci.signal.gaps import GapDetector
from bci.signal.preprocessing import Preprocessing, PreprocessingSpec
from bci.types import (
    Channel,
    Chunk,
    Control,
    Drift,
    Flag,
    Gap,
    GateChange,
    Health,
    HealthChange,
    Marker,
    MarkerPlaced,
    Now,
    Prediction,
    SegmentStarted,
    Step,
    StreamSpec,
    Swap,
)
from calibration.drift import baseline
from decoders import load_class
from decoders.checkpoint import Model
from decoders.spec import Request

SFREQ_HZ, HOP, N_CHANNELS = 250.0, 25, 3
SPEC = StreamSpec(
    name="eeg", sfreq_hz=SFREQ_HZ, channels=tuple(Channel(f"ch{i + 1}", "EEG", "uV") for i in range(N_CHANNELS))
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from bci.bench.latency import linear_model

    folder = tmp_path_factory.mktemp("models")
    for name, band_hz in (("a", (8.0, 30.0)), ("b", (4.0, 12.0))):
        linear_model(folder / name, N_CHANNELS, SFREQ_HZ, HOP, band_hz=band_hz)
    linear_model(folder / "other-hop", N_CHANNELS, SFREQ_HZ, 2 * HOP)
    return [load(folder / name) for name in ("a", "b", "other-hop")]


def session_of(models):
    pipelines = {m.hash: Pipeline(m, SPEC) for m in models[:2]}
    return build_session(SessionConfig(), SPEC, pipelines, models[0].hash)


def signal(n, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(0, 10, (n, N_CHANNELS)).astype(np.float32)


def stamps(n, start_s=100.0):
    return start_s + np.arange(n) / SFREQ_HZ


def run(session, samples, stamps_s, sizes, events=()):
    """Feed samples in chunks of ``sizes``; ``events`` are (after hop, event)."""
    outputs, at, waiting = [], 0, sorted(events, key=lambda e: e[0])
    detector = GapDetector(0, SFREQ_HZ)
    sizes = iter(sizes)
    while at < len(samples):
        n = max(1, next(sizes))
        chunk = Chunk(0, at, samples[at : at + n], stamps_s[at : at + n], 0.0)
        for gap in detector.receive(chunk):
            outputs += session.receive(gap)
        outputs += session.receive(chunk)
        at += n
        while session.n_ready:
            while waiting and session.n_blocks >= waiting[0][0]:
                outputs += session.receive(waiting.pop(0)[1])
            outputs += session.receive(Step(session.n_blocks))
            while session.n_pending:
                outputs += session.receive(Now(100.0 + session.n_hops * HOP / SFREQ_HZ))
    return outputs


def forever(n):
    while True:
        yield n


def decisions(outputs):
    """What must not depend on the chunks: all but when health saw an open gap."""
    return [o for o in outputs if isinstance(o, Prediction | SegmentStarted | GateChange | MarkerPlaced)]


@settings(max_examples=30)
@given(data=st.data())
def test_no_chunking_changes_an_output(data, models):
    n = 20 * HOP
    samples, stamps_s = signal(n), stamps(n)
    if (lost_at := data.draw(st.sampled_from([None, 130, 251]))) is not None:
        stamps_s[lost_at:] += 0.4
    events = [
        (3, Marker(1, "left", 100.31)),
        (5, Control("pause")),
        (7, Control("resume")),
        (9, Swap(models[1].hash)),
        (11, Control("note", value="hello")),
    ]
    sizes = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=30))
    expected = run(session_of(models), samples, stamps_s, forever(n), events)
    got = run(session_of(models), samples, stamps_s, iter(sizes + [17] * n), events)
    assert decisions(got) == decisions(expected)
    assert sum(isinstance(o, Prediction) for o in got) >= n // HOP - 2


ELECTRODES = ("FC3", "C3", "CP3", "C1", "C5", "Cz", "C4")
MONTAGE = StreamSpec(name="eeg", sfreq_hz=250.0, channels=tuple(Channel(label, "EEG", "uV") for label in ELECTRODES))
PREPROCESSINGS = {
    "average, notch, clip": {"reference": "average", "notch_hz": 50.0, "notch_harmonics": 2, "clip": 9.0},
    "laplacian, interpolated": {"reference": "laplacian", "interpolate": ("C1",), "bandpass_hz": (8.0, None)},
    "bipolar": {"reference": "bipolar", "bipolar_pairs": (("FC3", "CP3"), ("C3", "C4"))},
    "resampled": {"sfreq_hz": 100.0, "hop": 10, "bandpass_hz": (8.0, 30.0), "reference": "average"},
    "resampled, hops between blocks": {"sfreq_hz": 160.0, "hop": 7, "bandpass_hz": (None, 30.0), "clip": 20.0},
}


@pytest.fixture(scope="module", params=PREPROCESSINGS)
def pipeline(request):
    """The pipeline of a model with this preprocessing, fitted to noise."""
    spec = PreprocessingSpec(**{"channels": ELECTRODES, "sfreq_hz": 250.0, "hop": 25, **PREPROCESSINGS[request.param]})
    family = load_class("bandpower")
    labels = Preprocessing(spec, MONTAGE).labels
    wanted = Request(channels=labels, sfreq_hz=spec.sfreq_hz, hop=spec.hop, classes=("a", "b"), window_s=0.5)
    decoder = family.design(wanted)
    x = np.random.default_rng(1).normal(0, 10, (20, len(labels), decoder.context)).astype(np.float32)
    fitted = family.fit(decoder, x, np.arange(20) % 2, seed=1)
    restored = family.restore(decoder, fitted.weights)
    return Pipeline(Model(restored, fitted.params, msgspec.to_builtins(spec), decoder, "0" * 64, {}), MONTAGE)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_chunking_changes_a_bit_of_any_preprocessing(data, pipeline):
    """With electrodes that fail, samples that are none, and a loss that is filled or one that starts a new segment."""
    n = 800
    generator = np.random.default_rng(data.draw(st.integers(0, 9)))
    samples = generator.normal(0, 30, (n, len(ELECTRODES))).astype(np.float32)
    samples[200:230, 4] = np.nan
    samples[300:, 2] = samples[300, 2]
    stamps_s = stamps(n)
    stamps_s[data.draw(st.integers(350, 500)) :] += data.draw(st.sampled_from([0.0, 0.04, 0.5]))
    sizes = data.draw(st.lists(st.integers(1, 120), min_size=1, max_size=30))

    def answers(sizes):
        session = build_session(SessionConfig(), MONTAGE, {pipeline.model_hash: pipeline}, pipeline.model_hash)
        return decisions(run(session, samples, stamps_s, sizes))

    expected = answers(forever(n))
    assert answers(iter(sizes + [17] * n)) == expected
    assert len({o.p for o in expected if isinstance(o, Prediction)}) > 20


def test_every_whole_hop_gives_one_prediction(models):
    n = 13 * HOP + 7
    outputs = run(session_of(models), signal(n), stamps(n), forever(10))
    predictions = [o for o in outputs if isinstance(o, Prediction)]
    assert [p.hop for p in predictions] == list(range(13))
    assert [p.sample_index for p in predictions] == [(k + 1) * HOP - 1 for k in range(13)]
    assert np.allclose([p.stamp_s for p in predictions], stamps(n)[HOP - 1 :: HOP][:13], atol=1e-6)


def test_age_is_the_time_given_minus_the_stamp(models):
    session = session_of(models)
    session.receive(Chunk(0, 0, signal(HOP), stamps(HOP), 0.0))
    (_, step), (_, now) = advance(session, lambda: 107.0)
    assert [type(o) for o in step] == [SegmentStarted]
    assert now[0].age_s == pytest.approx(107.0 - stamps(HOP)[-1])


def test_a_long_loss_starts_a_segment_and_primes_again(models):
    n = 40 * HOP
    stamps_s = stamps(n)
    stamps_s[20 * HOP :] += 1.0
    outputs = run(session_of(models), signal(n), stamps_s, forever(5))
    started = [o for o in outputs if isinstance(o, SegmentStarted)]
    assert [s.first_index for s in started] == [0, 20 * HOP]
    after = [o for o in outputs if isinstance(o, Prediction) and o.sample_index >= 20 * HOP]
    assert Flag.PRIMING in Flag(after[0].flags)
    assert after[-1].flags == 0


def test_hops_wait_while_a_gap_is_open(models):
    session = session_of(models)
    session.receive(Gap(0, "open", 30))
    session.receive(Chunk(0, 0, signal(100), stamps(100), 0.0))
    assert session.n_ready == 1  # samples 0..24; the rest lies behind the gap
    assert session.health.level == "bad"
    session.receive(Gap(0, "late", 30))
    assert session.n_ready == 4
    assert session.health.level == "ok"


def test_a_pause_is_a_flag_on_what_is_decided_in_it(models):
    n = 30 * HOP
    events = [(20, Control("pause")), (25, Control("resume"))]
    predictions = [
        o for o in run(session_of(models), signal(n), stamps(n), forever(n), events) if isinstance(o, Prediction)
    ]
    paused = [p.hop for p in predictions if Flag.PAUSED in Flag(p.flags)]
    assert paused == [20, 21, 22, 23, 24]


def test_bad_health_of_any_source_is_bad_until_each_is_well(models):
    session = session_of(models)
    assert session.receive(HealthChange("recorder", "bad", "disk full")) == [Health("bad", ("disk full",))]
    session.receive(HealthChange("stream0", "warn", "slow"))
    assert session.health.level == "bad"
    assert session.receive(HealthChange("recorder", "ok")) == [Health("warn", ("slow",))]
    assert session.receive(HealthChange("recorder", "ok")) == []


def test_a_model_swapped_in_is_primed_by_recent_signal(models):
    """It answers as if it had been there all along: the swap costs no trusted prediction."""
    n = 80 * HOP
    swapped = run(session_of(models), signal(n), stamps(n), forever(n), [(50, Swap(models[1].hash))])
    always = build_session(SessionConfig(), SPEC, {models[1].hash: Pipeline(models[1], SPEC)}, models[1].hash)
    expected = run(always, signal(n), stamps(n), forever(n))
    predictions = [o for o in swapped if isinstance(o, Prediction)]
    assert [p.flags for p in predictions[50:]] == [0] * (n // HOP - 50)
    got = [p for p in predictions if p.model_hash == models[1].hash]
    assert 50 < got[0].hop < 60  # a few hops later, for it is primed a few blocks a step
    wanted = [o for o in expected if isinstance(o, Prediction)][got[0].hop :]
    assert np.allclose([p.p for p in got], [p.p for p in wanted], atol=0.02)


def test_a_model_swapped_in_remembers_what_was_filled(models):
    n = 40 * HOP
    stamps_s = stamps(n)
    stamps_s[36 * HOP :] += 10 / SFREQ_HZ  # ten samples lost, held in block 36
    session = session_of(models)
    outputs = run(session, signal(n), stamps_s, forever(HOP), [(38, Swap(models[1].hash))])
    flags = {p.hop: Flag(p.flags) for p in outputs if isinstance(p, Prediction)}
    assert Flag.FILLED in flags[36]
    assert Flag.FILLED in flags[39]


def test_a_swap_that_counts_hops_otherwise_is_refused(models):
    with pytest.raises(ModelError, match="every 50 samples, the running one every 25: train with that hop"):
        check_swap(Pipeline(models[0], SPEC), Pipeline(models[2], SPEC))


def test_trouble_that_came_and_went_between_two_hops_is_seen_by_the_gate(models):
    session = session_of(models)
    session.receive(Now(1.0))
    session.receive(Control("arm"))
    session.receive(HealthChange("recorder", "bad", "a blip"))
    session.receive(HealthChange("recorder", "ok"))
    assert [o.state for o in session.receive(Now(1.1))] == ["recovering"]


def test_arming_is_refused_while_health_is_bad(models):
    session = session_of(models)
    session.receive(Now(1.0))
    session.receive(HealthChange("stream0", "bad", "silent"))
    (refused,) = session.receive(Control("arm"))
    assert (refused.state, refused.reasons) == ("disarmed", ("not armed: silent",))
    session.receive(HealthChange("stream0", "ok"))
    assert [o.state for o in session.receive(Control("arm"))] == ["armed"]


def test_a_swap_to_the_model_that_runs_changes_nothing(models):
    n = 60 * HOP
    swaps = [(40, Swap(models[0].hash))]
    swapped = run(session_of(models), signal(n), stamps(n), forever(n), swaps)
    assert decisions(swapped) == decisions(run(session_of(models), signal(n), stamps(n), forever(n)))


@settings(max_examples=15)
@given(data=st.data())
def test_any_swaps_replay_with_one_pipeline_a_model(data, models):
    """Live, every swap brings a pipeline of its own; replay has one a model, which must not have been used by both."""
    n = 60 * HOP
    places = sorted(data.draw(st.lists(st.integers(5, 58), min_size=1, max_size=6)))
    swaps = [(at, Swap(models[data.draw(st.integers(0, 1))].hash)) for at in places]
    replayed = run(session_of(models), signal(n), stamps(n), forever(n), swaps)

    live = session_of(models)
    receive = live.receive

    def with_its_own(event):
        if isinstance(event, Swap):
            live.pipelines[event.model_hash] = Pipeline(next(m for m in models if m.hash == event.model_hash), SPEC)
        return receive(event)

    live.receive = with_its_own
    assert decisions(run(live, signal(n), stamps(n), forever(n), swaps)) == decisions(replayed)


def test_a_channel_without_signal_is_named_until_it_is_back(models):
    n = 60 * HOP
    samples = signal(n)
    samples[20 * HOP : 40 * HOP, 1] = 7.0
    outputs = run(session_of(models), samples, stamps(n), forever(n))
    health = [o for o in outputs if isinstance(o, Health)]
    assert [h.level for h in health] == ["warn", "ok"]
    assert health[0].reasons == ("channel ch2 carries no signal: mend it, or name it by --bad",)


def watched(models, **alarms):
    """A session whose model knows the signal of `signal`."""
    spec = msgspec.convert(models[0].preprocessing, PreprocessingSpec)
    preprocessing = Preprocessing(spec, SPEC)
    raw = signal(200 * HOP, seed=7).T
    preprocessing.start(raw[:, 0])
    hops = np.stack([hop for k in range(0, raw.shape[1], HOP) for hop, _ in preprocessing.step(raw[:, k : k + HOP])])
    known = msgspec.to_builtins(baseline([hops[20:]], HOP / SFREQ_HZ))
    model = dataclasses.replace(models[0], info=models[0].info | {"baseline": known})
    config = SessionConfig(alarms=AlarmSection(**alarms), gate=GateSection(threshold=0.9999))  # nothing but alarms
    return build_session(config, SPEC, {model.hash: fit_to_stream(model, SPEC, config)}, model.hash)


def gates(outputs):
    return [o.state for o in outputs if isinstance(o, GateChange)]


def test_an_artefact_is_neutral_at_once_and_stays_as_long_as_the_decoder_feels_it(models):
    n, arm = 100 * HOP, [(20, Control("arm"))]
    samples = signal(n)
    assert gates(run(watched(models), samples, stamps(n), forever(HOP), arm)) == ["armed"]
    samples[40 * HOP : 44 * HOP, 1] *= 100
    outputs = run(watched(models), samples, stamps(n), forever(HOP), arm)
    flagged = [o.hop for o in outputs if isinstance(o, Prediction) and o.flags & Flag.ARTEFACT]
    assert 40 <= flagged[0] <= 41
    assert flagged == list(range(flagged[0], flagged[-1] + 1))
    assert flagged[-1] > 46
    changes = [o for o in outputs if isinstance(o, GateChange)]
    assert [c.state for c in changes][:2] == ["armed", "recovering"]
    assert changes[1].hop == flagged[0]
    assert changes[1].reasons == ("the prediction is flagged: artefact",)
    off = run(watched(models, artefact_sd=math.inf), samples, stamps(n), forever(HOP), arm)
    assert gates(off) == ["armed"]


def test_a_signal_that_drifts_away_from_calibration_is_an_alarm_that_disarms(models):
    n = 900 * HOP
    samples = signal(n)
    samples *= np.exp(np.linspace(0, 2, n))[:, None].astype(np.float32)
    arm = [(20, Control("arm"))]
    outputs = run(watched(models), samples, stamps(n), forever(HOP), arm)
    scores = [o.score for o in outputs if isinstance(o, Drift)]
    assert scores == sorted(scores)
    alarm = next(o for o in outputs if isinstance(o, Health))
    assert alarm.level == "bad"
    assert alarm.reasons[0].startswith("the signal has drifted from calibration (2.0 deviations, limit 2)")
    assert gates(outputs) == ["armed", "recovering", "disarmed"]
    assert gates(
        run(watched(models, drift_sd=math.inf, artefact_sd=math.inf), samples, stamps(n), forever(HOP), arm)
    ) == ["armed"]


@pytest.mark.parametrize(("share", "is_neutral"), [(0.0, True), (0.3, True), (0.34, False)])
def test_so_many_channels_may_carry_no_signal(models, share, is_neutral):
    n = 80 * HOP
    samples = signal(n)
    samples[40 * HOP :, 1] = 7.0
    session = watched(models, max_bad_share=share)
    outputs = run(session, samples, stamps(n), forever(HOP), [(20, Control("arm"))])
    assert [o.level for o in outputs if isinstance(o, Health)] == ["warn"]
    flagged = any(o.flags & Flag.BAD_CHANNEL for o in outputs if isinstance(o, Prediction))
    assert flagged is is_neutral
    assert session.gate.is_armed is not is_neutral or "recovering" in gates(outputs)


def test_a_model_that_gives_numbers_is_refused_by_a_session():
    spec = load_class("ridge").design(
        Request(channels=SPEC.labels, sfreq_hz=SFREQ_HZ, hop=HOP, outputs=("vx", "vy"), window_s=0.5)
    )
    pre = msgspec.to_builtins(PreprocessingSpec(channels=SPEC.labels, sfreq_hz=SFREQ_HZ, hop=HOP))
    with pytest.raises(ModelError, match="ridge gives vx, vy; a session decides between classes"):
        Pipeline(Model(None, {}, pre, spec, "0" * 64, {}), SPEC)
