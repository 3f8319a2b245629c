"""The CUDA graph gives what the CPU gives, within 1e-4 and without TF32; so do the first gradients of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoders.cuda_step import CudaStep, on_cuda, without_tf32
from decoders.engine import Runner, TorchStep
from tests.helpers.decoders import NETWORKS
from tests.helpers.models import untrained

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none here"),
]
WITHIN = 1e-4  # of the largest number


def close(ours, theirs):
    scale = max(float(np.abs(theirs).max()), 1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=WITHIN * scale)


def hops(spec, n=100, seed=3):
    return np.random.default_rng(seed).normal(size=(n, len(spec.channels), spec.hop)).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_hundred_hops_give_the_logits_of_the_cpu(name):
    family, spec, fitted = untrained(name, sfreq_hz=250.0, window_s=2.0)
    decoder = family.restore(spec, fitted.weights)
    ours, theirs = CudaStep(decoder, fitted.params), TorchStep(decoder, fitted.params)
    x = hops(spec)
    close(np.array([ours(hop) for hop in x]), np.array([theirs(hop) for hop in x]))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_reset_forgets_and_the_same_hops_give_the_same_bits(name):
    family, spec, fitted = untrained(name)
    step = CudaStep(family.restore(spec, fitted.weights), fitted.params)
    x = hops(spec, 20)
    first = np.array([step(hop) for hop in x])
    step.reset()
    assert np.array_equal(np.array([step(hop) for hop in x]), first)


def test_two_graphs_do_not_share_memory():
    """A model that is warmed up for a swap while another decodes."""
    family, spec, fitted = untrained("eegnet")
    decoder = family.restore(spec, fitted.weights)
    x = hops(spec, 20)
    alone = Runner(decoder, fitted.params, compute="cuda")
    expected = [alone.step(hop) for hop in x]
    first = Runner(decoder, fitted.params, compute="cuda")
    got = [first.step(hop) for hop in x[:10]]
    second = Runner(decoder, fitted.params, compute="cuda")
    second.warm_up()
    for hop in x[10:]:
        got.append(first.step(hop))
        second.step(hop)
    assert np.array_equal(got, expected)
    assert first.compute.startswith("cuda ")


@pytest.fixture
def full_float32():
    with without_tf32():
        yield


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("full_float32")
def test_the_first_gradients_of_training_are_those_of_the_cpu(name):
    family, spec, fitted = untrained(name)
    network = family.build(spec)
    network.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in fitted.weights.items()})
    x = torch.from_numpy(
        np.concatenate(hops(spec, 24).reshape(4, 6, len(spec.channels), spec.hop).transpose(1, 0, 2, 3), axis=2)
    )
    y = torch.tensor([0, 1, 0, 1])
    grads = []
    for device, net in (("cpu", network.eval()), ("cuda", on_cuda(network))):
        net.requires_grad_(True)
        for (
            module
        ) in net.modules():  # cuDNN gives gradients of recurrent cells in training mode only; dropout stays off
            if isinstance(module, torch.nn.RNNBase):
                module.train()
        params = {"align": torch.from_numpy(fitted.params["align"]).to(device)}
        logits, _ = net(x.to(device), net.initial_state(len(x)), params)
        torch.nn.functional.cross_entropy(logits.mean(1), y.to(device)).backward()
        grads.append({key: p.grad.cpu().numpy() for key, p in net.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    scale = max(np.abs(g).max() for g in grads[0].values())
    for key, value in grads[0].items():
        np.testing.assert_allclose(grads[1][key], value, rtol=0, atol=WITHIN * scale, err_msg=key)


def test_a_graph_leaves_the_flags_of_torch_as_they_were():
    """With TF32 off torch exports no ONNX graph, so training after decoding would lose its step."""
    from decoders.onnx_step import export_step

    family, spec, fitted = untrained("eegnet")
    decoder = family.restore(spec, fitted.weights)
    CudaStep(decoder, fitted.params)
    assert export_step(decoder, fitted.params)
