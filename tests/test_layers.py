"""Layers that carry their past: folded over any cuts they give what they give at once, from any state, for ever."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from decoders.networks.cnn3d import CausalConv3d
from decoders.networks.convlstm import ConvLSTM
from decoders.networks.layers import Carrying
from decoders.networks.layers.attention import AttentionBlock
from decoders.networks.layers.causal import CausalConv, CausalDepthwise, MeanOfLast, Pool
from decoders.networks.layers.recurrent import Recurrent
from decoders.networks.layers.scalp import N_COLUMNS, N_ROWS, Flat, Grid
from decoders.networks.network import stride_and_field
from decoders.networks.tcn import Block

N = 3  # features
LAYERS = {
    "depthwise": lambda: CausalDepthwise(N, 9),
    "dense": lambda: CausalConv(N, 4, 3),
    "dilated": lambda: CausalConv(N, 4, 3, dilation=5),
    "block": lambda: Block(N, 4, 0.1),
    "mean": lambda: MeanOfLast(N, 12),
    "rnn": lambda: Recurrent("rnn", N, 5),
    "lstm": lambda: Recurrent("lstm", N, 5),
    "gru": lambda: Recurrent("gru", N, 5),
    "attention": lambda: AttentionBlock(4, 2, 10, 0.1),
    "3d": lambda: CausalConv3d(N, 2),
    "convlstm": lambda: ConvLSTM(N, 2),
}


def made(name):
    torch.manual_seed(0)
    layer = LAYERS[name]().eval().requires_grad_(False)
    assert isinstance(layer, Carrying)
    for parameter in layer.parameters():
        parameter.normal_(0, 0.3)
    return layer


def signal(name, n, seed=1, batch=1):
    generator = torch.Generator().manual_seed(seed)
    shape = {"attention": (4, n), "3d": (N, n, N_ROWS, N_COLUMNS), "convlstm": (N, n, N_ROWS, N_COLUMNS)}
    return torch.randn(batch, *shape.get(name, (N, n)), generator=generator)


def folded(layer, x, state, cuts):
    parts = []
    for first, last in zip([0, *cuts], [*cuts, x.shape[2]], strict=True):
        y, state = layer(x[:, :, first:last], state)
        parts.append(y)
    return torch.cat(parts, dim=2), state


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_cuts_from_any_state_give_what_one_call_gives(name, data):
    layer = made(name)
    n = data.draw(st.integers(2, 80))
    cuts = sorted(data.draw(st.sets(st.integers(1, n - 1), max_size=n - 1)))
    _, state = layer(signal(name, data.draw(st.integers(1, 40)), seed=7, batch=2), layer.initial(2))
    x = signal(name, n, batch=2)
    whole, end = layer(x, state)
    parts, end_of_parts = folded(layer, x, state, cuts)
    assert relative(parts, whole) <= 1e-5
    assert all(relative(a, b) <= 1e-5 for a, b in zip(end_of_parts, end, strict=True))


@pytest.mark.parametrize("name", LAYERS)
def test_an_output_depends_on_its_past_and_as_far_back_as_stated(name):
    layer = made(name)
    n = 60
    x = signal(name, n).requires_grad_()
    y, _ = layer(x, layer.initial(1))
    y[:, :, 49].square().sum().backward()
    felt = (x.grad.abs().amax(dim=(0, 1, 3, 4)) if x.dim() == 5 else x.grad.abs().amax(dim=(0, 1))) > 0
    assert not felt[50:].any()
    if layer.n_past is not None:
        assert felt.nonzero().min() == 49 - layer.n_past
    else:
        assert felt[49]
        assert felt[48]


def test_the_short_way_of_a_depthwise_convolution_is_the_long_one():
    layer = made("depthwise")
    x = signal("depthwise", 4)
    short, _ = layer(x, layer.initial(1))
    long = layer.conv(nn.functional.pad(x, (8, 0)))
    assert torch.allclose(short, long, atol=1e-6)


def test_attention_sees_lags_and_no_places():
    layer = made("attention")
    x = signal("attention", 30)
    _, later = layer(signal("attention", 500, seed=3), layer.initial(1))
    fresh, _ = layer(x, layer.initial(1))
    after, _ = layer(x, later)
    assert torch.allclose(fresh[:, :, 9:], after[:, :, 9:], atol=1e-6)
    layer.by_lag[:, -1] += 5  # prefer the newest
    other, _ = layer(x, layer.initial(1))
    assert not torch.allclose(other, fresh)


def test_receptive_field_and_stride_of_layers_in_a_row():
    layers = [nn.Conv1d(2, N, 1), CausalDepthwise(N, 5), nn.ELU(), Pool(4), CausalConv(N, N, 3, 2), MeanOfLast(N, 6)]
    assert stride_and_field(layers) == (4, 1 + 4 + 3 + 4 * 4 + 5 * 4)
    assert stride_and_field([*layers, Recurrent("gru", N, 2)]) == (4, None)


def test_grid_keeps_bands_apart_and_flat_gives_back_the_cells():
    grid = Grid(2, 3)
    grid.get_buffer("place")[5, 1] = 1.0
    x = torch.arange(12.0).reshape(1, 6, 2)  # bands x channels, time
    image = grid(x)
    assert image.shape == (1, 3, 2, N_ROWS, N_COLUMNS)
    assert torch.equal(image[0, :, :, 0, 5], x[0, 1::2])
    assert torch.equal(Flat()(image)[0, 5 :: N_ROWS * N_COLUMNS], x[0, 1::2])


# --- a million frames ------------------------------------------------------------------------------------------------


class RunningSum(nn.Module):
    """What `MeanOfLast` must not be."""

    n_past = 11

    def initial(self, batch):
        return torch.zeros(batch, N, 12), torch.zeros(batch, N, 1)

    def forward(self, x, memory):
        x = torch.cat((memory[0], x), dim=2)
        sums = memory[1] + (x[:, :, 12:] - x[:, :, :-12]).cumsum(dim=2)
        return sums / 12, (x[:, :, -12:], sums[:, :, -1:])


def error_after(layer, name, n_frames, hop):
    """Error at the end, relative to the outputs there, of ``layer`` by hops against itself in float64 at once.

    A thousandth of the signal is an artefact a thousand times as large.
    """
    reference = (RunningSum() if isinstance(layer, RunningSum) else LAYERS[name]()).eval().requires_grad_(False)
    reference.load_state_dict(layer.state_dict())
    reference.double()
    state, wide_state = layer.initial(1), tuple(part.double() for part in layer.initial(1))
    with torch.inference_mode():
        for at in range(0, n_frames, 20 * hop):
            x = signal(name, 20 * hop, seed=at)
            if at // (20 * hop) % 20 == 10:
                x[:, :, 5:25] *= 1000
            y, state = folded(layer, x, state, list(range(hop, 20 * hop, hop)))
            true, wide_state = reference(x.double(), wide_state)
    return relative(y.double(), true)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_a_million_samples_do_not_drift(name):
    n_samples, token = 1_000_000, 25  # some layers see samples, others tokens of many
    n_frames, hop = (n_samples, 50) if name in ("depthwise", "dense", "mean") else (n_samples // token, 10)
    assert error_after(made(name), name, n_frames, hop) <= 1e-5


@pytest.mark.slow
def test_a_running_sum_would_drift():
    assert error_after(RunningSum(), "mean", 1_000_000, 50) > 1e-5
