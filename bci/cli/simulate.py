"""``bci simulate``: a simulated person as LSL streams, or as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bci.cli.common import emit, output_options, progress

if TYPE_CHECKING:
    from bci.sources.follow import Cues
    from bci.sources.schedule import Push
    from bci.sources.simulated import SimulatedPerson
    from bci.types import Recording

CHUNK_S = 0.02


@click.command()
@click.option("--name", default="simulated", show_default=True, help="Name of the EEG stream.")
@click.option("--skill", type=click.FloatRange(0, 1), default=0.8, show_default=True,
              help="0: the hand leaves no trace in the signal; 1: a very good user.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The person.")
@click.option("--session", type=click.IntRange(0), default=0, show_default=True,
              help="Another number: another session of the same person.")  # fmt: skip
@click.option("--trials", "n_trials", type=click.IntRange(1), help="End after so many cues (default: never).")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after so many seconds.")
@click.option("--sfreq", type=click.FloatRange(100), default=250.0, show_default=True, help="Sampling rate in Hz.")
@click.option("--line", "line_hz", type=click.Choice(["50", "60"]), default="50", show_default=True, help="Mains, Hz.")
@click.option("--shuffle-labels", is_flag=True, help="Markers at random against what the person does (a control).")
@click.option("--follow", metavar="NAME", default="",
              help="Do what the cues of this marker stream say, whenever it is there; own cues otherwise.")  # fmt: skip
@click.option("--wait", "n_wait", type=click.IntRange(1), is_flag=False, flag_value=1, metavar="[=N]",
              help="Hold until one consumer (or N) reads the EEG stream.")  # fmt: skip
@click.option("--wait-timeout", type=float, default=60.0, show_default=True, help="Seconds that --wait waits at most.")
@click.option("--speed", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Times faster.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.xdf",
              help="Write a recording as fast as possible instead of streaming.")  # fmt: skip
@output_options
def command(name: str, n_trials: int | None, seconds: float | None, out: Path | None, json_path: str | None,
            quiet: bool, **options: Any) -> None:  # fmt: skip
    """Stream the EEG of a simulated person who imagines moving the left or right hand on cue.

    Markers are rest, left, right; after the last sample, rolandic:end is sent.

    Example: bci simulate --name eeg --skill 0.8 --trials 40 --wait
    """
    from bci.errors import ConfigError
    from bci.sources.simulated import SimulatedPerson

    person = SimulatedPerson(
        options["seed"], options["skill"], session=options["session"], sfreq_hz=options["sfreq"], n_trials=n_trials,
        line_hz=float(options["line_hz"]), shuffle_labels=options["shuffle_labels"],
    )  # fmt: skip
    about = {k: options[k] for k in ("seed", "session", "skill", "shuffle_labels")}
    if out is not None:
        if n_trials is None or seconds is not None or options["follow"]:
            raise ConfigError("--out: say how long the recording is by --trials N; it follows nobody")
        recording = person.recording()
        _save(recording, out, name)
        n_samples = len(recording.signals[0].stamps_s)
        result = {**about, "recording": str(out), "n_samples": n_samples, "n_trials": n_trials}
        emit(result, f"wrote {out}: {n_trials} trials, {n_samples} samples", json_path, quiet)
        return
    if n_trials is not None and options["follow"]:
        raise ConfigError("--follow: it is not known how many cues come; end it by --seconds S, not --trials N")
    from bci.cli.stream import play, report
    from bci.sources.follow import Cues
    from bci.sources.player import outlet_specs

    cues = Cues(options["follow"]) if options["follow"] else None

    specs = outlet_specs([person.spec, person.marker_spec], 0, name, f"simulated {about}")
    played = play(
        specs, 0, progress(_pushes(person, seconds, cues), f"simulating {name}", None, quiet), 0.0, 0.0,
        speed=options["speed"], n_wait=options["n_wait"], wait_timeout_s=options["wait_timeout"],
    )  # fmt: skip
    result = report(played, 0, **about, speed=options["speed"])
    emit(result, f"sent {result['n_samples']} samples of {name}", json_path, quiet)


def _pushes(person: SimulatedPerson, seconds: float | None, cues: Cues | None) -> Iterator[Push]:
    """Made while they are played, so that a session need not end, and that cues can be followed."""
    import numpy as np

    from bci.sources.schedule import Push

    fs = person.sfreq_hz
    n_chunk = max(1, round(CHUNK_S * fs))
    n_left = None if seconds is None else round(seconds * fs)
    while not person.is_over and n_left != 0:
        n = n_chunk if n_left is None else min(n_chunk, n_left)
        if cues is not None:
            person.follow(cues.are_there)
            for label in cues.take():
                person.cue(label)
        first = person.n_given
        samples = person.samples(n)
        stamps_s = np.arange(first, person.n_given) / fs
        n_left = None if n_left is None else n_left - n
        for index, label in person.markers():
            yield Push(index / fs, 1, [label], np.array([index / fs]))
        yield Push(float(stamps_s[-1]), 0, samples, stamps_s)


def _save(recording: Recording, path: Path, name: str) -> None:
    from msgspec.structs import replace

    from bci.sources.save import save_xdf
    from bci.types import RecordedStream

    called = (name, f"{name}-markers")
    streams = [
        RecordedStream(replace(s.spec, name=n), s.samples, s.stamps_s)
        for s, n in zip(recording.streams, called, strict=True)
    ]
    save_xdf(path, streams)
