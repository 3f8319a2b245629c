"""`Runner`: holds a decoder's memory and turns one hop into probabilities, one thread, the same bits every time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoders.spec import Decoder, Params, SpecError


class Runner:
    """One decoder, live or in replay.

    Parameters
    ----------
    decoder : Decoder
    params : mapping of str to ndarray
        What recalibration changes, always with ``temperature`` (1,).

    Notes
    -----
    BLAS and torch are set to one thread for the whole process: more threads change the last bits and the latency.
    """

    def __init__(self, decoder: Decoder, params: Params):
        use_one_thread()
        self.decoder = decoder
        self.spec = decoder.spec
        self._shape = (len(self.spec.channels), self.spec.hop)
        self._temperature = float(np.asarray(params["temperature"]).reshape(-1)[0])
        if not self._temperature > 0:
            raise SpecError(f"decoder {self.spec.name!r}: temperature {self._temperature:g}; it must be above 0")
        self._logits = self._torch_logits if self.spec.backend == "torch" else self._numpy_logits
        self._params: dict[str, Any] = {name: self._as_backend(value) for name, value in params.items()}
        # both kinds of arrays see x at the same place in memory at each hop, whatever the caller's lay like
        self._x: Any = self._as_backend(np.zeros((1, *self._shape), np.float32))
        self.reset()

    def set_params(self, **values: NDArray) -> None:
        """Replace params of these names, of the same shapes, from the next hop on; memory stays as it is.

        Raises
        ------
        SpecError
            There is no such param, or it has another shape.
        """
        for name, value in values.items():
            if name not in self._params or tuple(self._params[name].shape) != value.shape:
                has = {key: tuple(held.shape) for key, held in self._params.items()}
                raise SpecError(f"decoder {self.spec.name!r}: param {name} of shape {value.shape}; it has {has}")
            self._params[name] = self._as_backend(value)

    def reset(self) -> None:
        """Forget everything: a new segment begins."""
        self._state = self.decoder.initial_state(1)

    def warm_up(self, n_hops: int = 3) -> None:
        """Pay for the first calls now. Memory is reset."""
        for _ in range(n_hops):
            self.step(np.zeros(self._shape, np.float32))
        self.reset()

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """One hop (channels, hop) -> probabilities (classes,); of a regression its values."""
        if x.shape != self._shape:
            raise SpecError(f"decoder {self.spec.name!r}: a hop of shape {x.shape}, it takes {self._shape}")
        logits = self._logits(x)
        return logits if self.spec.outputs else softmax(logits / self._temperature)

    def _numpy_logits(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        self._x[0] = x
        logits, self._state = self.decoder.step(self._x, self._state, self._params)
        return np.asarray(logits[0], np.float64)

    def _torch_logits(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        import torch

        with torch.inference_mode():
            self._x[0].copy_(torch.from_numpy(np.array(x, np.float32)))
            logits, self._state = self.decoder.step(self._x, self._state, self._params)
            return logits[0].double().numpy()

    def _as_backend(self, value: Any) -> Any:
        value = np.array(value)
        if self.spec.backend == "numpy":
            return value
        import torch

        return torch.from_numpy(value).to(torch.float32)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def use_one_thread() -> None:
    """One thread for BLAS, and for torch where it is loaded. A `torch` decoder has loaded it by then."""
    import sys

    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
