"""Training of a streaming network on trials: a fixed number of epochs, one decision at the end of each trial."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

EPOCHS = 100
BATCH = 16
PEAK_RATE = 5e-3
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.1
CHANNEL_DROPOUT = 0.1
GAIN_JITTER = 0.1


class Trainable(Protocol):
    """A `Decoder` that is a torch module."""

    def initial_state(self, batch: int) -> Any: ...
    def parameters(self) -> Any: ...
    def train(self, mode: bool = True) -> Any: ...
    def forward(self, x: Tensor, state: Any, params: Any) -> Any: ...


def train_network(
    network: Trainable, x: NDArray[np.float32], y: NDArray[np.integer], params: dict[str, Tensor]
) -> None:
    """Fit in place: AdamW with a one-cycle rate, gain jitter and channel dropout, balanced classes.

    Randomness comes from torch's generator: seed it, and on the CPU the result is the same bits.

    Parameters
    ----------
    network : Trainable
    x : ndarray, shape (n_trials, n_channels, n_samples)
        The end of each trial is its decision.
    y : ndarray, shape (n_trials,)
        Class indices.
    params : dict of str to Tensor
    """
    hop = network.spec.hop  # type: ignore[attr-defined]
    signal = torch.from_numpy(np.ascontiguousarray(x[:, :, x.shape[2] % hop :], np.float32))
    label = torch.from_numpy(np.asarray(y, np.int64))
    counts = torch.bincount(label).clamp(min=1)
    loss_of = nn.CrossEntropyLoss(weight=len(label) / (len(counts) * counts), label_smoothing=LABEL_SMOOTHING)
    n_batches = max(1, len(label) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=EPOCHS * n_batches)
    network.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(label)).tensor_split(n_batches):
            logits, _ = network.forward(_augmented(signal[batch]), network.initial_state(len(batch)), params)
            loss = loss_of(logits[:, -1], label[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.train(False)


def _augmented(x: Tensor) -> Tensor:
    gain = 1 + GAIN_JITTER * torch.randn(len(x), x.shape[1], 1)
    kept = (torch.rand(len(x), x.shape[1], 1) > CHANNEL_DROPOUT) / (1 - CHANNEL_DROPOUT)
    return x * gain * kept
