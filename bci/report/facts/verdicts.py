"""The four questions of a session, answered in plain words from the report's own numbers.

Was anything lost? Was it late? Was it better than chance? What moved, and why? Each answer has a ``level`` (ok, warn,
bad, or none where nothing can be said), an ``answer`` of a few words, and the ``text`` behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from bci.report.words import count, listed, milliseconds, number, percent, seconds, times

Report = dict[str, Any]
MUCH_LOST = 0.01  # of what should have come
MANY_LATE = 0.05  # of the predictions


def verdicts(report: Report) -> list[dict[str, str]]:
    """All four, in order."""
    return [
        {"question": question, **dict(zip(("level", "answer", "text"), judge(report), strict=True))}
        for question, judge in QUESTIONS.items()
    ]


# --- was anything lost -----------------------------------------------------------------------------------------------


def lost(r: Report) -> tuple[str, str, str]:
    """Between the sender and us, between us and the disk, and on the disk."""
    said = [*_cut(r), *_unrecorded(r), *_missing(r)]
    others = [s for s in r["streams"] if not s["is_primary"] and s["n_missing_about"]]
    said += [f"Of {s['name']}, {count(s['n_missing_about'], 'sample')} did not arrive." for s in others]
    primary = [s for s in r["streams"] if s["is_primary"]]
    if not primary or not r["n_samples"]:
        return "bad", "Nothing arrived", " ".join(["There are no samples in the recording.", *said])
    if not said:
        stood = _stood_still(r)
        text = f"All {count(r['n_samples'], 'sample')} of {primary[0]['name']} arrived and are on disk."
        return "ok", "No", f"{text} {stood}".rstrip()
    missing = sum(s["n_missing_about"] for s in primary)
    expected = sum(s["n_expected"] or 0 for s in primary)
    unknowable = any(g["is_primary"] and g["n_about"] is None for g in r["gaps"])
    is_much = unknowable or _cut(r) or _unrecorded(r) or missing > MUCH_LOST * max(expected, 1)
    certain = r["n_samples_lost"] or _cut(r) or r["n_unrecorded"] or others
    return (
        ("bad" if is_much else "warn"),
        ("Yes" if certain else "Probably"),
        " ".join([*said, _stood_still(r)]).strip(),
    )


def _missing(r: Report) -> list[str]:
    """What never arrived of the primary stream."""
    ledger = [g for g in r["gaps"] if g["is_primary"]]
    said = []
    if n := r["n_samples_lost"]:
        n_gaps = sum(g["verdict"] == "lost" for g in ledger)
        share = n / max(1, n + r["n_samples"])
        said.append(f"{count(n, 'sample')} ({percent(share, 2)}) never arrived, in {count(n_gaps, 'gap')}.")
    if unknown := [g for g in ledger if g["verdict"] == "unknown"]:
        known = [g for g in unknown if g["n_about"] is not None]
        if known:
            about, n = sum(g["duration_s"] for g in known), sum(g["n_about"] for g in known)
            said.append(
                f"The stream broke off {times(len(known))}, for {seconds(about)} in all, and came back from a new "
                f"sender; what would have come meanwhile, about {count(n, 'sample')}, is missing."
            )
        if len(known) < len(unknown):
            n = len(unknown) - len(known)
            said.append(f"The sender's clock jumped {times(n)}: whether anything is missing there cannot be told.")
    return said


def _unrecorded(r: Report) -> list[str]:
    """Between us and the disk: by what the recorder told, else by what the events miss on disk."""
    said = []
    if n := sum(r["n_unrecorded"].values()):
        said.append(f"{count(n, 'sample')} arrived and could not be recorded.")
    if n := sum(r["n_unconfirmed"].values()):
        said.append(f"{count(n, 'sample')} were on their way to the disk when the recorder died and may be missing.")
    n = sum(max(0, s["n"] - s["n_recorded"]) for s in r["streams"])
    if n and not said:
        said.append(f"{count(n, 'sample')} arrived and {'is' if n == 1 else 'are'} not on disk.")
    if n := sum(len(x["parts"]) - 1 for x in r["runs"]):
        said.append(f"The recorder was restarted {times(n)}.")
    return said


def _cut(r: Report) -> list[str]:
    said = []
    if n := r["n_bytes_damaged"]:
        said.append(f"The recording is damaged or cut: {count(n, 'byte')} of it cannot be read.")
    cut = [x for x in r["runs"] if x["ended_because"] is None]
    if cut:
        what = "The recording breaks off" if len(r["runs"]) == 1 else f"{count(len(cut), 'run')} broke off"
        said.append(f"{what} without the end of the session: the program or its recorder was killed.")
    return said


def _stood_still(r: Report) -> str:
    late = [g["duration_s"] for g in r["gaps"] if g["is_primary"] and g["verdict"] == "late"]
    if not late:
        return ""
    if len(late) == 1:
        return f"The stream stood still once, for {seconds(late[0])}; those samples came afterwards."
    return (
        f"The stream stood still {times(len(late))}, for {seconds(max(late))} at most; those samples came afterwards."
    )


# --- was it late -----------------------------------------------------------------------------------------------------


def late(r: Report) -> tuple[str, str, str]:
    """From the last sample of a decision to the gate that judged it."""
    total = r["latency_ms"].get("total")
    if total is None:
        return "none", "Not measured", "No decision was made."
    usual = (
        f"Half of the decisions were made within {milliseconds(total['p50'])} of their last sample, 95 % within "
        f"{milliseconds(total['p95'])}; the slowest took {milliseconds(total['max'])}."
    )
    n, limit = r["n_too_old"], r["gate"]["max_age_s"]
    if n:
        share = n / r["n_decisions"]
        text = (
            f"{count(n, 'prediction')} of {r['n_decisions']:,} were older than {seconds(limit)} and not used. {usual}"
        )
        return ("bad", "Yes", text) if share > MANY_LATE else ("warn", "At times", text)
    if r["hop_ms"] is not None and total["p95"] > r["hop_ms"]:
        return "bad", "Yes", f"Decisions come every {milliseconds(r['hop_ms'])} and did not keep up. {usual}"
    return "ok", "No", usual


# --- was it better than chance ---------------------------------------------------------------------------------------


def chance(r: Report) -> tuple[str, str, str]:
    """The trials that were cued, each judged by what was said at its time."""
    n, score = r["n_trials"], r["score"]
    if not n or score is None:
        return (
            "none",
            "Cannot be told",
            "No cue of the decoder's classes was recorded, so nobody can say what was right.",
        )
    text = _score_text(r, score)
    if k := r["n_abstained"]:
        wrong = "was left out" if k == 1 else "were left out"
        if score["kind"] == "accuracy":
            wrong = "counts as wrong" if k == 1 else "count as wrong"
        text += f" {count(k, 'trial')} without an answer {wrong}."
    if r["decoder_info"]["is_perhaps_training_data"]:
        names = listed(r["decoder_info"]["trained_on"])
        return (
            "bad", "This may be training data",
            f"The stream bears the name of a recording that the decoder was trained on ({names}). If it is that one, "
            f"this is training accuracy and says nothing. {text}",
        )  # fmt: skip
    low, high = score["band"]
    if score["chance"] >= 1:
        only = f"Only {r['trials'][0]['cued']} was cued: who always says so is always right."
        return "none", "Cannot be told", f"{only} {text}"
    if high >= 1:
        return "warn", "Too few trials to tell", f"{text} Even all right would not be better than chance."
    if score["value"] > high:
        return "ok", "Yes", text
    if score["value"] < low:
        swapped = " Are the labels swapped?" if not r["n_abstained"] else ""
        return "bad", "No: worse than chance", text + swapped
    return "warn", "No: not better than chance", text


def _score_text(r: Report, score: Report) -> str:
    n = r["n_trials"]
    low, high = score["band"]
    if score["kind"] == "AUC":
        classes = r["decoder_info"]["classes"]
        return (
            f"{classes[1]} is told from {classes[0]} with an AUC of {number(score['value'])} over "
            f"{count(n, 'marker')}; guessing gives {number(low, 2)} to {number(high, 2)} in 95 of 100 sessions of this "
            f"length.{_expired(r)}"
        )
    right = round(r["accuracy"] * n)
    return (
        f"{right} of {count(n, 'cued trial')} right ({percent(r['accuracy'])}); guessing gives {percent(low)} to "
        f"{percent(high)} in 95 of 100 sessions of this length."
    )


def _expired(r: Report) -> str:
    n = r["n_expired"]
    return f" {count(n, 'marker')} got no answer, because the signal was not whole or came too late." if n else ""


# --- what moved, and why ---------------------------------------------------------------------------------------------


def moved(r: Report) -> tuple[str, str, str]:
    """What went to the devices, and what let it through or held it back."""
    sent = [c for c in r["commands"] if c["accepted"]]
    n = r["n_commands_sent"]
    stops = [a for a in r["alarms"] if any(x.startswith("emergency stop") for x in a["reasons"])]
    stopped = f" It was stopped by the emergency stop {times(len(stops))}." if stops else ""
    if not n:
        return "none", "Nothing", _why_nothing(r) + stopped
    names = Counter(c["name"] for c in sent)
    what = listed([f"{k} × {name}" for name, k in names.most_common()])
    gate, why = r["gate"], ""
    if gate["threshold"] is not None:
        why = f" Each {_bar(gate)}."
    text = f"{what} to {listed(r['devices']) or 'no device'}.{why} {_armed(r)}{_by_cue(r)}"
    if refused := r["n_commands_refused"]:
        text += f" The device host refused {refused} more ({_refusals(r)})."
    level = "warn" if r["n_false_commands"] or refused or stops else "ok"
    return level, count(n, "command"), text + stopped


def _bar(gate: Report, held: str = "after its class was held") -> str:
    """What a class has to do to become a command."""
    if not gate["dwell_s"]:
        return f"at a probability of {number(gate['threshold'])} or more"
    return f"{held} at {number(gate['threshold'])} or more for {seconds(gate['dwell_s'])}"


def _by_cue(r: Report) -> str:
    """How the commands fit what was cued; nothing without cues."""
    if r["n_false_commands"] is None:
        return ""
    right = r["n_commands"] - r["n_false_commands"]
    words = ("fit the cue that stood then", "came while another class was cued", "while nothing was cued")
    if r["is_epoch_model"]:
        words = ("fit the marker that they answer", "answer a marker of another class", "answer one of no class")
    said = [f"{right} of {r['n_commands']} {words[0]}"]
    if other := sum(bool(c["is_false"] and c["cued"]) for c in r["commands"]):
        said.append(f"{other} {words[1]}")
    if none := sum(c["cued"] is None for c in r["commands"]):
        said.append(f"{none} {words[2]}")
    return f" {listed(said)}."


def _armed(r: Report) -> str:
    """How long something could move, and what ended that."""
    text = f"Armed for {seconds(r['armed_s'])} of {seconds(r['duration_s'])}"
    if r["disarmings"]:
        why = Counter("; ".join(d["reasons"]) for d in r["disarmings"])
        text += f"; trouble disarmed it {times(len(r['disarmings']))} ({listed([x for x, _ in why.most_common()], 2)})"
    return text + "."


def _refusals(r: Report) -> str:
    reasons = Counter(c["reason"] for c in r["commands"] if c["accepted"] is False)
    return listed([reason for reason, _ in reasons.most_common()], 2)


def _why_nothing(r: Report) -> str:
    if r["n_commands_refused"]:
        return f"{count(r['n_commands'], 'command')} asked for, all refused by the device host ({_refusals(r)})."
    if r["n_commands"]:
        return f"{count(r['n_commands'], 'command')} asked for; no answer of the device host is recorded."
    if not r["armed_s"]:
        return "The session was never armed, so nothing could move."
    gate, p = r["gate"], r["highest_p_armed"]
    why = f"{_armed(r)} No command came, for one needs a class that is {_bar(gate, 'held')}"
    return why + (f"; the highest probability was {number(p)}." if p is not None else ".")


QUESTIONS: dict[str, Callable[[Report], tuple[str, str, str]]] = {
    "Was anything lost?": lost,
    "Was it late?": late,
    "Was it better than chance?": chance,
    "What moved, and why?": moved,
}


def verdicts_text(report: Report) -> str:
    """The answers for the terminal."""
    lines = [f"{v['question']:<28}{v['answer']}. {v['text']}" for v in report["verdicts"]]
    return "\n".join(lines).replace("\u00a0", " ")
