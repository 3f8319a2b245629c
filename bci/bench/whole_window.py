"""What a hop costs without memory: the same networks, with the same weights, on their whole window.

For the benchmark only. Two orders of the same operators: as published (kernels in time on every channel, then spatial
filters), and the fastest with equal output (spatial filters first, folded with the alignment).
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from decoders.networks.cnn3d import CausalConv3d
from decoders.networks.layers import Carrying
from decoders.networks.layers.attention import AttentionBlock
from decoders.networks.layers.causal import CausalConv, CausalDepthwise, MeanOfLast
from decoders.networks.network import Network
from decoders.networks.tcn import Block

Order = Literal["published", "fastest"]


class WholeWindow(nn.Module):
    """A network on its window (1, channels, `n_samples`): logits (1, classes), nothing carried.

    Where memory has an end the logits are those of the streaming network. Recurrent cells start from nothing, and
    attention is over all tokens of the window, as published: equal work then, not equal output.
    """

    def __init__(self, network: Network, order: Order, window_s: float):
        super().__init__()
        self.layers = network.layers
        self.order = order
        spec = network.spec
        first, second = network.layers[0], network.layers[1]
        self.is_spatial = isinstance(first, nn.Conv1d) and first.kernel_size == (1,) and first.groups == 1
        self.has_front = self.is_spatial and isinstance(second, CausalDepthwise)
        self.is_equal = spec.receptive_field is not None and not any(isinstance(m, AttentionBlock) for m in self.layers)
        if self.is_equal:
            self.n_samples = spec.receptive_field or 0
        else:
            n_hops = round(window_s * spec.sfreq_hz / spec.hop)
            self.n_samples = n_hops * spec.hop + (second.n_past if isinstance(second, CausalDepthwise) else 0)

    def forward(self, x: Tensor, align: Tensor) -> Tensor:
        """Logits (1, classes) of x (1, channels, n_samples)."""
        n_done = 0
        if self.is_spatial and self.order == "fastest":
            x, n_done = (self.layers[0].weight[:, :, 0] @ align) @ x, 1  # type: ignore[index, operator]
        elif self.has_front:
            x, n_done = _as_published(align @ x, self.layers[0], self.layers[1]), 2
        else:
            x = align @ x
        for layer in self.layers[n_done:]:  # type: ignore[index]
            x = _whole(layer, x)
        return x[:, :, -1]


def _as_published(x: Tensor, spatial: Any, kernels: Any) -> Tensor:
    x = nn.functional.conv2d(x.unsqueeze(1), kernels.conv.weight.unsqueeze(2))
    n = len(spatial.weight)
    return nn.functional.conv2d(x, spatial.weight.reshape(n, 1, -1, 1), groups=n).squeeze(2)


def _whole(layer: Any, x: Tensor) -> Tensor:
    if isinstance(layer, CausalDepthwise | CausalConv | CausalConv3d):
        return layer.conv(x)
    if isinstance(layer, Block):
        return x[:, :, layer.n_past :] + layer.after(layer.conv.conv(x))
    if isinstance(layer, MeanOfLast):
        return nn.functional.avg_pool1d(x, layer.n, stride=1) if x.shape[2] > layer.n else x.mean(2, keepdim=True)
    if isinstance(layer, AttentionBlock):
        return _over_all(layer, x.transpose(1, 2)).transpose(1, 2)
    return layer(x, layer.initial(1))[0] if isinstance(layer, Carrying) else layer(x)


def _over_all(block: AttentionBlock, x: Tensor) -> Tensor:
    n = x.shape[1]
    parts = block.project(block.norm1(x)).reshape(1, n, 3, block.n_heads, block.n_each).permute(2, 0, 3, 1, 4)
    y = nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
    x = x + block.out(y.transpose(1, 2).reshape(1, n, -1))
    return x + block.contract(nn.functional.gelu(block.expand(block.norm2(x))))
