"""`Windowed`: makes a streaming decoder of a model that needs its whole window at every hop."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from decoders.spec import DecoderSpec, Params, State


class WindowModel(Protocol):
    """A model without memory: one window in, logits out."""

    def logits(self, window: NDArray[np.float32], params: Params) -> NDArray[np.float64]:
        """Logits of window (batch, channels, n_samples) -> (batch, classes)."""
        ...


class Windowed:
    """Keeps the last ``spec.receptive_field`` samples as its state and asks ``model`` at every hop.

    A hop therefore costs a window. Before the window is full its older part is zero (those outputs are priming).

    Parameters
    ----------
    model : WindowModel
    spec : DecoderSpec
        ``receptive_field`` is the window.
    """

    def __init__(self, model: WindowModel, spec: DecoderSpec):
        assert spec.receptive_field is not None
        self.model = model
        self.spec = spec
        self.window = spec.receptive_field

    def initial_state(self, batch: int) -> State:
        """An empty window."""
        return (np.zeros((batch, len(self.spec.channels), self.window), np.float32),)

    def step(self, x: NDArray[np.float32], state: State, params: Params) -> tuple[NDArray[np.float64], State]:
        """One hop (batch, channels, hop) -> logits (batch, classes)."""
        window = np.concatenate((state[0][:, :, self.spec.hop :], x), axis=2, dtype=np.float32)
        return self.model.logits(window, params), (window,)

    def forward(self, x: NDArray[np.float32], state: State, params: Params) -> tuple[NDArray[np.float64], State]:
        """Fold ``step`` over the hops: (batch, channels, n·hop) -> logits (batch, n, classes)."""
        hop = self.spec.hop
        logits = []
        for at in range(0, x.shape[2], hop):
            one, state = self.step(x[:, :, at : at + hop], state, params)
            logits.append(one)
        return np.stack(logits, axis=1), state
