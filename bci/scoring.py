"""What a session achieved, counted as it runs: trials, commands, times. Constant memory but for one line a trial."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bci.types import Command, Flag, MarkerExpired, MarkerPlaced, OutputEvent, Prediction, Receipt
from calibration import stats
from decoders.checkpoint import Model


@dataclass
class Trial:
    """One cued decision. ``p`` is empty when no trustworthy prediction stood at the declared time: an abstention."""

    index: int
    label: str
    sample_index: int
    stamp_s: float
    p: tuple[float, ...] = ()
    number: int = -1  # of its marker


@dataclass
class Scorer:
    """Takes the outputs of a session in order.

    A trial is decided by the newest prediction whose last sample is at most ``decide_at_s`` after the cue's (one
    decision a trial; overlapping windows are never counted as trials); by time, so that a loss moves no decision. Of a
    model that answers markers, the answer to the cue's own marker decides; a marker that expired is an abstention. A
    command is right when its class is the one that is cued at that moment, false otherwise; of a model that answers
    markers, when it is that of the marker whose answer it followed.
    """

    classes: tuple[str, ...]
    labels: Mapping[str, str]
    decide_at_s: float
    sfreq_hz: float
    is_epoch_model: bool = False
    trials: list[Trial] = field(default_factory=list)
    n_predictions: int = 0
    n_trusted: int = 0
    n_flagged: dict[str, int] = field(default_factory=dict)  # why predictions were not trusted, and how often
    n_epochs: int = 0
    n_expired: int = 0
    n_commands: int = 0
    _by_hand: set[int] = field(default_factory=set)  # ids of commands that a person gave
    n_false_commands: int = 0
    n_sent: int = 0
    refusals: dict[str, int] = field(default_factory=dict)  # by the device host: reason and how often
    time_to_command_s: list[float] = field(default_factory=list)
    first_stamp_s: float | None = None
    last_stamp_s: float = 0.0
    _open: deque[Trial] = field(default_factory=deque)
    _last: Prediction | None = None
    _hop_s: float = 0.0
    _cued: Trial | None = None
    _answered: Trial | None = None  # of an epoch model: whose answer came last
    _has_command: set[int] = field(default_factory=set)  # indices of trials

    @classmethod
    def of(cls, model: Model, sfreq_hz: float) -> Scorer:
        """For a model: its classes, and the labels and decision time that it was trained with."""
        classes = tuple(model.spec.classes)
        labels = dict(model.info.get("labels", {})) | {c: c for c in classes}
        return cls(classes, labels, float(model.info.get("decide_at_s", 3.5)), sfreq_hz, model.spec.epoch is not None)

    def receive(self, output: OutputEvent) -> None:
        """Count one output."""
        if isinstance(output, Prediction) and output.marker >= 0:
            self._epoch(output)
        elif isinstance(output, Prediction):
            self._prediction(output)
        elif isinstance(output, MarkerExpired):
            self.n_expired += 1
            self._close(output.number)
        elif isinstance(output, MarkerPlaced):
            self._marker(output)
        elif isinstance(output, Command):
            self._command(output)

    @property
    def cued(self) -> str | None:
        """The class that a command of now should have: of the cue that stands, or of the marker that was answered."""
        trial = self._answered if self.is_epoch_model else self._cued
        return None if trial is None else trial.label

    def _marker(self, marker: MarkerPlaced) -> None:
        label = self.labels.get(marker.label)
        if label not in self.classes:
            self._cued = None
            return
        trial = Trial(
            len(self.trials), label, marker.sample_index, marker.stamp_s - marker.residual_s, (), marker.number
        )
        self.trials.append(trial)
        self._open.append(trial)
        self._cued = trial

    def _prediction(self, prediction: Prediction) -> None:
        self.n_predictions += 1
        why = prediction.flags & ~Flag.BETWEEN_EPOCHS
        self.n_trusted += not why
        for flag in Flag(why):
            self.n_flagged[str(flag.name).lower()] = self.n_flagged.get(str(flag.name).lower(), 0) + 1
        self.first_stamp_s = self.first_stamp_s if self.first_stamp_s is not None else prediction.stamp_s
        self.last_stamp_s = prediction.stamp_s
        while self._open and not self.is_epoch_model and prediction.stamp_s > self._due_s(self._open[0]):
            self._decide(self._open.popleft())
        if self._last is not None:
            self._hop_s = prediction.stamp_s - self._last.stamp_s
        self._last = prediction

    def _epoch(self, prediction: Prediction) -> None:
        self.n_epochs += 1
        trial = self._answered = self._close(prediction.marker)
        if trial is not None and not prediction.flags & ~Flag.ARTEFACT:
            trial.p = prediction.p

    def _close(self, number: int) -> Trial | None:
        """The open trial of this marker, which waits no longer."""
        for trial in self._open:
            if trial.number == number:
                self._open.remove(trial)
                return trial
        return None

    def _due_s(self, trial: Trial) -> float:
        return trial.stamp_s + self.decide_at_s + 0.5 / self.sfreq_hz

    def _decide(self, trial: Trial) -> None:
        last = self._last
        if last is not None and not last.flags & ~Flag.ARTEFACT and last.sample_index > trial.sample_index:
            trial.p = last.p

    def _command(self, command: Command) -> None:
        if command.by_hand:
            self._by_hand.add(command.id)
            return
        if command.velocity is not None:  # no decision
            return
        self.n_commands += 1
        trial = self._answered if self.is_epoch_model else self._cued
        if trial is None or command.name != trial.label:
            self.n_false_commands += 1
        elif trial.index not in self._has_command:
            self._has_command.add(trial.index)
            self.time_to_command_s.append(command.issued_s - trial.stamp_s)

    def receipt(self, receipt: Receipt) -> None:
        """Count what the device host did with a command of the decoder."""
        if receipt.command_id in self._by_hand:
            return
        if receipt.accepted:
            self.n_sent += 1
        else:
            self.refusals[receipt.reason] = self.refusals.get(receipt.reason, 0) + 1

    def finish(self) -> None:
        """Decide the last trial if its time had come; drop one that the recording cut off."""
        while self._open:
            trial = self._open.popleft()
            if self.is_epoch_model:
                self.trials.remove(trial)  # its epoch was cut off by the end
            elif self._last is not None and self._last.stamp_s + self._hop_s > self._due_s(trial):
                self._decide(trial)
            else:
                self.trials.remove(trial)

    def _auc(self, decided: list[Trial]) -> float | None:
        """Of the second of two classes; abstentions do not count."""
        if len(self.classes) != 2 or len({t.label for t in decided}) < 2:
            return None
        return stats.auc([t.label == self.classes[1] for t in decided], [t.p[1] for t in decided])

    @property
    def minutes(self) -> float:
        """Length of what was decoded."""
        return (self.last_stamp_s - self.first_stamp_s) / 60 if self.first_stamp_s is not None else 0.0

    def summary(self) -> dict[str, Any]:
        """The part of a report that is about decisions; abstentions count as wrong and are also given apart."""
        n = len(self.trials)
        n_false = self.n_false_commands if n else None  # without a cue nobody can say what was meant
        decided = [t for t in self.trials if t.p]
        right = [t for t in decided if self.classes[int(np.argmax(t.p))] == t.label]
        result: dict[str, Any] = {
            "n_predictions": self.n_predictions,
            "n_trusted_predictions": self.n_trusted,
            "n_flagged": self.n_flagged,
            "n_epochs": self.n_epochs,
            "n_expired": self.n_expired,
            "n_trials": n,
            "n_abstained": n - len(decided),
            "score": None,
            "accuracy": None,
            "chance": None,
            "chance_band": None,
            "kappa": None,
            "auc": None,
            "itr_bits_per_min": None,
            "n_commands": self.n_commands,
            "n_commands_by_hand": len(self._by_hand),
            "n_commands_sent": self.n_sent,
            "n_commands_refused": sum(self.refusals.values()),
            "n_false_commands": n_false,
            "false_commands_per_min": n_false / self.minutes if n_false is not None and self.minutes > 0 else None,
            "time_to_command_s": float(np.median(self.time_to_command_s)) if self.time_to_command_s else None,
        }
        if n:
            cued = [self.classes.index(t.label) for t in self.trials]
            said = [int(np.argmax(t.p)) if t.p else -1 for t in self.trials]
            chance = stats.chance_level(cued)
            accuracy = len(right) / n
            result |= {
                "accuracy": accuracy,
                "chance": chance,
                "chance_band": list(stats.chance_band(n, chance)),
                "kappa": stats.kappa(cued, said),
                "auc": self._auc(decided),
                "itr_bits_per_min": stats.itr_bits_per_min(accuracy, len(self.classes), self.decide_at_s, chance),
            }
            result["score"] = self._score(result, decided)
        return result

    def _score(self, summary: Mapping[str, Any], decided: list[Trial]) -> dict[str, Any]:
        """What better than chance is judged by, with its chance and the band of guessing.

        Accuracy; of a model that answers markers of two classes, which are seldom equally many, the AUC.
        """
        if summary["auc"] is not None and self.is_epoch_model:
            n = sum(t.label == self.classes[1] for t in decided)
            band = list(stats.auc_band(n, len(decided) - n))
            return {"kind": "AUC", "value": summary["auc"], "chance": 0.5, "band": band}
        value, chance, band = (summary[key] for key in ("accuracy", "chance", "chance_band"))
        return {"kind": "accuracy", "value": value, "chance": chance, "band": band}


def join(scorers: Sequence[Scorer]) -> Scorer:
    """One tally of the runs of a session, each of which was finished; they must know the same classes."""
    first = scorers[0]
    total = Scorer(first.classes, first.labels, first.decide_at_s, first.sfreq_hz, first.is_epoch_model)
    total.first_stamp_s = 0.0
    for one in scorers:
        total.trials += one.trials
        total.n_predictions += one.n_predictions
        total.n_trusted += one.n_trusted
        for flag, n in one.n_flagged.items():
            total.n_flagged[flag] = total.n_flagged.get(flag, 0) + n
        total.n_epochs += one.n_epochs
        total.n_expired += one.n_expired
        total.n_commands += one.n_commands
        total.n_false_commands += one.n_false_commands
        total.n_sent += one.n_sent
        total.time_to_command_s += one.time_to_command_s
        total.last_stamp_s += 60 * one.minutes
        for reason, n in one.refusals.items():
            total.refusals[reason] = total.refusals.get(reason, 0) + n
    return total
