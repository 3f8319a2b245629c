"""Training of any streaming network: on trials, one decision at the end of each, or on streams with many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.spec import Decoder, FitError
from decoders.training.augment import chain
from decoders.training.pieces import Pieces
from decoders.training.plan import Epoch, Journal, Plan, Snapshot
from decoders.training.regression import squared_error
from decoders.training.streams import Stream

MIN_STEPS = 300  # of the optimiser, where the trials are few
MIN_EPOCHS = 15  # where they are many
BATCH = 16
LARGE_BATCH = 64  # from this many trials on: as good, and fewer steps
MANY_TRIALS = 1000
WEIGHT_DECAY = 1e-2
LABEL_SMOOTHING = 0.1
MAX_GRADIENT = 1.0
PATIENCE = 10  # epochs without a lower loss on what is held out


def train_network(
    network: nn.Module,
    x: NDArray[np.float32] | Tensor,
    y: NDArray[Any] | Tensor,
    params: Mapping[str, Tensor],
    *,
    streams: Sequence[Stream] = (),
    plan: Plan | None = None,
    held_out: tuple[NDArray[np.float32], NDArray[Any]] | None = None,
    journal: Journal | None = None,
) -> tuple[Epoch, ...]:
    """Fit in place on the device of the network: AdamW, a schedule, augmentation, balanced classes.

    A network with `options["mirror"]` sees every other trial mirrored, its class exchanged. Randomness comes from
    torch's generator of that device: seed it, and on the CPU the result is the same bits, also when it goes on from a
    snapshot.

    Parameters
    ----------
    network : Module
        A `decoders.spec.Decoder`.
    x : ndarray or Tensor, shape (n_trials, n_channels, n_samples)
        The end of each trial is its decision.
    y : ndarray or Tensor, shape (n_trials,)
        Class indices; for a regression the targets at the end of each trial (n_trials, n_outputs), or of its last hops
        (n_trials, n_hops, n_outputs).
    params : dict of str to Tensor
    streams : sequence of Stream
        Learn from pieces of these instead, with ``y`` of their trials.
    plan : Plan or None
        The default one where None.
    held_out : (x, y) or None
        Further trials; training stops when their loss has not fallen for `PATIENCE` epochs.
    journal : Journal or None

    Returns
    -------
    tuple of Epoch

    Raises
    ------
    FitError
        The loss is not finite.
    """
    plan = plan or Plan()
    decoder, device = cast("Decoder", network), next(network.parameters()).device
    signal, label = _tensors(decoder, x, y, device)
    loss_of = _objective(decoder, label)
    # a network that answers for the mirrored head too learns from it
    names = ("mirror", *plan.augment) if decoder.spec.options.get("mirror") else plan.augment
    augment, generator = chain(names, decoder.spec), _generator(device)
    taught = Pieces(streams, label, decoder.spec) if streams else _Crops(signal, label)
    n_batches = max(1, taught.n_trials // (LARGE_BATCH if taught.n_trials >= MANY_TRIALS else BATCH))
    n_epochs = plan.n_epochs or max(MIN_EPOCHS, -(-MIN_STEPS // n_batches))
    frozen = _freeze(network, plan.n_frozen)
    optimiser = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad], lr=plan.rate, weight_decay=WEIGHT_DECAY
    )
    schedule = _schedule(optimiser, plan, n_epochs * n_batches)
    epochs: tuple[Epoch, ...] = ()
    if journal is not None and (snapshot := journal.last()) is not None:
        epochs = _restore(snapshot, network, optimiser, schedule, generator)
    while len(epochs) < min(n_epochs, plan.n_stop or n_epochs) and not _is_stale(epochs):
        network.train()
        for layer in frozen:
            layer.train(False)
        total, rate, n_seen = 0.0, 0.0, 0
        for batch in taught.batches(n_batches, generator):
            inputs, wanted = augment(*taught.draw(batch, generator), decoder.spec, generator)
            logits, _ = decoder.forward(inputs, decoder.initial_state(len(batch)), params)
            loss = loss_of(logits, wanted)
            optimiser.zero_grad()
            loss.backward()
            if streams:  # through hundreds of hops some gradients explode (Pascanu et al. 2013, ICML)
                nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT)
            optimiser.step()
            rate = float(schedule.get_last_lr()[0])
            schedule.step()
            total += loss.item() * len(batch)
            n_seen += len(batch)
        network.train(False)
        mean = total / n_seen
        if not np.isfinite(mean):
            raise FitError(f"decoder {decoder.spec.name!r}: the loss is not finite; use a lower --learning-rate")
        on_held_out = _loss_on(decoder, held_out, params, loss_of, device) if held_out is not None else None
        epochs += (Epoch(len(epochs) + 1, rate, mean, on_held_out),)
        if journal is not None:
            journal.keep(_snapshot(epochs, network, optimiser, schedule, generator))
    network.train(False)
    return epochs


def best_epoch(epochs: tuple[Epoch, ...]) -> int:
    """Number of the epoch with the lowest loss on what was held out."""
    return min(epochs, key=lambda epoch: cast("float", epoch.held_out_loss)).number


def _is_stale(epochs: tuple[Epoch, ...]) -> bool:
    held_out = epochs and epochs[-1].held_out_loss is not None
    return bool(held_out) and len(epochs) - best_epoch(epochs) >= PATIENCE


def _tensors(decoder: Decoder, x: Any, y: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    signal = torch.as_tensor(x[:, :, x.shape[2] % decoder.spec.hop :]).to(device, torch.float32).contiguous()
    if not decoder.spec.outputs:
        return signal, torch.as_tensor(y).to(device, torch.int64)
    target = torch.as_tensor(y).to(device, torch.float32)
    return signal, target if target.dim() == 3 else target[:, None]


def _objective(decoder: Decoder, label: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """What to lower: a function of the outputs of all hops (batch, n, outputs) and of targets."""
    if decoder.spec.outputs:
        scale = label.std(dim=(0, 1)).clamp(min=1e-12)
        return lambda outputs, wanted: squared_error(outputs, wanted, scale)
    counts = torch.bincount(label).clamp(min=1)
    entropy = nn.CrossEntropyLoss(weight=len(label) / (len(counts) * counts), label_smoothing=LABEL_SMOOTHING)

    def loss_of(logits: Tensor, wanted: Tensor) -> Tensor:
        if wanted.dim() < 3:
            return entropy(logits[:, -1], wanted)
        is_decided = wanted.sum(dim=2) > 0
        return entropy(logits[is_decided], wanted[is_decided])

    return loss_of


class _Crops:
    """Trials as they are; as `Pieces`."""

    def __init__(self, signal: Tensor, label: Tensor):
        self._signal, self._label, self.n_trials = signal, label, len(label)

    def batches(self, n: int, generator: torch.Generator) -> list[Tensor]:
        order = torch.randperm(self.n_trials, generator=generator, device=generator.device)
        return list(order.tensor_split(n))

    def draw(self, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self._signal[batch], self._label[batch]


@torch.no_grad()
def _loss_on(decoder: Decoder, data: Any, params: Any, loss_of: Any, device: torch.device) -> float:
    signal, label = _tensors(decoder, data[0], data[1], device)
    logits, _ = decoder.forward(signal, decoder.initial_state(len(label)), params)
    return float(loss_of(logits, label))


def _schedule(optimiser: torch.optim.Optimizer, plan: Plan, n_steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    if plan.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, n_steps)
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=n_steps)


def _freeze(network: nn.Module, n: int) -> list[nn.Module]:
    layers = [layer for layer in cast("Any", network).layers if any(True for _ in layer.parameters())] if n else []
    if n >= len(layers) and n:
        raise FitError(f"--freeze {n}: the network has {len(layers)} layers with weights; leave at least one to train")
    for layer in layers[:n]:
        layer.requires_grad_(False)
    return layers[:n]


def _generator(device: torch.device) -> torch.Generator:
    """Torch's own of that device, which ``torch.manual_seed`` seeds."""
    if device.type == "cpu":
        return torch.default_generator
    torch.cuda.init()
    return cast("Any", torch.cuda).default_generators[device.index or 0]


