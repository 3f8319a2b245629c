"""Units of work run in order, here, in processes and on Ray; what is not wanted any more is never begun."""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import Future
from operator import mul

import pytest

from bci.errors import ConfigError, RolandicError
from bci.offline.sweep import score_unit
from bci.offline.workers import done, map_units, workers
from tests.test_protocols import SETTINGS, people


def test_results_come_in_the_order_of_the_units():
    assert list(map_units(lambda k: done(k * k), range(5), 2)) == [0, 1, 4, 9, 16]
    assert list(map_units(done, [], 3)) == []


def test_no_more_units_are_at_work_than_asked_and_those_left_are_cancelled():
    asked: list[Future[int]] = []

    def submit(unit):
        asked.append(Future())
        return asked[-1]

    results = map_units(submit, range(9), 3)
    first = done(7)
    assert asked == []
    asked_first = []

    def first_is_there(unit):
        asked_first.append(unit)
        return first if unit == 0 else submit(unit)

    results = map_units(first_is_there, range(9), 3)
    assert next(results) == 7
    assert asked_first == [0, 1, 2]
    results.close()
    assert [future.cancelled() for future in asked] == [True, True]
    assert asked_first == [0, 1, 2]


def test_one_worker_is_this_process():
    with workers(1) as submit:
        assert submit(os.getpid).result() == os.getpid()


def test_two_workers_are_two_processes_and_a_dead_one_is_said():
    with workers(2) as submit:
        assert list(map_units(lambda k: submit(mul, k, 3), range(4), 2)) == [0, 3, 6, 9]
        assert submit(os.getpid).result(60) != os.getpid()
    with pytest.raises(RolandicError, match="a worker process died"), workers(2) as submit:
        submit(os._exit, 3).result(60)


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--cluster ray needs Ray: pip install 'rolandic\[cluster\]'"):
        workers(2, "ray").__enter__()


@pytest.fixture
def ray(monkeypatch):
    """Ray with a folder of its own: its sockets' names must be short, which tmp_path is not."""
    pytest.importorskip("ray", reason="needs the extra: pip install rolandic[cluster]")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield


@pytest.mark.slow
def test_two_workers_of_ray_give_the_scores_of_this_process(ray, capfd):
    recordings = [tuple(people(2, skill=1.0)[k : k + 2]) for k in (0, 2)]
    with workers(2, "ray") as submit:
        scores = list(map_units(lambda mine: submit(score_unit, mine, SETTINGS, "across-runs"), recordings, 2))
        assert submit(lambda: os.getpid()).result(60) != os.getpid()
        with pytest.raises(ZeroDivisionError):
            submit(lambda: 1 // 0).result(60)
    assert scores == [score_unit(mine, SETTINGS, "across-runs") for mine in recordings]
    assert capfd.readouterr().out == ""


def test_a_ray_that_does_not_start(ray, monkeypatch):
    def fails(**_):
        raise ConnectionError("nobody there\nand more")

    monkeypatch.setattr("ray.init", fails)
    for address, where in (("", "a Ray on this machine"), ("10.0.0.1:6379", "Ray at RAY_ADDRESS 10.0.0.1:6379")):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(RolandicError) as error:
            workers(2, "ray").__enter__()
        assert str(error.value) == f"--cluster ray: {where} does not start (nobody there); leave --cluster out"
