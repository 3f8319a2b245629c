"""`bci demo` as a new user runs it: calibration, a live session over LSL, and its report."""

import json
import subprocess
import sys


def test_the_demo_runs_live_and_keeps_what_it_made(tmp_path):
    out = tmp_path / "demo"
    arguments = ["--seconds", "14", "--decoder", "bandpower", "--out", str(out), "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "bci", "demo", *arguments], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["n_samples_lost"] == 0
    assert result["n_samples"] == 14 * 250
    assert result["n_trials"] >= 1
    assert result["latency_ms"]["gated"]["p50"] > 0
    assert result["signal_delay_ms"] > 0
    assert result["calibration"]["accuracy"] > 0.7
    verified = subprocess.run(
        [sys.executable, "-m", "bci", "replay", str(out / "session"), "--verify", "--json", "-"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert json.loads(verified.stdout)["n_differences"] == 0
