"""Threshold and dwell from calibration data: the real gate over the predictions of runs that were held out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from bci.config import default_release
from bci.control.gate import GateSettings, GateState, control, step
from bci.errors import ConfigError
from bci.types import Command, Control, Flag, Health, Prediction
from calibration.align import Recentring
from calibration.fit import fit_to
from calibration.thresholds import Setting, Tally, report
from calibration.trials import HopRun, Trials
from decoders import load_class
from decoders.engine import Runner
from decoders.spec import Decoder, DecoderSpec, Fitted
from decoders.training.plan import Plan

THRESHOLDS = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)
DWELLS_S = (0.25, 0.5, 1.0)
_OK, _ARM = Health("ok"), Control("arm")


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """A run as a decoder sees it that was fitted without it."""

    run: HopRun
    p: NDArray[np.float64]  # (n_hops, n_classes)
    is_good: NDArray[np.bool_]  # (n_hops,)


def choose_gate(
    spec: DecoderSpec,
    fitted: Fitted,
    trials: Trials,
    runs: Sequence[HopRun],
    *,
    wanted_per_min: float,
    trial_s: float,
    seed: int,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """What `calibration.thresholds.report` says of this decoder on these runs.

    Each run is decoded by a decoder that was fitted on the others as ``fitted`` was (``plan``: of a network), with its
    temperature, and that recentres as it will live. Rest is what
    lies more than ``trial_s`` after a cue, or behind a cue of the class ``rest``; commands are those of the gate with
    its usual settings, armed throughout.

    Raises
    ------
    ConfigError
        A decoder that answers markers, fewer than two runs, or runs that do not each leave all classes to the others.
    FitError
        No rest, or the rate cannot be had.
    """
    if spec.epoch is not None:
        raise ConfigError("--false-commands-per-min: a decoder that answers markers says nothing at rest; leave it out")
    held_out = predict_held_out(spec, fitted, trials, runs, seed=seed, plan=plan)
    base = GateSettings(classes=tuple(spec.classes), rest="rest" if "rest" in spec.classes else None)
    chance = 1 / len(spec.classes)
    grid = [Setting(t, d) for t, d in itertools.product(THRESHOLDS, DWELLS_S) if t > chance]
    return report({s: [tally(settings_of(base, s), one, trial_s) for one in held_out] for s in grid}, wanted_per_min)


def settings_of(base: GateSettings, setting: Setting) -> GateSettings:
    """As the live gate has them."""
    release = default_release(setting.threshold)
    return replace(base, threshold=setting.threshold, release=release, dwell_s=setting.dwell_s)


def predict_held_out(
    spec: DecoderSpec, fitted: Fitted, trials: Trials, runs: Sequence[HopRun], *, seed: int, plan: Plan | None = None
) -> list[HeldOut]:
    """Every hop of each run, by a decoder that has not seen the run."""
    family, n_classes = load_class(spec.name), len(spec.classes)
    found = []
    for number, run in enumerate(runs):
        rest = trials.run != number
        if len(np.unique(trials.y[rest])) < n_classes:
            raise ConfigError(
                "--false-commands-per-min: each recording is held out in turn, so two or more are needed, "
                "each class in at least two of them"
            )
        other = fit_to(spec, trials, rest, seed=seed, plan=plan)
        params = {**other.params, "temperature": fitted.params["temperature"]}
        runner = Runner(cast("Decoder", family.restore(spec, other.weights)), params)
        recentring = Recentring(params["align"], spec.recentre_hops) if spec.recentre_hops else None
        found.append(HeldOut(run, *_decoded(runner, recentring, spec.n_priming_hops, run)))
    return found


def _decoded(
    runner: Runner, recentring: Recentring | None, n_priming: int, run: HopRun
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """As in a session: memory begins anew with each segment, and what was not good is felt for ``n_priming`` hops."""
    p = np.zeros((len(run.hops), len(runner.spec.classes)))
    is_good = np.zeros(len(run.hops), bool)
    n_bad, segment = n_priming, None
    for k, hop in enumerate(run.hops):
        if run.segment[k] != segment:
            segment, n_bad = run.segment[k], n_priming
            runner.reset()
            if recentring is not None:
                recentring.begin_segment()
        if recentring is not None and recentring.step(hop, bool(run.is_good[k])):
            runner.set_params(align=recentring.align)
        p[k] = runner.step(hop)
        n_bad = n_priming if not run.is_good[k] else max(0, n_bad - 1)
        is_good[k] = n_bad == 0
    return p, is_good


def run_gate(settings: GateSettings, held_out: HeldOut) -> list[tuple[int, Command]]:
    """The commands of the real gate, with the hop that each came at. Whatever disarms it, it is armed again."""
    run, state, commands = held_out.run, GateState(), []
    p = held_out.p.tolist()
    for k, index in enumerate(run.sample_index.tolist()):
        now_s = index / run.sfreq_hz
        flags = 0 if held_out.is_good[k] else int(Flag.PRIMING)
        prediction = Prediction(k, index, now_s, tuple(p[k]), flags, "")
        state, command, _ = step(settings, state, prediction, _OK, now_s)
        if command is not None:
            commands.append((k, command))
        if not state.is_armed:
            state, _ = control(settings, state, _ARM, _OK)
    return commands


def tally(settings: GateSettings, held_out: HeldOut, trial_s: float) -> Tally:
    """Count what the gate did at rest and at the cues of one run."""
    run = held_out.run
    cues = [c for c in run.cues if c.label != settings.rest]
    at = run.sample_index
    cue_of = np.searchsorted([c.sample_index for c in run.cues], at, side="right") - 1
    is_rest = is_at_rest(run, trial_s, settings.rest)
    first: dict[int, str] = {}
    n_false = 0
    for k, command in run_gate(settings, held_out):
        if is_rest[k]:
            n_false += 1
        elif cue_of[k] >= 0:
            first.setdefault(int(cue_of[k]), command.name)
    hop_s = float(np.median(np.diff(at))) / run.sfreq_hz if len(at) > 1 else 0.0
    right = sum(name == run.cues[c].label for c, name in first.items())
    return Tally(n_false, float((is_rest & held_out.is_good).sum()) * hop_s / 60, len(cues), len(first), right)


def is_at_rest(run: HopRun, trial_s: float, rest: str | None) -> NDArray[np.bool_]:
    """Hops (n_hops,) before the first cue, more than ``trial_s`` after the last one, or behind a cue of ``rest``."""
    cue_at = np.array([c.sample_index for c in run.cues])
    is_rest_cue = np.array([c.label == rest for c in run.cues], bool)
    last = np.searchsorted(cue_at, run.sample_index, side="right") - 1
    after = last >= 0
    at_rest = np.ones(len(run.sample_index), bool)
    since_s = (run.sample_index[after] - cue_at[last[after]]) / run.sfreq_hz
    at_rest[after] = is_rest_cue[last[after]] | (since_s > trial_s)
    return at_rest
