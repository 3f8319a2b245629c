"""``bci replay``: a recorded session again, by the live code path, as fast as it can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bci.cli.common import emit, output_options, progress
from bci.errors import ConfigError


@click.command()
@click.argument("recording", type=click.Path())
@click.option("--verify", is_flag=True, help="Compare every prediction and command with the recorded ones.")
@click.option("--model", "other_model", metavar="DIR", help="What would this model have done?")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="P",
    help="What would this gate threshold have done?",
)
@click.option("--compute", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to decode; default: as recorded.")
@click.option("--rechunk", type=int, metavar="SEED", help="Hand the samples over in other, random chunks.")
@output_options
def command(
    recording: str,
    verify: bool,
    other_model: str | None,
    threshold: float | None,
    compute: str | None,
    rechunk: int | None,
    json_path: str | None,
    quiet: bool,
) -> None:
    r"""Replay RECORDING (a session folder, or its session.xdf).

    \b
    bci replay sessions/sub-P01/ses-1/session.xdf --verify
    bci replay sessions/sub-P01/ses-1 --model OTHER

    With --verify the exit code is 1 if anything differs.
    """
    if verify and (other_model is not None or threshold is not None):
        raise ConfigError("--verify compares with what was recorded; drop --model and --threshold, or drop --verify")
    from bci.host.realtime import limit_threads

    limit_threads()
    from bci.build import open_recorded
    from bci.recording.folder import parts
    from bci.recording.replay import compare, rechunked, recorded_events, replay, replay_otherwise
    from bci.report.text import replay_report, report_text
    from bci.scoring import Scorer
    from bci.types import Control, Gap

    path = Path(recording)
    path = path / "session.xdf" if path.is_dir() else path
    what = open_recorded(path, None if other_model is None else Path(other_model), threshold, compute)
    session = what.session()
    scorer = Scorer.of(what.model, what.spec.sfreq_hz)
    events = progress(recorded_events(what.recorded), "replaying", len(what.recorded.events), quiet)
    if rechunk is not None:
        events = rechunked(events, session.primary, _sizes(rechunk))
    if threshold is not None:  # it stands for those that were set while the session ran, too
        events = (e for e in events if not (isinstance(e, Control) and e.action == "threshold"))
    is_other = other_model is not None or threshold is not None
    outputs = []
    for output in (replay_otherwise if is_other else replay)(session, events):
        scorer.receive(output)
        outputs.append(output)
    for receipt in what.recorded.receipts if not is_other else ():  # the devices were not asked again
        scorer.receipt(receipt)
    scorer.finish()

    judged = [e.event for e in what.recorded.events if isinstance(e.event, Gap) and e.event.verdict != "open"]
    result: dict[str, Any] = replay_report(
        scorer,
        what.pipelines[what.model.hash],
        n_samples=len(what.recorded.streams[0].stamps_s),
        n_hops=session.n_hops,
        n_lost=sum(g.n for g in judged if g.stream == 0),
        n_gaps=sum(g.verdict != "late" for g in judged),
        latency_ms=None if is_other else _recorded_latency(what.recorded.latency),
        has_sent=not is_other,
    )
    result |= {
        "recording": str(path),
        "model": other_model or str(path.parent / "models"),
        "model_hash": what.model.hash,
    }
    text = report_text(result)
    if verify:
        comparison = compare(what.recorded, outputs, bits=what.is_same_environment)
        result |= comparison.as_dict()
        text += "\n" + _verdict(comparison, what.is_same_environment)
    others = [str(p) for p in parts(path.with_name("session.xdf")) if p != path]
    if others:
        result["other_parts"] = others
        text += (
            f"\n{'other parts':<16}{', '.join(others)}: one that --resume began is replayed by its name; one that a "
            "restarted recorder went on in begins in the middle and is read by `bci report`"
        )
    emit(result, text, json_path, quiet)
    if verify and comparison.n_differences:
        raise SystemExit(1)


def _recorded_latency(rows: Any) -> dict[str, Any]:
    from bci.host.books import STAGES, record_row
    from bci.host.latency import LatencyLedger

    ledger = LatencyLedger(STAGES)
    for row in rows.tolist():
        record_row(ledger, row)
    return ledger.report()


def _sizes(seed: int) -> Iterator[int]:
    import numpy as np

    generator = np.random.default_rng(seed)
    while True:
        yield int(generator.integers(1, 200))


def _verdict(comparison: Any, same: bool) -> str:
    promise = (
        "same environment: equal bits are promised" if same else "another environment: equal decisions, p within 1e-5"
    )
    checked = f"{comparison.n_predictions} predictions and {comparison.n_commands} commands compared ({promise})"
    tails = ""
    if comparison.n_tail_recorded or comparison.n_tail_replayed:
        tails = (
            f"\n{'tails':<16}{comparison.n_tail_recorded} recorded predictions without samples, "
            f"{comparison.n_tail_replayed} replayed ones without a record (a crash cuts streams at different places)"
        )
    if not comparison.n_differences:
        bits = (
            "bit for bit" if comparison.bitwise else f"largest difference of a probability {comparison.max_abs_dp:.2g}"
        )
        return f"{'verify':<16}0 differences, {bits}; {checked}{tails}"
    first = comparison.first_difference
    return (
        f"{'verify':<16}{comparison.n_differences} DIFFERENCES; {checked}{tails}\n{'first':<16}{first['kind']} "
        f"{first['index']}: recorded {first['recorded']}, replayed {first['replayed']}"
    )
