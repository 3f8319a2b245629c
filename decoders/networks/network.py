"""`Network`: layers in a row as one streaming decoder, and `NetworkFamily`: how one kind is sized, trained, restored.

A family is two functions: ``sizes`` chooses numbers for a request, ``layers`` builds the layers from them. The rest is
the same for all and stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.engine import use_one_thread
from decoders.mirror import check_mirror, mirror_order
from decoders.networks.layers import Carrying
from decoders.networks.layers.causal import CausalDepthwise
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError, State
from decoders.training.loop import best_epoch, train_network
from decoders.training.plan import Epoch, Journal, Plan
from decoders.training.streams import Stream

RIDGE = 1.0
FRAME_RATE_HZ = 32.0  # of frames inside networks: what desynchronisation needs, and no more
KERNEL_S = 0.25  # of a kernel in time


class Network(nn.Module):
    """A streaming decoder of layers, the first on the aligned input, the last giving (batch, outputs, tokens).

    ``params``: ``align`` (channels, channels), or (bands, channels, channels), is applied to the input (Euclidean
    alignment, He and Wu 2020, IEEE TBME 67:399); ``temperature``. With ``options["mirror"]`` the answer is the mean of
    that for the head and that for the mirrored head with the two classes exchanged; in training the head alone is seen.

    Parameters
    ----------
    spec : DecoderSpec
    layers : sequence of Module
        See `decoders.networks.layers`.

    Raises
    ------
    SpecError
        The hop is not a multiple of the layers' total decimation.
    """

    mirror: Tensor | None  # the row across the midline from each

    def __init__(self, spec: DecoderSpec, layers: Sequence[nn.Module]):
        super().__init__()
        stride, _ = stride_and_field(layers)
        if spec.hop % stride:
            raise SpecError(
                f"decoder {spec.name!r}: hop {spec.hop} is not a multiple of the network's stride {stride}; "
                f"use a hop of {max(1, round(spec.hop / stride)) * stride} samples, or train for this hop"
            )
        self.spec = spec
        self.tokens_per_hop = spec.hop // stride
        self.layers = nn.ModuleList(layers)
        self._n_parts = [len(layer.initial(1)) if isinstance(layer, Carrying) else 0 for layer in layers]
        mirror = torch.from_numpy(mirror_order(spec.channels)) if spec.options.get("mirror") else None
        self.register_buffer("mirror", mirror, persistent=False)
        if spec.outputs:  # layers learn standardised targets
            self.register_buffer("scale", torch.ones(spec.n_outputs, 1))
            self.register_buffer("offset", torch.zeros(spec.n_outputs, 1))

    def initial_state(self, batch: int) -> State:
        """What the layers remember, in their order."""
        device = next(self.parameters()).device
        carrying = [layer for layer in self.layers if isinstance(layer, Carrying)]
        passes = 1 if self.mirror is None else 2
        return tuple(part.to(device) for _ in range(passes) for layer in carrying for part in layer.initial(batch))

    def forward(self, x: Tensor, state: State, params: Params) -> tuple[Tensor, State]:
        """Logits (batch, n, classes) of x (batch, channels, n·hop)."""
        x = apply(x, params["align"], self.spec.n_bands)
        if self.mirror is None or self.training:
            logits, after = self._pass(x, state)
            return logits, after + state[len(after) :]
        half = len(state) // 2
        straight, after = self._pass(x, state[:half])
        mirrored, after_mirrored = self._pass(x[:, self.mirror], state[half:])
        return (straight + mirrored.flip(2)) / 2, after + after_mirrored

    def _pass(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = ()
        for layer, n_parts in zip(self.layers, self._n_parts, strict=True):
            if n_parts:
                at = len(after)
                x, memory = layer(x, state[at : at + n_parts])
                after += memory
            else:
                x = layer(x)
        if self.spec.outputs:
            x = x * self.get_buffer("scale") + self.get_buffer("offset")
        if self.tokens_per_hop > 1:
            x = x[:, :, self.tokens_per_hop - 1 :: self.tokens_per_hop]
        return x.transpose(1, 2), after

    def step(self, x: Tensor, state: State, params: Params) -> tuple[Tensor, State]:
        """One hop (batch, channels, hop) -> logits (batch, classes)."""
        logits, state = self.forward(x, state, params)
        return logits[:, 0], state

    def for_export(self) -> nn.Module:
        """The same step with its constants multiplied out, as `decoders.onnx_step` takes it."""
        from decoders.networks.merged import MergedStep

        return MergedStep(self)


def apply(x: Tensor, matrix: Tensor, n_bands: int) -> Tensor:
    """Apply a matrix, or one for each band, to x (batch, bands·channels, time); or a matrix of each row's own."""
    if matrix.dim() == 2:
        return matrix @ x
    return (matrix @ x.unflatten(1, (n_bands, -1))).flatten(1, 2)


