"""The result of `bci evaluate` as one HTML file with figures, through `mne.Report`."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.errors import RecordingError
from calibration.reliability import reliability, risk_coverage


def write_page(result: dict[str, Any], path: str) -> None:
    """Write the report of a result of `bci.offline.evaluate.evaluate` or of a protocol.

    Raises
    ------
    RecordingError
        The file cannot be written.
    """
    import mne

    what = result.get("control") or result["decoder"]
    title = f"{what}, {result.get('protocol', 'a model on recordings')}"
    page = mne.Report(title=title, verbose="error")
    page.add_html(_table(result), title="Scores")
    for name, figure in figures(result).items():
        page.add_figure(figure, title=name, image_format="svg")
    try:
        page.save(Path(path), open_browser=False, overwrite=True, verbose="error")
    except OSError as error:
        raise RecordingError(f"cannot write {path}: {error.strerror}; choose a folder that is writable") from None


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """By title: people, confusions, reliability, and the curve where there is one."""
    drawn = {"People": _people(result), "Confusions": _confusions(result)}
    if any(row["p"] for row in result["trials"]):
        drawn["Reliability"] = _reliability(result)
        drawn["Risk and coverage"] = _risk_coverage(result)
    if result["curve"]:
        drawn["Accuracy by time from the cue"] = _curve(result)
    return drawn


def _axes(width: float = 6.0, height: float = 4.0) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _table(result: dict[str, Any]) -> str:
    def interval(values: Any) -> str:
        return f" ({values[0]:.3f} to {values[1]:.3f})" if values else ""

    rows = {
        "mean over people, 95 % interval": f"{result['mean']:.3f}{interval(result['ci95'])}",
        "chance, 95 % band of all trials": f"{result['chance']:.2f}{interval(result['chance_band'])}",
        "worst decile of people": f"{result['worst_decile']:.3f}",
        "deviation over people": "" if result["spread"] is None else f"{result['spread']:.3f}",
        "trials, of them abstentions (wrong)": f"{result['n_trials']}, {result['n_abstained']}",
        "balanced accuracy": f"{result['balanced_accuracy']:.3f}",
        "F1, mean over classes": f"{result['macro_f1']:.3f}",
        "kappa": f"{result['kappa']:.3f}",
        "AUC": "" if result["auc"] is None else f"{result['auc']:.3f}",
        "bits per minute": f"{result['itr_bits_per_min']:.2f}",
    }
    for name, p, r in zip(result["classes"], result["precision"], result["recall"], strict=True):
        rows[f"precision and recall of {name}"] = f"{p:.3f}, {r:.3f}"
    if result["ece"]:
        for when in ("before", "after"):
            error = result["ece"]
            rows[f"calibration error {when} the temperature"] = f"{error[when]:.3f}{interval(error[f'{when}_ci95'])}"
    if against := result.get("against"):
        rows[f"difference to {against['result']}"] = (
            f"{against['difference']:+.3f}{interval(against['ci95'])}, p {against['p']:.3g}"
        )
    cells = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in rows.items() if v)
    return f"<table class='table'>{cells}</table>"


def _people(result: dict[str, Any]) -> Any:
    people = sorted(result["per_subject"], key=lambda s: s["accuracy"])
    figure, axes = _axes(max(6.0, 0.12 * len(people)))
    accuracy = np.array([s["accuracy"] for s in people])
    at = np.arange(len(people))
    low, high = (np.array([s["ci95"][i] for s in people]) for i in (0, 1))
    bands = np.array([s["chance_band"] for s in people])
    axes.fill_between(at, bands[:, 0], bands[:, 1], step="mid", alpha=0.2, label="chance, 95 % of a person's trials")
    below, above = np.maximum(accuracy - low, 0), np.maximum(high - accuracy, 0)
    axes.errorbar(at, accuracy, np.stack([below, above]), fmt="o", label="accuracy, 95 %")
    axes.axhline(result["mean"], color="k", lw=1, label=f"mean {result['mean']:.3f}")
    axes.set(xticks=at, ylim=(0, 1.02), ylabel="accuracy")
    axes.set_xticklabels([s["subject"] for s in people], rotation=90, fontsize="small")
    axes.legend(fontsize="small")
    return figure


def _confusions(result: dict[str, Any]) -> Any:
    figure, axes = _axes(5.0)
    counts = np.array(result["confusion"])
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), vmin=0, vmax=1, cmap="Blues")
    for (row, column), n in np.ndenumerate(counts):
        axes.text(column, row, str(n), ha="center", va="center")
    axes.set_xticks(range(counts.shape[1]), [*result["classes"], "abstained"])
    axes.set_yticks(range(len(counts)), result["classes"])
    axes.set(xlabel="said", ylabel="cued")
    return figure


def _decided(result: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
    """Probabilities (n, classes) and true classes (n,) of the trials with a decision."""
    decided = [row for row in result["trials"] if row["p"]]
    return np.array([row["p"] for row in decided]), np.array([result["classes"].index(row["label"]) for row in decided])


def _risk_coverage(result: dict[str, Any]) -> Any:
    """By how sure single decisions are; and, where training chose a gate, of its commands by threshold."""
    figure, axes = _axes(5.0)
    p, y = _decided(result)
    coverage, risk = risk_coverage(p, y)
    axes.step(coverage * len(y) / result["n_trials"], risk, where="post", label="decisions of these trials")
    curve = [row for row in (result.get("gate") or {}).get("risk_coverage", []) if row["risk"] is not None]
    if curve:
        axes.plot(
            [row["coverage"] for row in curve], [row["risk"] for row in curve], "o-",
            label="commands of the gate, held-out training runs",
        )  # fmt: skip
        for row in curve[:: max(1, len(curve) // 5)]:
            axes.annotate(f"{row['threshold']:g}", (row["coverage"], row["risk"]), fontsize="small")
    axes.axhline(1 - result["chance"], color="k", lw=1)
    axes.set(xlim=(0, 1.02), ylim=(0, 1), xlabel="share of the trials that are decided", ylabel="of these, wrong")
    axes.legend(fontsize="small")
    return figure


def _reliability(result: dict[str, Any]) -> Any:
    bins = reliability(*_decided(result))
    figure, axes = _axes(5.0)
    axes.plot([0, 1], [0, 1], color="k", lw=1)
    _, share, sure, right = (np.array(values) for values in zip(*bins, strict=True))
    axes.scatter(sure, right, s=20 + 400 * share)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="how sure", ylabel="how often right (area: share of the trials)")
    return figure


def _curve(result: dict[str, Any]) -> Any:
    figure, axes = _axes()
    axes.plot([point["time_s"] for point in result["curve"]], [point["mean"] for point in result["curve"]], "o-")
    axes.axhline(result["chance"], color="k", lw=1)
    axes.set(ylim=(0, 1), xlabel="time from the cue, s", ylabel="accuracy (a curve, not a score)")
    return figure
