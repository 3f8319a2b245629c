"""`Runner`: holds a decoder's memory and turns one hop into probabilities, one thread, the same bits every time.

What computes the hop is a `Step`, one of a decoder's own arrays (`NumpyStep`, `TorchStep`), of ONNX Runtime
(`decoders.onnx_step`) or of a CUDA graph (`decoders.cuda_step`). All give the same logits; bits are one's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from decoders.spec import Decoder, Params, SpecError

Compute: TypeAlias = Literal["auto", "cpu", "cuda"]


class Step(Protocol):
    """A decoder with its memory."""

    name: str

    def reset(self) -> None:
        """Forget everything."""
        ...

    def set_params(self, values: Mapping[str, NDArray]) -> None:
        """Replace params, from the next hop on."""
        ...

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """One hop (channels, hop) -> logits (n_outputs,)."""
        ...


class Runner:
    """One decoder, live or in replay.

    Parameters
    ----------
    decoder : Decoder
    params : mapping of str to ndarray
        What recalibration changes, always with ``temperature`` (1,).
    onnx : sequence of (bytes or None)
        The decoder's step as `decoders.onnx_step.export_step` gives it; of an ensemble, one for each member. Without
        it, torch computes the step.
    compute : {"auto", "cpu", "cuda"}
        ``auto`` is the CPU: a hop is too little work for a GPU to be faster at.

    Attributes
    ----------
    compute : str
        What computes: ``numpy``, ``torch``, ``onnxruntime`` or ``cuda NAME``; of an ensemble, all that do.

    Raises
    ------
    SpecError
        No CUDA device, bytes that ONNX Runtime refuses, a temperature that is not above 0.

    Notes
    -----
    BLAS and torch are set to one thread for the whole process: more threads change the last bits and the latency.
    """

    def __init__(
        self,
        decoder: Decoder,
        params: Params,
        onnx: Sequence[bytes | None] = (),
        compute: Compute = "auto",
    ):
        use_one_thread()
        self.spec = decoder.spec
        self._shape = (len(self.spec.channels), self.spec.hop)
        self._temperature = temperature(self.spec.name, params)
        own = {name.split(".", 1)[-1] if self.spec.members else name: value for name, value in params.items()}
        self._shapes = {name: np.shape(value) for name, value in own.items()}
        self._step = make_step(decoder, params, onnx, compute)
        self.compute = self._step.name

    def set_params(self, **values: NDArray) -> None:
        """Replace params of these names, of the same shapes, from the next hop on; memory stays as it is.

        Raises
        ------
        SpecError
            There is no such param, or it has another shape.
        """
        for name, value in values.items():
            if self._shapes.get(name) != value.shape:
                raise SpecError(
                    f"decoder {self.spec.name!r}: param {name} of shape {value.shape}; it has {self._shapes}"
                )
        self._step.set_params(values)

    def reset(self) -> None:
        """Forget everything: a new segment begins."""
        self._step.reset()

    def warm_up(self, n_hops: int = 3) -> None:
        """Pay for the first calls now. Memory is reset."""
        for _ in range(n_hops):
            self.step(np.zeros(self._shape, np.float32))
        self.reset()

    def step(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """One hop (channels, hop) -> probabilities (classes,); of a regression its values."""
        if x.shape != self._shape:
            raise SpecError(f"decoder {self.spec.name!r}: a hop of shape {x.shape}, it takes {self._shape}")
        logits = self._step(x)
        return logits if self.spec.outputs else softmax(logits / self._temperature)


def make_step(decoder: Decoder, params: Params, onnx: Sequence[bytes | None], compute: Compute) -> Step:
    """What computes this decoder's hops here; arguments as of `Runner`."""
    if decoder.spec.members:
        from decoders.ensemble import Ensemble, EnsembleStep

        return EnsembleStep(cast("Ensemble", decoder), params, onnx, compute)
    if decoder.spec.backend == "numpy":
        if compute == "cuda":
            from decoders.cuda_step import check_cuda

            check_cuda(decoder.spec.name)  # asked for, so it must be there; this decoder does not need it
        return NumpyStep(decoder, params)
    if compute == "cuda":
        from decoders.cuda_step import CudaStep

        return CudaStep(decoder, params)
    graph = next(iter(onnx), None)
    if graph is None:
        return TorchStep(decoder, params)
    from decoders.onnx_step import OnnxStep

    return OnnxStep(decoder, params, graph)


class NumpyStep:
    """A decoder on numpy arrays."""

    name = "numpy"

    def __init__(self, decoder: Decoder, params: Params):
        self._decoder = decoder
        self._params = {name: np.array(value) for name, value in params.items()}
        # x lies at the same place in memory at each hop, whatever the caller's lay like: for equal bits
        self._x = np.zeros((1, len(decoder.spec.channels), decoder.spec.hop), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._state = self._decoder.initial_state(1)

    def set_params(self, values: Mapping[str, NDArray]) -> None:
        """Replace params, from the next hop on."""
        self._params |= {name: np.array(value) for name, value in values.items()}

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """One hop (channels, hop) -> logits (n_outputs,)."""
        self._x[0] = x
        logits, self._state = self._decoder.step(self._x, self._state, self._params)
        return np.asarray(logits[0], np.float64)


class TorchStep:
    """A decoder of eager torch: the reference that the others are checked against."""

    name = "torch"

    def __init__(self, decoder: Decoder, params: Params):
        import torch

        self._decoder = decoder
        self._params: dict[str, Any] = {
            name: torch.from_numpy(np.array(value, np.float32)) for name, value in params.items()
        }
        self._x = torch.zeros(1, len(decoder.spec.channels), decoder.spec.hop)
        self._inference = torch.inference_mode
        self._from_numpy = torch.from_numpy
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._state = self._decoder.initial_state(1)

    def set_params(self, values: Mapping[str, NDArray]) -> None:
        """Replace params, from the next hop on."""
        self._params |= {name: self._from_numpy(np.array(value, np.float32)) for name, value in values.items()}

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """One hop (channels, hop) -> logits (n_outputs,)."""
        with self._inference():
            self._x[0].copy_(self._from_numpy(np.array(x, np.float32)))
            logits, self._state = self._decoder.step(self._x, self._state, self._params)
            return logits[0].double().numpy()


def temperature(name: str, params: Params) -> float:
    """What logits are divided by; SpecError unless above 0."""
    value = float(np.asarray(params["temperature"]).reshape(-1)[0])
    if not value > 0:
        raise SpecError(f"decoder {name!r}: temperature {value:g}; it must be above 0")
    return value


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
