"""`bci pretrain`: recordings without labels to weights that `bci train --init` begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bci.errors import ModelError
from bci.offline.train import Design, TrainSettings, preprocess
from bci.types import Recording
from calibration.trials import HopRun
from decoders.checkpoint import save_model
from decoders.spec import DecoderError, DecoderSpec
from decoders.training.masked import RATE, pretrain

N_EPOCHS = 30
HELD_OUT = 0.2  # of each recording, its end
OUTPUT = "reconstruction"  # what the network is said to give: nothing that a session could decide by


def pretrain_to(
    folder: str,
    recordings: Sequence[Recording],
    settings: TrainSettings,
    *,
    n_epochs: int | None = None,
    rate: float | None = None,
    each: Callable[[range], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Train the encoder of ``settings.decoder`` on recordings, and write a folder that ``--init`` takes.

    Returns
    -------
    dict
        ``model, model_hash, decoder, channels, n_windows, n_held_out, losses``; 1 is as good as saying the mean.

    Raises
    ------
    ConfigError, ModelError
        The recordings or the decoder cannot serve.
    """
    design = Design.of(recordings[0], msgspec.structs.replace(settings, labels={"a": "a", "b": "b"}))
    spec = msgspec.structs.replace(design.spec, classes=(), outputs=(OUTPUT,), options=_without_mirror(design.spec))
    n_hops = max(2, round(settings.window_s / settings.hop_s))
    parts = [cut(preprocess(one, design.preprocessing, design.settings, design.spec), n_hops) for one in recordings]
    n_last = [max(1, round(HELD_OUT * len(part))) for part in parts]
    x = np.concatenate([part[:-n] for part, n in zip(parts, n_last, strict=True)])
    held_out = np.concatenate([part[-n:] for part, n in zip(parts, n_last, strict=True)])
    try:
        done = pretrain(
            spec, x, held_out, n_epochs=n_epochs or N_EPOCHS, seed=settings.seed, rate=rate or RATE, each=each
        )
        files = [{"file": r.path.replace("\\", "/").rsplit("/", 1)[-1], "sha256": r.sha256} for r in recordings]
        info = {"pretrained": {"losses": done.losses, "n_windows": len(x)}, "seed": settings.seed, "trained_on": files}
        pre = msgspec.to_builtins(design.preprocessing)
        digest = save_model(folder, spec, done.fitted, pre, info, _card(spec, info))
    except DecoderError as error:
        raise ModelError(f"cannot pretrain: {error}") from None
    about = {"model": folder, "model_hash": digest, "decoder": spec.name, "channels": list(spec.channels)}
    return about | {"n_windows": len(x), "n_held_out": len(held_out), "losses": list(done.losses)}


def cut(run: HopRun, n_hops: int) -> NDArray[np.float32]:
    """Windows (n, channels, n_hops·hop) that do not overlap, of good hops without a break."""
    windows, k = [], 0
    while k + n_hops <= len(run.hops):
        of = slice(k, k + n_hops)
        is_whole = run.is_good[of].all() and (run.segment[of] == run.segment[k]).all()
        if is_whole:
            windows.append(np.concatenate(run.hops[of], axis=1))
        k += n_hops if is_whole else 1
    shape = (0, run.hops.shape[1], n_hops * run.hops.shape[2])
    return np.stack(windows) if windows else np.zeros(shape, np.float32)


def _without_mirror(spec: DecoderSpec) -> dict[str, float]:
    return {name: value for name, value in spec.options.items() if name != "mirror"}  # one head, no classes


def _card(spec: DecoderSpec, info: dict[str, Any]) -> str:
    losses = info["pretrained"]["losses"]
    files = "\n".join(f"- {f['file']} (SHA-256 {f['sha256'][:16]}…)" for f in info["trained_on"])
    return f"""# {spec.name}, pretrained

Weights to begin a training with (`bci train --init`), from {info["pretrained"]["n_windows"]} windows without labels:
the power of what was hidden is told from the rest. On held-out windows the error is {losses[-1]:.3f} of that of saying
the mean. It decides nothing, and no session takes it.

Trained on:
{files}
"""
