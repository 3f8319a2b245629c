"""Self-supervised training of a network: what was hidden of the signal is told from what was left of it.

A masked autoencoder (He et al. 2022, CVPR; of EEG, Chien et al. 2022, arXiv:2211.02625) whose encoder is a streaming
network without its last layer of weights. Being causal, it sees the past and the other channels; so spans are hidden in
each channel by itself. What is told is the log power of each hidden token, not its samples (as features in MaskFeat,
Wei et al. 2022, CVPR): networks here pool over tokens, where the phase is lost. No label is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders import load_class
from decoders.engine import use_one_thread
from decoders.networks.layers import Carrying
from decoders.networks.network import alignment, apply, stride_and_field
from decoders.spec import DecoderSpec, FitError, Fitted

HIDDEN = 0.5  # of the signal, about
SPAN_S = 0.3
BATCH = 32
WEIGHT_DECAY = 1e-2
RATE = 3e-3


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """What training gave: a network whose last layer is as it began, and how well it did after each pass.

    ``losses`` are of the windows that were held out: mean square of the errors on what was hidden, over that of saying
    each channel's mean; below 1, something was learnt.
    """

    fitted: Fitted
    losses: tuple[float, ...]


def pretrain(
    spec: DecoderSpec,
    x: NDArray[np.float32],
    held_out: NDArray[np.float32],
    *,
    n_epochs: int,
    seed: int,
    rate: float = RATE,
    each: Callable[[range], Iterable[int]] = iter,
) -> Pretrained:
    """Train the layers before the last one with weights to fill in what is hidden of ``x``.

    Parameters
    ----------
    spec : DecoderSpec
        Of a streaming network; what it would decide does not matter.
    x, held_out : ndarray, shape (n_windows, n_channels, n_samples)
        Windows to learn from and to test on; whole hops.
    n_epochs : int
        Passes over ``x``.
    each : callable
        Wraps the range of passes, for a progress bar.

    Raises
    ------
    FitError
        The decoder is no network of layers, too few windows, or the loss is not finite.
    """
    family: Any = load_class(spec.name)
    if spec.backend != "torch" or not hasattr(family, "build"):
        raise FitError(
            f"decoder {spec.name!r} is no network: there is nothing to pretrain; take tcn, eegnet, lstm, ..."
        )
    if len(x) < 2 or not len(held_out):
        raise FitError(f"{len(x)} windows to learn from and {len(held_out)} to test on are too few: longer recordings")
    use_one_thread()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = family.build(spec)
        params = {"align": alignment(x, spec.n_bands), "temperature": np.ones(1, np.float32)}
        align = torch.from_numpy(params["align"])
        model = _Autoencoder(network, x.shape[1], spec)
        signal, test = (apply(torch.from_numpy(a), align, spec.n_bands) for a in (x, held_out))
        model.standardise(signal)
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
        n_batches = max(1, len(x) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=n_epochs * n_batches)
        hidden = model.hide(test)
        losses = []
        for _ in each(range(n_epochs)):
            model.train()
            for batch in torch.randperm(len(signal)).tensor_split(n_batches):
                loss = model.loss(signal[batch], model.hide(signal[batch]))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            model.train(False)
            with torch.no_grad():
                losses.append(float(model.loss(test, hidden)))
            if not np.isfinite(losses[-1]):
                raise FitError(f"decoder {spec.name!r}: the loss is not finite; use a lower --learning-rate")
    weights = {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}
    return Pretrained(Fitted(weights, params), tuple(losses))


class _Autoencoder(nn.Module):
    """The network's layers but the head, and a linear map from each token to the log power of every channel in it."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: Any, n_channels: int, spec: DecoderSpec):
        super().__init__()
        with_weights = [k for k, layer in enumerate(network.layers) if any(True for _ in layer.parameters())]
        self.layers = network.layers[: with_weights[-1]]
        self.stride = stride_and_field(list(self.layers))[0]
        self.span = max(1, round(SPAN_S * spec.sfreq_hz / self.stride))
        n_features = self.encode(torch.zeros(2, n_channels, 2 * spec.hop)).shape[1]
        self.fill = nn.Conv1d(n_features, n_channels, 1)
        self.register_buffer("mean", torch.zeros(n_channels, 1))
        self.register_buffer("deviation", torch.ones(n_channels, 1))

    def encode(self, x: Tensor) -> Tensor:
        """Tokens (batch, features, n) of x (batch, channels, n·stride), from a fresh state."""
        for layer in self.layers:
            x = layer(x, layer.initial(len(x)))[0] if isinstance(layer, Carrying) else layer(x)
        if x.dim() != 3:
            raise FitError("a network whose features are no rows over time cannot be pretrained; take tcn or eegnet")
        return x

    def power(self, x: Tensor) -> Tensor:
        """Log power of each token (batch, channels, n)."""
        return x.unflatten(2, (-1, self.stride)).square().mean(3).clamp(min=1e-12).log()

    def standardise(self, x: Tensor) -> None:
        """Take mean and deviation of each channel's log power from the signal to learn from."""
        power = self.power(x)
        self.mean.copy_(power.mean(dim=(0, 2))[:, None])
        self.deviation.copy_(power.std(dim=(0, 2)).clamp(min=1e-6)[:, None])

    def hide(self, x: Tensor) -> Tensor:
        """What is hidden (batch, channels, tokens): spans, in each channel by itself."""
        batch, channels, n = x.shape
        begins = (torch.rand(batch, channels, n // self.stride) < -np.log1p(-HIDDEN) / self.span).float()
        return nn.functional.max_pool1d(nn.functional.pad(begins, (self.span - 1, 0)), self.span, 1)

    def loss(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Error on what was hidden, over that of saying the mean."""
        left = x * (1 - hidden).repeat_interleave(self.stride, dim=2)
        wanted = (self.power(x) - self.mean) / self.deviation
        told = self.fill(self.encode(left))
        return ((told - wanted).square() * hidden).sum() / (wanted.square() * hidden).sum().clamp(min=1e-12)
