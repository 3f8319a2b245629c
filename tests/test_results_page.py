"""docs/results.md: its tables are those of docs/results/*.csv, and what its scripts share."""

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts" / "results"


@pytest.fixture
def script(monkeypatch):
    """Imports one of the scripts by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture
def command(script):
    """The module that is `python scripts/results`."""
    spec = importlib.util.spec_from_file_location("results_command", SCRIPTS / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_kept_scores(command):
    page = command.PAGE.read_text(encoding="utf-8")
    assert command.page_of(page, command.FOLDER) == page, "run: python scripts/results --tables"


def test_kept_scores_stay_small_and_belong_to_a_section(command):
    kept = sorted(command.FOLDER.glob("*.csv"))
    assert {path.stem for path in kept} <= {section.name for section in command.sections()}
    assert sum(path.stat().st_size for path in kept) < 300_000


def test_only_what_stands_between_its_marks_is_replaced(script):
    page = script("page")
    once = page.with_section("# Page\n\nwords\n", "one", "old")
    both = page.with_section(once, "two", "other") + "\nafter\n"
    again = page.with_section(both, "one", "new")
    assert again == both.replace("\nold\n", "\nnew\n") != both
    assert again.startswith("# Page\n\nwords\n")
    with pytest.raises(ValueError, match="has no <!-- end of one -->"):
        page.with_section(again.replace("<!-- end of one -->", ""), "one", "new")


def test_rows_are_added_to_those_that_are_there(script, tmp_path):
    page, path = script("page"), tmp_path / "deep" / "rows.csv"
    assert page.read(path) == []
    page.add(path, [{"row": "a, b", "fold": 0, "score": 1 / 3}])
    page.add(path, [{"row": "c", "fold": 1, "score": ""}])
    assert [row["score"] for row in page.read(path)] == ["0.33333", ""]
    assert page.has(path, row="a, b", fold=0)
    assert not page.has(path, row="a, b", fold=1)
    with pytest.raises(ValueError, match="dict contains fields"):
        page.add(path, [{"row": "d", "fold": 1, "other": 2}])
    assert len(page.read(path)) == 2


def test_the_interval_of_an_auc_is_that_of_drawn_markers(script):
    p300, generator = script("p300"), np.random.default_rng(0)
    is_target = np.arange(400) % 4 == 0
    low, high = p300.interval(is_target, is_target + generator.normal(size=400))
    expected = 0.76  # of two normals one deviation apart
    assert low < expected < high
    assert 0.05 < high - low < 0.16
    assert p300.interval(is_target, is_target.astype(float)) == pytest.approx((1.0, 1.0))


def test_trca_never_learns_from_the_run_that_it_answers(script, monkeypatch):
    ssvep, learnt = script("ssvep"), []

    class Family:
        @staticmethod
        def fit(spec, x, y, seed):
            learnt.append(set(x[:, 0, 0].astype(int)))
            return type("Fitted", (), {"weights": {}, "params": {}})

        @staticmethod
        def restore(spec, weights):
            return type("Decoder", (), {"predict": lambda self, x, params: np.eye(2)[np.zeros(len(x), int)]})()

    monkeypatch.setattr(ssvep, "load_class", lambda name: Family)
    run = np.array([0, 0, 1, 1, 2, 2])
    trials = type("Trials", (), {"x": run[:, None, None].astype(float), "y": run % 2, "run": run})
    ssvep.answer("trca", None, trials)
    assert learnt == [{1, 2}, {0, 2}, {0, 1}]


def test_a_unit_that_was_silent_in_training_stays_in_bounds(script):
    neurons = script("neurons")
    rates = np.random.default_rng(0).poisson(3, (50, 2)).astype(float)
    rates[:40, 1] = 0
    signal = neurons.standard(rates, np.arange(50) < 40)
    assert signal[:40].mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert signal[:40, 0].std() == pytest.approx(1, abs=1e-5)
    assert signal[40:, 1] == pytest.approx(rates[40:, 1])


def test_rows_of_folds_are_compared_on_their_own_people(script):
    tables = script("imagery_cpu").tables

    def rows(name, scores, n_trials):
        return [
            {"row": name, "n_trials": str(n_trials), "person": person, "accuracy": str(score)}
            for person, score in scores.items()
        ]

    reference = rows("across16/riemann_fb", {"S1": 0.8, "S2": 0.6, "S3": 0.1}, 135)
    one_fold = rows("here16/gnn/fold 0", {"S1": 0.6, "S2": 0.6}, 90)
    text = tables(reference + one_fold)
    assert "| `gnn`, one fold | 2 | **0.600** |" in text
    assert "| 0.700 | -0.100 (-0.200 to +0.000) |" in text
