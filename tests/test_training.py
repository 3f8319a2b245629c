"""Training of networks: plans, held-out epochs, frozen layers, and going on after a kill to the same bits."""

from __future__ import annotations

import csv

import msgspec
import numpy as np
import pytest

from bci.errors import ModelError
from bci.offline.work import WorkFolder
from calibration.fit import calibrate, folds
from calibration.trials import Trials
from decoders import load_class
from decoders.spec import FitError, Request, SpecError
from decoders.training.loop import PATIENCE, best_epoch
from decoders.training.plan import Epoch, Plan

CHANNELS = ("C3", "Cz", "C4")
FEW = Plan(n_epochs=4)


@pytest.fixture(scope="module")
def family():
    return load_class("eegnet")


@pytest.fixture(scope="module")
def spec(family):
    return family.design(Request(channels=CHANNELS, sfreq_hz=80.0, hop=8, classes=("left", "right"), window_s=1.0))


def trials_of(spec, n=40, n_runs=4, people=(), sessions=(), seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 3, spec.context)).astype(np.float32)
    x[y == 1, 0] *= 2
    return Trials(x, y, np.arange(n) * n_runs // n, ("left", "right"), 0, people, sessions)


class Kept:
    """A journal in memory; ``n_kill`` epochs and then it is cut off."""

    def __init__(self, n_kill=None):
        self.snapshot, self.n_kill, self.n_kept = None, n_kill, 0

    def last(self):
        return self.snapshot

    def keep(self, snapshot):
        self.snapshot = snapshot
        self.n_kept += 1
        if self.n_kept == self.n_kill:
            raise KeyboardInterrupt


def same(one, two):
    return all(np.array_equal(one[name], two[name]) for name in one | two)


# --- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_the_rate_follows_its_schedule_to_the_end(schedule, family, spec):
    journal, data = Kept(), trials_of(spec)
    plan = Plan(n_epochs=6, schedule=schedule, rate=0.02)
    family.fit(spec, data.x, data.y, seed=0, plan=plan, journal=journal)
    rates = [epoch.rate for epoch in journal.snapshot.epochs]
    assert [epoch.number for epoch in journal.snapshot.epochs] == [1, 2, 3, 4, 5, 6]
    assert rates[-1] < 2e-3
    assert 0.01 < max(rates) <= 0.02
    assert (np.argmax(rates) == 0) == (schedule == "cosine")


def test_the_loss_falls_and_stopping_early_keeps_the_course(family, spec):
    data, whole, part = trials_of(spec), Kept(), Kept()
    family.fit(spec, data.x, data.y, seed=0, plan=Plan(n_epochs=12), journal=whole)
    family.fit(spec, data.x, data.y, seed=0, plan=Plan(n_epochs=12, n_stop=5), journal=part)
    losses = [epoch.loss for epoch in whole.snapshot.epochs]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert part.snapshot.epochs == whole.snapshot.epochs[:5]


def test_augmentation_changes_the_result_and_an_impossible_one_is_refused(family, spec):
    data = trials_of(spec)
    plain = family.fit(spec, data.x, data.y, seed=0, plan=FEW)
    mirrored = family.fit(spec, data.x, data.y, seed=0, plan=Plan(n_epochs=4, augment=("mirror", "mixup")))
    assert not same(plain.weights, mirrored.weights)
    other = msgspec.structs.replace(spec, classes=("a", "b"))
    with pytest.raises(SpecError, match="no mirror images"):
        family.fit(other, data.x, data.y, seed=0, plan=Plan(augment=("mirror",)))


def test_a_loss_that_is_not_finite_says_so(family, spec):
    data = trials_of(spec)
    with pytest.raises(FitError, match="the loss is not finite"):
        family.fit(spec, data.x, data.y, seed=0, plan=Plan(n_epochs=4, rate=1e30))


def test_training_begins_with_other_weights_and_leaves_the_first_layers(family, spec):
    data = trials_of(spec)
    before = family.fit(spec, data.x, data.y, seed=0, plan=FEW)
    after = family.fit(spec, data.x, data.y, seed=5, plan=Plan(n_epochs=4, init=before.weights, n_frozen=3))
    kept = {name for name in before.weights if np.array_equal(before.weights[name], after.weights[name])}
    assert kept == {name for name in before.weights if int(name.split(".")[1]) <= 2}
    three = msgspec.structs.replace(spec, classes=("left", "right", "rest"))
    more = family.fit(three, data.x, np.arange(40) % 3, seed=0, plan=Plan(n_epochs=1, init=before.weights, n_frozen=3))
    assert np.array_equal(more.weights["layers.0.weight"], before.weights["layers.0.weight"])
    with pytest.raises(SpecError, match="no weight of the other model fits"):
        family.fit(spec, data.x, data.y, seed=0, plan=Plan(init={"x": np.zeros(1)}))
    with pytest.raises(FitError, match="--freeze 99: the network has 7 layers with weights"):
        family.fit(spec, data.x, data.y, seed=0, plan=Plan(n_frozen=99))


# --- epochs chosen on what is held out -------------------------------------------------------------------------------


def test_training_stops_when_what_is_held_out_gets_no_better(family, spec):
    data = trials_of(spec, seed=1)
    rng = np.random.default_rng(9)
    noise = rng.normal(size=(20, 3, spec.context)).astype(np.float32), rng.integers(0, 2, 20)
    journal = Kept()
    n = family.n_best_epochs(spec, data.x, data.y, noise, seed=0, plan=Plan(n_epochs=40), journal=journal)
    epochs = journal.snapshot.epochs
    assert n == best_epoch(epochs)
    assert len(epochs) == min(40, n + PATIENCE)
    assert all(epoch.held_out_loss is not None for epoch in epochs)


@pytest.mark.parametrize(("unit", "n_held_out"), [("run", 10), ("session", 20), ("person", 20)])
def test_whole_runs_sessions_or_people_are_held_out(unit, n_held_out, spec, monkeypatch, family):
    data = trials_of(spec, people=("A", "A", "B", "B"), sessions=("1", "2", "1", "1"))
    seen = []

    def best(self, spec, x, y, held_out, **_):
        seen.append((len(y), len(held_out[1])))
        return 1

    monkeypatch.setattr(type(family), "n_best_epochs", best)
    scores = calibrate(spec, data, seed=0, plan=Plan(n_epochs=2, stop_on=unit)).scores
    assert scores["split"] == "leave people out, 2 folds"
    assert seen[-1] == (40 - n_held_out, n_held_out)  # of the last fit, on all trials
    assert all(0 < held_out < 20 for _, held_out in seen[:2])  # within one person's trials


def test_people_are_held_out_together_and_more_than_five_in_groups(spec):
    fold, words = folds(trials_of(spec, 40, 4, people=("A", "A", "B", "C")))
    assert (fold.tolist(), words) == ([0] * 20 + [1] * 10 + [2] * 10, "leave people out, 3 folds")
    fold, words = folds(trials_of(spec, 84, 7, people=tuple("ABCDEFG")))
    assert words == "leave people out, 5 folds"
    assert [len(set(fold[i : i + 12])) for i in range(0, 84, 12)] == [1] * 7
    assert set(fold) == set(range(5))


def test_a_plan_without_a_network_is_refused(spec):
    with pytest.raises(FitError, match="decoder 'bandpower' is no network: it has no epochs"):
        calibrate(msgspec.structs.replace(spec, name="bandpower", backend="numpy"), trials_of(spec), seed=0, plan=FEW)


# --- going on after a kill -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [FEW, Plan(n_epochs=4, schedule="cosine", augment=("shift", "mixup"))])
def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(plan, family, spec):
    data = trials_of(spec)
    whole = family.fit(spec, data.x, data.y, seed=0, plan=plan)
    journal = Kept(n_kill=2)
    with pytest.raises(KeyboardInterrupt):
        family.fit(spec, data.x, data.y, seed=0, plan=plan, journal=journal)
    resumed = family.fit(spec, data.x, data.y, seed=0, plan=plan, journal=journal)
    assert journal.n_kept == 4
    assert same(whole.weights, resumed.weights)


def test_a_calibration_goes_on_from_files_to_the_same_bits(spec, tmp_path, monkeypatch):
    data = trials_of(spec, n_runs=2)
    plan = Plan(n_epochs=3, stop_on="run")
    whole = calibrate(spec, data, seed=0, plan=plan)
    cut_off = WorkFolder(str(tmp_path / "m"), resume=False).open("x")
    save, n_saved = cut_off.save, []

    def killed(name, snapshot):
        save(name, snapshot)
        n_saved.append(name)
        if len(n_saved) == 8:  # in the second fold
            raise KeyboardInterrupt

    monkeypatch.setattr(cut_off, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        calibrate(spec, data, seed=0, plan=plan, journals=cut_off.journal)
    work = WorkFolder(str(tmp_path / "m"), resume=True).open("x")
    resumed = calibrate(spec, data, seed=0, plan=plan, journals=work.journal)
    assert same(whole.fitted.weights, resumed.fitted.weights)
    assert whole.scores == resumed.scores
    work.finish()
    assert sorted(p.name for p in work.folder.iterdir()) == ["losses.csv", "losses.png"]
    with (work.folder / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["fit"] for row in rows} == {
        f"{fit}{stop}" for fit in ("fold-0", "fold-1", "all") for stop in ("", "-stop")
    }
    assert {float(row["loss"]) > 0 for row in rows} == {True}


def test_snapshots_of_another_training_or_none_are_refused(family, spec, tmp_path):
    with pytest.raises(ModelError, match=r"--resume: no snapshot in .*m\.training; train without it"):
        WorkFolder(str(tmp_path / "m"), resume=True)
    data, work = trials_of(spec), WorkFolder(str(tmp_path / "m"), resume=False).open("x")
    family.fit(spec, data.x, data.y, seed=0, plan=FEW, journal=work.journal("all"))
    other = WorkFolder(str(tmp_path / "m"), resume=True).open("y")
    with pytest.raises(ModelError, match="is of another training"):
        other.load("all")
    (work.folder / "all.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"all.safetensors cannot be read"):
        WorkFolder(str(tmp_path / "m"), resume=True).open("x").load("all")
    WorkFolder(str(tmp_path / "m"), resume=False).open("x")  # a new training begins afresh
    assert not list(work.folder.glob("*.safetensors"))


def test_the_best_epoch_is_the_first_of_the_lowest():
    assert best_epoch(tuple(Epoch(i + 1, 0.1, 1.0, loss) for i, loss in enumerate([3, 1, 2, 1]))) == 2
