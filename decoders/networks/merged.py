"""A network's step for one hop at a time, its constants multiplied out: the same numbers (1e-5) from fewer operators.

An operator of ONNX Runtime costs a microsecond or two before it computes anything, which for a hop is most of the time.
So normalisation goes into the weights before it, linear layers in a row become one matrix, a kernel in time becomes a
band matrix, and what is remembered lies so that the next hop finds it without a copy: a ring is given out whole, with
the hop at its end, and `decoders.onnx_step.OnnxStep` takes its end as the next state. For export only; training, and
eager torch, use the network itself.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from decoders.networks.layers import Carrying
from decoders.networks.layers.causal import CausalConv, CausalDepthwise, MeanOfLast, Pool
from decoders.networks.layers.power import Log, Square
from decoders.networks.layers.recurrent import Recurrent
from decoders.spec import Params, State

LARGEST = 40_000  # numbers in a matrix that several layers become; beyond it the layers are cheaper
_ELEMENTWISE = (nn.ELU, nn.Hardtanh, Square, Log)


class MergedStep(nn.Module):
    """The step of a `decoders.networks.network.Network`, batch of one.

    The hop is (channels, hop), or (bands, channels, hop); state is its own, zeros at the start. A network that asks the
    mirrored head too goes through the operators twice. Values go through the
    operators in one of three layouts: a grid (features, 1, time), a row (1, time·features), or as the layers take them.
    """

    mirror: Tensor | None

    def __init__(self, network: Any):
        super().__init__()
        spec = network.spec
        self.spec = spec
        n = len(spec.channels)
        self.shape = (n, spec.hop) if spec.n_bands == 1 else (spec.n_bands, n // spec.n_bands, spec.hop)
        plan = _Plan(torch.zeros(self.shape), n, spec.hop)
        layers = list(network.layers)
        if _is_spatial(layers[0]) and layers[0].bias is None:
            plan.spatial(layers.pop(0))
        for layer in layers:
            plan.add(layer)
        plan.last(network)
        self.operators = nn.ModuleList(plan.operators)
        self.register_buffer("mirror", network.mirror, persistent=False)

    def initial_state(self, batch: int) -> State:
        """Zeros; of both heads, where the mirrored one is asked too."""
        shapes = [shape for operator in self.operators for shape in _shapes(operator)]
        return tuple(torch.zeros(shape) for shape in shapes * (1 if self.mirror is None else 2))

    def step(self, x: Tensor, state: State, params: Params) -> tuple[Tensor, State]:
        """One hop -> logits (1, outputs)."""
        x = params["align"] @ x
        if self.mirror is None:
            return self._pass(x, state)
        half = len(state) // 2
        straight, after = self._pass(x, state[:half])
        across = x.reshape(len(self.mirror), -1)[self.mirror].reshape(x.shape)
        mirrored, after_mirrored = self._pass(across, state[half:])
        return (straight + mirrored.flip(1)) / 2, after + after_mirrored

    def _pass(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = ()
        at = 0
        for operator in self.operators:
            n_parts = len(_shapes(operator))
            x, memory = operator(x, state[at : at + n_parts])
            after, at = after + memory, at + n_parts
        return x, after


def _shapes(operator: Any) -> list[tuple[int, ...]]:
    return operator.shapes


def _is_spatial(layer: Any) -> bool:
    return isinstance(layer, nn.Conv1d) and layer.kernel_size == (1,)


class _Plan:
    """Takes layers in their order and writes down operators; what is linear waits, to be merged with what follows."""

    def __init__(self, example: Tensor, n_features: int, n_frames: int):
        self.operators: list[Any] = []
        self.example = example  # what the last operator gives
        self.n_features, self.n_frames = n_features, n_frames
        self.layout = "aligned"  # (channels, time), or with bands
        self.waiting: tuple[Tensor, Tensor] | None = None  # matrix (in, out) and bias (out,) of a row

    def spatial(self, layer: Any) -> None:
        """Filters of each band; a grid from here on."""
        weight = layer.weight[:, :, 0]
        weight = weight if layer.groups == 1 else weight.reshape(layer.groups, -1, weight.shape[1])
        self.n_features = layer.out_channels
        self._emit(_Spatial(weight, self.n_features, self.n_frames))
        self.layout = "grid"

    def add(self, layer: Any) -> None:
        """The next layer, into what waits or as operators."""
        if isinstance(layer, nn.Dropout):
            return
        if isinstance(layer, _ELEMENTWISE):
            self._flush()
            self._emit(_Plain(layer))
        elif isinstance(layer, Pool) and self.layout in ("aligned", "grid"):
            self._as_grid()
            self.n_frames //= layer.decimation
            self._emit(_PoolToRow(layer.decimation, self.n_features, self.n_frames))
            self.layout = "row"
        elif isinstance(layer, CausalDepthwise) and self.layout == "grid":
            self._emit(_Band(layer, self.n_frames))
        elif isinstance(layer, nn.BatchNorm1d) and self.layout == "grid" and isinstance(self.operators[-1], _Band):
            self.operators[-1].scale(*_affine(layer))
        elif (self.layout == "native" and self.example.dim() > 3) or not self._merge(layer):
            self._own(layer)

    def last(self, network: Any) -> None:
        """The newest token of a hop, and the scale of a regression."""
        self._as_row()
        n_outputs = self.n_features
        if network.spec.outputs:
            scale, offset = (network.get_buffer(name)[:, 0] for name in ("scale", "offset"))
            self._linear(torch.diag(scale.repeat(self.n_frames)), offset.repeat(self.n_frames))
        if self.n_frames > 1:
            self._linear(torch.eye(self.n_frames * n_outputs)[:, -n_outputs:], torch.zeros(n_outputs))
        self._flush()

    def _merge(self, layer: Any) -> bool:
        """Whether the layer could be had as a matrix, a ring with a matrix, or a recurrent cell on a row."""
        n, f = self.n_frames, self.n_features
        if isinstance(layer, Recurrent):
            self._as_row()
            self._recurrent(layer)
            return True
        if hasattr(layer, "conv") and hasattr(layer, "after"):  # a residual block of `tcn`
            matrix, bias = _with_norm(_convolution(layer.conv, n), layer.after[0], n)
            if matrix.numel() > LARGEST:
                return False
            self._as_row()
            self._flush()
            self._emit(_Residual(layer.n_past * f, matrix, bias, layer.after[1]))
            return True
        linear = _linear(layer, n, f)
        if linear is None or linear[0].numel() > LARGEST:
            if isinstance(layer, MeanOfLast) and n == 1:
                self._as_row()
                self._flush()
                self._emit(_Ring(layer.n_past * f))
                self._emit(_MeanOfRing(layer.n, f))
                return True
            return False
        self._as_row()
        if n_past := getattr(layer, "n_past", 0) * isinstance(layer, Carrying):
            self._flush()
            self._emit(_Ring(n_past * f))
        self._linear(*linear)
        self.n_frames = n // getattr(layer, "decimation", 1)
        self.n_features = linear[0].shape[1] // self.n_frames
        return True

    def _linear(self, matrix: Tensor, bias: Tensor) -> None:
        if self.waiting is not None:
            before, shift = self.waiting
            if before.shape[0] * matrix.shape[1] > LARGEST:
                self._flush()
            else:
                matrix, bias = before @ matrix, shift @ matrix + bias
        self.waiting = matrix, bias

    def _recurrent(self, layer: Recurrent) -> None:
        cell = copy.deepcopy(layer.cell)
        if self.waiting is not None and self.n_frames == 1:
            matrix, bias = self.waiting
            self.waiting = None
            weight = cell.weight_ih_l0.data
            cell.bias_ih_l0.data += weight @ bias
            cell.weight_ih_l0 = nn.Parameter(weight @ matrix.T, requires_grad=False)
            cell.input_size = len(matrix)
        self._flush()
        self._emit(_Cell(cell, layer.n_parts, self.n_frames))
        self.n_features = layer.n_hidden

    def _own(self, layer: Any) -> None:
        """The layer as it is, on what it takes."""
        self._flush()
        if self.layout == "row":
            self._emit(_RowToNative(self.n_frames, self.n_features))
        elif self.layout in ("aligned", "grid"):
            self._emit(_Reshape((1, self.n_features, self.n_frames)))
        self.layout = "native"
        self._emit(_Own(layer) if isinstance(layer, Carrying) else _Plain(layer))
        if self.example.dim() == 3:
            self.n_features, self.n_frames = self.example.shape[1:]

    def _as_grid(self) -> None:
        if self.layout == "aligned":
            self._emit(_Reshape((self.n_features, 1, self.n_frames)))
            self.layout = "grid"

    def _as_row(self) -> None:
        if self.layout == "row":
            return
        self._emit(_ToRow(self.n_frames))
        self.layout = "row"

    def _flush(self) -> None:
        if self.waiting is not None:
            self._emit(_Dense(*self.waiting))
            self.waiting = None

    def _emit(self, operator: _Operator) -> None:
        self.operators.append(operator)
        self.example, _ = operator(self.example, tuple(map(torch.zeros, operator.shapes)))


# --- layers as matrices ----------------------------------------------------------------------------------------------


def _linear(layer: Any, n: int, f: int) -> tuple[Tensor, Tensor] | None:
    """Matrix and bias on a row of n frames of f features, behind its past where it has one; None if not linear."""
    if _is_spatial(layer) and layer.groups == 1:
        bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias
        return torch.kron(torch.eye(n), layer.weight[:, :, 0].T.contiguous()), bias.repeat(n)
    if isinstance(layer, nn.BatchNorm1d):
        scale, shift = _affine(layer)
        return torch.diag(scale.repeat(n)), shift.repeat(n)
    if isinstance(layer, Pool):
        mean = torch.kron(torch.eye(n // layer.decimation), torch.full((layer.decimation, 1), 1 / layer.decimation))
        return torch.kron(mean, torch.eye(f)), torch.zeros(n // layer.decimation * f)
    if isinstance(layer, CausalDepthwise):
        return _spread(layer.conv.weight[:, 0].T.diag_embed(), n, 1)
    if isinstance(layer, CausalConv):
        return _convolution(layer, n)
    if isinstance(layer, MeanOfLast) and (n + layer.n_past) * n * f * f <= LARGEST:
        return _spread((torch.eye(f) / layer.n).expand(layer.n, f, f), n, 1)
    return None


def _convolution(layer: CausalConv, n: int) -> tuple[Tensor, Tensor]:
    return _spread(layer.conv.weight.permute(2, 1, 0), n, layer.conv.dilation[0])


def _spread(taps: Tensor, n: int, dilation: int) -> tuple[Tensor, Tensor]:
    """Taps (kernel, in, out) as a matrix from a row of past and n frames to a row of n frames."""
    kernel, f, g = taps.shape
    matrix = torch.zeros((kernel - 1) * dilation + n, f, n, g)
    for frame in range(n):
        for k in range(kernel):
            matrix[frame + k * dilation, :, frame] = taps[k]
    return matrix.reshape(-1, n * g), torch.zeros(n * g)


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch normalisation outside training."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _with_norm(linear: tuple[Tensor, Tensor], norm: Any, n: int) -> tuple[Tensor, Tensor]:
    scale, shift = (value.repeat(n) for value in _affine(norm))
    return linear[0] * scale, linear[1] * scale + shift


# --- operators -------------------------------------------------------------------------------------------------------


class _Operator(nn.Module):
    """Takes a value and its memory, gives both."""

    shapes: list[tuple[int, ...]]
    weight: Tensor
    band: Tensor
    shift: Tensor
    mean: Tensor
    matrix: Tensor
    bias: Tensor

    def __init__(self, *shapes: tuple[int, ...], **constants: Tensor):
        super().__init__()
        self.shapes = list(shapes)
        for name, value in constants.items():
            self.register_buffer(name, value.detach().clone())

    def forward(self, x: Tensor, memory: State) -> tuple[Tensor, State]:
        return self.value(x), ()

    def value(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class _Spatial(_Operator):
    def __init__(self, weight: Tensor, n_features: int, n_frames: int):
        super().__init__(weight=weight)
        self.grid = (n_features, 1, n_frames)

    def value(self, x: Tensor) -> Tensor:
        return (self.weight @ x).reshape(self.grid)


class _Band(_Operator):
    def __init__(self, layer: CausalDepthwise, n: int):
        kernels = layer.conv.weight[:, 0]
        band = nn.functional.pad(kernels, (n - 1, n - 1)).unfold(1, layer.n_past + n, 1).flip(1)
        super().__init__((len(kernels), 1, layer.n_past), band=band.transpose(1, 2), shift=torch.zeros(()))
        self.n_past, self.has_shift = layer.n_past, False

    def scale(self, by: Tensor, shift: Tensor) -> None:
        """Take in a normalisation."""
        self.band = self.band * by[:, None, None]
        self.shift = shift[:, None, None]
        self.has_shift = True

    def forward(self, x: Tensor, memory: State) -> tuple[Tensor, State]:
        x = torch.cat((memory[0], x), dim=2)
        y = x @ self.band
        return y + self.shift if self.has_shift else y, (x[:, :, -self.n_past :],)


class _PoolToRow(_Operator):
    def __init__(self, n: int, n_features: int, n_frames: int):
        super().__init__(mean=torch.kron(torch.eye(n_frames), torch.full((1, n), 1 / n)))
        self.flat, self.row = (n_features, n_frames * n), (1, n_frames * n_features)

    def value(self, x: Tensor) -> Tensor:
        y = self.mean @ x.reshape(self.flat).T
        return y if len(y) == 1 else y.reshape(self.row)


class _ToRow(_Operator):
    def __init__(self, n_frames: int):
        super().__init__()
        self.n_frames = n_frames

    def value(self, x: Tensor) -> Tensor:
        if self.n_frames == 1:
            return x.reshape(1, -1)
        return x.reshape(-1, self.n_frames).T.reshape(1, -1)


class _RowToNative(_Operator):
    def __init__(self, n_frames: int, n_features: int):
        super().__init__()
        self.n_frames, self.n_features = n_frames, n_features

    def value(self, x: Tensor) -> Tensor:
        if self.n_frames == 1:
            return x.reshape(1, self.n_features, 1)
        return x.reshape(1, self.n_frames, self.n_features).transpose(1, 2)


class _Reshape(_Operator):
    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape = shape

    def value(self, x: Tensor) -> Tensor:
        return x.reshape(self.shape)


class _Dense(_Operator):
    def __init__(self, matrix: Tensor, bias: Tensor):
        super().__init__(matrix=matrix, bias=bias)

    def value(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.matrix)


class _Ring(_Operator):
    """Past and hop in a row; all of it is given, of which the next hop takes the end."""

    def __init__(self, n_past: int):
        super().__init__((1, n_past))

    def forward(self, x: Tensor, memory: State) -> tuple[Tensor, State]:
        x = torch.cat((memory[0], x), dim=1)
        return x, (x,)


class _MeanOfRing(_Operator):
    def __init__(self, n: int, n_features: int):
        super().__init__()
        self.shape = (n, n_features)

    def value(self, x: Tensor) -> Tensor:
        return x.reshape(self.shape).mean(dim=0, keepdim=True)


class _Residual(_Operator):
    def __init__(self, n_past: int, matrix: Tensor, bias: Tensor, activation: nn.Module):
        super().__init__((1, n_past), matrix=matrix, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor, memory: State) -> tuple[Tensor, State]:
        ring = torch.cat((memory[0], x), dim=1)
        return x + self.activation(torch.addmm(self.bias, ring, self.matrix)), (ring,)


class _Cell(_Operator):
    def __init__(self, cell: Any, n_parts: int, n_frames: int):
        super().__init__(*[(1, 1, cell.hidden_size)] * n_parts)
        self.cell, self.n_frames = cell, n_frames

    def forward(self, x: Tensor, memory: State) -> tuple[Tensor, State]:
        state = memory if len(memory) == 2 else memory[0]
        y, after = self.cell(x.reshape(self.n_frames, 1, -1), state)
        return y.reshape(1, -1), after if len(memory) == 2 else (after,)


class _Plain(_Operator):
    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def value(self, x: Tensor) -> Tensor:
        return self.layer(x)


class _Own(_Operator):
    def __init__(self, layer: Any):
        super().__init__(*[tuple(part.shape) for part in layer.initial(1)])
        self.layer = layer

    def forward(self, x: Tensor, memory: State) -> tuple[Tensor, State]:
        return self.layer(x, memory)
