"""Augmentation of trials while a network trains: pure functions of a batch and a generator, chosen by name.

Each takes ``x`` (batch, channels, time), ``y`` (batch,) class indices or (batch, …, classes) weights, the decoder's
spec and a generator on the device of ``x``, and returns both changed; neither is changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from decoders.mirror import mirror_classes, mirror_order
from decoders.spec import DecoderSpec, SpecError

Augmentation: TypeAlias = Callable[[Tensor, Tensor, DecoderSpec, torch.Generator], tuple[Tensor, Tensor]]

GAIN = 0.1  # deviation of a channel's gain
CHANNEL_DROPOUT = 0.1
NOISE = 0.2  # of each channel's deviation
SHIFT_S = 0.2
BANDSTOP_HZ = 3.0  # width of what is taken out


def mirror(x: Tensor, y: Tensor, spec: DecoderSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the trials with left and right electrodes swapped, and with them the classes left and right."""
    flipped = _draw(x, generator) < 0.5
    electrode = torch.from_numpy(mirror_order(spec.channels)).to(x.device)
    other = torch.from_numpy(mirror_classes(spec.classes)).to(y.device)
    swapped = other[y] if y.dim() == 1 else y[..., other]
    keep = flipped[:, None, None]
    return torch.where(keep, x[:, electrode], x), torch.where(_for_each(flipped, y), swapped, y)


def shift(x: Tensor, y: Tensor, spec: DecoderSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each trial up to `SHIFT_S` earlier or later; what is missing at the edge is mirrored in time."""
    most = min(round(SHIFT_S * spec.sfreq_hz), x.shape[2] - 1)
    start = torch.randint(0, 2 * most + 1, (len(x),), generator=generator, device=generator.device)
    padded = functional.pad(x, (most, most), mode="reflect")
    at = start[:, None] + torch.arange(x.shape[2], device=x.device)
    return padded.gather(2, at[:, None].expand_as(x)), y


def dropout(x: Tensor, y: Tensor, spec: DecoderSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Channels silenced with probability `CHANNEL_DROPOUT`; the others make up for it."""
    kept = (_draw(x, generator, x.shape[1], 1) > CHANNEL_DROPOUT) / (1 - CHANNEL_DROPOUT)
    return x * kept, y


def gain(x: Tensor, y: Tensor, spec: DecoderSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The gain of each channel jitters."""
    return x * (1 + GAIN * torch.randn(len(x), x.shape[1], 1, generator=generator, device=generator.device)), y


def noise(x: Tensor, y: Tensor, spec: DecoderSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """White noise of `NOISE` times each channel's deviation."""
    white = torch.randn(x.shape, generator=generator, device=generator.device)
    return x + NOISE * x.std(dim=2, keepdim=True) * white, y


def surrogate(x: Tensor, y: Tensor, spec: DecoderSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Phases of the spectrum turned at random, alike in all channels (Schwabedal et al. 2018, arXiv:1806.08675).

    Power and what channels share stay as they are; the course in time is new.
    """
    spectrum = torch.fft.rfft(x)
    n_bins = spectrum.shape[2]
    angle = 2 * torch.pi * _draw(x, generator, 1, n_bins)
    angle[..., 0] = 0  # these two are real
    if x.shape[2] % 2 == 0:
        angle[..., -1] = 0
    return torch.fft.irfft(spectrum * torch.polar(torch.ones_like(angle), angle), n=x.shape[2]), y


def mixup(x: Tensor, y: Tensor, spec: DecoderSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weighted means of two trials and of their labels (Zhang et al. 2018, ICLR; the weight is uniform)."""
    partner = torch.randperm(len(x), generator=generator, device=generator.device)
    weight = _draw(x, generator)
    soft = functional.one_hot(y, len(spec.classes)).to(x.dtype) if y.dim() == 1 else y
    of_x, of_y = _for_each(weight, x), _for_each(weight, soft)
    return of_x * x + (1 - of_x) * x[partner], of_y * soft + (1 - of_y) * soft[partner]


def bandstop(x: Tensor, y: Tensor, spec: DecoderSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A band of `BANDSTOP_HZ` anywhere below half the rate is taken out (Mohsenvand et al. 2020, PMLR 136:238)."""
    frequency = torch.fft.rfftfreq(x.shape[2], 1 / spec.sfreq_hz, device=x.device)
    low = _draw(x, generator, 1, 1) * max(0.0, spec.sfreq_hz / 2 - BANDSTOP_HZ)
    kept = (frequency < low) | (frequency > low + BANDSTOP_HZ)
    return torch.fft.irfft(torch.fft.rfft(x) * kept, n=x.shape[2]), y


AUGMENTATIONS: dict[str, Augmentation] = {
    "mirror": mirror, "shift": shift, "gain": gain, "dropout": dropout, "noise": noise, "surrogate": surrogate,
    "mixup": mixup, "bandstop": bandstop,
}  # fmt: skip


def chain(names: Sequence[str], spec: DecoderSpec) -> Augmentation:
    """The augmentations of that name, one after the other in the order of the table.

    Raises
    ------
    SpecError
        There is none of that name, or it cannot serve these channels, classes or outputs.
    """
    if unknown := [name for name in names if name not in AUGMENTATIONS]:
        raise SpecError(f"no augmentation {', '.join(unknown)}; there are {', '.join(AUGMENTATIONS)}")
    if spec.outputs and (labelled := [name for name in names if name in ("mirror", "mixup", "shift")]):
        raise SpecError(f"augmentation {', '.join(labelled)} changes labels or times; a regression cannot use it")
    if "mirror" in names:
        mirror_order(spec.channels)
        mirror_classes(spec.classes)
    chosen = [function for name, function in AUGMENTATIONS.items() if name in names]

    def augment(x: Tensor, y: Tensor, spec: DecoderSpec, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        for function in chosen:
            x, y = function(x, y, spec, generator)
        return x, y

    return augment


def _for_each(value: Tensor, of: Tensor) -> Tensor:
    """A number for each of the batch, in as many dimensions as ``of`` has."""
    return value.reshape(-1, *[1] * (of.dim() - 1))


def _draw(x: Tensor, generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform numbers in [0, 1), the first axis that of the batch."""
    return torch.rand(len(x), *shape, generator=generator, device=generator.device)
