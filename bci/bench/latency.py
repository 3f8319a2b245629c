"""Latency of the live path: the real `bci run`, and beside it a bare pull loop on the same outlet."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import RolandicError


def measure(seconds: float, n_channels: int, sfreq_hz: float, hop: int) -> dict[str, Any]:
    """Run both for ``seconds``; latencies count from the raw stamp of the sample that ends a pushed chunk.

    Returns
    -------
    dict
        ``rows``: one for the bare loop, one for sample to prediction, one for our own share; ``latency_ms`` by stage;
        ``ratio_p50``, ``ratio_p95``, ``ratio_p99`` of sample to prediction over the bare loop.
    """
    name = f"bench-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="bci-bench-") as folder, contextlib.ExitStack() as stack:
        model, session = Path(folder) / "model", Path(folder) / "session"
        linear_model(model, n_channels, sfreq_hz, hop)
        arguments = [name, str(n_channels), str(sfreq_hz), str(hop)]
        outlet = stack.enter_context(running(["-m", "bci.bench.outlet", *arguments, str(seconds), "2"], stdin=True))
        bare = stack.enter_context(running(["-m", "bci.bench.bare", name, str(hop), str(seconds + 1)]))
        live = stack.enter_context(
            running(
                [
                    *(
                        "-m",
                        "bci",
                        "run",
                        "--stream",
                        name,
                        "--model",
                        str(model),
                        "--session",
                        str(session),
                        "--quiet",
                    ),
                    *("--arm", "--device", "null:", "--seconds", str(seconds + 4), "--json", f"{folder}/report.json"),
                ]
            )
        )
        assert bare.stdout is not None
        assert outlet.stdin is not None
        bare.stdout.readline()  # it is subscribed
        wait_for_file(session / "session.xdf", live)
        outlet.stdin.write("go\ngo\n")
        outlet.stdin.flush()
        latencies_s = np.array(json.loads(bare.communicate(timeout=seconds + 60)[0]))
        live.communicate(timeout=seconds + 60)
        report = json.loads((Path(folder) / "report.json").read_text())
        total_s, own_s = _from_recording(session / "session.xdf", hop)
    rows = [
        _row("bare pull loop: last sample -> pull returned", latencies_s[10:]),
        _row("bci run: last sample -> prediction", total_s[10:]),
        _row("bci run: pull returned -> gated (our share)", own_s[10:]),
    ]
    ratios = {f"ratio_{p}": rows[1][p] / rows[0][p] for p in ("p50", "p95", "p99")}
    share = {f"own_over_bare_{p}": rows[2][p] / rows[0][p] for p in ("p50", "p95", "p99")}
    what = {"n_channels": n_channels, "sfreq_hz": sfreq_hz, "hop": hop, "seconds": seconds}
    return {"rows": rows, **ratios, **share, "latency_ms": report["latency_ms"], **what}


def linear_model(
    folder: Path, n_channels: int, sfreq_hz: float, hop: int, band_hz: tuple[float, float] = (8.0, 30.0)
) -> None:
    """A `bandpower` model of the right size, fitted to noise: what it says is worthless, what it costs is real."""
    from decoders import load_class
    from decoders.checkpoint import save_model
    from decoders.spec import Request

    channels = tuple(f"ch{i + 1}" for i in range(n_channels))
    family = load_class("bandpower")
    request = Request(channels=channels, sfreq_hz=sfreq_hz, hop=hop, classes=("left", "right"), window_s=1.0, unit="uV")
    spec = family.design(request)
    generator = np.random.default_rng(1)
    x = generator.normal(0, 10, (20, n_channels, hop * int(sfreq_hz / hop))).astype(np.float32)
    fitted = family.fit(spec, x, np.arange(20) % 2, seed=1)
    preprocessing = {"channels": channels, "sfreq_hz": sfreq_hz, "hop": hop, "bandpass_hz": band_hz}
    save_model(folder, spec, fitted, preprocessing, {"labels": {}, "decide_at_s": 3.5}, "# fitted to noise\n")


def table(result: dict[str, Any]) -> str:
    """For people."""
    what = f"{result['n_channels']} ch x {result['sfreq_hz']:g} Hz, hops of {result['hop']} samples"
    lines = [f"{what}, {result['seconds']:g} s"]
    lines.append(f"{'ms':<48}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}{'n':>8}")
    for row in result["rows"]:
        lines.append(
            f"{row['name']:<48}" + "".join(f"{row[k]:8.2f}" for k in ("p50", "p95", "p99", "max")) + f"{row['n']:8d}"
        )
    lines.append("by stage (ms)")
    for stage, row in result["latency_ms"].items():
        lines.append(f"  {stage:<46}" + "".join(f"{row[k] or 0:8.2f}" for k in ("p50", "p95", "p99", "max")))
    ratios = "  ".join(f"{p} {result[f'ratio_{p}']:.2f}" for p in ("p50", "p95", "p99"))
    lines.append(f"last sample -> prediction over the bare loop: {ratios}  (wanted: 1.5 at p50 and p95)")
    return "\n".join(lines)


def _from_recording(path: Path, hop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from bci.recording.xdf import read_xdf

    streams = {s.spec.name: s for s in read_xdf(path).streams}
    raw = next(s for s in streams.values() if s.spec.type == "EEG")
    rows = np.asarray(streams["bci-latency"].samples)
    index = np.asarray(streams["bci-hops"].samples)[:, 1].astype(int)
    ends_chunk = (index + 1) % hop == 0  # else the hop waits for the next chunk, which is no latency
    if ends_chunk.mean() < 0.5:
        raise RolandicError("bench: the first chunk came in parts, so that hops end inside chunks; run it again")
    gated_s, arrival_s = rows[:, 6], rows[:, 2]
    return (gated_s - raw.stamps_s[index])[ends_chunk], (gated_s - arrival_s)[ends_chunk]


def _row(name: str, seconds: NDArray[np.float64]) -> dict[str, Any]:
    ms = 1000 * seconds
    p50, p95, p99 = np.percentile(ms, (50, 95, 99)).tolist()
    return {"name": name, "n": len(ms), "p50": p50, "p95": p95, "p99": p99, "max": float(ms.max())}


@contextlib.contextmanager
def running(arguments: list[str], stdin: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A Python program that is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_file(path: Path, process: subprocess.Popen[str], timeout_s: float = 60.0) -> None:
    """Until a session has begun to record; RolandicError where it does not."""
    import time

    until_s = time.monotonic() + timeout_s
    while not path.exists():
        if process.poll() is not None or time.monotonic() > until_s:
            raise RolandicError("bench: `bci run` did not start; run it by hand to see why")
        time.sleep(0.05)
    time.sleep(1.5)  # subscribed, warmed up
