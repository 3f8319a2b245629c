"""Synthetic trials: a conditional Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, NeurIPS).

Generator and critic are convolutions in time, as in EEG-GAN (Hartmann et al. 2018, arXiv:1806.01875); the class enters
the generator beside the noise and the critic as a projection (Miyato and Koyama 2018, ICLR).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.engine import use_one_thread
from decoders.spec import FitError

N_NOISE = 32
N_FEATURES = 48
N_CRITIC = 3  # steps of the critic for one of the generator
PENALTY = 10.0
RATE = 1e-3
BATCH = 32
STRIDE = 8  # of the coarsest features
KERNEL = 5


def synthesise(
    x: NDArray[np.float32],
    y: NDArray[np.integer],
    n_per_class: int,
    *,
    n_steps: int,
    seed: int,
    each: Callable[[range], Iterable[int]] = iter,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Learn from trials, and draw others.

    Parameters
    ----------
    x : ndarray, shape (n_trials, n_channels, n_samples)
    y : ndarray, shape (n_trials,)
        Class indices, each class there.
    n_per_class : int
        Trials to draw of each class.
    n_steps : int
        Of the generator.
    each : callable
        Wraps the range of steps, for a progress bar.

    Returns
    -------
    x : ndarray of float32, shape (n_classes * n_per_class, n_channels, n_samples)
        In the unit of the trials.
    y : ndarray of int, shape (n_classes * n_per_class,)

    Raises
    ------
    FitError
        Too few trials, or training did not stay finite.
    """
    n_classes = int(y.max()) + 1 if len(y) else 0
    if len(y) < 4 or (np.bincount(y) < 2).any():
        raise FitError(f"{len(y)} trials are too few to learn from: at least 2 of each class")
    use_one_thread()
    mean = x.mean(axis=(0, 2), keepdims=True)
    deviation = np.maximum(x.std(axis=(0, 2), keepdims=True), 1e-30)
    real, label = torch.from_numpy((x - mean) / deviation).float(), torch.from_numpy(np.asarray(y, np.int64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = _Generator(x.shape[1], x.shape[2], n_classes)
        critic = _Critic(x.shape[1], n_classes)
        makes = torch.optim.Adam(generator.parameters(), lr=RATE, betas=(0.0, 0.9))
        judges = torch.optim.Adam(critic.parameters(), lr=RATE, betas=(0.0, 0.9))
        for _ in each(range(n_steps)):
            for _ in range(N_CRITIC):
                some = torch.randint(len(label), (BATCH,))
                loss = _critic_loss(critic, real[some], generator(label[some]).detach(), label[some])
                judges.zero_grad()
                loss.backward()
                judges.step()
            wanted = torch.randint(n_classes, (BATCH,))
            made = -critic(generator(wanted), wanted).mean()
            makes.zero_grad()
            made.backward()
            makes.step()
            if not torch.isfinite(made):
                raise FitError("the adversarial training did not stay finite; fewer --steps, or another --seed")
        generator.train(False)
        drawn = torch.arange(n_classes).repeat_interleave(n_per_class)
        with torch.no_grad():
            found = torch.cat([generator(part) for part in drawn.split(256)]) if len(drawn) else real[:0]
    return (found.numpy() * deviation + mean).astype(np.float32), drawn.numpy()


def _critic_loss(critic: nn.Module, real: Tensor, fake: Tensor, label: Tensor) -> Tensor:
    mix = torch.rand(len(real), 1, 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between, label).sum(), between, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return critic(fake, label).mean() - critic(real, label).mean() + PENALTY * penalty


class _Generator(nn.Module):
    """Noise over time and the class -> coarse features, made three times finer; the class also scales each channel."""

    def __init__(self, n_channels: int, n_samples: int, n_classes: int):
        super().__init__()
        self.n_samples, self.n_coarse = n_samples, -(-n_samples // STRIDE)
        self.of_class = nn.Embedding(n_classes, N_NOISE)
        self.gain = nn.Embedding(n_classes, n_channels)
        nn.init.ones_(self.gain.weight)
        blocks: list[nn.Module] = [nn.Conv1d(2 * N_NOISE, N_FEATURES, 1), nn.LeakyReLU(0.2)]
        for _ in range(3):
            blocks += [nn.Upsample(scale_factor=2), nn.Conv1d(N_FEATURES, N_FEATURES, KERNEL, padding=KERNEL // 2)]
            blocks += [nn.LeakyReLU(0.2)]
        self.fine = nn.Sequential(*blocks, nn.Conv1d(N_FEATURES, n_channels, KERNEL, padding=KERNEL // 2))

    def forward(self, label: Tensor) -> Tensor:
        noise = torch.randn(len(label), N_NOISE, self.n_coarse)
        of_class = self.of_class(label)[:, :, None].expand_as(noise)
        x = self.fine(torch.cat((noise, of_class), dim=1))[:, :, : self.n_samples]
        return cast("Tensor", x * self.gain(label)[:, :, None])


class _Critic(nn.Module):
    """How real a trial of this class looks."""

    def __init__(self, n_channels: int, n_classes: int):
        super().__init__()
        sizes = (n_channels, N_FEATURES, N_FEATURES, N_FEATURES)
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Conv1d(a, b, KERNEL, stride=2, padding=KERNEL // 2), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers)
        self.real = nn.Linear(2 * N_FEATURES, 1)
        self.of_class = nn.Embedding(n_classes, 2 * N_FEATURES)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        found = self.features(x)
        pooled = torch.cat((found.mean(dim=2), found.square().mean(dim=2).add(1e-8).sqrt()), dim=1)
        return self.real(pooled)[:, 0] + (pooled * self.of_class(label)).sum(dim=1)
