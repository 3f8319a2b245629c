"""Networks of endless memory learn from streams: put together without order or clock, drawn right, and it is of use."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from bci.offline.protocols import cross_validate
from bci.offline.resequenced import N_ORDERS
from bci.offline.train import Design, TrainSettings, preprocess
from bci.types import Channel, RecordedStream, Recording, StreamSpec
from calibration.fit import fit_to
from decoders import load_class
from decoders.spec import FitError, Request
from decoders.training.pieces import Pieces
from decoders.training.plan import Plan
from decoders.training.streams import Stream, learns_from_streams

# --- pieces ----------------------------------------------------------------------------------------------------------

SPEC = load_class("lstm").design(
    Request(channels=("C3", "C4"), sfreq_hz=10.0, hop=2, classes=("left", "right"), window_s=1.0)
)


def numbered(n_hops, decisions):
    """A stream whose samples say their hop and, below zero, that they are of this stream."""
    hops = np.repeat(np.arange(n_hops), SPEC.hop).astype(np.float32)
    return Stream(np.stack([hops, -hops - n_hops]), np.zeros(n_hops, int), np.array(decisions))


def test_a_piece_is_whole_and_says_when_which_class_is_decided():
    y = torch.tensor([0, 1, 1, 0])
    streams = [numbered(400, [(150, 0), (190, 1), (390, 2)]), numbered(120, [(3, 0), (60, 3)])]
    pieces, generator = Pieces(streams, y, SPEC), torch.Generator().manual_seed(0)
    assert pieces.n_trials == 4
    decided = {400: {150: 0, 190: 1, 390: 1}, 120: {60: 0}}  # hop 3 has no context before it
    starts, n_of_trial = set(), np.zeros(4, int)
    for _ in range(100):
        for batch in pieces.batches(4, generator):
            x, wanted = pieces.draw(batch, generator)
            (hop,) = x[:, 0, :: SPEC.hop].int().tolist()
            n_hops = int(-x[0, 1, 0]) - hop[0]
            assert hop == list(range(hop[0], hop[0] + len(hop)))
            assert len(hop) == min(100, n_hops)  # 20 s
            counted = {hop[k]: int(w.argmax()) for k, w in enumerate(wanted[0]) if w.sum()}
            here = {at: c for at, c in decided[n_hops].items() if hop[0] + SPEC.n_priming_hops <= at + 1 <= hop[-1] + 1}
            assert counted == here
            assert counted
            starts.add(hop[0])
            n_of_trial[batch] += 1
    assert len(starts) > 100  # anywhere
    assert n_of_trial.min() > 20


def test_pieces_beside_a_gap_are_shorter_and_none_without_a_decision():
    streams = [numbered(400, [(150, 0)]), numbered(40, [(30, 1)])]
    pieces, generator = Pieces(streams, torch.tensor([0, 1]), SPEC), torch.Generator().manual_seed(0)
    (batch,) = (torch.tensor([0, 1]),)
    assert pieces.draw(batch, generator)[0].shape == (2, 2, 40 * SPEC.hop)
    with pytest.raises(FitError, match="no stream holds a decision 1 s after its start"):
        Pieces([numbered(40, [(3, 0)])], torch.tensor([0, 1]), SPEC)


def test_who_learns_from_streams():
    names = ("rnn", "lstm", "gru", "cnn_lstm", "eegnet", "tcn", "transformer", "riemann")
    request = Request(
        channels=("C3", "Cz", "C4"), sfreq_hz=80.0, hop=8, classes=("left", "right"), window_s=3.0
    )  # fmt: skip
    assert [learns_from_streams(load_class(name).design(request)) for name in names] == 4 * [True] + 4 * [False]
    regression = msgspec.structs.replace(request, classes=(), outputs=("vx",))
    assert not learns_from_streams(load_class("lstm").design(regression))


# --- what pieces are worth -------------------------------------------------------------------------------------------

N_PART, N_CONTEXT = 32, 16  # hops: a rest with a long burst of any side, a cue with a short one of its own


def bursts(n, seed, spec):
    """Trials (n, channels, samples) that begin with the cue, their classes, and the stream that they are from."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    loud = np.ones((n, N_PART, 2))
    loud[np.arange(n), 2:10, rng.integers(0, 2, n)] = 3.0
    loud[np.arange(n), 16:19, y] = 3.0
    hops = rng.normal(size=(n * N_PART, 2, spec.hop)) * loud.reshape(-1, 2, 1)
    signal = np.ascontiguousarray(hops.transpose(1, 0, 2)).reshape(2, -1).astype(np.float32)
    last = np.arange(1, n + 1) * N_PART - 1
    x = np.stack([signal[:, (at + 1 - N_CONTEXT) * spec.hop : (at + 1) * spec.hop] for at in last])
    return x, y, Stream(signal, np.repeat(np.arange(n), N_PART), np.stack([last, np.arange(n)], axis=1))


