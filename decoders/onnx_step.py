"""The step of a torch decoder as an ONNX graph: exported once, after training, and computed by ONNX Runtime.

The graph takes the hop, the parts of the state and the params, and gives the logits and the new state; weights are
constants in it. Export takes seconds and belongs to training; `OnnxStep` only reads the bytes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from decoders import load_class
from decoders.engine import TorchStep
from decoders.spec import Arrays, Decoder, DecoderError, DecoderSpec, Fitted, Params, SpecError

RELATIVE = 1e-5  # of the largest logit, between ONNX Runtime and eager torch
N_CHECKED = 40  # hops at least, and the whole memory of the decoder


class ExportError(DecoderError):
    """A decoder has no ONNX graph that gives the same numbers."""


def export_step(decoder: Decoder, params: Arrays) -> bytes:
    """Bytes of the ONNX graph of a torch decoder's step, checked against eager torch on random hops.

    The same decoder gives the same bytes: names of files and lines, which torch notes in the graph, are taken out.

    Raises
    ------
    ExportError
        torch cannot export it, or ONNX Runtime does not give the same logits (relative 1e-5).
    """
    name = decoder.spec.name
    if decoder.spec.backend != "torch":
        raise ExportError(f"decoder {name!r} computes in numpy; only a torch decoder has an ONNX graph")
    try:
        onnx = _export(decoder, params)
    except Exception as error:  # whatever torch, onnxscript and onnx raise for what they cannot express
        raise ExportError(f"decoder {name!r} cannot be exported ({str(error).strip().splitlines()[0]})") from None
    check_step(decoder, params, onnx)
    return onnx


@dataclass(frozen=True, slots=True)
class Exported:
    """The graph of a model's step, or why there is none; ``computed_by`` says for people what computes its hops."""

    onnx: bytes | None = None
    computed_by: str = "numpy"
    seconds: float = 0.0


def export_fitted(spec: DecoderSpec, fitted: Fitted) -> Exported:
    """`export_step` of what training gave; without a graph, torch computes the hops, and it is said why."""
    if spec.backend != "torch":
        return Exported()
    decoder = load_class(spec.name).restore(spec, fitted.weights)
    began_s = time.perf_counter()
    try:
        onnx, by = export_step(cast("Decoder", decoder), fitted.params), "ONNX Runtime (step.onnx)"
    except ExportError as error:
        onnx, by = None, f"torch: {error}"
    return Exported(onnx, by, time.perf_counter() - began_s)


def check_step(decoder: Decoder, params: Arrays, onnx: bytes, seed: int = 0) -> None:
    """Fold random hops through both; ExportError where they differ by more than 1e-5 of the largest logit."""
    spec = decoder.spec
    ours, theirs = OnnxStep(decoder, params, onnx), TorchStep(decoder, params)
    rng = np.random.default_rng(seed)
    hops = rng.normal(size=(max(N_CHECKED, spec.n_priming_hops + 5), len(spec.channels), spec.hop)).astype(np.float32)
    expected = np.array([theirs(hop) for hop in hops])
    worst = np.abs(np.array([ours(hop) for hop in hops]) - expected).max() / max(np.abs(expected).max(), 1e-6)
    if not worst <= RELATIVE:
        raise ExportError(
            f"decoder {spec.name!r}: ONNX Runtime differs from torch by {worst:.2g} of the largest logit, "
            f"allowed {RELATIVE:g}"
        )


