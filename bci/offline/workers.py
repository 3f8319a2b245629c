"""Where units of work run: in this process, in spawned ones, or on Ray. Each is a function that gives a future."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, Literal, TypeAlias, TypeVar

from bci.errors import ConfigError, RolandicError

Cluster: TypeAlias = Literal["ray"]
Submit: TypeAlias = Callable[..., "Future[Any]"]  # a function and its arguments
T = TypeVar("T")


def workers(n_jobs: int, cluster: Cluster | None = None) -> AbstractContextManager[Submit]:
    """Open ``n_jobs`` workers, and end them with the block.

    Parameters
    ----------
    n_jobs : int
        1: this process, unless a cluster is asked for.
    cluster : {"ray"} or None
        A Ray of its own on this machine, or the one whose address RAY_ADDRESS gives.

    Raises
    ------
    ConfigError
        Ray is not installed.
    RolandicError
        It does not start, or a worker died.
    """
    if cluster == "ray":
        return _ray(n_jobs)
    return _processes(n_jobs) if n_jobs > 1 else _here()


def map_units(submit: Callable[[T], Future[Any]], units: Iterable[T], n_ahead: int) -> Iterator[Any]:
    """Results in the order of the units, ``n_ahead`` of them at work; closed early, the rest is never begun."""
    left = iter(units)
    at_work = deque(submit(unit) for unit in islice(left, n_ahead))
    try:
        while at_work:
            yield at_work.popleft().result()
            at_work.extend(submit(unit) for unit in islice(left, 1))
    finally:
        for future in at_work:
            future.cancel()


def done(result: T) -> Future[T]:
    """A future that has come."""
    future: Future[T] = Future()
    future.set_result(result)
    return future


@contextmanager
def _here() -> Iterator[Submit]:
    yield lambda function, *arguments: done(function(*arguments))


@contextmanager
def _processes(n_jobs: int) -> Iterator[Submit]:
    pool = ProcessPoolExecutor(n_jobs, multiprocessing.get_context("spawn"), _begin_worker)
    try:
        yield pool.submit
    except BrokenProcessPool:
        raise RolandicError(
            "a worker process died, for want of memory perhaps; the same command with fewer --jobs goes on from here"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Ctrl-C ends a worker without a word; so does the end of its parent, which a pool alone would outlive."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _ray(n_jobs: int) -> Iterator[Submit]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        import ray
        from ray.exceptions import RayError, RayTaskError
    except ImportError:
        raise ConfigError("--cluster ray needs Ray: pip install 'rolandic[cluster]'") from None
    address = os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {} if address else {"address": "local", "num_cpus": n_jobs, "include_dashboard": False}
    try:
        ray.init(**own, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # whatever its parts raise: time-outs, sockets, ValueError
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        where = f"Ray at RAY_ADDRESS {address}" if address else "a Ray on this machine"
        raise RolandicError(f"--cluster ray: {where} does not start ({reason}); leave --cluster out") from None

    def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return ray.remote(function).remote(*arguments).future()

    try:
        yield submit
    except RayTaskError:  # an error of the function itself
        raise
    except RayError as error:
        reason = str(error).splitlines()[0]
        raise RolandicError(f"--cluster ray: {reason}; the same command goes on from here") from None
    finally:
        ray.shutdown()
