"""What the window costs: its frames, its memory, and what the engine pays for it, in one session."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.bench.latency import linear_model, running, wait_for_file
from bci.errors import RolandicError

SETTLE_S = 2.0  # of each stretch, that is left out: a window that starts or ends is none that is open
BLOCKED_S = 3.0


def measure(seconds: float, n_channels: int, sfreq_hz: float, hop: int, rounds: int = 2) -> dict[str, Any]:
    """One session, ``seconds`` without and ``seconds`` with a window in turn; at the end minimised, and hanging.

    Returns
    -------
    dict
        ``rows``: latency of the engine with and without the window, sample to prediction and our share, in ms;
        ``ratio_p50``, ``ratio_p95`` of the second; ``frames``: of each stretch of the window, with its memory.
    """
    name = f"bench-{uuid.uuid4().hex[:8]}"
    stretches: list[tuple[str, float, float]] = []
    frames: list[dict[str, Any]] = []
    total_s = 2 * rounds * (seconds + SETTLE_S + 10) + 60
    with tempfile.TemporaryDirectory(prefix="bci-bench-") as folder, contextlib.ExitStack() as stack:
        model, session = Path(folder) / "model", Path(folder) / "session"
        linear_model(model, n_channels, sfreq_hz, hop)
        arguments = [name, str(n_channels), str(sfreq_hz), str(hop), str(total_s), "1"]
        outlet = stack.enter_context(running(["-m", "bci.bench.outlet", *arguments], stdin=True))
        options = ["--stream", name, "--model", str(model), "--session", str(session), "--share", "--arm", "--quiet"]
        live = stack.enter_context(running(["-m", "bci", "run", *options, "--json", f"{folder}/report.json"]))
        assert outlet.stdin is not None
        wait_for_file(session / "session.xdf", live)
        outlet.stdin.write("go\n")
        outlet.stdin.flush()
        time.sleep(2 * SETTLE_S)
        for last in [False] * (rounds - 1) + [True]:
            stretches.append(("without", *_pass(seconds)))
            stretches.append(("with", *_watched(seconds, last, frames)))
        live.terminate()
        live.communicate(timeout=60)
        rows = _rows(session / "session.xdf", stretches)
    by_name = {row["name"]: row for row in rows}
    with_, without = by_name["our share, with the window"], by_name["our share, without"]
    ratios = {f"ratio_{p}": with_[p] / without[p] for p in ("p50", "p95")}
    what = {"n_channels": n_channels, "sfreq_hz": sfreq_hz, "hop": hop, "seconds": seconds, "rounds": rounds}
    return {"rows": rows, **ratios, "frames": frames, **what}


def table(result: dict[str, Any]) -> str:
    """For people."""
    what = f"{result['n_channels']} ch x {result['sfreq_hz']:g} Hz, hops of {result['hop']} samples"
    lines = [f"{what}, {result['rounds']} x {result['seconds']:g} s without and with the window, in turn"]
    lines.append(f"{'engine, ms':<44}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}{'n':>8}")
    for row in result["rows"]:
        numbers = "".join(f"{row[k]:8.2f}" for k in ("p50", "p95", "p99", "max"))
        lines.append(f"{row['name']:<44}{numbers}{row['n']:8d}")
    lines.append(f"our share with / without: p50 {result['ratio_p50']:.2f}, p95 {result['ratio_p95']:.2f}")
    lines.append(
        f"{'window':<14}{'s':>8}{'frames/s':>10}{'dropped':>9}{'worst ms':>10}{'MB at start':>13}{'at end':>9}"
    )
    for f in result["frames"]:
        numbers = f"{f['seconds']:8.1f}{f['frames_per_s']:10.1f}{f['n_dropped']:9d}{f['worst_ms']:10.0f}"
        lines.append(f"{f['stretch']:<14}{numbers}{f['start_mb']:13.1f}{f['end_mb']:9.1f}")
    return "\n".join(lines)


def _pass(seconds: float) -> tuple[float, float]:
    from bci.host.clock import now_s

    start_s = now_s()
    time.sleep(seconds)
    return start_s, now_s()


def _watched(seconds: float, with_trouble: bool, frames: list[dict[str, Any]]) -> tuple[float, float]:
    """Open a window for a while; the stretch in which it was shown, and what it says of its frames."""
    trouble = [f"minimised:{min(seconds, 20):g}", f"blocked:{BLOCKED_S:g}", "shown:5"] if with_trouble else []
    with running(["-m", "bci.bench.watcher", f"shown:{seconds:g}", *trouble]) as window:
        told = _lines(window)
        frames += [line for line in told if "frames_per_s" in line]
    shown = next((line for line in told if line["stretch"] == "shown"), None)
    if shown is None:
        raise RolandicError("bench: the window did not start; run bci view by hand to see why")
    time.sleep(SETTLE_S)
    return shown["from_s"], shown["to_s"]


def _lines(window: subprocess.Popen[str]) -> list[dict[str, Any]]:
    assert window.stdout is not None
    return [json.loads(line) for line in window.stdout]


def _rows(path: Path, stretches: list[tuple[str, float, float]]) -> list[dict[str, Any]]:
    from bci.recording.xdf import read_xdf

    streams = {s.spec.name: s for s in read_xdf(path).streams}
    raw = next(s for s in streams.values() if s.spec.type == "EEG")
    marks = np.asarray(streams["bci-latency"].samples)
    index = np.asarray(streams["bci-hops"].samples)[: len(marks), 1].astype(int)
    gated_s, arrival_s = marks[: len(index), 6], marks[: len(index), 2]
    rows = []
    for name, spent_s in (("sample to prediction", gated_s - raw.stamps_s[index]), ("our share", gated_s - arrival_s)):
        for kind, label in (("without", "without"), ("with", "with the window")):
            within = np.zeros(len(gated_s), bool)
            for which, from_s, to_s in stretches:
                if which == kind:
                    within |= (gated_s > from_s + SETTLE_S) & (gated_s < to_s)
            rows.append(_row(f"{name}, {label}", spent_s[within]))
    return rows


def _row(name: str, seconds: NDArray[np.float64]) -> dict[str, Any]:
    if not len(seconds):
        raise RolandicError("bench: no hop was measured; give more --seconds")
    ms = 1000 * seconds
    p50, p95, p99 = np.percentile(ms, (50, 95, 99)).tolist()
    return {"name": name, "n": len(ms), "p50": p50, "p95": p95, "p99": p99, "max": float(ms.max())}
