"""Settings of the process that decides: one thread of computing, few collections, short turns, priority (design §5.1).

`limit_threads` belongs before numpy and torch are imported, so this module imports neither. `settle` belongs after the
last import and the warm-up, and after the children have been started, for they inherit the priority. Nothing is undone:
the process ends with its session. Numbers: `scripts/bench_realtime.py`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
SWITCH_INTERVAL_S = 0.0005
GC_THRESHOLDS = (10_000, 20, 100)


def limit_threads() -> None:
    """One thread for BLAS, OpenMP and torch, also when they are loaded already; child processes inherit it.

    A second thread buys nothing on matrices of this size, costs a factor of ten while another program uses the core,
    and changes the last bits of a sum with the number of cores.
    """
    for name in _THREAD_VARIABLES:
        os.environ[name] = "1"
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits  # comes with scikit-learn

        threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def settle() -> list[str]:
    """Prepare this process for real time; what the system refuses is left out.

    Returns
    -------
    list of str
        What could be had, for the session's record.
    """
    done = [_settle_gc(), _shorten_turns()]
    if sys.platform == "win32":
        import ctypes

        if ctypes.windll.winmm.timeBeginPeriod(1) == 0:  # waits end within 1 ms instead of 15.6
            done.append("timer 1 ms")
    if priority := _raise_priority():
        done.append(priority)
    return done


def _settle_gc() -> str:
    # What the imports made (torch, mne: a quarter of a million objects) is never garbage; frozen, a full collection
    # does not walk through it: 0.01 ms instead of 110. Collections stay on, for cycles with
    # arrays in them must not pile up for a day.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    return f"{gc.get_freeze_count()} objects frozen, collection every {GC_THRESHOLDS[0]}"


def _shorten_turns() -> str:
    # A thread that computes in pure Python keeps the others waiting for a turn; 5 ms is Python's own
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return f"switch interval {SWITCH_INTERVAL_S * 1e3:g} ms"


def _raise_priority() -> str:
    import psutil

    process = psutil.Process()
    with contextlib.suppress(psutil.Error, OSError):
        if sys.platform == "win32":
            process.nice(psutil.HIGH_PRIORITY_CLASS)
            return "high priority"
        process.nice(-10)
        return "nice -10"
    return ""