def test_a_memory_that_was_always_reset_fails_in_a_long_run_and_one_that_learnt_from_streams_does_not():
    family = load_class("lstm")
    spec = family.design(
        Request(
            channels=("C3", "C4"), sfreq_hz=40.0, hop=4, classes=("left", "right"), window_s=1.6,
            options={"n_filters": 2.0, "n_hidden": 4.0, "dropout": 0.0},
        )
    )  # fmt: skip
    assert spec.n_priming_hops == N_CONTEXT
    x, y, stream = bursts(80, 0, spec)
    x_new, y_new, new = bursts(100, 1, spec)
    right = {}
    for way, streams in (("trials", ()), ("streams", (stream,))):
        fitted = family.fit(spec, x, y, seed=0, plan=Plan(augment=(), n_epochs=50), streams=streams)
        network = family.restore(spec, fitted.weights)
        params = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in fitted.params.items()}
        whole, _ = network.forward(torch.from_numpy(new.signal)[None], network.initial_state(1), params)
        reset, _ = network.forward(torch.from_numpy(x_new), network.initial_state(100), params)
        at = torch.from_numpy(new.decisions[:, 0])
        right[way] = [(said.argmax(1).numpy() == y_new).mean() for said in (whole[0, at], reset[:, -1])]
    assert right["trials"][1] > 0.9
    assert right["trials"][0] < 0.7
    assert min(right["streams"]) > 0.9


# --- streams of recordings -------------------------------------------------------------------------------------------

SFREQ_HZ, N_CUES, PART_S = 64.0, 10, 4.0
CHANNELS = ("C3", "C4")
SETTINGS = TrainSettings(
    labels={"L": "left", "R": "right"}, decoder="lstm", window_s=2.0, hop_s=0.25, decide_at_s=2.5,
    plan=Plan(n_epochs=2),
)  # fmt: skip


def recording(run, seed, *, skill=0.0, has_nan=False):
    """A rest and a cue in each part; left and right take turns."""
    rng = np.random.default_rng(seed)
    n_part, second = int(PART_S * SFREQ_HZ), int(SFREQ_HZ)
    n = N_CUES * n_part + 2 * second
    x, t, markers = rng.normal(size=(n, 2)) * 5 + 1000, np.arange(n) / SFREQ_HZ, []
    for k in range(N_CUES):
        rest = 2 * second + k * n_part
        cue = rest + second
        markers += [(t[rest], "rest"), (t[cue], "LR"[k % 2])]
        held = slice(cue, cue + 3 * second)
        x[held, k % 2] += skill * 10 * np.sin(2 * np.pi * 11 * t[held])
    if has_nan:
        x[6 * n_part + 2 * second - 1] = np.nan  # the last of a part: it must not get into the offset of the next
    channels = tuple(Channel(label=label, type="EEG", unit="uV") for label in CHANNELS)
    signal = StreamSpec(name="eeg", sfreq_hz=SFREQ_HZ, channels=channels, format="double64")
    marks = StreamSpec(name="m", type="Markers", channels=(Channel("m", "Markers"),), format="string")
    streams = (
        RecordedStream(signal, x, t),
        RecordedStream(marks, [label for _, label in markers], np.array([s for s, _ in markers])),
    )
    return Recording(f"S001{run}.xdf", streams, sha256=run)


def trials_of(recordings, settings=SETTINGS):
    design = Design.of(recordings[0], settings)
    runs = [preprocess(one, design.preprocessing, settings, design.spec) for one in recordings]
    return design.spec, design.trials(recordings, runs)


@pytest.fixture(scope="module")
def two_runs():
    return trials_of([recording("R1", 1), recording("R2", 2)])


def before(stream, spec, hop):
    return stream.signal[:, (hop + 1 - spec.n_priming_hops) * spec.hop : (hop + 1) * spec.hop]