def _export(decoder: Any, params: Arrays) -> bytes:
    import torch

    spec = decoder.spec
    decoder = decoder.for_export() if hasattr(decoder, "for_export") else decoder
    names = _used(params)
    state = decoder.initial_state(1)
    if any(part.any() for part in state):
        raise ExportError("its memory does not start with zeros")

    class OneHop(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = decoder

        def forward(self, x: Any, state: Any, values: Any) -> Any:
            logits, after = self.decoder.step(x, tuple(state), dict(zip(names, values, strict=True)))
            return logits, *after

    example = (
        torch.zeros(getattr(decoder, "shape", (1, len(spec.channels), spec.hop))),
        state,
        tuple(torch.from_numpy(np.array(params[name], np.float32)) for name in names),
    )
    inputs = ["x", *(f"state.{i}" for i in range(len(state))), *(f"params.{name}" for name in names)]
    return export_module(OneHop(), example, inputs, ["logits", *(f"after.{i}" for i in range(len(state)))])


def export_module(module: Any, example: tuple[Any, ...], inputs: list[str], outputs: list[str]) -> bytes:
    """Bytes of the ONNX graph of a torch module in evaluation mode, with names for its inputs and outputs."""
    import torch

    with _quiet():
        program = torch.onnx.export(
            module.eval(), example, input_names=inputs, output_names=outputs, dynamo=True, verbose=False
        )
    assert program is not None
    return _plain(program.model_proto)


def _used(params: Params) -> list[str]:
    return sorted(name for name in params if name != "temperature")  # logits are divided by it later


def _plain(model: Any) -> bytes:
    """The graph without notes about where in whose source it comes from."""
    graphs = [model.graph, *model.functions]
    del model.metadata_props[:]
    model.doc_string = ""
    for graph in graphs:
        graph.doc_string = ""
        values = [*graph.input, *graph.output, *graph.value_info, *getattr(graph, "initializer", ())]
        for each in (graph, *graph.node, *(v for v in values if not isinstance(v, str))):
            each.doc_string = ""
            del each.metadata_props[:]
    return model.SerializeToString(deterministic=True)


@contextlib.contextmanager
def _quiet() -> Any:
    """The exporter speaks of what is no concern of a user: torchvision that is absent, its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


class OnnxStep:
    """The graph in ONNX Runtime: one thread that never spins, and memory that is allocated once.

    State lies in two sets of buffers; a hop reads one and writes the other, so nothing is copied. A part that the graph
    gives longer than it takes is a ring: the next hop takes its end, where it lies. State starts as zeros.

    Parameters
    ----------
    decoder : Decoder
        For its spec.
    params : mapping of str to ndarray
    onnx : bytes
        As `export_step` gives it.

    Raises
    ------
    SpecError
        The bytes are no graph of this decoder.
    """

    name = "onnxruntime"

    def __init__(self, decoder: Decoder, params: Params, onnx: bytes):
        spec = decoder.spec
        self._session = open_session(onnx, spec.name)
        takes = {i.name: tuple(i.shape) for i in self._session.get_inputs()}
        gives = {o.name: tuple(o.shape) for o in self._session.get_outputs()}
        fixed = {f"params.{n}": np.array(params[n], np.float32, order="C") for n in _used(params)}
        states = [name for name in takes if name.startswith("state.")]
        if (
            set(takes) != {"x", *fixed, *states}
            or set(gives) != {"logits", *(name.replace("state", "after") for name in states)}
            or any(takes[name] != value.shape for name, value in fixed.items())
            or math.prod(takes["x"]) != len(spec.channels) * spec.hop
            or math.prod(gives["logits"]) != spec.n_outputs
        ):
            raise SpecError(f"decoder {spec.name!r}: step.onnx takes other inputs than the decoder has; train it again")
        self._params = {name.removeprefix("params."): value for name, value in fixed.items()}
        fixed["x"] = np.zeros(takes["x"], np.float32)
        self._x = fixed["x"].reshape(len(spec.channels), spec.hop)
        logits = np.zeros(gives["logits"], np.float32)
        self._logits = logits.reshape(-1)
        self._buffers: list[NDArray] = []
        sets: list[tuple[Arrays, Arrays]] = []
        for _ in range(2):
            after = {name: np.zeros(shape, np.float32) for name, shape in gives.items() if name != "logits"}
            self._buffers += after.values()
            ends = {
                name: after[name.replace("state", "after")].reshape(-1)[-math.prod(takes[name]) :].reshape(takes[name])
                for name in states
            }
            sets.append((ends, after))
        self._bindings = [self._bind(fixed | sets[k][0], {"logits": logits} | sets[1 - k][1]) for k in range(2)]
        self._turn = 0

    def _bind(self, takes: Arrays, gives: Arrays) -> Any:
        from onnxruntime import OrtValue

        binding = self._session.io_binding()
        for name, value in takes.items():
            binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(value))
        for name, value in gives.items():
            binding.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(value))
        return binding

    def reset(self) -> None:
        """Forget everything."""
        for buffer in self._buffers:
            buffer[:] = 0

    def set_params(self, values: Mapping[str, NDArray]) -> None:
        """Replace params, from the next hop on: the graph reads them where they lie."""
        for name, value in values.items():
            self._params[name][...] = value

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """One hop (channels, hop) -> logits (n_outputs,)."""
        self._x[:] = x
        self._session.run_with_iobinding(self._bindings[self._turn])
        self._turn = 1 - self._turn
        return self._logits.astype(np.float64)


def open_session(onnx: bytes, name: str) -> Any:
    """An ONNX Runtime session of one thread on the CPU; SpecError, naming the decoder, where the bytes are no graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common base
        why = str(error).strip().splitlines()[0]
        raise SpecError(f"decoder {name!r}: ONNX Runtime refuses step.onnx ({why}); train it again") from None
