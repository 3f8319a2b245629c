"""Training of a streaming network on trials: a fixed number of epochs, one decision at the end of each trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.spec import Decoder
from decoders.training.regression import squared_error

MIN_STEPS = 300  # of the optimiser, where the trials are few
MIN_EPOCHS = 15  # where they are many
BATCH = 16
LARGE_BATCH = 64  # from this many trials on: as good, and fewer steps
MANY_TRIALS = 1000
PEAK_RATE = 1e-2
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.1
CHANNEL_DROPOUT = 0.1
GAIN_JITTER = 0.1


def train_network(
    network: nn.Module, x: NDArray[np.float32], y: NDArray[np.integer], params: Mapping[str, Tensor]
) -> None:
    """Fit in place: AdamW with a one-cycle rate, gain jitter and channel dropout, balanced classes.

    A network with a `mirror` sees every other trial mirrored left to right, its class exchanged. All trials lie on the
    device of the network. Randomness comes from torch's generator: seed it, and on the CPU the result is the same bits.

    Parameters
    ----------
    network : Module
        A `decoders.spec.Decoder`.
    x : ndarray, shape (n_trials, n_channels, n_samples)
        The end of each trial is its decision.
    y : ndarray, shape (n_trials,)
        Class indices; for a regression the targets at the end of each trial (n_trials, n_outputs), or of its last hops
        (n_trials, n_hops, n_outputs).
    params : dict of str to Tensor
    """
    decoder = cast("Decoder", network)
    hop = decoder.spec.hop
    device = next(network.parameters()).device
    signal = torch.from_numpy(np.ascontiguousarray(x[:, :, x.shape[2] % hop :], np.float32)).to(device)
    label, loss_of = _objective(decoder, y, device)
    mirror = getattr(network, "mirror", None)
    n_batches = max(1, len(label) // (LARGE_BATCH if len(label) >= MANY_TRIALS else BATCH))
    n_epochs = max(MIN_EPOCHS, -(-MIN_STEPS // n_batches))
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=n_epochs * n_batches)
    network.train()
    for _ in range(n_epochs):
        for batch in torch.randperm(len(label)).to(device).tensor_split(n_batches):
            seen, wanted = signal[batch], label[batch]
            if mirror is not None:
                seen, wanted = _mirrored(seen, wanted, mirror)
            logits, _ = decoder.forward(_augmented(seen), decoder.initial_state(len(batch)), params)
            loss = loss_of(logits, wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.train(False)


def _objective(decoder: Decoder, y: NDArray, device: torch.device) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """Targets, and what to lower: a function of the outputs of all hops (batch, n, outputs) and of targets."""
    if decoder.spec.outputs:
        target = torch.from_numpy(np.asarray(y, np.float32)).to(device)
        target = target if target.dim() == 3 else target[:, None]
        scale = target.std(dim=(0, 1)).clamp(min=1e-12)
        return target, lambda outputs, wanted: squared_error(outputs, wanted, scale)
    label = torch.from_numpy(np.asarray(y, np.int64)).to(device)
    counts = torch.bincount(label).clamp(min=1)
    entropy = nn.CrossEntropyLoss(weight=len(label) / (len(counts) * counts), label_smoothing=LABEL_SMOOTHING)
    return label, lambda logits, wanted: entropy(logits[:, -1], wanted)


def _mirrored(x: Tensor, label: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the trials, drawn by chance, as the mirrored head would give them: the other of the two classes."""
    is_mirrored = torch.rand(len(x), device=x.device) < 0.5
    return torch.where(is_mirrored[:, None, None], x[:, order], x), torch.where(is_mirrored, 1 - label, label)


def _augmented(x: Tensor) -> Tensor:
    gain = 1 + GAIN_JITTER * torch.randn(len(x), x.shape[1], 1, device=x.device)
    kept = (torch.rand(len(x), x.shape[1], 1, device=x.device) > CHANNEL_DROPOUT) / (1 - CHANNEL_DROPOUT)
    return x * gain * kept
