"""The cursor's task as values: it moves, it stops by itself, it scores."""

import math

import pytest

from bci.devices.cursor_task import RING, Task, TaskSettings, advance, halt, steer, step_to, target

SETTINGS = TaskSettings()


def new(**values):
    return Task(now_s=10.0, began_s=10.0, **values)


def test_a_velocity_moves_it_and_ends_by_itself():
    task = steer(SETTINGS, new(), (0.5, -0.25), 10.3, 10.0)
    task = advance(SETTINGS, task, 10.1)
    assert (task.x, task.y) == pytest.approx((0.05, -0.025))
    task = advance(SETTINGS, task, 20.0)  # nobody was there for ten seconds
    assert (task.x, task.y) == pytest.approx((0.15, -0.075))
    assert task.velocity == (0.0, 0.0)


def test_neutral_stops_it_where_it_is():
    task = halt(SETTINGS, steer(SETTINGS, new(), (1.0, 0.0), 11.0, 10.0), 10.2)
    assert advance(SETTINGS, task, 10.9).x == pytest.approx(0.2)


def test_it_stays_inside_the_square():
    task = new()
    for k in range(20):
        task = step_to(SETTINGS, task, (0.0, -1.0), 10.0 + 0.01 * k)
    assert (task.x, task.y) == (0.0, -1.0)


def test_a_target_counts_when_it_was_held_and_the_next_begins_in_the_middle():
    x, y = target(SETTINGS, new())
    assert math.hypot(x, y) == pytest.approx(RING)
    task = advance(SETTINGS, new(x=x, y=y), 10.1)
    assert task.n_hits == 0
    task = advance(SETTINGS, task, 10.3)
    assert task.n_hits == 0
    task = advance(SETTINGS, task, 10.41)
    assert (task.n_hits, task.n_misses, task.x, task.y, task.began_s) == (1, 0, 0.0, 0.0, 10.41)


def test_passing_through_is_no_hit():
    x, y = target(SETTINGS, new())
    task = advance(SETTINGS, new(x=x, y=y), 10.2)
    task = advance(SETTINGS, msgspec_replace(task, x=0.0, y=0.0), 10.4)
    task = advance(SETTINGS, msgspec_replace(task, x=x, y=y), 10.6)
    assert advance(SETTINGS, task, 10.8).n_hits == 0


def test_a_target_is_missed_when_its_time_is_over():
    task = advance(SETTINGS, new(x=0.1), 25.0)
    assert (task.n_misses, task.x) == (1, 0.0)


def test_the_order_of_targets_is_the_seeds():
    def order(settings):
        return [target(settings, new(n_hits=k)) for k in range(30)]

    assert order(SETTINGS) == order(TaskSettings())
    assert order(SETTINGS) != order(TaskSettings(seed=1))
    assert len(set(order(SETTINGS))) == 4


def msgspec_replace(task, **values):
    from msgspec.structs import replace

    return replace(task, **values)