def _snapshot(epochs: tuple[Epoch, ...], network: nn.Module, optimiser: Any, schedule: Any, generator: Any) -> Snapshot:
    """Copies, since training goes on."""
    memory = optimiser.state_dict()
    arrays = {f"network.{name}": value for name, value in network.state_dict().items()}
    arrays |= {f"optimiser.{i}.{name}": value for i, state in memory["state"].items() for name, value in state.items()}
    arrays["generator"] = generator.get_state()
    plain = {name: value.cpu().numpy().copy() for name, value in arrays.items()}
    return Snapshot(plain, epochs, {"groups": memory["param_groups"], "schedule": _plain(schedule.state_dict())})


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """Numbers and text only: the rest is made anew with the schedule."""
    return {
        name: v for name, v in state.items() if isinstance(v, int | float | str | list) and name != "_schedule_phases"
    }


def _restore(
    snapshot: Snapshot, network: nn.Module, optimiser: Any, schedule: Any, generator: Any
) -> tuple[Epoch, ...]:
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in snapshot.arrays.items()}
    network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, i, what = name.split(".")
            state.setdefault(int(i), {})[what] = value
    optimiser.load_state_dict({"state": state, "param_groups": snapshot.rest["groups"]})
    schedule.load_state_dict(snapshot.rest["schedule"])
    generator.set_state(tensors["generator"])
    return snapshot.epochs
