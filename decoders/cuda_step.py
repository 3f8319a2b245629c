"""The step of a torch decoder as a CUDA graph: one launch a hop, whatever the number of layers.

Static buffers hold the hop, the state and the logits; the state is copied onto itself inside the graph, and host memory
is pinned, so a hop is one replay and one wait.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoders.spec import Decoder, Params, SpecError

N_WARM_UP = 3  # runs before capture: cuBLAS and cuDNN make their plans and workspaces in the first


def check_cuda(name: str) -> None:
    """SpecError, naming the decoder, where torch sees no CUDA device."""
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda or "none"
        raise SpecError(
            f"decoder {name!r}: compute cuda was asked for, and torch {torch.__version__} (CUDA: {built}) sees no CUDA "
            "device; use --compute cpu, or install a torch built for CUDA on a machine with an NVIDIA GPU"
        )


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Full float32 on the GPU inside, as on the CPU: TF32 keeps 10 bits of a number.

    A graph keeps what it was captured with. Outside all is as before, for with these flags torch exports no graph.
    """
    import torch

    places: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value


class CudaStep:
    """A decoder's hop captured in a CUDA graph.

    Parameters
    ----------
    decoder : Decoder
        A torch module; it is copied to the device, the original stays where it is.
    params : mapping of str to ndarray

    Raises
    ------
    SpecError
        There is no CUDA device.
    """

    def __init__(self, decoder: Decoder, params: Params):
        import torch

        check_cuda(decoder.spec.name)
        self.name = f"cuda {torch.cuda.get_device_name()}"
        self._torch = torch
        self._decoder = on_cuda(decoder)
        self._params = {k: torch.from_numpy(np.array(v, np.float32)).cuda() for k, v in params.items()}
        spec = decoder.spec
        self._host_x = torch.zeros(1, len(spec.channels), spec.hop, pin_memory=True)
        self._host_logits = torch.zeros(1, spec.n_outputs, pin_memory=True)
        self._x = torch.zeros_like(self._host_x, device="cuda")
        self._x_numpy, self._logits_numpy = self._host_x.numpy(), self._host_logits.numpy()
        self._initial = [part.cuda() for part in self._decoder.initial_state(1)]
        self._state = [part.clone(memory_format=torch.contiguous_format) for part in self._initial]
        self._stream = torch.cuda.Stream()
        self._graph = torch.cuda.CUDAGraph()
        with without_tf32():
            self._capture()
        self.reset()

    def _capture(self) -> None:
        torch = self._torch
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.no_grad(), torch.cuda.stream(self._stream):
            for _ in range(N_WARM_UP):
                self._hop()
        self._stream.synchronize()
        # another thread may be decoding by another graph meanwhile, before a swap: only this one's calls are captured
        with torch.no_grad(), torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            self._hop()
        self._stream.synchronize()

    def _hop(self) -> None:
        self._x.copy_(self._host_x, non_blocking=True)
        logits, after = self._decoder.step(self._x, tuple(self._state), self._params)
        held = {part.untyped_storage().data_ptr() for part in self._state}
        # a part that is a view of the old state must be read before any part is written
        parts = [part.clone() if part.untyped_storage().data_ptr() in held else part for part in after]
        for old, new in zip(self._state, parts, strict=True):
            old.copy_(new)
        self._host_logits.copy_(logits, non_blocking=True)

    def reset(self) -> None:
        """Forget everything."""
        with self._torch.cuda.stream(self._stream):
            for part, initial in zip(self._state, self._initial, strict=True):
                part.copy_(initial)
        self._stream.synchronize()

    def set_params(self, values: Mapping[str, NDArray]) -> None:
        """Replace params, from the next hop on, in the memory that the graph reads."""
        with self._torch.cuda.stream(self._stream):
            for name, value in values.items():
                self._params[name].copy_(self._torch.from_numpy(np.array(value, np.float32)))
        self._stream.synchronize()

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """One hop (channels, hop) -> logits (n_outputs,)."""
        self._x_numpy[0] = x
        with self._torch.cuda.stream(self._stream):
            self._graph.replay()
        self._stream.synchronize()
        return self._logits_numpy[0].astype(np.float64)


def on_cuda(decoder: Any) -> Any:
    """A copy on the device, in evaluation mode."""
    import torch

    moved = copy.deepcopy(decoder).to("cuda").eval().requires_grad_(False)
    for module in moved.modules():
        if isinstance(module, torch.nn.RNNBase):
            module.flatten_parameters()  # a copy's weights lie apart, and cuDNN would gather them at each hop
    return moved
