"""What a decoder looks at: attributions of networks, patterns of the others, and whether either means anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, ModelError, RecordingError
from bci.offline.train import Design, TrainSettings, preprocess
from bci.signal.preprocessing import PreprocessingSpec
from bci.types import Recording
from calibration import stats
from calibration.fit import decide, moved_params
from calibration.trials import Trials
from decoders import load_class
from decoders.checkpoint import Model
from decoders.spec import Arrays, DecoderError, DecoderSpec, Fitted, SpecError

N_RANDOM = 5
N_STEPS = 32  # of the path of integrated gradients
BIN_S = 0.25
TOO_ALIKE = 0.5  # correlation with maps of random weights from which on a map says nothing about the weights
_HEAD_M = 0.095


def explain(
    model: Model, weights: Arrays, recordings: Sequence[Recording], *, seed: int = 0, **source: Any
) -> dict[str, Any]:
    """A map of channels and times, and what to think of it.

    Networks: the mean size of integrated gradients of the cued class's logit, from silence to the trial (Sundararajan
    et al. 2017, ICML). Others: the pattern of Haufe et al. 2014 (NeuroImage 87:96), the covariance of what was measured
    with the decoder's output over the variance of the output; of log power by channel, or, where markers are answered,
    of amplitude by channel and time. As a check the weights are shuffled (Adebayo et al. 2018, NeurIPS): a map that
    stays as it was comes from the data or the architecture, not from what was learnt.

    Parameters
    ----------
    model : Model
    weights : dict of str to ndarray
        The model's own.
    recordings : sequence of Recording
    seed : int
        Of the shuffled weights.
    source
        ``stream``, ``unit`` and ``trigger``, as in `TrainSettings`.

    Returns
    -------
    dict
        ``method, channels, times_s`` (None where the map has no times)``, map`` (channels × times)``,
        random_similarity, accuracy, chance_band, n_trials, means_something, why``.
    """
    trials = _trials(model, recordings, source)
    family, spec = load_class(model.spec.name), model.spec
    params = moved_params(spec, model.params, trials)
    logits = decide(family, spec, Fitted(weights, params), trials.x)
    accuracy = stats.accuracy(trials.y, logits.argmax(axis=1))
    chance = stats.chance_level(trials.y.tolist())
    band = stats.chance_band(len(trials.y), chance)
    found = _map(spec, weights, params, trials)
    rng = np.random.default_rng(seed)
    others = [_map(spec, _shuffled(weights, rng), params, trials) for _ in range(N_RANDOM)]
    similarity = float(np.median([abs(_rank_correlation(found, other)) for other in others]))
    why = []
    if accuracy <= band[1]:
        why.append(f"accuracy {accuracy:.2f} is within chance ({band[0]:.2f}-{band[1]:.2f})")
    if similarity >= TOO_ALIKE:
        why.append(f"shuffled weights give a like map (rank correlation {similarity:.2f})")
    n_times = found.shape[1]
    end_s = float(model.info.get("decide_at_s", 3.5))
    return {
        "method": _method(spec),
        "channels": list(spec.channels),
        "times_s": (end_s - BIN_S * np.arange(n_times)[::-1] - BIN_S / 2).tolist() if n_times > 1 else None,
        "map": found.tolist(),
        "random_similarity": similarity,
        "accuracy": accuracy,
        "chance_band": list(band),
        "n_trials": len(trials.y),
        "means_something": not why,
        "why": "; ".join(why) or f"above chance; shuffled weights give another map (rank correlation {similarity:.2f})",
    }


def _method(spec: Any) -> str:
    if spec.backend == "torch":
        return "integrated gradients of the cued class, mean size"
    what = "amplitude" if spec.epoch else "log power"
    return f"Haufe pattern of {what}, for {spec.classes[1]} against {spec.classes[0]}"


def _trials(model: Model, recordings: Sequence[Recording], source: dict[str, Any]) -> Trials:
    info, spec = model.info, model.spec
    labels = dict(info.get("labels", {})) or {name: name for name in spec.classes}
    settings = TrainSettings(labels=labels, decide_at_s=float(info.get("decide_at_s", 3.5)), **source)
    try:
        preprocessing = msgspec.convert(model.preprocessing, PreprocessingSpec)
        runs = [preprocess(one, preprocessing, settings, spec) for one in recordings]
        return Design(settings, preprocessing, spec).cut(runs)
    except (msgspec.ValidationError, DecoderError) as error:
        raise ModelError(f"model {model.hash[:12]} cannot be explained: {error}") from None


def _map(spec: DecoderSpec, weights: Arrays, params: Arrays, trials: Trials) -> NDArray[np.float64]:
    if spec.backend == "torch":
        return _gradients(spec, weights, params, trials)
    logits = decide(load_class(spec.name), spec, Fitted(weights, params), trials.x)
    output = logits[:, 1] - logits[:, 0]
    if spec.epoch is None:
        measured = np.log(trials.x[:, :, -(spec.receptive_field or 0) :].astype(np.float64).var(axis=2) + 1e-30)[
            :, :, None
        ]
    else:
        measured = _binned(trials.x.astype(np.float64), spec.sfreq_hz)
    deviation = output - output.mean()
    covariance = np.tensordot(deviation, measured - measured.mean(axis=0), axes=1) / len(output)
    return covariance / max(float(deviation.var()), 1e-30)


def _gradients(spec: DecoderSpec, weights: Arrays, params: Arrays, trials: Trials) -> NDArray[np.float64]:
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise ConfigError("bci explain of a network needs captum: pip install rolandic[explain]") from None
    import torch

    decoder: Any = load_class(spec.name).restore(spec, weights)
    tensors = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in params.items()}
    moved = (tensors["align"],) if spec.recentre_hops else ()  # a matrix for each trial, which captum repeats with it

    def last(x: Any, *align: Any) -> Any:
        own = tensors | dict(zip(("align",), align, strict=False))
        return decoder.forward(x, decoder.initial_state(len(x)), own)[0][:, -1]

    x = torch.from_numpy(np.ascontiguousarray(trials.x[:, :, trials.x.shape[2] % spec.hop :]))
    gradients = IntegratedGradients(last, multiply_by_inputs=True)
    found = gradients.attribute(
        x, target=torch.from_numpy(np.asarray(trials.y, np.int64)), additional_forward_args=moved or None,
        n_steps=N_STEPS, internal_batch_size=64,
    )  # fmt: skip
    return _binned(np.abs(found.detach().double().numpy()), spec.sfreq_hz).mean(axis=0)


def _binned(x: NDArray[np.float64], sfreq_hz: float) -> NDArray[np.float64]:
    """Means over `BIN_S` of x (n, channels, samples), counted from the end."""
    n = max(1, round(BIN_S * sfreq_hz))
    whole = x[:, :, x.shape[2] % n :] if x.shape[2] >= n else x
    return whole.reshape(*x.shape[:2], -1, min(n, whole.shape[2])).mean(axis=3)


def _shuffled(weights: Arrays, rng: np.random.Generator) -> Arrays:
    """Every array with its numbers in another order."""
    return {k: rng.permutation(np.asarray(v).reshape(-1)).reshape(np.shape(v)) for k, v in weights.items()}


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    first, second = (np.argsort(np.argsort(v, axis=None)).astype(float) for v in (a, b))
    return float(np.corrcoef(first, second)[0, 1]) if a.size > 1 else 1.0


def draw(result: dict[str, Any], title: str) -> Any:
    """Topographies, one a time; a picture of channels × times where the places of channels are not known."""
    from matplotlib.figure import Figure

    values, times_s = np.array(result["map"]), result["times_s"]
    verdict = "" if result["means_something"] else "MEANS NOTHING: "
    heading = f"{title}: {result['method']}\n{verdict}{result['why']}"
    try:
        from decoders.networks.layers.scalp import flat_positions

        places_m = flat_positions([label.split()[0] for label in result["channels"]]) * _HEAD_M
        if len(np.unique(places_m, axis=0)) < max(4, len(places_m)):
            raise SpecError("bands, or too few places")
    except SpecError:
        figure = Figure(figsize=(8, 1.5 + 0.2 * len(values)), layout="constrained")
        axes = figure.subplots()
        axes.imshow(values, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(len(values)), result["channels"], fontsize="small")
        axes.set_xlabel(f"{BIN_S:g} s each, up to the decision" if times_s else "")
        figure.suptitle(heading, fontsize="small")
        return figure
    from mne.viz import plot_topomap

    n = values.shape[1]
    n_columns = min(n, 6)
    figure = Figure(figsize=(2 * max(n_columns, 2), 2.2 * -(-n // n_columns) + 0.8), layout="constrained")
    panels: Any = figure.subplots(-(-n // n_columns), n_columns, squeeze=False)
    limits = (0.0 if values.min() >= 0 else -np.abs(values).max(), np.abs(values).max())
    for k, axes in enumerate(panels.reshape(-1)):
        if k >= n:
            axes.set_axis_off()
            continue
        plot_topomap(values[:, k], places_m, axes=axes, show=False, vlim=limits, contours=0)
        axes.set_title(f"{times_s[k]:.2f} s" if times_s else "", fontsize="small")
    figure.suptitle(heading, fontsize="small")
    return figure


def save(figure: Any, result: dict[str, Any], path: str, title: str) -> None:
    """Write ``.png``, or ``.html`` with the verdict beside the picture; RecordingError where that fails."""
    try:
        if path.lower().endswith(".html"):
            import mne

            page = mne.Report(title=title, verbose="error")
            page.add_figure(figure, title=result["method"], caption=result["why"], image_format="png")
            page.save(Path(path), open_browser=False, overwrite=True, verbose="error")
        else:
            figure.savefig(path, dpi=120)
    except OSError as error:
        raise RecordingError(f"cannot write {path}: {error.strerror}; choose a folder that is writable") from None
