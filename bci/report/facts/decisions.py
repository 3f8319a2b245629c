"""What a run decided, scored again from its recording: trials, commands, and what stood around them.

Nothing is computed anew by a decoder: predictions, commands and places of markers are the recorded ones. They go to the
`Scorer` in the order in which the session gave them, so the figures are those that the run printed when it ended. That
order also makes the score prequential: a trial is judged by what was said before anybody could learn from it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bci.recording.runs import RunRecord
from bci.scoring import Scorer
from bci.types import Command, Marker, MarkerExpired, MarkerPlaced, Now, OutputEvent, Prediction, Receipt

DECIDE_AT_S = 3.5  # where the model does not say, as `Scorer.of` has it
_SAME_S = 1e-6  # the time that the gate was given, from stamp + age: equal but for rounding
_AHEAD_S = 1.0


def outputs(run: RunRecord, has_trigger: bool) -> Iterator[OutputEvent]:
    """Predictions, commands and markers in the order in which the session gave them.

    The gate judges a prediction at a `Now` event, whose time is its stamp plus its age. A marker is placed at its
    `Marker` event, or found in the trigger channel; then, and when it expires, the time that the record was written
    must do. What is left when the recorded events end (a crash cut them) follows.
    """
    hops, commands = deque(_predictions(run)), deque(run.commands)
    placed: dict[str, deque[MarkerPlaced]] = defaultdict(deque)
    written: deque[tuple[float, MarkerPlaced | MarkerExpired]] = deque()
    for at_s, said in run.said:
        if isinstance(said, MarkerExpired) or (has_trigger and isinstance(said, MarkerPlaced)):
            written.append((at_s, said))
        elif isinstance(said, MarkerPlaced):
            placed[said.label].append(said)
    for at_s, event in run.events:
        if isinstance(event, Now):
            while written and written[0][0] <= event.now_s:
                yield written.popleft()[1]
            while hops and hops[0].stamp_s + hops[0].age_s <= event.now_s + _SAME_S:
                yield hops.popleft()
            while commands and commands[0].issued_s <= event.now_s + _SAME_S:
                yield commands.popleft()
        elif isinstance(event, Marker):
            waiting = placed[event.label]  # empty, or of later: this one could not be placed
            if waiting and waiting[0].stamp_s <= at_s + _AHEAD_S:
                yield waiting.popleft()
    rest = [(m.stamp_s, m) for waiting in placed.values() for m in waiting]
    rest += [(h.stamp_s + h.age_s, h) for h in hops] + [(c.issued_s, c) for c in commands] + list(written)
    yield from (output for _, output in sorted(rest, key=lambda pair: pair[0]))


def _predictions(run: RunRecord) -> Iterator[Prediction]:
    for hop, sample_index, stamp_s, age_s, flags, marker, marker_index, *p in run.hops.tolist():
        yield Prediction(
            int(hop), int(sample_index), stamp_s, tuple(p), int(flags), "", age_s, int(marker), int(marker_index)
        )


def score(
    run: RunRecord, model: Mapping[str, Any], start_s: float, has_trigger: bool
) -> tuple[Scorer, list[dict], list[dict]]:
    """Score a run again.

    Parameters
    ----------
    model
        ``spec.json`` of the model that the run started with; may be empty if the folder is gone.
    start_s
        LSL time that ``t_s`` counts from.
    has_trigger
        Markers come from a channel of the signal.

    Returns
    -------
    scorer : Scorer
        Finished.
    trials, commands : list of dict
        As the report lists them.
    """
    info = model.get("info", {})
    labels = dict(info.get("labels", {})) | {c: c for c in run.classes}
    sfreq_hz = run.streams[0].spec.sfreq_hz if run.streams else 0.0
    decide_at_s = float(info.get("decide_at_s", DECIDE_AT_S))
    is_epoch_model = model.get("decoder", {}).get("epoch") is not None or bool(run.is_epoch.any())
    scorer = Scorer(run.classes, labels, decide_at_s, sfreq_hz or 1.0, is_epoch_model)
    commands: list[dict[str, Any]] = []
    receipts = {r.command_id: r for r in run.receipts}
    for output in outputs(run, has_trigger):
        scorer.receive(output)
        if isinstance(output, Command) and output.velocity is None:
            commands.append(_command(output, receipts.get(output.id), scorer.cued, start_s))
    for receipt in run.receipts:
        scorer.receipt(receipt)
    scorer.finish()
    for command in commands:  # without a cue nobody can say what was meant
        command["is_false"] = command["name"] != command["cued"] if scorer.trials else None
    trials = [_trial(t, run.classes, start_s) for t in scorer.trials]
    return scorer, trials, commands


def _command(command: Command, receipt: Receipt | None, cued: str | None, start_s: float) -> dict[str, Any]:
    """One line of the report; ``accepted`` is None when the device host's answer is not recorded."""
    return {
        "t_s": command.issued_s - start_s,
        "id": command.id,
        "name": command.name,
        "p": command.value,
        "hop": command.hop,
        "arm_id": command.arm_id,
        "accepted": None if receipt is None else receipt.accepted,
        "reason": "" if receipt is None else receipt.reason,
        "sent": [] if receipt is None else list(receipt.sent),
        "delay_ms": 1000 * (receipt.sent_s - command.issued_s) if receipt is not None and receipt.sent_s else None,
        "cued": cued,
    }


def _trial(trial: Any, classes: tuple[str, ...], start_s: float) -> dict[str, Any]:
    said = classes[int(np.argmax(trial.p))] if trial.p else None
    return {
        "t_s": trial.stamp_s - start_s,
        "cued": trial.label,
        "said": said,  # None: an abstention, which counts as wrong
        "p": dict(zip(classes, trial.p, strict=False)),
        "is_right": said == trial.label,
    }


def highest_p(run: RunRecord, rest: str | None, armed: list[tuple[float, float]]) -> float | None:
    """The highest probability of a class that commands, in trusted predictions while the gate was armed."""
    columns = [i for i, c in enumerate(run.classes) if c != rest]
    is_armed = np.zeros(len(run.hops), bool)
    for from_s, until_s in armed:
        is_armed |= (run.judged_s >= from_s) & (run.judged_s <= until_s)
    p = run.p[is_armed & run.is_trusted][:, columns]
    return float(np.nanmax(p)) if p.size and np.isfinite(p).any() else None
