"""Where electrodes lie: neighbourhoods for graphs, and a grid of the scalp for images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.spec import SpecError

N_ROWS = N_COLUMNS = 7  # of the grid


class Grid(nn.Module):
    """Channels to an image of the scalp for each band, by fixed weights.

    Parameters
    ----------
    n_channels, n_bands : int
    """

    def __init__(self, n_channels: int, n_bands: int):
        super().__init__()
        self.n_bands = n_bands
        self.register_buffer("place", torch.zeros(N_ROWS * N_COLUMNS, n_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Spread x (batch, bands·channels, time) to (batch, bands, time, rows, columns)."""
        x = self.get_buffer("place") @ x.unflatten(1, (self.n_bands, -1))
        return x.transpose(2, 3).unflatten(3, (N_ROWS, N_COLUMNS))


class Flat(nn.Module):
    """All cells of an image as features."""

    def forward(self, x: Tensor) -> Tensor:
        """Flatten x (batch, features, time, rows, columns) to (batch, features·rows·columns, time)."""
        return x.transpose(1, 2).flatten(2).transpose(1, 2)


def electrodes(channels: Sequence[str], n_bands: int) -> list[str]:
    """Labels of the first band without the band's name."""
    return [label.split()[0] for label in channels[: len(channels) // n_bands]]


def flat_positions(labels: Sequence[str]) -> NDArray[np.float64]:
    """Places (n, 2) of electrodes of the 10-05 system on a flat head, x to the right, y to the nose, rim at about 1.

    Raises
    ------
    SpecError
        A label is not of the system.
    """
    from mne.channels import make_standard_montage

    places = make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    known = {name.lower(): place for name, place in places.items()}
    if missing := [label for label in labels if label.lower() not in known]:
        raise SpecError(
            f"channel {', '.join(missing)} is no electrode of the 10-05 system, and this decoder needs to know where "
            "it lies; leave it out, or choose a decoder without a scalp (eegnet, tcn, shallow)"
        )
    xyz = np.array([known[label.lower()] for label in labels])
    angle = np.arctan2(np.linalg.norm(xyz[:, :2], axis=1), xyz[:, 2])  # from the vertex
    direction = xyz[:, :2] / np.maximum(np.linalg.norm(xyz[:, :2], axis=1, keepdims=True), 1e-9)
    return direction * angle[:, None] / (np.pi / 2)


def grid_weights(labels: Sequence[str]) -> NDArray[np.float32]:
    """Weights (cells, channels) that fill each cell from the electrodes near it; the grid spans the electrodes."""
    at = flat_positions(labels)
    low, high = at.min(axis=0), at.max(axis=0)
    columns, rows = np.meshgrid(np.linspace(low[0], high[0], N_COLUMNS), np.linspace(high[1], low[1], N_ROWS))
    cells = np.stack([columns.ravel(), rows.ravel()], axis=1)
    weights = _nearness(cells, at, width=float((high - low).max()) / (N_COLUMNS - 1) / 2 + 1e-6)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def neighbourhood(labels: Sequence[str], n_neighbours: int = 4) -> NDArray[np.float32]:
    """Matrix (channels, channels) that averages each electrode's nearest neighbours, without itself."""
    at = flat_positions(labels)
    distance = np.linalg.norm(at[:, None] - at, axis=2)
    np.fill_diagonal(distance, np.inf)
    matrix = np.zeros_like(distance)
    for row, order in zip(matrix, distance.argsort(axis=1), strict=True):
        row[order[: min(n_neighbours, len(labels) - 1)]] = 1
    return (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)).astype(np.float32)


def _nearness(cells: NDArray[np.float64], at: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    squared = ((cells[:, None] - at) ** 2).sum(axis=2)
    return np.exp(-(squared - squared.min(axis=1, keepdims=True)) / (2 * width * width))
