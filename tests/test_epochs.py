"""Epochs at markers: cut to the sample, whatever the chunks; late ones expire; trouble within them is flagged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.build import build_session, load
from bci.config import parse_config
from bci.offline.evaluate import evaluate
from bci.offline.train import TrainSettings, train
from bci.pipeline import Pipeline
from bci.session import check_swap
from bci.signal.epochs import EpochGoneError, EpochRing
from bci.signal.gaps import GapDetector
from bci.signal.triggers import TriggerChannel
from bci.types import (
    Channel,
    Chunk,
    Control,
    Flag,
    Marker,
    MarkerExpired,
    MarkerPlaced,
    Now,
    Prediction,
    RecordedStream,
    Recording,
    SegmentStarted,
    Step,
    StreamSpec,
    marker_spec,
)
from tests.helpers.rechunk import chunks, cuts

SFREQ_HZ, N = 128.0, 128 * 40
SPEC = StreamSpec(
    name="eeg",
    sfreq_hz=SFREQ_HZ,
    channels=(*(Channel(f"c{i}", "EEG", "uV") for i in range(3)), Channel("STI", "STIM")),
)
SETTINGS = TrainSettings(
    labels={"1": "other", "2": "target"}, decoder="xdawn", channels=("c0", "c1", "c2"),
    bandpass_hz=(1.0, 30.0), filter_order=2, epoch_s=(0.1, 0.7), hop_s=0.125,
)  # fmt: skip


def recording(seed=0, n_markers=60):
    """A response of 20 uV follows each marker 2; the trigger channel says the same as the markers."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 5, (N, 4))
    at = 300 + (np.arange(n_markers) * (N - 500) // n_markers) + rng.integers(0, 10, n_markers)
    codes = np.where(np.arange(n_markers) % 3 == 0, 2, 1)
    for index, code in zip(at, codes, strict=True):
        if code == 2:
            x[index + 20 : index + 60, :3] += 20 * np.array([1.0, -1.0, 0.5])
    x[:, 3] = 0
    for index, code in zip(at, codes, strict=True):
        x[index : index + 5, 3] = code
    stamps_s = 50 + np.arange(N) / SFREQ_HZ
    signal = RecordedStream(SPEC, x.astype(np.float32), stamps_s)
    markers = RecordedStream(marker_spec("m"), [str(c) for c in codes], stamps_s[at] + 0.001)
    return Recording(f"sub-A_run-{seed}.xdf", (signal, markers), "0" * 64), at, codes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xdawn") / "model"
    train([recording(0)[0], recording(1)[0]], SETTINGS).save(str(folder))
    return load(folder)


def session_of(model, toml=""):
    config = parse_config(toml)
    pipeline = Pipeline(model, SPEC, lock_to=config.model.lock_to)
    return build_session(config, SPEC, {model.hash: pipeline}, model.hash)


def play(session, samples, stamps_s, at=None, markers=(), controls=()):
    """Feed chunks cut ``at``; markers ``(when in samples, Marker)`` come before the step of the block at that time."""
    outputs, waiting = [], sorted([*markers, *controls], key=lambda m: m[0])
    detector = GapDetector(0, SFREQ_HZ)
    block = session.pipeline.block
    at = at or [*range(0, len(samples), 16), len(samples)]
    for chunk in chunks(samples, stamps_s, at):
        for gap in detector.receive(chunk):
            outputs += session.receive(gap)
        outputs += session.receive(chunk)
        while session.n_ready:
            while waiting and waiting[0][0] <= session.n_blocks * block:
                outputs += session.receive(waiting.pop(0)[1])
            outputs += session.receive(Step(session.n_blocks))
            while session.n_pending:
                outputs += session.receive(Now(stamps_s[0] + session.n_blocks * block / SFREQ_HZ))
    return outputs


def epochs(outputs):
    return [o for o in outputs if isinstance(o, Prediction) and o.marker >= 0]


def expired(outputs):
    return [o for o in outputs if isinstance(o, MarkerExpired)]


# --- the ring and the trigger channel --------------------------------------------------------------------------------


@settings(max_examples=60)
@given(first=st.integers(-5, 90), n_hops=st.integers(0, 30), n_late=st.integers(0, 20))
def test_the_ring_cuts_to_the_sample_or_says_why_not(first, n_hops, n_late):
    ring = EpochRing(10, 4, n_late)
    signal = np.arange(4 * n_hops, dtype=np.float32)[None]
    for i in range(n_hops):
        ring.push(signal[:, 4 * i : 4 * i + 4], Flag.FILLED if i == 3 else Flag(0))
    try:
        cut = ring.cut(first)
    except EpochGoneError:
        assert first < 0 or first + 10 + n_late < 4 * n_hops  # what came in time is always there
        return
    if cut is None:
        assert first + 10 > 4 * n_hops
        return
    assert np.array_equal(cut[0][0], np.arange(first, first + 10))
    assert bool(cut[1]) == (-(-(first + 10) // 4) - 1 <= 3 < n_hops)


@given(values=st.lists(st.sampled_from([0, 0, 1, 2, 255]), min_size=1, max_size=60), data=st.data())
def test_triggers_are_changes_to_a_value_at_their_own_sample_however_they_were_cut(values, data):
    samples = np.array(values, np.float32)[:, None]
    at = data.draw(cuts(len(values)))
    trigger = TriggerChannel(0)
    for chunk in chunks(samples, np.arange(len(values)) / 10, at):
        trigger.chunk(chunk)
    expected = [(i, f"{v:g}") for i, v in enumerate(values) if i and v and v != values[i - 1]]
    assert list(trigger.up_to(10**6)) == expected
    assert list(trigger.up_to(10**6)) == []


# --- through the session ---------------------------------------------------------------------------------------------


def test_every_marker_gets_one_prediction_at_its_own_sample(model):
    what, at, codes = recording(2)
    signal, marked = what.streams
    session = session_of(model)
    markers = [(i, Marker(1, label, t)) for i, label, t in zip(at, marked.samples, marked.stamps_s, strict=True)]
    outputs = play(session, signal.samples, signal.stamps_s, markers=markers)
    answers = epochs(outputs)
    assert [a.marker_index for a in answers] == at.tolist()
    placed = {o.number: o.label for o in outputs if isinstance(o, MarkerPlaced)}
    assert [placed[a.marker] for a in answers] == [str(c) for c in codes]
    trusted = [a for a in answers if not a.flags]
    assert len(trusted) > 50
    right = [(a.p[1] > 0.5) == (placed[a.marker] == "2") for a in trusted]
    assert np.mean(right) > 0.9
    for a in answers:  # the stamp is that of the epoch's last sample
        end_s = signal.stamps_s[0] + (a.marker_index + 0.7 * SFREQ_HZ - 1) / SFREQ_HZ
        assert a.stamp_s == pytest.approx(end_s, abs=0.004)
        assert a.age_s < 0.13 + 0.01  # it was decided with the hop that completed it
    hops = [o for o in outputs if isinstance(o, Prediction) and o.marker < 0]
    assert [h.hop for h in hops] == list(range(len(hops)))
    assert all(h.flags & Flag.BETWEEN_EPOCHS for h in hops)


@settings(max_examples=20)
@given(data=st.data())
def test_no_chunking_changes_an_epoch(model, data):
    what, at, _ = recording(3)
    signal, marked = what.streams
    n = 128 * 16
    stamps_s = signal.stamps_s[:n].copy()
    if data.draw(st.booleans()):
        stamps_s[900:] += 0.5  # a loss: a new segment
    offsets = data.draw(st.lists(st.integers(-200, 200), min_size=len(at), max_size=len(at)))
    markers = [
        (max(0, i + late), Marker(1, label, stamps_s[i]))
        for i, label, late in zip(at, marked.samples, offsets, strict=True)
        if i < n
    ]
    kinds = (Prediction, MarkerPlaced, MarkerExpired, SegmentStarted)
    one = play(session_of(model), signal.samples[:n], stamps_s, [0, n], markers)
    other = play(session_of(model), signal.samples[:n], stamps_s, data.draw(cuts(n)), markers)
    assert [o for o in other if isinstance(o, kinds)] == [o for o in one if isinstance(o, kinds)]
    placed = {o.number for o in one if isinstance(o, MarkerPlaced)}
    answered = [a.marker for a in epochs(one)]
    gone = [e.number for e in expired(one) if e.number >= 0]
    assert len(set(answered)) == len(answered)
    assert not set(answered) & set(gone)
    assert set(answered) | set(gone) <= placed


def test_a_marker_that_comes_too_late_expires_and_says_why(model):
    signal = recording(2)[0].signals[0]
    early, late, lost = (Marker(1, "1", float(signal.stamps_s[1000])) for _ in range(3))
    markers = [(900, early), (1000 + 150, late), (1000 + 600, lost)]
    outputs = play(session_of(model), signal.samples, signal.stamps_s, markers=markers)
    assert [a.marker_index for a in epochs(outputs)] == [1000, 1000]
    (gone,) = expired(outputs)
    assert (gone.label, gone.reason) == ("1", "the marker came too late: its signal is no longer kept")
    ages = [a.age_s for a in epochs(outputs)]
    assert ages[0] < 0.14 < ages[1]  # and the gate sees that the second one is old


def test_markers_out_of_reach_expire_at_once(model):
    signal = recording(2)[0].signals[0]
    far = Marker(1, "2", float(signal.stamps_s[0]) + 500)
    outputs = play(session_of(model), signal.samples, signal.stamps_s, markers=[(640, far), (640, Marker(1, "x", 1e9))])
    assert [(e.number, e.label) for e in expired(outputs)] == [(-1, "2")]  # nobody waits for an x


def test_an_epoch_across_a_break_is_never_trusted(model):
    signal = recording(2)[0].signals[0]
    stamps_s = signal.stamps_s.copy()
    stamps_s[2000:] += 1.0
    markers = [(i, Marker(1, "1", float(stamps_s[i]))) for i in (1800, 1950, 2010, 3500)]
    outputs = play(session_of(model), signal.samples, stamps_s, markers=markers)
    trusted = {a.marker_index for a in epochs(outputs) if not a.flags}
    assert 1800 in trusted
    assert 3500 in trusted
    assert not trusted & {1950, 2010}
    assert expired(outputs)[0].reason == "the signal begins, or began anew, within the epoch"


@pytest.mark.parametrize("what", ["nan", "filled"])
def test_an_epoch_over_bad_samples_is_flagged(model, what):
    signal = recording(2)[0].signals[0]
    samples, stamps_s = signal.samples.copy(), signal.stamps_s.copy()
    if what == "nan":
        samples[2000, 0] = np.nan
    else:
        stamps_s[2000:] += 6 / SFREQ_HZ
    markers = [(i, Marker(1, "1", float(stamps_s[i]))) for i in (1800, 1960, 3500)]
    flags = {a.marker_index: Flag(a.flags) for a in epochs(play(session_of(model), samples, stamps_s, markers=markers))}
    assert flags[1800] == 0
    assert flags[1960] & (Flag.NONFINITE | Flag.FILLED)
    assert flags[3500] == 0


def test_a_trigger_channel_gives_the_same_answers_as_markers_do(model):
    what, at, codes = recording(2)
    signal = what.signals[0]
    outputs = play(session_of(model, "[stream]\ntrigger_channel = 'STI'"), signal.samples, signal.stamps_s)
    answers = epochs(outputs)
    assert [a.marker_index for a in answers] == at.tolist()
    placed = {o.number: o.label for o in outputs if isinstance(o, MarkerPlaced)}
    assert [placed[a.marker] for a in answers] == [str(c) for c in codes]


def test_a_model_can_be_told_to_answer_more_markers(model):
    signal = recording(2)[0].signals[0]
    markers = [(1000, Marker(1, "row3", float(signal.stamps_s[1000])))]
    assert not epochs(play(session_of(model), signal.samples, signal.stamps_s, markers=markers))
    told = session_of(model, "[model]\nlock_to = ['row3']")
    assert len(epochs(play(told, signal.samples, signal.stamps_s, markers=markers))) == 1


def test_an_armed_gate_commands_on_one_sure_epoch_and_never_between(model):
    what, at, _ = recording(2)
    signal, marked = what.streams
    session = session_of(model, "[gate]\nrest = 'other'\nrefractory_s = 0.0")
    markers = [(i, Marker(1, label, t)) for i, label, t in zip(at, marked.samples, marked.stamps_s, strict=True)]
    outputs = play(session, signal.samples, signal.stamps_s, markers=markers, controls=[(256, Control("arm"))])
    commands = [o for o in outputs if o.__class__.__name__ == "Command"]
    assert len(commands) >= 10
    assert {command.name for command in commands} == {"target"}
    sure = [a for a in epochs(outputs) if not a.flags and a.p[1] >= 0.8]
    assert len(commands) <= len(sure)


def test_training_and_evaluation_see_the_same_epochs(model):
    what, at, _ = recording(4)
    result = evaluate(model, [what])
    assert result["n_trials"] == len(at)
    assert result["auc"] > 0.95
    session = session_of(model)
    signal, marked = what.streams
    markers = [(i, Marker(1, label, t)) for i, label, t in zip(at, marked.samples, marked.stamps_s, strict=True)]
    live = [a.p for a in epochs(play(session, signal.samples, signal.stamps_s, markers=markers)) if not a.flags]
    assert live == [tuple(t["p"]) for t in result["trials"] if t["p"]]


def test_a_model_that_answers_hops_cannot_take_over_from_one_that_answers_markers(model, tmp_path):
    from bci.bench.latency import linear_model
    from bci.errors import ModelError

    spec = StreamSpec(name="x", sfreq_hz=SFREQ_HZ, channels=tuple(Channel(f"ch{i + 1}", "EEG", "uV") for i in range(2)))
    linear_model(tmp_path / "m", 2, SFREQ_HZ, 16)
    with pytest.raises(ModelError, match="answers every hop, the running one markers"):
        check_swap(Pipeline(model, SPEC), Pipeline(load(tmp_path / "m"), spec))


def test_chunks_of_other_streams_hold_no_triggers(model):
    session = session_of(model, "[stream]\ntrigger_channel = 'STI'")
    other = Chunk(2, 0, np.full((4, 1), 7.0, np.float32), np.arange(4.0), 0.0)
    assert session.receive(other) == []


def test_codes_that_a_status_channel_adds_high_bits_to_stay_apart():
    trigger = TriggerChannel(0)
    values = np.array([0, 1048577, 0, 1048580, 16777215], float)[:, None]
    trigger.chunk(Chunk(0, 0, values, np.arange(5.0), 0.0))
    assert list(trigger.up_to(9)) == [(1, "1048577"), (3, "1048580"), (4, "16777215")]