def aligned(x: NDArray[np.float32], align: NDArray[np.float64]) -> NDArray[np.float32]:
    """Each trial of x (n, bands·channels, time) by its own ``align`` (n, bands, channels, channels)."""
    bands = x.reshape(len(x), align.shape[1], -1, x.shape[2])
    return (align.astype(np.float32) @ bands).reshape(x.shape)


def _aligned_stream(stream: Stream, align: NDArray[np.float64], hop: int) -> Stream:
    """Each hop by the matrix of the trial whose part it is from."""
    hops = stream.signal.reshape(len(stream.signal), -1, hop).transpose(1, 0, 2)
    signal = np.empty_like(hops)
    for trial in np.unique(stream.trial):
        at = stream.trial == trial
        signal[at] = aligned(hops[at], np.broadcast_to(align[trial], (int(at.sum()), *align.shape[1:])))
    return replace(stream, signal=np.ascontiguousarray(signal.transpose(1, 0, 2)).reshape(stream.signal.shape))


def _identity(spec: DecoderSpec) -> NDArray[np.float32]:
    """What leaves every band as it is: (bands, channels, channels), the shape that recentring gives."""
    c = len(spec.channels) // spec.n_bands
    return np.array(np.broadcast_to(np.eye(c, dtype=np.float32), (spec.n_bands, c, c)))


def stride_and_field(layers: Sequence[nn.Module]) -> tuple[int, int | None]:
    """Samples to a token, and samples that a token depends on (None where memory has no end)."""
    past, stride = 0, 1
    for layer in layers:
        n_past = getattr(layer, "n_past", 0)
        past = None if past is None or n_past is None else past + n_past * stride
        stride *= getattr(layer, "decimation", 1)
    return stride, None if past is None else past + 1


