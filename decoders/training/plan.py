"""How a network is trained, and what is written down on the way; needs no torch."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from decoders.spec import Arrays

PEAK_RATE = 1e-2
Unit: TypeAlias = Literal["run", "session", "person"]
Schedule: TypeAlias = Literal["one-cycle", "cosine"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a network is trained.

    Attributes
    ----------
    n_epochs : int or None
        Length of the schedule; None: 15, or more until the optimiser has made 300 steps.
    stop_on : {"run", "session", "person"} or None
        Choose ``n_stop`` as the epoch with the lowest loss on the last run, session or person, which is held out for
        that; then train again with it.
    n_stop : int or None
        Epochs after which to stop all the same, with the schedule as it is.
    schedule : {"one-cycle", "cosine"}
        Of the rate: up and down (Smith and Topin 2019), or down from the start.
    rate : float
        The highest one.
    augment : tuple of str
        Names of `decoders.training.augment.AUGMENTATIONS`.
    init : dict of str to ndarray
        Weights to begin with instead of random ones, by name; those of another shape are left out.
    n_frozen : int
        Of the layers that have weights, so many first ones are not trained.
    device : str
        Where to train, as torch names it.
    """

    n_epochs: int | None = None
    stop_on: Unit | None = None
    n_stop: int | None = None
    schedule: Schedule = "one-cycle"
    rate: float = PEAK_RATE
    augment: tuple[str, ...] = ("gain", "dropout")
    init: Arrays = {}
    n_frozen: int = 0
    device: str = "cpu"


class Epoch(msgspec.Struct, frozen=True):
    """One line of the log; ``held_out_loss`` is None where nothing is held out."""

    number: int
    rate: float
    loss: float
    held_out_loss: float | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """All that it takes to go on after an epoch as if nothing had happened: arrays, and what JSON can hold."""

    arrays: Arrays
    epochs: tuple[Epoch, ...]
    rest: dict[str, Any]


class Journal(Protocol):
    """Where a training keeps what it has done."""

    def last(self) -> Snapshot | None:
        """What to go on from."""
        ...

    def keep(self, snapshot: Snapshot) -> None:
        """An epoch is over."""
        ...