def test_every_trial_stands_in_every_order_on_its_own_signal(two_runs):
    spec, trials = two_runs
    streams = trials.streams(trials)
    assert len(streams) == 2 * N_ORDERS
    for k, stream in enumerate(streams):
        whose = stream.decisions[:, 1]
        assert {int(r) for r in trials.run[whose]} == {k // N_ORDERS}
        assert sorted(trials.index[whose]) == list(range(N_CUES))
        for hop, i in stream.decisions.tolist():
            assert stream.trial[hop] == i
            own, mine = before(stream, spec, hop), trials.x[i]
            # blocks begin elsewhere in the trial, by less than a hop; filters keep a little of what was before
            lags = [np.corrcoef(np.roll(own, lag, axis=1)[0, 32:-32], mine[0, 32:-32])[0, 1] for lag in range(-16, 17)]
            assert max(lags) > 0.95


def test_orders_differ_and_the_class_before_says_nothing(two_runs):
    _, trials = two_runs
    orders = [trials.index[s.decisions[np.argsort(s.decisions[:, 0]), 1]] for s in trials.streams(trials)]
    assert len({tuple(order.tolist()) for order in orders}) == len(orders)
    turns = np.concatenate([np.diff(order % 2) != 0 for order in orders])  # left and right took turns
    assert len(turns) == 2 * N_ORDERS * (N_CUES - 1)
    assert 0.35 < turns.mean() < 0.75  # 5/9 where orders are random
    again = [trials.index[s.decisions[np.argsort(s.decisions[:, 0]), 1]] for s in trials.streams(trials)]
    assert all(np.array_equal(a, b) for a, b in zip(orders, again, strict=True))


def test_nothing_of_a_trial_that_is_held_out_is_in_a_stream():
    one = recording("R1", 1)
    loud = slice(int((2 + 5 * PART_S) * SFREQ_HZ), int((2 + 6 * PART_S) * SFREQ_HZ))
    one.signals[0].samples[loud] += 1e4 * np.random.default_rng(0).normal(size=(loud.stop - loud.start, 2))
    _, trials = trials_of([one])
    rest = trials.of((trials.index != 5) & (trials.index != 6))  # filters carry some of it on to the next
    assert np.abs(trials.streams(trials)[0].signal).max() > 1000
    for stream in rest.streams(rest):
        assert np.abs(stream.signal).max() < 100
        assert sorted(rest.index[stream.decisions[:, 1]]) == [0, 1, 2, 3, 4, 7, 8, 9]


def test_a_nan_costs_its_part_and_no_more():
    spec, trials = trials_of([recording("R1", 1, has_nan=True)])
    streams = trials.streams(trials)
    assert all(np.isfinite(stream.signal).all() for stream in streams)
    assert len(trials.y) >= N_CUES - 1
    assert sum(len(stream.decisions) for stream in streams) >= N_ORDERS * (len(trials.y) - 1)
    assert all((stream.decisions[:, 0] + 1 >= spec.n_priming_hops).all() for stream in streams)


def test_a_network_learns_from_streams_to_the_same_bits_and_each_trial_by_its_own_matrix(two_runs):
    spec, trials = two_runs
    everything = np.ones(len(trials.y), bool)
    one, two = (fit_to(spec, trials, everything, seed=0, plan=Plan(n_epochs=2)) for _ in range(2))
    crops = fit_to(spec, replace(trials, streams=None), everything, seed=0, plan=Plan(n_epochs=2))
    assert all(np.array_equal(one.weights[name], two.weights[name]) for name in one.weights)
    assert not all(np.array_equal(one.weights[name], crops.weights[name]) for name in one.weights)

    family, seen = load_class("lstm"), []
    streams = trials.streams(trials)
    align = np.eye(2)[None, None] * np.where(trials.y, 3.0, 1.0)[:, None, None, None]

    def keep(streams, y, spec):
        seen.extend(streams)
        return Pieces(streams, y, spec)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoders.training.loop.Pieces", keep)
        family.fit(spec, trials.x, trials.y, seed=0, plan=Plan(n_epochs=1), streams=streams, align=align)
    for own, plain in zip(seen, streams, strict=True):
        gain = np.repeat(np.where(trials.y[plain.trial], 3.0, 1.0), spec.hop)
        assert np.allclose(own.signal, plain.signal * gain, rtol=1e-5)


class Kept:
    """A journal that is cut off after two epochs."""

    def __init__(self):
        self.snapshot, self.n_kept = None, 0

    def last(self):
        return self.snapshot

    def keep(self, snapshot):
        self.snapshot, self.n_kept = snapshot, self.n_kept + 1
        if self.n_kept == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("augment", [("gain", "dropout"), ("mirror", "mixup", "shift")])
def test_a_training_on_streams_goes_on_after_a_kill_to_the_same_bits(augment, two_runs):
    spec, trials = two_runs
    streams, family, plan = trials.streams(trials), load_class("lstm"), Plan(n_epochs=4, augment=augment)
    whole = family.fit(spec, trials.x, trials.y, seed=0, plan=plan, streams=streams)
    journal = Kept()
    with pytest.raises(KeyboardInterrupt):
        family.fit(spec, trials.x, trials.y, seed=0, plan=plan, streams=streams, journal=journal)
    resumed = family.fit(spec, trials.x, trials.y, seed=0, plan=plan, streams=streams, journal=journal)
    assert journal.n_kept == 4
    assert all(np.array_equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)


def test_skill_is_learnt_from_streams_by_a_protocol():
    data = [recording("R1", 1, skill=2.0), recording("R2", 2, skill=2.0)]
    settings = msgspec.structs.replace(SETTINGS, plan=Plan(n_epochs=20))
    (result,) = cross_validate(data, settings, "across-runs")
    assert result["mean"] > result["chance_band"][1]
