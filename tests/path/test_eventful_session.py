"""The promise of replay, kept through everything that can happen to a session: a real one, over real LSL."""

import contextlib
import json
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from bci.recording.xdf import read_xdf
from bci.sources.simulated import SimulatedPerson
from bci.types import Control, Gap, Numbered, Swap
from tests.helpers.pages import reported


def _train(folder, decoder, seed):
    from bci.offline.train import TrainSettings, train

    recording = SimulatedPerson(3, 1.0, session=seed, n_trials=16).recording()
    settings = TrainSettings(labels={"left": "left", "right": "right"}, decoder=decoder, window_s=1.0)
    train([recording], settings).save(str(folder))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return _train(root / "a", "bandpower", 1), _train(root / "b", "riemann", 2)


def _bci(*arguments, timeout=120):
    return subprocess.run(
        [sys.executable, "-m", "bci", *map(str, arguments)], capture_output=True, text=True, timeout=timeout
    )


@contextlib.contextmanager
def _running(*arguments):
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [20, pytest.param(125, marks=pytest.mark.slow)])
def test_an_eventful_session_replays_bit_for_bit(seconds, models, tmp_path, unique_name):
    first, second = models
    session, report = tmp_path / "session", tmp_path / "report.json"
    with _running("-m", "tests.helpers.eventful_sender", unique_name, seconds) as sender:
        options = ["--model", first, "--session", session, "--device", "null:", "--json", report, "--quiet"]
        options += ["--threshold", 0.52, "--dwell", 0.1, "--refractory", 0.3, "--arm", "--wait", 30]
        with _running("-m", "bci", "run", "--stream", unique_name, *options) as live:
            said = []
            for line in sender.stdout:
                said.append(line.strip())
                if line.strip() == "stall":
                    assert _bci("control", "disarm").returncode == 0
                    assert _bci("control", "swap", second).returncode == 0
                if line.strip() == "back":
                    assert _bci("control", "note", "it is back").returncode == 0
                    # refused while health is bad, then accepted
                    assert any(_bci("control", "arm").returncode == 0 for _ in range(15))
            _, errors = live.communicate(timeout=60)
            assert live.returncode == 0, errors
    assert said == ["drop", "stall", "died", "back", "end"]

    result = json.loads(report.read_text())
    events = _events(session)
    verdicts = [e for e in events if isinstance(e, Gap) and e.stream == 0]
    assert [e for e in verdicts if e.verdict == "lost" and e.n == 75], verdicts  # 300 ms at 250 Hz
    assert [e for e in verdicts if e.verdict == "late" and e.n == 0], verdicts  # the stall, and its burst
    assert [e for e in verdicts if e.verdict == "unknown"], verdicts  # the reconnect
    assert any(isinstance(e, Swap) for e in events)
    assert {"arm", "disarm", "note"} <= {e.action for e in events if isinstance(e, Control)}
    assert result["n_segments"] >= 3
    assert result["n_commands"] > (20 if seconds > 60 else 2)

    made = reported(session, result)
    assert made["decoder_info"]["n_swaps"] == 1
    assert [g["verdict"] for g in made["gaps"] if g["is_primary"]] == [
        g.verdict for g in verdicts if g.verdict != "open"
    ]
    assert made["verdicts"][0]["level"] == "bad"

    for options in ((), ("--rechunk", 1), ("--rechunk", 2)):
        replayed = _bci("replay", session, "--verify", *options, "--json", "-")
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
        verdict = json.loads(replayed.stdout)
        assert verdict["n_differences"] == 0
        assert verdict["bitwise"]
        assert verdict["n_commands"] == result["n_commands"]
        assert verdict["n_predictions"] == result["n_hops"]
        assert verdict["n_tail_recorded"] == verdict["n_tail_replayed"] == 0


def _events(session):
    streams = {s.spec.name: s for s in read_xdf(session / "session.xdf").streams}
    assert np.isfinite(streams["bci-hops"].samples).all()
    return [msgspec.json.decode(line, type=Numbered).event for line in streams["bci-events"].samples]
