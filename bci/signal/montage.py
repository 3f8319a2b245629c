"""Montages as matrices: picking by name, references, Laplacian, and interpolation of bad channels.

Every function is pure; `spatial_matrix` composes them into the one float64 matrix that preprocessing applies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError, ModelError
from bci.signal.positions import POSITIONS_M
from bci.types import Channel

Reference = Literal["none", "average", "laplacian", "bipolar"]
Matrix = NDArray[np.float64]
_DEFAULT_CENTRE_M = np.array([0.0, 0.0, 0.04])  # of the head sphere in head coordinates, as in MNE


def same_label(label: str) -> str:
    """The form in which labels are compared: upper case, without the dots and spaces of EDF: ``Fc5.`` is ``FC5``."""
    return label.replace(".", "").replace(" ", "").upper()


_STANDARD_M = {same_label(label): position for label, position in POSITIONS_M.items()}


def pick(labels_in: Sequence[str], labels_out: Sequence[str]) -> NDArray[np.intp]:
    """Where each of ``labels_out`` stands in ``labels_in``, shape (n_out,).

    Raises
    ------
    ModelError
        When labels are missing or ambiguous; all of them are named.
    """
    places: dict[str, list[int]] = {}
    for i, label in enumerate(labels_in):
        places.setdefault(same_label(label), []).append(i)
    wanted = [places.get(same_label(label), []) for label in labels_out]
    if missing := [label for label, at in zip(labels_out, wanted, strict=True) if not at]:
        raise ModelError(f"channels {_names(missing)} are missing; there are {_names(labels_in)}")
    if twice := [label for label, at in zip(labels_out, wanted, strict=True) if len(at) > 1]:
        raise ModelError(f"channels {_names(twice)} stand more than once among {_names(labels_in)}; rename them")
    return np.array([at[0] for at in wanted], dtype=np.intp)


def positions_m(channels: Sequence[Channel]) -> NDArray[np.float64]:
    """Places of ``channels``, shape (n, 3), in metres: their own if all have one, else those of the 10-10 system.

    Raises
    ------
    ModelError
        Names the channels whose place nobody knows.
    """
    own = [c.position_m for c in channels]
    if all(p is not None for p in own):
        return np.array(own, dtype=np.float64).reshape(-1, 3)
    unknown = [c.label for c in channels if same_label(c.label) not in _STANDARD_M]
    if unknown:
        raise ModelError(
            f"channels {_names(unknown)} have no position: the stream gives none and they are not 10-20 names; "
            "a Laplacian or interpolation needs them all"
        )
    return np.array([_STANDARD_M[same_label(c.label)] for c in channels])


def average_reference(n_channels: int) -> Matrix:
    """Subtract the mean of all channels, shape (n_channels, n_channels)."""
    return np.eye(n_channels) - 1.0 / n_channels


def bipolar(labels: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Matrix:
    """First minus second of each pair, shape (n_pairs, n_channels)."""
    plus, minus = (pick(labels, [pair[side] for pair in pairs]) for side in (0, 1))
    if same := [f"{a}-{b}" for a, b in pairs if same_label(a) == same_label(b)]:
        raise ConfigError(f"bipolar pairs {_names(same)}: a channel minus itself is nothing; name two channels")
    matrix = np.zeros((len(pairs), len(labels)))
    matrix[np.arange(len(pairs)), plus] = 1.0
    matrix[np.arange(len(pairs)), minus] = -1.0
    return matrix


def laplacian(
    labels: Sequence[str], places_m: NDArray[np.float64], neighbours: Mapping[str, Sequence[str]] | None = None
) -> Matrix:
    """Each channel minus the mean of its neighbours (Hjorth 1975), shape (n_channels, n_channels).

    Neighbours are the four nearest electrodes, or those that ``neighbours`` names for a label.
    """
    n = len(labels)
    if n < 3:
        raise ModelError(f"a Laplacian needs at least 3 channels; there are {_names(labels)}")
    distance = np.linalg.norm(places_m[:, None] - places_m[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    given = {same_label(label): pick(labels, others) for label, others in (neighbours or {}).items()}
    matrix = np.eye(n)
    for i, label in enumerate(labels):
        near = given.get(same_label(label), np.argsort(distance[i], kind="stable")[: min(4, n - 1)])
        matrix[i, near] -= 1.0 / len(near)
    return matrix


def interpolation(places_good_m: NDArray[np.float64], places_bad_m: NDArray[np.float64]) -> Matrix:
    """Spherical splines (Perrin et al. 1989) from good electrodes to bad ones, shape (n_bad, n_good).

    Order 4, 50 Legendre terms and regularisation 1e-5, as in MNE. Places lie on the unit sphere after `on_sphere`.
    """
    n_good = len(places_good_m)
    g_good = _spline(places_good_m @ places_good_m.T) + 1e-5 * np.eye(n_good)
    system = np.ones((n_good + 1, n_good + 1))
    system[:n_good, :n_good] = g_good
    system[n_good, n_good] = 0.0
    to_bad = np.hstack([_spline(places_bad_m @ places_good_m.T), np.ones((len(places_bad_m), 1))])
    return (to_bad @ np.linalg.pinv(system))[:, :n_good]


def _spline(cosines: Matrix) -> Matrix:
    n = np.arange(1, 51)
    factors = (2 * n + 1) / (n**4 * (n + 1.0) ** 4 * 4 * np.pi)
    return np.asarray(np.polynomial.legendre.legval(cosines, np.concatenate([[0.0], factors])), dtype=np.float64)


def on_sphere(places_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions from the centre of the head sphere that fits the electrodes best, shape (n, 3).

    Where electrodes are too few or too flat to tell (radius outside 6 to 13 cm), the centre is (0, 0, 4 cm).
    """
    centre = _DEFAULT_CENTRE_M
    if len(places_m) >= 8:
        system = np.hstack([2 * places_m, np.ones((len(places_m), 1))])
        solution, _, rank, _ = np.linalg.lstsq(system, (places_m**2).sum(axis=1), rcond=1e-6)
        radius = np.sqrt(max(solution[3] + solution[:3] @ solution[:3], 0.0))
        if rank == 4 and 0.06 < radius < 0.13:
            centre = solution[:3]
    directions = places_m - centre
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def spatial_matrix(
    channels: Sequence[Channel],
    reference: Reference = "none",
    pairs: Sequence[tuple[str, str]] = (),
    bad: Iterable[str] = (),
) -> tuple[Matrix | None, tuple[str, ...]]:
    """Compose interpolation and reference into one matrix.

    Parameters
    ----------
    channels : sequence of Channel
        The channels of the model, in its order.
    reference : {"none", "average", "laplacian", "bipolar"}
        Applied after interpolation.
    pairs : sequence of (str, str)
        For the bipolar reference.
    bad : iterable of str
        Channels to be rebuilt from the others.

    Returns
    -------
    matrix : ndarray, shape (n_out, n_good), or None
        For ``channels`` without the bad ones, in their order; None when nothing is to be done.
    labels : tuple of str
        What the outputs are called.
    """
    labels = tuple(c.label for c in channels)
    if bool(pairs) != (reference == "bipolar"):
        raise ConfigError(f"reference = {reference!r} with {len(pairs)} bipolar pairs: pairs belong to 'bipolar' only")
    is_bad = np.zeros(len(channels), dtype=bool)
    is_bad[pick(labels, list(bad))] = True
    good, matrix = np.flatnonzero(~is_bad), np.eye(len(channels))
    if is_bad.any():
        if len(good) < 4:
            raise ConfigError(f"interpolate = {list(bad)}: only {len(good)} good channels are left; 4 are needed")
        directions = on_sphere(positions_m(channels))
        matrix = matrix[:, good]
        matrix[is_bad] = interpolation(directions[good], directions[is_bad])
    if reference == "average":
        matrix = average_reference(len(channels)) @ matrix
    elif reference == "laplacian":
        matrix = laplacian(labels, positions_m(channels)) @ matrix
    elif reference == "bipolar":
        matrix = bipolar(labels, pairs) @ matrix
        labels = tuple(f"{a}-{b}" for a, b in pairs)
    elif reference != "none":
        raise ConfigError(f"reference = {reference!r}: allowed are none, average, laplacian, bipolar")
    nothing = reference == "none" and not is_bad.any()
    return (None if nothing else np.ascontiguousarray(matrix)), labels


def _names(labels: Iterable[str]) -> str:
    labels = list(labels)
    return ", ".join(labels[:12]) + (f" and {len(labels) - 12} more" if len(labels) > 12 else "") or "none"
