"""``bci demo``: the main job on a simulated person, from calibration to a live session with its report."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bci.cli.common import emit, output_options

N_CALIBRATION_TRIALS = 40


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Length of the live session.")
@click.option(
    "--skill", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="How well the person does it."
)
@click.option("--seed", default=1, show_default=True, help="Which person.")
@click.option("--decoder", default="riemann", show_default=True, help="riemann, bandpower, eegnet.")
@click.option("--shuffle-labels", is_flag=True, help="Cues say something else than the person does: must be at chance.")
@click.option("--trials", "n_trials", type=click.IntRange(1), metavar="N",
              help="Not live: run N trials through the same data path as fast as it goes.")  # fmt: skip
@click.option("--out", metavar="DIR", help="Keep model and session here (default: a temporary folder).")
@output_options
def command(
    seconds: float,
    skill: float,
    seed: int,
    decoder: str,
    shuffle_labels: bool,
    n_trials: int | None,
    out: str | None,
    json_path: str | None,
    quiet: bool,
) -> None:
    r"""Simulate a person, calibrate a decoder on 40 cued trials, and run a live session over LSL.

    \b
    bci demo
    bci demo --skill 0 --trials 200      # a person without skill stays at chance
    """
    from bci.host.realtime import limit_threads

    limit_threads()
    is_silent = quiet or json_path == "-"
    with contextlib.ExitStack() as stack:
        folder = Path(out or stack.enter_context(tempfile.TemporaryDirectory(prefix="bci-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / "model"
        person = {"seed": seed, "skill": skill, "shuffle_labels": shuffle_labels}
        held_out = _calibrate(person, decoder, str(model), is_silent)
        if n_trials is None:
            result, text, error = _live(person, seconds, model, folder / "session", is_silent)
        else:
            result, text, error = _offline(person, n_trials, model)
        result |= {"skill": skill, "seed": seed, "shuffle_labels": shuffle_labels, "calibration": held_out}
        if out is None:
            result["recording"] = result["model"] = ""
            gone = ("recording", "model", "report")  # with the temporary folder
            text = "\n".join(line for line in text.splitlines() if line.split(" ", 1)[0] not in gone)
            text += f"\n{'kept':<16}nothing; give --out DIR to keep model and recording"
    emit(result, text, json_path, quiet)
    if error is not None:
        raise error


def _calibrate(person: dict[str, Any], decoder: str, model: str, quiet: bool) -> dict[str, Any]:
    from bci.cli.common import progress
    from bci.offline.train import TrainSettings, train
    from bci.sources.simulated import SimulatedPerson

    _say(f"calibration: {N_CALIBRATION_TRIALS} cued trials of a simulated person", quiet)
    calibration = SimulatedPerson(**person, session=0, n_trials=N_CALIBRATION_TRIALS).recording()
    settings = TrainSettings(labels={"left": "left", "right": "right"}, decoder=decoder)
    trained = train([calibration], settings, each=lambda fits: progress(fits, "training", len(fits), quiet))
    trained.save(model)
    scores = trained.info["scores"]
    _say(f"held-out accuracy {scores['accuracy']:.2f} (chance {scores['chance']:.2f}; {scores['split']})", quiet)
    return scores


def _live(person: dict[str, Any], seconds: float, model: Path, session: Path, quiet: bool) -> tuple[Any, str, Any]:
    from bci.cli.run import stop_on_signals
    from bci.config import parse_config
    from bci.live import run_live

    name = f"demo-{uuid.uuid4().hex[:8]}"
    overrides = {
        "stream": {"name": name, "wait_s": 30.0},
        "model": {"path": str(model)},
        "gate": {"threshold": 0.9, "dwell_s": 1.0},  # two classes and no rest class: only sure and lasting evidence
    }
    with _simulated_person(name, person, seconds), _countdown(seconds, quiet):
        live = run_live(
            parse_config("", overrides, where="demo"),
            arm=True,
            session_dir=str(session),
            on_stop=stop_on_signals,
        )
    return live.report, live.text, live.error


def _offline(person: dict[str, Any], n_trials: int, model: Path) -> tuple[Any, str, Any]:
    from bci.build import build_session, fit_to_stream, load
    from bci.config import SessionConfig
    from bci.offline.stream import play
    from bci.report.text import replay_report, report_text
    from bci.scoring import Scorer
    from bci.sources.simulated import SimulatedPerson

    recording = SimulatedPerson(**person, session=1, n_trials=n_trials).recording()
    stream, loaded = recording.signals[0], load(model)
    pipeline = fit_to_stream(loaded, stream.spec)
    session = build_session(SessionConfig(), stream.spec, {loaded.hash: pipeline}, loaded.hash)
    scorer = Scorer.of(loaded, stream.spec.sfreq_hz)
    for output in play(session, stream, recording):
        scorer.receive(output)
    scorer.finish()
    n_samples = len(stream.stamps_s)
    report = replay_report(
        scorer, pipeline, n_samples=n_samples, n_hops=session.n_hops, n_lost=0, n_gaps=0, has_sent=False
    )
    report |= {"model": str(model), "model_hash": loaded.hash, "recording": ""}
    return report, report_text(report), None


@contextlib.contextmanager
def _simulated_person(name: str, person: dict[str, Any], seconds: float) -> Iterator[None]:
    arguments = ["--name", name, "--seed", str(person["seed"]), "--session", "1", "--skill", str(person["skill"])]
    arguments += ["--seconds", str(seconds), "--wait", "--quiet"] + ["--shuffle-labels"] * person["shuffle_labels"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bci", "simulate", *arguments], stdin=subprocess.DEVNULL, env=os.environ.copy()
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _countdown(seconds: float, quiet: bool) -> Iterator[None]:
    """A bar over the live session's length, drawn by a process of its own: the engine's threads are not for that."""
    if quiet or not sys.stderr.isatty():
        _say(f"live: {seconds:g} s", quiet)
        yield
        return
    code = (
        "import sys, time\nfrom rich.console import Console\nfrom rich.progress import track\n"
        "for _ in track(range(int(sys.argv[1])), 'live session', console=Console(stderr=True)): time.sleep(1)"
    )
    bar = subprocess.Popen([sys.executable, "-c", code, str(int(seconds + 2))], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        bar.terminate()
        bar.wait()


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        click.echo(line, err=True)
