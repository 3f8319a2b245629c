"""`bci augment`: synthetic trials in a file, and their place among the trials that a decoder learns from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, ModelError, RecordingError
from bci.offline.train import Design, TrainSettings, check_labels, preprocess
from bci.types import Recording
from calibration.trials import Trials
from decoders.spec import DecoderError
from decoders.training.streams import learns_from_streams
from decoders.training.wgan import synthesise

N_STEPS = 1500


@dataclass(frozen=True, slots=True, eq=False)
class Synthetic:
    """What a file of synthetic trials holds.

    Attributes
    ----------
    x : ndarray of float32, shape (n_trials, n_channels, n_samples)
    y : ndarray of int, shape (n_trials,)
    about : dict
        ``preprocessing, classes, seed, n_steps, made_from[{file, sha256}]``.
    path : str
    """

    x: NDArray[np.float32]
    y: NDArray[np.integer]
    about: dict[str, Any]
    path: str

    def added_to(self, trials: Trials, design: Design, tested: Iterable[Recording]) -> Trials:
        """The trials with these behind them, as one more run of nobody.

        Raises
        ------
        ConfigError
            They were made from a recording that is tested, or of another signal.
        """
        sources = {source["sha256"]: source["file"] for source in self.about["made_from"]}
        if leaks := sorted({sources[r.sha256] for r in tested if r.sha256 in sources}):
            raise ConfigError(
                f"--synthetic {self.path}: it was made from {', '.join(leaks)}, which is tested here; "
                "make it from the training recordings alone"
            )
        if learns_from_streams(design.spec):
            raise ConfigError(
                f"--synthetic: decoder {design.spec.name!r} learns from streams, not from trials; take another"
            )
        same = self.about["preprocessing"] == _plain(design)
        if not same or self.about["classes"] != list(trials.classes) or self.x.shape[1:] != trials.x.shape[1:]:
            raise ConfigError(
                f"--synthetic {self.path}: its trials are of another signal (channels, filters, rate, window, "
                "classes); make it with the options of this evaluation"
            )
        n_runs = len(trials.people) or int(trials.run.max()) + 1
        people = (*(trials.people or ("",) * n_runs), "synthetic")
        sessions = (*(trials.sessions or ("",) * n_runs), "")
        number = np.full(len(self.y), n_runs)
        index = np.concatenate([trials.index, np.arange(len(self.y))]) if len(trials.index) else trials.index
        return replace(
            trials, x=np.concatenate([trials.x, self.x]), y=np.concatenate([trials.y, self.y]),
            run=np.concatenate([trials.run, number]), people=people, sessions=sessions, index=index,
        )  # fmt: skip


def augment(
    recordings: Sequence[Recording],
    settings: TrainSettings,
    path: str,
    *,
    n_per_class: int | None = None,
    n_steps: int = N_STEPS,
    each: Callable[[range], Iterable[int]] = iter,
) -> Synthetic:
    """Learn from the cued trials of these recordings, and write synthetic ones to ``path`` (npz, nothing pickled).

    Raises
    ------
    ConfigError, ModelError, RecordingError
        The recordings or settings cannot serve; the file cannot be written.
    """
    check_labels(recordings, settings)
    design = Design.of(recordings[0], settings)
    runs = [preprocess(one, design.preprocessing, settings, design.spec) for one in recordings]
    try:
        trials = design.cut(runs)
        n = n_per_class or int(np.bincount(trials.y).max())
        x, y = synthesise(trials.x, trials.y, n, n_steps=n_steps, seed=settings.seed, each=each)
    except DecoderError as error:
        raise ModelError(f"cannot make synthetic trials: {error}") from None
    about = {
        "preprocessing": _plain(design),
        "classes": list(trials.classes),
        "seed": settings.seed,
        "n_steps": n_steps,
        "made_from": [{"file": Path(r.path).name, "sha256": r.sha256} for r in recordings],
    }
    try:
        with Path(path).open("wb") as file:
            np.savez_compressed(file, x=x, y=y, about=np.array(json.dumps(about)))
    except OSError as error:
        raise RecordingError(f"cannot write {path}: {error.strerror}; choose an --out that is writable") from None
    return Synthetic(x, y, about, path)


def read_synthetic(path: str) -> Synthetic:
    """What `augment` wrote; ConfigError where it is something else."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Synthetic(kept["x"], kept["y"], json.loads(str(kept["about"])), path)
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"--synthetic {path}: no file of bci augment ({error})") from None


def _plain(design: Design) -> dict[str, Any]:
    """The preprocessing as a file holds it."""
    return json.loads(msgspec.json.encode(design.preprocessing))
