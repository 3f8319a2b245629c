"""``bci evaluate``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bci.cli.common import SeveralValues, emit, output_options, progress, writable
from bci.cli.training import settings_of, training_options
from bci.errors import ConfigError, ModelError, RecordingError

_FOR_BOTH = {"stream", "unit", "rate_hz", "trigger", "bad_channels", "seed"}  # of the training options


@click.command(cls=SeveralValues)
@click.argument("paths", nargs=-1, required=True, metavar="[MODEL] RECORDING...")
@click.option(
    "--protocol",
    type=click.Choice(["within-run", "across-runs", "across-people"]),
    help="Fit decoders as bci train would instead of taking MODEL, and score what they have not seen.",
)
@click.option(
    "--labels", multiple=True, metavar="MARKER=CLASS ...", help="With --protocol: which marker cues which class."
)
@click.option(
    "--control",
    type=click.Choice(["gaze", "frontal", "history", "shuffle"]),
    help="Score a confound on the same trials instead. With MODEL only shuffle.",
)
@click.option("--synthetic", metavar="FILE.npz", help="With --protocol: score with these trials of bci augment too.")
@click.option("--against", metavar="RESULT.json", help="Compare with the --json of another evaluation, trial by trial.")
@click.option("--csv", "csv_path", metavar="FILE", callback=writable, help="Write a row for each trial.")
@click.option("--report", metavar="FILE.html", callback=writable, help="Write a page with figures.")
@training_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    protocol: Any,
    labels: tuple[str, ...],
    control: Any,
    synthetic: str | None,
    against: str | None,
    csv_path: str | None,
    report: str | None,
    json_path: str | None,
    quiet: bool,
    **given: Any,
) -> None:
    r"""Score a model on cued recordings by the live code path, or a kind of decoder by cross-validation.

    One decision a cue; an abstention counts as wrong; chance stands beside every score.

    \b
    bci evaluate MODEL S001R12.edf --json -
    bci evaluate S0*.edf --protocol across-people --decoder riemann --labels T1=left T2=right --csv trials.csv
    """
    from bci.offline.score import paired, tidy

    other = _read(against) if against else None
    if protocol:
        result = _by_protocol(paths, protocol, labels, control, synthetic, given, quiet)
    elif synthetic:
        raise ConfigError("--synthetic is for --protocol, which fits decoders; a MODEL is fitted already")
    else:
        result = _by_model(ctx, paths, labels, control, given, quiet)
    if other is not None:
        result["against"] = {"result": against, **paired(result, other, seed=given["seed"])}
    if csv_path:
        _write_csv(csv_path, tidy(result["trials"], result["classes"]))
    if report:
        from bci.offline.evaluation_page import write_page

        write_page(result, report)
    emit(result, _text(result), json_path, quiet)


def _by_protocol(
    paths: tuple[str, ...], protocol: Any, labels: tuple[str, ...], control: Any, synthetic: str | None,
    given: dict[str, Any], quiet: bool,
) -> dict[str, Any]:  # fmt: skip
    from bci.offline.augment import read_synthetic
    from bci.offline.controls import control as run_control
    from bci.offline.protocols import cross_validate
    from bci.offline.score import paired
    from bci.sources.files import load_recording

    if not labels:
        raise ConfigError("--protocol needs --labels, such as T1=left T2=right")
    settings = settings_of(labels, given)

    def bar(splits: list[Any]) -> Iterable[Any]:
        return progress(splits, f"{settings.decoder} {protocol}", total=len(splits), quiet=quiet)

    recordings = [load_recording(path, rate_hz=given["rate_hz"]) for path in paths]
    if control and synthetic:
        raise ConfigError(f"--control {control} and --synthetic: give one of them")
    if control:
        return run_control(control, recordings, settings, protocol, each=bar)
    (result,) = cross_validate(recordings, settings, protocol, each=bar)
    if synthetic:
        kept = read_synthetic(synthetic)
        (more,) = cross_validate(recordings, settings, protocol, each=bar, synthetic=kept)
        with_them = {"file": synthetic, "n_synthetic": len(kept.y), "mean": more["mean"]}
        result["synthetic"] = with_them | paired(more, result, seed=settings.seed)
    return result


def _by_model(
    ctx: click.Context,
    paths: tuple[str, ...],
    labels: tuple[str, ...],
    control: Any,
    given: dict[str, Any],
    quiet: bool,
) -> dict[str, Any]:
    from bci.offline.controls import N_ORDERS, mean_of_orders, reordered
    from bci.offline.evaluate import evaluate
    from bci.offline.train import TrainSettings
    from bci.sources.files import load_recording
    from decoders.checkpoint import load_model
    from decoders.spec import DecoderError

    foreign = [
        name
        for name in given
        if name not in _FOR_BOTH and ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE
    ]
    if labels or foreign:
        option = "labels" if labels else foreign[0].replace("_", "-")
        raise ConfigError(f"--{option} is for --protocol; a MODEL brings its own")
    if control not in (None, "shuffle"):
        raise ConfigError(f"--control {control} fits a decoder: add --protocol and --labels, without MODEL")
    if len(paths) < 2:
        raise ConfigError("name a MODEL and at least one RECORDING, or give --protocol")
    try:
        model = load_model(paths[0])
    except DecoderError as error:
        raise ModelError(str(error)) from None
    options: dict[str, Any] = {name: given[name] for name in ("stream", "unit", "trigger", "seed")}
    options["bad_channels"] = tuple(name for value in given["bad_channels"] for name in value.split(",") if name)
    bar = progress(paths[1:], "evaluating", total=len(paths) - 1, quiet=quiet)
    read = (load_recording(path, rate_hz=given["rate_hz"]) for path in bar)
    if control == "shuffle":
        recordings = list(read)
        cued = dict(model.info["labels"]) | {name: name for name in model.spec.classes}
        settings = TrainSettings(labels=cued, stream=given["stream"], trigger=given["trigger"], seed=given["seed"])
        orders = [
            evaluate(model, [one for one, _ in reordered(recordings, settings, k)], **options) for k in range(N_ORDERS)
        ]
        decide_at_s = float(model.info.get("decide_at_s", 3.5))
        result = {"control": control, **mean_of_orders(orders, decide_at_s, given["seed"])}
    else:
        result = evaluate(model, read, **options)
    about = {"model": paths[0], "model_hash": model.hash, "decoder": model.spec.name, "seed": given["seed"]}
    return about | result


def _read(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"--against {path}: it cannot be read ({error}); give the --json of bci evaluate") from None
    if not isinstance(found, dict):
        raise ConfigError(f"--against {path}: no result of bci evaluate; give its --json")
    return found


def _write_csv(path: str, rows: list[dict[str, Any]]) -> None:
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise RecordingError(f"cannot write {path}: {error.strerror}; choose a folder that is writable") from None


def _text(result: dict[str, Any]) -> str:
    lines = []
    for s in result["per_subject"]:
        band, ci = s["chance_band"], s["ci95"]
        lines.append(
            f"{s['subject']:<12} {s['accuracy']:.3f}  (95 % interval {ci[0]:.2f}-{ci[1]:.2f}; chance band "
            f"{band[0]:.2f}-{band[1]:.2f}; {s['n_trials']} trials)"
        )
    low, high = result["chance_band"]
    ci = result["ci95"]
    lines.append(
        f"{'mean':<12} {result['mean']:.3f}"
        + (f"  (95 % interval over people {ci[0]:.3f}-{ci[1]:.3f})" if ci else "")
        + f"; chance {result['chance']:.2f}, 95 % band of {result['n_trials']} trials {low:.2f}-{high:.2f}"
    )
    if result["spread"] is not None:
        lines.append(f"{'people':<12} deviation {result['spread']:.3f}, worst decile {result['worst_decile']:.3f}")
    auc = f"; AUC {result['auc']:.3f}" if result["auc"] is not None else ""
    lines.append(
        f"{'kappa':<12} {result['kappa']:.2f}{auc}; F1 {result['macro_f1']:.3f}; balanced accuracy "
        f"{result['balanced_accuracy']:.3f}; {result['n_abstained']} abstained (counted as wrong)"
    )
    if result["ece"]:
        e = result["ece"]
        lines.append(
            f"{'calibration':<12} error {e['after']:.3f} ({e['after_ci95'][0]:.3f}-{e['after_ci95'][1]:.3f}), "
            f"before the temperature {e['before']:.3f} ({e['before_ci95'][0]:.3f}-{e['before_ci95'][1]:.3f})"
        )
    if "means" in result:
        lines.append(f"{'orders':<12} {' '.join(f'{mean:.3f}' for mean in result['means'])}")
    if "synthetic" in result:
        s = result["synthetic"]
        lines.append(
            f"{'synthetic':<12} {s['mean']:.3f} with {s['n_synthetic']} synthetic trials to learn from too: "
            f"{s['difference']:+.3f}  (95 % interval {s['ci95'][0]:+.3f} to {s['ci95'][1]:+.3f}, p {s['p']:.3g})"
        )
    if "against" in result:
        a = result["against"]
        lines.append(
            f"{'difference':<12} {a['difference']:+.3f}  (95 % interval {a['ci95'][0]:+.3f} to {a['ci95'][1]:+.3f}, "
            f"p {a['p']:.3g}) against {a['result']}"
        )
    return "\n".join(lines)