@dataclass(frozen=True)
class NetworkFamily:
    """A kind of network (`decoders.spec.Family`).

    Attributes
    ----------
    name : str
        Key in `decoders.DECODERS`.
    sizes : callable
        Request -> the numbers that ``layers`` needs. All may be replaced by ``request.options``. Where one is called
        ``n_tokens``, it is chosen here so that the receptive field comes to about ``window_s``.
    layers : callable
        DecoderSpec, and these numbers as attributes -> layers.
    prepare : callable or None
        Called with the network, the aligned trials and y before training, to set what is not learnt there.
    """

    name: str
    sizes: Callable[[Request], dict[str, float]]
    layers: Callable[[DecoderSpec, Any], list[nn.Module]]
    prepare: Callable[[Network, Tensor, NDArray], None] | None = None

    def design(self, request: Request) -> DecoderSpec:
        """Sizes for this request; SpecError says what would work."""
        sizes = self.sizes(request)
        if unknown := sorted(set(request.options) - {*sizes, "n_tokens", "mirror"}):
            raise SpecError(f"decoder {self.name!r}: no size {', '.join(unknown)}; there are {', '.join(sizes)}")
        sizes |= request.options
        spec = DecoderSpec(
            name=self.name,
            channels=request.channels,
            sfreq_hz=request.sfreq_hz,
            hop=request.hop,
            classes=request.classes,
            outputs=request.outputs,
            n_bands=request.n_bands,
            receptive_field=request.hop,
            recentre_hops=request.recentre_hops,
            unit=request.unit,
            backend="torch",
            options=sizes,
        )
        check_mirror(spec)
        if "n_tokens" in sizes and "n_tokens" not in request.options:
            spec = self._with_tokens(spec, request)
        field = self._field(spec)
        n_warmup = 0 if field else -(-round(request.window_s * request.sfreq_hz) // request.hop)
        spec = msgspec.structs.replace(spec, receptive_field=field, warmup_hops=n_warmup)
        with torch.device("meta"):
            self.build(spec)  # refuses a hop that does not fit the pools
        return spec

    def _with_tokens(self, spec: DecoderSpec, request: Request) -> DecoderSpec:
        def with_n(n: int) -> DecoderSpec:
            return msgspec.structs.replace(spec, options=spec.options | {"n_tokens": n})

        least, more = self._field(with_n(2)), self._field(with_n(3))
        assert least is not None
        assert more is not None
        n = 2 + round((request.window_s * request.sfreq_hz - least) / (more - least))
        if n < 2:
            raise SpecError(
                f"decoder {self.name!r}: a window of {request.window_s:g} s is shorter than its kernels and two hops; "
                f"use a window of {least / request.sfreq_hz:.3g} s or more"
            )
        return with_n(n)

    def _layers(self, spec: DecoderSpec) -> list[nn.Module]:
        numbers = {key: int(value) if float(value).is_integer() else value for key, value in spec.options.items()}
        return self.layers(spec, SimpleNamespace(**numbers))

    def _field(self, spec: DecoderSpec) -> int | None:
        with torch.device("meta"):
            return stride_and_field(self._layers(spec))[1]

    def build(self, spec: DecoderSpec) -> Network:
        """An untrained network; randomness comes from torch's generator."""
        return Network(spec, self._layers(spec))

    def fit(
        self,
        spec: DecoderSpec,
        x: NDArray[np.float32],
        y: NDArray[Any],
        *,
        seed: int,
        plan: Plan | None = None,
        journal: Journal | None = None,
        align: NDArray[np.float64] | None = None,
        streams: Sequence[Stream] = (),
    ) -> Fitted:
        """Align (to the trials' mean covariance, or each trial by its own ``align``), then train the network.

        Where there are ``streams`` of these trials, it learns from them instead; `decoders.training.streams` says which
        networks should.
        """
        network, params, _ = self._train(spec, x, y, seed, plan or Plan(), None, journal, align, streams)
        weights = {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}
        return Fitted(weights, params)

    def n_best_epochs(
        self,
        spec: DecoderSpec,
        x: NDArray[np.float32],
        y: NDArray[Any],
        held_out: tuple[NDArray[np.float32], NDArray[Any]],
        *,
        seed: int,
        plan: Plan,
        journal: Journal | None = None,
        streams: Sequence[Stream] = (),
    ) -> int:
        """After how many epochs the loss on ``held_out`` (x, y) is lowest."""
        return best_epoch(self._train(spec, x, y, seed, plan, held_out, journal, None, streams)[2])

    def _train(
        self, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[Any], seed: int, plan: Plan, held_out: Any,
        journal: Journal | None, align: NDArray[np.float64] | None, streams: Sequence[Stream],
    ) -> tuple[Network, Arrays, tuple[Epoch, ...]]:  # fmt: skip
        if align is not None:
            x, matrix = aligned(x, align), _identity(spec)
            streams = [_aligned_stream(stream, align, spec.hop) for stream in streams]
        elif spec.options.get("mirror"):
            matrix = alignment(np.concatenate((x, x[:, mirror_order(spec.channels)])), spec.n_bands)
        else:
            matrix = alignment(x, spec.n_bands)
        params = {"align": matrix, "temperature": np.ones(1, np.float32)}
        use_one_thread()  # more threads change the last bits, and small tensors gain nothing by them
        with torch.random.fork_rng(devices=[] if plan.device == "cpu" else None):
            torch.manual_seed(seed)
            network = self.build(spec)
            if self.prepare is not None:
                start = apply(torch.from_numpy(x), torch.from_numpy(params["align"]), spec.n_bands)
                self.prepare(network, start, np.asarray(y))
            if spec.outputs:
                y = np.asarray(y, np.float32)
                _set_targets(network, y)
            _begin_with(network, plan.init)
            network.to(plan.device)
            on_device = {"align": torch.from_numpy(params["align"]).to(plan.device)}
            epochs = train_network(
                network, x, y, on_device, streams=streams, plan=plan, held_out=held_out, journal=journal
            )
        return network, params, epochs

    def restore(self, spec: DecoderSpec, weights: Arrays) -> Network:
        """The network around stored weights; SpecError if they do not fit."""
        try:
            network = self.build(spec)
            network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        except (KeyError, RuntimeError) as error:
            raise SpecError(
                f"decoder {self.name!r}: weights do not fit the spec ({str(error).splitlines()[-1].strip()})"
            ) from None
        network.requires_grad_(False)
        return network.eval()


def front(spec: DecoderSpec, n_filters: int, kernel: int) -> list[nn.Module]:
    """Spatial filters (of each band its own), a kernel in time for each, normalised: (batch, n_filters, time)."""
    if n_filters % spec.n_bands:
        raise SpecError(
            f"decoder {spec.name!r}: n_filters {n_filters} is not a multiple of {spec.n_bands} bands; "
            f"use {-(-n_filters // spec.n_bands) * spec.n_bands}"
        )
    return [
        nn.Conv1d(len(spec.channels), n_filters, 1, bias=False, groups=spec.n_bands),
        CausalDepthwise(n_filters, kernel),
        nn.BatchNorm1d(n_filters),
    ]


def frame(request: Request) -> int:
    """Samples in a frame: a part of the hop, at about `FRAME_RATE_HZ` or above."""
    hop, sfreq_hz = request.hop, request.sfreq_hz
    return max(d for d in range(1, hop + 1) if hop % d == 0 and (d == 1 or sfreq_hz / d >= FRAME_RATE_HZ))


def window_hops(request: Request) -> int:
    """Hops in the window, at least 2."""
    return max(2, round(request.window_s * request.sfreq_hz / request.hop))


def averaged_hops(request: Request) -> int:
    """Hops whose logits a recurrent network averages; the rest of the window is for forgetting how it began."""
    return max(2, 3 * window_hops(request) // 4)


def kernel(sfreq_hz: float) -> int:
    """Length of a kernel in time at this rate."""
    return max(2, round(KERNEL_S * sfreq_hz))


def _begin_with(network: Network, weights: Arrays) -> None:
    """Take what fits; SpecError where nothing does."""
    own = network.state_dict()
    fitting = {name: torch.from_numpy(np.array(v)) for name, v in weights.items() if name in own}
    fitting = {name: v for name, v in fitting.items() if v.shape == own[name].shape}
    if weights and not fitting:
        raise SpecError(f"decoder {network.spec.name!r}: no weight of the other model fits this network")
    network.load_state_dict(fitting, strict=False)


def _set_targets(network: Network, y: NDArray[np.float32]) -> None:
    """Let the network's outputs have the mean and deviation of y (n_trials, n_outputs) or (…, n_hops, n_outputs)."""
    y = y.reshape(-1, y.shape[-1])
    network.get_buffer("offset").copy_(torch.from_numpy(y.mean(axis=0))[:, None])
    network.get_buffer("scale").copy_(torch.from_numpy(np.maximum(y.std(axis=0), 1e-12))[:, None])


def alignment(x: NDArray[np.float32], n_bands: int = 1) -> NDArray[np.float32]:
    """Symmetric matrix that evens out the directions of the trials (n, channels, samples), at unit mean variance.

    The inverse root of the mean covariance plus ``RIDGE`` times its mean variance. Without the ridge, 64 channels and
    few trials amplify noise until nothing is learnt (.47 against .58 between two runs of six people). With several
    bands one matrix each: (bands, channels, channels).
    """
    if n_bands > 1:
        return np.stack([alignment(band) for band in np.split(x, n_bands, axis=1)])
    wide = x.astype(np.float64)
    wide -= wide.mean(axis=2, keepdims=True)
    covariance = (wide @ wide.transpose(0, 2, 1)).mean(axis=0) / x.shape[2]
    variance = np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh(covariance / variance)
    whole = (vectors / np.sqrt(np.maximum(values, 0) + RIDGE)) @ vectors.T
    evened = np.sum(values / (values + RIDGE)) / len(values)
    return (whole / np.sqrt(evened * variance)).astype(np.float32)
