"""`bandpower`: logistic regression on running log band power per channel; the fastest decoder here.

The band is what preprocessing leaves (event-related desynchronisation: Pfurtscheller and Lopes da Silva 1999,
Clin. Neurophysiol. 110:1842). Memory is one number a channel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from decoders.classical.linear import fit_logistic
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError, State

LOGISTIC_C = 0.1
_FLOOR = 1e-40  # far below the power of a femtotesla; silence stays finite


class BandPower:
    """Exponentially averaged power, its logarithm standardised, and one linear layer.

    ``params``: ``mean`` and ``scale`` (channels,) standardise the log power; ``temperature``.

    Parameters
    ----------
    spec : DecoderSpec
        ``options["time_constant_s"]`` of the running average.
    weights : dict
        ``coef`` (channels, classes), ``intercept`` (classes,).
    """

    def __init__(self, spec: DecoderSpec, weights: Arrays):
        self.spec = spec
        self.coef = np.ascontiguousarray(weights["coef"], np.float64)
        self.intercept = np.asarray(weights["intercept"], np.float64)
        self._new = 1 - math.exp(-spec.hop_s / spec.options["time_constant_s"])
        self._mean_of_hop = np.full(spec.hop, self._new / spec.hop)

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """The memory fades with half of ``window_s``."""
        time_constant_s = request.window_s / 2  # an exponential memory of W/2 averages as much noise as a window of W
        hop_s = request.hop / request.sfreq_hz
        return DecoderSpec(
            name="bandpower",
            channels=request.channels,
            sfreq_hz=request.sfreq_hz,
            hop=request.hop,
            classes=request.classes,
            warmup_hops=math.ceil(2 * time_constant_s / hop_s),
            unit=request.unit,
            options={"time_constant_s": time_constant_s},
        )

    @classmethod
    def fit(cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.integer], *, seed: int) -> Fitted:
        """Regress on the log power at the end of each trial; nothing is random."""
        n_channels, n_classes = len(spec.channels), len(spec.classes)
        blank = cls(spec, {"coef": np.zeros((n_channels, n_classes)), "intercept": np.zeros(n_classes)})
        state = blank.initial_state(len(x))
        for at in range(x.shape[2] % spec.hop, x.shape[2], spec.hop):
            state = blank._remember(x[:, :, at : at + spec.hop], state)
        log_power = blank._log_power(state)
        mean, scale = log_power.mean(axis=0), np.maximum(log_power.std(axis=0), 1e-3)
        coef, intercept = fit_logistic((log_power - mean) / scale, y, n_classes, C=LOGISTIC_C)
        return Fitted({"coef": coef, "intercept": intercept}, {"mean": mean, "scale": scale, "temperature": np.ones(1)})

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> BandPower:
        """The decoder around stored weights; SpecError if their shapes do not fit."""
        shapes = {name: np.shape(weights.get(name, ())) for name in ("coef", "intercept")}
        wanted = {"coef": (len(spec.channels), len(spec.classes)), "intercept": (len(spec.classes),)}
        if shapes != wanted or "time_constant_s" not in spec.options:
            raise SpecError(
                f"decoder 'bandpower': weights have shapes {shapes}, the spec needs {wanted}; train it again"
            )
        return cls(spec, weights)

    def initial_state(self, batch: int) -> State:
        """Running power (batch, channels), and the weight (batch, 1) that it has gathered."""
        return np.zeros((batch, len(self.spec.channels))), np.zeros((batch, 1))

    def step(self, x: NDArray[np.float32], state: State, params: Params) -> tuple[NDArray[np.float64], State]:
        """One hop (batch, channels, hop) -> logits (batch, classes)."""
        state = self._remember(x, state)
        features = (self._log_power(state) - params["mean"]) / params["scale"]
        return features @ self.coef + self.intercept, state

    def forward(self, x: NDArray[np.float32], state: State, params: Params) -> tuple[NDArray[np.float64], State]:
        """Fold ``step`` over the hops: (batch, channels, n·hop) -> logits (batch, n, classes)."""
        logits = []
        for at in range(0, x.shape[2], self.spec.hop):
            one, state = self.step(x[:, :, at : at + self.spec.hop], state, params)
            logits.append(one)
        return np.stack(logits, axis=1), state

    def _remember(self, x: NDArray[np.float32], state: State) -> State:
        power, weight = state
        wide = x.astype(np.float64)
        old = 1 - self._new
        return old * power + (wide * wide) @ self._mean_of_hop, old * weight + self._new

    def _log_power(self, state: State) -> NDArray[np.float64]:
        power, weight = state
        return np.log(power / np.maximum(weight, 1e-30) + _FLOOR)
