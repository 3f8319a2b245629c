"""Several sessions of one person side by side: what each report says, in one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bci.errors import ConfigError
from bci.report.words import NBSP, count, listed, number, percent, when
from calibration import stats

Row = dict[str, Any]
_SAME = (
    "session", "started", "duration_s", "recording", "decoder", "model_hash", "n_samples", "n_samples_lost", "n_gaps",
    "n_late", "n_trials", "n_abstained", "accuracy", "chance", "chance_band", "kappa", "auc", "score", "n_commands",
    "n_commands_sent", "n_commands_refused", "n_false_commands", "false_commands_per_min", "armed_s", "n_too_old",
    "n_predictions",
)  # fmt: skip


def comparison(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row a session, by the time it began, and all trials together.

    Raises
    ------
    ConfigError
        They are of different people.
    """
    people = sorted({r["subject"] for r in reports} - {None})
    if len(people) > 1:
        raise ConfigError(f"these are sessions of {listed(people)}; compare those of one person")
    in_order = sorted(reports, key=lambda r: (r["started"], len(r["session"]), r["session"]))  # ses-9 before ses-10
    rows = [_row(r) for r in in_order]
    n_unnamed = sum(r["subject"] is None for r in reports)
    return {
        "subject": people[0] if people else None,
        "n_unnamed": n_unnamed,
        "n_sessions": len(rows),
        **_together(rows),
        "sessions": rows,
    }


def _row(r: dict[str, Any]) -> Row:
    primary = [s for s in r["streams"] if s["is_primary"]]
    expected = sum(s["n_expected"] or 0 for s in primary)
    verdicts = dict(zip(("lost", "late", "chance", "moved"), r["verdicts"], strict=True))
    return {
        **{key: r[key] for key in _SAME},
        "n_missing_about": sum(s["n_missing_about"] for s in primary),
        "completeness": sum(s["n"] for s in primary) / expected if expected else None,
        "latency_ms": r["latency_ms"].get("total"),
        "n_alarms": len(r["alarms"]),
        "n_channels": len(r["signal"]["channels"]),
        "n_channels_with_a_problem": sum(bool(c["problems"]) for c in r["signal"]["channels"]),
        "is_perhaps_training_data": r["decoder_info"]["is_perhaps_training_data"],
        "levels": {key: v["level"] for key, v in verdicts.items()},
        "answers": {key: v["answer"] for key, v in verdicts.items()},
    }


def _together(rows: Sequence[Row]) -> dict[str, Any]:
    """All cued trials as one experiment; what may be training data does not count, and AUCs are not thrown together."""
    cued = [r for r in rows if r["score"] and not r["is_perhaps_training_data"]]
    n = sum(r["n_trials"] for r in cued)
    score = None
    if n and all(r["score"]["kind"] == "accuracy" for r in cued):
        value, chance = (sum(r["score"][key] * r["n_trials"] for r in cued) / n for key in ("value", "chance"))
        score = {"kind": "accuracy", "value": value, "chance": chance, "band": list(stats.chance_band(n, chance))}
    return {"n_trials": n, "score": score}


# --- for people ------------------------------------------------------------------------------------------------------


def comparison_text(c: dict[str, Any]) -> str:
    """A table for the terminal."""
    head = ("session", "began", "trials", "score", "guessing", "missing", "p95 ms", "sent")
    lines = ["{:<12}{:<22}{:>7}{:>7}{:>12}{:>9}{:>9}{:>6}".format(*head)]
    for r in c["sessions"]:
        value, guessing = (say(r["score"]), band(r["score"])) if r["score"] else ("–", "–")
        p95 = "–" if r["latency_ms"] is None else f"{r['latency_ms']['p95']:.1f}"
        lines.append(
            f"{r['session']:<12.11}{when(r['started']):<22}{r['n_trials']:>7}{value:>7}{guessing:>12}"
            f"{r['n_missing_about']:>9}{p95:>9}{r['n_commands_sent']:>6}"
        )
    return "\n".join([*lines, *summary(c)]).replace(NBSP, " ")


def say(score: Row, value: float | None = None) -> str:
    """An accuracy in percent, an AUC as it is; of the score itself, or of another value on its scale."""
    value = score["value"] if value is None else value
    return percent(value) if score["kind"] == "accuracy" else number(value, 2, trim=False)


def band(score: Row) -> str:
    """What guessing gives, as ``27–80 %``, or ``0.44–0.56``."""
    low, high = (say(score, value) for value in score["band"])
    return f"{low.removesuffix('%').rstrip()}–{high}"


def summary(c: dict[str, Any]) -> list[str]:
    """What the sessions say together, in a few sentences."""
    rows = c["sessions"]
    cued = [r for r in rows if r["n_trials"]]
    above = [r for r in cued if r["levels"]["chance"] == "ok"]
    said = ["No session had cues: nobody can say what was right."]
    if cued:
        said = [f"Better than chance in {len(above)} of {count(len(cued), 'session')} with cues."]
    if (score := c["score"]) and len(cued) > 1:
        verdict = "better than chance" if score["value"] > score["band"][1] else "not better than chance"
        said.append(
            f"All {count(c['n_trials'], 'trial')} together: {say(score)} right; guessing gives {band(score)}: "
            f"{verdict}."
        )
    if c["subject"] and (n := c["n_unnamed"]):
        said.append(f"{count(n, 'session')} {'names' if n == 1 else 'name'} no person: check that it is the same.")
    lost = [f"session {r['session']}" for r in rows if r["levels"]["lost"] != "ok"]
    said.append(f"Something was lost in {listed(lost, 6)}." if lost else "Nothing was lost in any of them.")
    return said
