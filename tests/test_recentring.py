"""Recentring: the mean is the one on the manifold; live, replayed and offline alignment are the same bits."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from pyriemann.geometry.base import invsqrtm
from pyriemann.geometry.geodesic import geodesic_riemann
from pyriemann.geometry.mean import mean_riemann

from bci.control.gate import GateSettings
from bci.pipeline import Pipeline
from bci.session import Session, advance
from bci.signal.gaps import GapDetector
from bci.types import Channel, Flag, Prediction, StreamSpec
from calibration.align import Recentring, align_trials, covariances, power, starting_alignment
from calibration.fit import calibrate
from calibration.trials import Trials
from decoders import load_class
from decoders.checkpoint import Model
from decoders.engine import Runner
from decoders.mirror import mirror_order
from decoders.spec import Request, SpecError
from tests.helpers.rechunk import chunks, cuts

LABELS = ("C3", "Cz", "C4")
BANDS = ((8.0, 12.0), (15.0, 25.0))
PERIOD = 4


def spd(n, n_channels=3, seed=0):
    a = np.random.default_rng(seed).normal(size=(n, n_channels, 20))
    return a @ a.swapaxes(1, 2) / 20


# --- the mean --------------------------------------------------------------------------------------------------------


def test_each_window_moves_the_mean_along_the_geodesic():
    start, windows = spd(2, seed=1), [spd(2, seed=seed) for seed in range(5)]
    recentring, mean = Recentring(power(start, -0.5), 3), start
    for t, window in enumerate(windows):
        recentring.move(window)
        mean = np.stack([geodesic_riemann(m, c, 1 / (t + 2)) for m, c in zip(mean, window, strict=True)])
        np.testing.assert_allclose(recentring.align, [invsqrtm(m) for m in mean], rtol=1e-8, atol=1e-10)
    recentring.reset()
    np.testing.assert_array_equal(recentring.align, power(start, -0.5))


@pytest.mark.parametrize("scale", [1e-26, 1.0, 1e6], ids=["tesla", "one", "microvolts"])
def test_a_mean_of_any_unit_is_kept(scale):
    recentring = Recentring(power(scale * spd(2, seed=1), -0.5), 3)
    for seed in range(30):
        recentring.move(scale * spd(2, seed=seed))
    whitened = recentring.align @ recentring._mean @ recentring.align
    np.testing.assert_allclose(whitened, np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-8)


def test_silence_leaves_it_finite():
    recentring = Recentring(power(spd(2), -0.5), 1)
    for _ in range(50):
        recentring.step(np.zeros((6, 10), np.float32), True)
    assert np.isfinite(recentring.align).all()


def test_windows_are_of_good_hops_in_a_row_and_do_not_overlap():
    hops = np.random.default_rng(0).normal(size=(12, 6, 5)).astype(np.float32)
    recentring = Recentring(np.stack([np.eye(3)] * 2), 3)
    moved = [recentring.step(hop, i != 4) for i, hop in enumerate(hops)]
    assert np.flatnonzero(moved).tolist() == [2, 7, 10]
    other = Recentring(np.stack([np.eye(3)] * 2), 3)
    for first in (0, 5, 8):
        other.move(covariances(np.concatenate(list(hops[first : first + 3]), axis=1)[None], 2)[0])
    np.testing.assert_array_equal(recentring.align, other.align)


def test_the_start_is_the_mean_of_training_and_may_be_symmetric():
    windows = np.stack([spd(40), spd(40, seed=9)], axis=1)
    start = starting_alignment(windows)
    np.testing.assert_allclose(start[1], invsqrtm(mean_riemann(windows[:, 1], tol=1e-9)), rtol=1e-4, atol=1e-6)
    order = mirror_order(LABELS)
    symmetric = starting_alignment(windows, order)
    np.testing.assert_allclose(symmetric, symmetric[:, order][:, :, order], atol=1e-4)
    assert np.abs(start - start[:, order][:, :, order]).max() > 0.005


def test_trials_of_a_person_do_not_move_those_of_another():
    windows, who = np.stack([spd(6)], axis=1), np.array([0, 1, 0, 1, 0, 0])
    align = align_trials(windows, who, power(spd(1, seed=5), -0.5))
    alone = align_trials(windows[who == 1], who[who == 1], power(spd(1, seed=5), -0.5))
    np.testing.assert_array_equal(align[who == 1], alone)


# --- mirrored heads --------------------------------------------------------------------------------------------------


def test_the_other_side_is_found_by_name():
    labels = ("Fp1", "Fp2", "FC5", "FC6", "Cz", "c1", "C2", "POz")
    assert mirror_order(labels).tolist() == [1, 0, 3, 2, 4, 6, 5, 7]
    assert mirror_order(("C3 8-12", "C4 8-12", "C3 11-16", "C4 11-16")).tolist() == [1, 0, 3, 2]
    with pytest.raises(SpecError, match="C3 has no partner C4"):
        mirror_order(("C3", "Cz"))


def request(name, **changes):
    channels = tuple(f"{label} {low:g}-{high:g}" for low, high in BANDS for label in LABELS)
    base = Request(
        channels=channels, sfreq_hz=80.0, hop=8, classes=("left", "right"), n_bands=2, window_s=1.0,
        recentre_hops=PERIOD, options={"mirror": 1.0},
    )  # fmt: skip
    return load_class(name), msgspec.structs.replace(base, **changes)


def trained(name, **changes):
    family, asked = request(name, **changes)
    spec = family.design(asked)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 6, spec.context)).astype(np.float32)
    y = np.arange(24) % 2
    x[y == 1, 0] *= 2
    x[y == 0, 2] *= 2
    return spec, calibrate(spec, Trials(10 * x, y, np.arange(24) // 8, ("left", "right")), seed=0)


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    monkeypatch.setattr("decoders.training.loop.MIN_EPOCHS", 2)
    monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 2)


@pytest.mark.parametrize("name", ["riemann_fb", "csp", "eegnet"])
def test_a_mirrored_head_gets_the_other_answer(name):
    spec, calibrated = trained(name)
    order = mirror_order(spec.channels)
    x = 10 * np.random.default_rng(3).normal(size=(spec.context // spec.hop, 6, spec.hop)).astype(np.float32)
    x[:, ::3] *= 2  # the left
    log_odds = []
    for hops in (x, x[:, order]):
        params = dict(calibrated.fitted.params)
        c = order[:3]
        symmetric = (params["align"] + params["align"][:, c][:, :, c]) / 2
        runner = Runner(load_class(name).restore(spec, calibrated.fitted.weights), params | {"align": symmetric})
        p = [runner.step(hop) for hop in hops][-1]
        log_odds.append(np.log(p[0] / p[1]))
    assert log_odds[0] == pytest.approx(-log_odds[1], rel=1e-2)
    assert abs(log_odds[0]) > 1e-6


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_of_many_channels_the_directions_that_differ_are_kept(mirror):
    """28 channels: a difference in power is learnt from 16 directions, and a mirrored head stays mirrored."""
    pairs = ("FC5", "FC3", "FC1", "C5", "C3", "C1", "CP5", "CP3", "CP1", "P5", "P3", "P1", "O1", "AF3")
    labels = (*pairs, *(f"{name[:-1]}{int(name[-1]) + 1}" for name in pairs))
    family = load_class("riemann_fb")
    asked = Request(channels=labels, sfreq_hz=80.0, hop=8, classes=("left", "right"), options={"mirror": mirror})
    spec, rng = family.design(asked), np.random.default_rng(0)
    x, y = rng.normal(size=(120, 28, 240)).astype(np.float32), np.arange(120) % 2
    x[y == 1, 4] *= 4
    x[y == 0, 18] *= 4
    fitted = family.fit(spec, x[:80], y[:80], seed=0)
    assert fitted.weights["coef"].shape == (3, 1, 16, 16, 2)
    model, order = family.restore(spec, fitted.weights).model, mirror_order(labels)
    logits = model.logits(x[80:], fitted.params)
    assert np.mean(logits.argmax(axis=1) == y[80:]) >= 0.9
    align = fitted.params["align"]
    symmetric = {"align": (align + align[:, order][:, :, order]) / 2}
    both = [model.logits(each, symmetric) for each in (x[80:], x[80:, order])]
    if mirror:
        np.testing.assert_allclose(both[0], both[1][:, ::-1], atol=1e-8)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("riemann_fb", {"classes": ("a", "b", "c")}, "mirror exchanges 2 classes"),
        ("eegnet", {"classes": ("a", "b", "c")}, "mirror exchanges 2 classes"),
        ("csp", {"channels": ("C3", "Cz"), "n_bands": 1}, "no partner C4"),
        ("riemann_fb", {"options": {"n_filters": 2.0}}, "no option n_filters; there are mirror, halves"),
        ("csp", {"options": {"n_filters": 0.0}}, "at least 1"),
        ("csp", {"window_s": 0.1}, "use a window of"),
    ],
)
def test_what_cannot_be_is_refused(name, changes, says):
    family, asked = request(name, **changes)
    with pytest.raises(SpecError, match=says):
        family.design(asked)


def test_params_are_replaced_by_name_and_shape_only():
    spec, calibrated = trained("csp")
    runner = Runner(load_class("csp").restore(spec, calibrated.fitted.weights), calibrated.fitted.params)
    for values in ({"aline": np.eye(3)}, {"align": np.eye(3)}):
        with pytest.raises(SpecError, match=r"param alig?n.* of shape \(3, 3\); it has"):
            runner.set_params(**values)


# --- live, replayed and offline --------------------------------------------------------------------------------------


def model_of(name, **changes):
    spec, calibrated = trained(name, **changes)
    pre = {"channels": LABELS, "sfreq_hz": 80.0, "hop": 8, "bands_hz": BANDS}
    fitted = calibrated.fitted
    decoder = load_class(name).restore(spec, fitted.weights)
    return Model(decoder, fitted.params, pre, spec, f"hash of {name}", {})


STREAM = StreamSpec(name="eeg", sfreq_hz=160.0, channels=tuple(Channel(label, "EEG", "uV") for label in LABELS))


def predictions(model, samples, at):
    pipeline = Pipeline(model, STREAM)
    session = Session(STREAM, {model.hash: pipeline}, model.hash, GateSettings(classes=("left", "right")))
    detector, found = GapDetector(0, 160.0), []
    for chunk in chunks(samples, 100 + np.arange(len(samples)) / 160.0, at):
        if not len(chunk.stamps_s):
            continue
        for gap in detector.receive(chunk):
            found += session.receive(gap)
        found += session.receive(chunk)
        for _, outputs in advance(session, lambda now_s=float(chunk.stamps_s[-1]): now_s):
            found += outputs
    return [p for p in found if isinstance(p, Prediction)], pipeline


@pytest.fixture(scope="module", params=["riemann_fb", "csp", "eegnet"])
def recorded(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decoders.training.loop.MIN_EPOCHS", 2)
        patch.setattr("decoders.training.loop.MIN_STEPS", 2)
        model = model_of(request.param)
    samples = np.random.default_rng(1).normal(0, 20, (1600, 3)).astype(np.float32)
    samples[700, 1] = np.nan
    return model, samples, predictions(model, samples, [0, 1600])


def test_offline_folds_the_same_hops_by_hand(recorded):
    """What the session says is what a runner says whose `align` is moved every so many good hops."""
    model, samples, (live, pipeline) = recorded
    alone = Pipeline(model, STREAM).preprocessing
    alone.start(samples[0])
    runner, recentring = Runner(model.decoder, model.params), Recentring(model.params["align"], PERIOD)
    n_settling, n_moved, by_hand = pipeline._n_settling, 0, []
    blocks = [samples[i : i + alone.block].T for i in range(0, len(samples) - alone.block + 1, alone.block)]
    for k, (data, _) in enumerate(hop for block in blocks for hop in alone.step(np.ascontiguousarray(block))):
        if recentring.step(data, k >= n_settling and not live[k].flags & (Flag.NONFINITE | Flag.BAD_CHANNEL)):
            runner.set_params(align=recentring.align)
            n_moved += 1
        by_hand.append(runner.step(data))
    assert np.array([p.p for p in live]).tobytes() == np.array(by_hand).tobytes()
    assert n_moved == pipeline._recentring.n_windows > 8


@settings(max_examples=5, deadline=None)
@given(at=cuts(1600))
def test_chunks_change_no_bit(recorded, at):
    model, samples, (expected, _) = recorded
    found, _ = predictions(model, samples, at)
    assert [p.p for p in found] == [p.p for p in expected]


def test_weights_and_the_models_own_params_stay(recorded):
    model, samples, (live, _) = recorded
    before = {name: value.copy() for name, value in model.params.items()}
    again, _ = predictions(model, samples, [0, 1600])
    assert all(np.array_equal(model.params[name], value) for name, value in before.items())
    assert [p.p for p in again] == [p.p for p in live]
    still = msgspec.structs.replace(model.spec, recentre_hops=0)
    fixed, _ = predictions(Model(model.decoder, model.params, model.preprocessing, still, "h", {}), samples, [0, 1600])
    same = [a.p == b.p for a, b in zip(fixed, live, strict=True)]
    assert all(same[: PERIOD - 1])
    assert not any(same[-30:])


def test_the_mean_outlives_a_segment_but_no_window_spans_two(recorded):
    model, samples, _ = recorded
    pipeline = Pipeline(model, STREAM)
    n_settling, first = pipeline._n_settling, np.ascontiguousarray(samples[:640].T)

    def feed(n_hops):
        for i in range(n_hops):
            pipeline.step(first[:, 16 * i : 16 * (i + 1)], 0, lambda _: None)

    pipeline.start(first[:, 0])
    feed(n_settling + PERIOD + 1)
    assert pipeline._recentring.n_windows == 1
    align = pipeline._recentring.align
    pipeline.start(first[:, 0])
    feed(n_settling + PERIOD - 1)
    np.testing.assert_array_equal(pipeline._recentring.align, align)
    feed(1)
    assert pipeline._recentring.n_windows == 2
