"""`eegnet`: the compact network of Lawhern et al. 2018 (J. Neural Eng. 15:056013), causal and streaming.

Changed against the paper, so that a hop costs the hop: spatial filters come first (they and the temporal kernels are
both linear, so the order is free; each spatial filter has a temporal kernel of its own, where the paper shares one
between two), convolutions in time look back only, and the readout is the mean of frame logits over the window instead
of one weight a frame. Batch normalisation uses running statistics outside training.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.engine import use_one_thread
from decoders.networks.layers.causal import CausalDepthwise, MeanOfLast
from decoders.spec import Arrays, DecoderSpec, Fitted, Params, Request, SpecError, State
from decoders.training.loop import train_network

RIDGE = 1.0
_KERNEL_S = 0.25
_FRAME_RATE_HZ = 32.0  # after the first pool: what desynchronisation needs, and no more


class EEGNet(nn.Module):
    """Spatial filters, temporal kernels, pool, separable convolution, pool, mean over the window.

    ``params``: ``align`` (channels, channels) is applied to the input (Euclidean alignment, He and Wu 2020, IEEE TBME
    67:399); ``temperature``.

    Parameters
    ----------
    spec : DecoderSpec
        ``options``: ``n_filters``, ``kernel`` (samples), ``pool`` (samples), ``frame_kernel`` (frames of the first
        pool), ``frame_pool``, ``n_tokens`` in the window.

    Raises
    ------
    SpecError
        The hop is not a multiple of the total stride ``pool * frame_pool``.
    """

    def __init__(self, spec: DecoderSpec):
        super().__init__()
        size = {name: int(value) for name, value in spec.options.items()}
        stride = size["pool"] * size["frame_pool"]
        if spec.hop % stride:
            raise SpecError(
                f"decoder 'eegnet': hop {spec.hop} is not a multiple of the network's stride {stride}; "
                f"use a hop of {max(1, round(spec.hop / stride)) * stride} samples, or train for this hop"
            )
        n = size["n_filters"]
        self.spec = spec
        self.pool, self.frame_pool = size["pool"], size["frame_pool"]
        self.tokens_per_hop = spec.hop // stride
        self.spatial = nn.Conv1d(len(spec.channels), n, 1, bias=False)
        self.temporal = CausalDepthwise(n, size["kernel"])
        self.norm1 = nn.BatchNorm1d(n)
        self.frames = CausalDepthwise(n, size["frame_kernel"])
        self.mix = nn.Conv1d(n, n, 1, bias=False)
        self.norm2 = nn.BatchNorm1d(n)
        self.dropout = nn.Dropout(0.5)
        self.readout = nn.Conv1d(n, len(spec.classes), 1)
        self.mean = MeanOfLast(len(spec.classes), size["n_tokens"])

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """Pools that bring the signal to about 32 Hz, then to one token a hop; a window of about ``window_s``."""
        hop, sfreq_hz = request.hop, request.sfreq_hz
        pool = max(d for d in range(1, hop + 1) if hop % d == 0 and (d == 1 or sfreq_hz / d >= _FRAME_RATE_HZ))
        kernel = max(2, round(_KERNEL_S * sfreq_hz))
        frame_kernel = max(2, round(_KERNEL_S * sfreq_hz / pool))
        past = kernel - 1 + (frame_kernel - 1) * pool
        n_tokens = round((request.window_s * sfreq_hz - past) / hop)
        if n_tokens < 2:
            raise SpecError(
                f"decoder 'eegnet': a window of {request.window_s:g} s is shorter than its kernels and two hops; "
                f"use a window of {(past + 2 * hop) / sfreq_hz:.3g} s or more"
            )
        sizes: dict[str, float] = {
            "n_filters": 16, "kernel": kernel, "pool": pool,
            "frame_kernel": frame_kernel, "frame_pool": hop // pool, "n_tokens": n_tokens,
        }  # fmt: skip
        return DecoderSpec(
            name="eegnet",
            channels=request.channels,
            sfreq_hz=sfreq_hz,
            hop=hop,
            classes=request.classes,
            receptive_field=n_tokens * hop + past,
            unit=request.unit,
            backend="torch",
            options=sizes,
        )

    @classmethod
    def fit(cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.integer], *, seed: int) -> Fitted:
        """Align to the trials' mean covariance, then train (`decoders.training.loop`)."""
        params = {"align": alignment(x), "temperature": np.ones(1, np.float32)}
        use_one_thread()  # more threads change the last bits, and small tensors gain nothing by them
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls(spec)
            train_network(network, x, y, {"align": torch.from_numpy(params["align"])})
        weights = {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}
        return Fitted(weights, params)

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> EEGNet:
        """The network around stored weights; SpecError if they do not fit."""
        try:
            network = cls(spec)
            network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        except (KeyError, RuntimeError) as error:
            raise SpecError(
                f"decoder 'eegnet': weights do not fit the spec ({str(error).splitlines()[-1].strip()})"
            ) from None
        network.requires_grad_(False)
        return network.eval()

    def initial_state(self, batch: int) -> State:
        """Past of the two convolutions, and the ring of tokens."""
        return self.temporal.initial(batch), self.frames.initial(batch), self.mean.initial(batch)

    def forward(self, x: Tensor, state: State, params: Params) -> tuple[Tensor, State]:
        """Logits (batch, n, classes) of x (batch, channels, n·hop)."""
        past, past_frames, past_tokens = state
        x = self.spatial(params["align"] @ x)
        x, past = self.temporal(x, past)
        x = self.dropout(nn.functional.avg_pool1d(nn.functional.elu(self.norm1(x)), self.pool))
        x, past_frames = self.frames(x, past_frames)
        x = nn.functional.elu(self.norm2(self.mix(x)))
        x = self.dropout(nn.functional.avg_pool1d(x, self.frame_pool))
        tokens, past_tokens = self.mean(self.readout(x), past_tokens)
        logits = tokens[:, :, self.tokens_per_hop - 1 :: self.tokens_per_hop]
        return logits.transpose(1, 2), (past, past_frames, past_tokens)

    def step(self, x: Tensor, state: State, params: Params) -> tuple[Tensor, State]:
        """One hop (batch, channels, hop) -> logits (batch, classes)."""
        logits, state = self.forward(x, state, params)
        return logits[:, 0], state


def alignment(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Symmetric matrix that evens out the directions of the trials (n, channels, samples), at unit mean variance.

    The inverse root of the mean covariance plus ``RIDGE`` times its mean variance. Without the ridge, 64 channels and
    few trials amplify noise until nothing is learnt (.47 against .58 between two runs of six people).
    """
    wide = x.astype(np.float64)
    wide -= wide.mean(axis=2, keepdims=True)
    covariance = (wide @ wide.transpose(0, 2, 1)).mean(axis=0) / x.shape[2]
    variance = np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh(covariance / variance)
    whole = (vectors / np.sqrt(np.maximum(values, 0) + RIDGE)) @ vectors.T
    evened = np.sum(values / (values + RIDGE)) / len(values)
    return (whole / np.sqrt(evened * variance)).astype(np.float32)
