"""Long pieces of streams, drawn at random, with many decisions in each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from decoders.spec import DecoderSpec, FitError
from decoders.training.streams import Stream

PIECE_S = 20.0  # two or three cues of the usual kind, and several windows


class Pieces:
    """Pieces of streams: each holds the decision of one trial, begins at random, and teaches all decisions in it.

    A decision counts where a full context lies before it in the piece, for live it is not trusted earlier.

    Parameters
    ----------
    streams : sequence of Stream
    y : Tensor of int, shape (n_trials,)
        Classes, on the device of the training.
    spec : DecoderSpec

    Raises
    ------
    FitError
        No stream holds a decision with its context.
    """

    def __init__(self, streams: Sequence[Stream], y: Tensor, spec: DecoderSpec):
        self._n_classes, self._hop, self._n_context = len(spec.classes), spec.hop, spec.n_priming_hops
        self._device, self._y = y.device, y.tolist()
        self._signals = [torch.from_numpy(stream.signal).to(y.device) for stream in streams]
        self._decisions = [[(h, t) for h, t in s.decisions.tolist() if h + 1 >= self._n_context] for s in streams]
        places: dict[int, list[tuple[int, int]]] = {}  # of each trial: stream and hop
        for s, decisions in enumerate(self._decisions):
            for hop, trial in decisions:
                places.setdefault(trial, []).append((s, hop))
        if not places:
            raise FitError(
                f"decoder {spec.name!r}: no stream holds a decision {self._n_context * spec.hop_s:g} s after its "
                "start; use a shorter window or longer recordings"
            )
        self._places = list(places.values())
        self.n_trials = len(places)
        self._n_hops = [signal.shape[1] // spec.hop for signal in self._signals]
        self._longest = max(round(PIECE_S / spec.hop_s), 2 * self._n_context)
        n_taught = (self._longest - self._n_context + 1) * sum(map(len, self._decisions)) / sum(self._n_hops)
        self._n_an_epoch = round(self.n_trials / max(1.0, n_taught))  # each trial about once

    def batches(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """One epoch in ``n`` parts (at most `n_trials`) for `draw`: trials around whose decisions pieces will be."""
        order = torch.randperm(self.n_trials, generator=generator, device=generator.device)
        return list(order[: max(n, self._n_an_epoch)].tensor_split(n))

    def draw(self, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A piece for each of these decisions, which falls anywhere in it, behind a context.

        Returns
        -------
        x : Tensor, shape (batch, n_channels, n_hops * hop)
        y : Tensor, shape (batch, n_hops, n_classes)
            Weights of the classes at each hop: 0 where nothing is decided.
        """
        chance = torch.rand(len(batch), 2, generator=generator, device=generator.device).tolist()
        places = [self._places[i] for i in batch.tolist()]
        chosen = [of[int(c * len(of))] for of, (c, _) in zip(places, chance, strict=True)]
        n = min(self._longest, *(self._n_hops[s] for s, _ in chosen))  # a stream may be shorter, beside a gap
        y = torch.zeros(len(chosen), n, self._n_classes, device=self._device)
        x = []
        for k, (s, hop) in enumerate(chosen):
            first, last = max(0, hop - n + 1), min(hop + 1 - self._n_context, self._n_hops[s] - n)
            start = first + int(chance[k][1] * (last + 1 - first))
            x.append(self._signals[s][:, start * self._hop : (start + n) * self._hop])
            for at, trial in self._decisions[s]:
                if start + self._n_context <= at + 1 <= start + n:
                    y[k, at - start, self._y[trial]] = 1
        return torch.stack(x), y
