"""The exported step gives what eager torch gives, is stored, checked and loaded, and the fallback says its reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoders.checkpoint import CheckpointError, load_model, save_model
from decoders.engine import Runner
from decoders.onnx_step import ExportError, OnnxStep, check_step, export_fitted, export_step, open_session
from decoders.spec import SpecError
from tests.helpers.decoders import NETWORKS
from tests.helpers.models import untrained

_exported = {}


def exported(name):
    if name not in _exported:
        family, spec, fitted = untrained(name)
        decoder = family.restore(spec, fitted.weights)
        _exported[name] = family, spec, fitted, decoder, export_step(decoder, fitted.params)
    return _exported[name]


def hops(spec, n=30, seed=3):
    return np.random.default_rng(seed).normal(size=(n, len(spec.channels), spec.hop)).astype(np.float32)


FIRST = ("eegnet", "tcn", "lstm", "transformer")  # an export takes 2 s
EACH = [pytest.param(name, marks=[] if name in FIRST else pytest.mark.slow) for name in NETWORKS]


@pytest.mark.parametrize("name", EACH)
def test_every_network_exports_and_gives_what_torch_gives(name):
    _, spec, fitted, decoder, onnx = exported(name)
    ours, theirs = Runner(decoder, fitted.params, (onnx,)), Runner(decoder, fitted.params)
    assert (ours.compute, theirs.compute) == ("onnxruntime", "torch")
    for x in hops(spec, spec.n_priming_hops + 10):
        np.testing.assert_allclose(ours.step(x), theirs.step(x), atol=2e-6)


@pytest.mark.parametrize("name", ["tcn", pytest.param("lstm", marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_bands", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_network_that_asks_the_mirrored_head_too_exports(name, n_bands):
    labels = ("C3", "Cz", "C4", "FC1", "FC2")
    channels = labels if n_bands == 1 else tuple(f"{label} {b}" for b in range(n_bands) for label in labels)
    family, spec, fitted = untrained(name, n_bands=n_bands, channels=channels, options={"mirror": 1.0})
    decoder = family.restore(spec, fitted.weights)
    onnx = export_step(decoder, fitted.params)
    ours, theirs = Runner(decoder, fitted.params, (onnx,)), Runner(decoder, fitted.params)
    differ = []
    for x in hops(spec, spec.n_priming_hops + 10):
        np.testing.assert_allclose(ours.step(x), theirs.step(x), atol=2e-6)
        differ.append(ours.step(x)[0])
        theirs.step(x)
    assert np.std(differ) > 1e-3


def test_params_are_inputs_and_not_baked_in():
    _, spec, fitted, decoder, onnx = exported("eegnet")
    turned = fitted.params | {"align": fitted.params["align"][::-1] * 3}
    ours, theirs = Runner(decoder, turned, (onnx,)), Runner(decoder, turned)
    other = Runner(decoder, fitted.params, (onnx,))
    for x in hops(spec):
        a, b, c = ours.step(x), theirs.step(x), other.step(x)
    np.testing.assert_allclose(a, b, atol=2e-6)
    assert np.abs(a - c).max() > 1e-3


def test_a_reset_forgets_and_two_copies_give_the_same_bits():
    _, spec, fitted, decoder, onnx = exported("eegnet")
    one, two = Runner(decoder, fitted.params, (onnx,)), Runner(decoder, fitted.params, (onnx,))
    two.warm_up(4)
    for x in hops(spec, 7, seed=9):
        two.step(x)
    two.reset()
    for x in hops(spec):
        assert np.array_equal(one.step(x), two.step(np.asfortranarray(x)))


def test_the_same_decoder_gives_the_same_bytes_without_places_of_this_machine():
    _, _, fitted, decoder, onnx = exported("tcn")
    assert export_step(decoder, fitted.params) == onnx
    assert b"site-packages" not in onnx
    assert b".py" not in onnx


def test_bytes_stand_in_the_model_folder_under_its_seal(tmp_path):
    _, spec, fitted, _, onnx = exported("eegnet")
    plain = save_model(tmp_path / "plain", spec, fitted, {}, {}, "# card\n")
    digest = save_model(tmp_path / "m", spec, fitted, {}, {}, "# card\n", (onnx,))
    assert digest != plain
    assert load_model(tmp_path / "plain").onnx == (None,)  # as folders were before there were graphs
    model = load_model(tmp_path / "m")
    assert model.onnx == (onnx,)
    assert Runner(model.decoder, model.params, model.onnx).compute == "onnxruntime"
    (tmp_path / "m" / "step.onnx").write_bytes(onnx[:-1])
    with pytest.raises(CheckpointError, match="do not match SHA256"):
        load_model(tmp_path / "m")


def test_a_graph_that_gives_other_numbers_is_refused():
    family, spec, fitted, _, onnx = exported("eegnet")
    weights = {key: value * 1.001 if value.dtype == np.float32 else value for key, value in fitted.weights.items()}
    with pytest.raises(ExportError, match="differs from torch by"):
        check_step(family.restore(spec, weights), fitted.params, onnx)


def test_foreign_bytes_and_foreign_graphs_are_one_line():
    _, _, fitted, decoder, onnx = exported("eegnet")
    with pytest.raises(SpecError, match=r"'eegnet': ONNX Runtime refuses step\.onnx"):
        Runner(decoder, fitted.params, (b"not a graph",))
    family, spec, fitted = untrained("eegnet", n_channels=3)
    with pytest.raises(SpecError, match="takes other inputs than the decoder"):
        OnnxStep(family.restore(spec, fitted.weights), fitted.params, onnx)


class Odd(torch.nn.Module):
    """A network whose answer turns on a number in the data: no graph can express that."""

    def __init__(self, network):
        super().__init__()
        self.network, self.spec = network, network.spec

    def initial_state(self, batch):
        return self.network.initial_state(batch)

    def step(self, x, state, params):
        logits, state = self.network.step(x, state, params)
        return (logits if float(x.sum()) > 0 else -logits), state


def test_without_a_graph_it_is_said_why_and_torch_computes(monkeypatch):
    family, spec, fitted = untrained("eegnet")
    restore = type(family).restore
    monkeypatch.setattr(type(family), "restore", lambda *a: Odd(restore(*a)))
    result = export_fitted(spec, fitted)
    assert result.onnx is None
    assert "torch: decoder 'eegnet' cannot be exported" in result.computed_by
    assert "\n" not in result.computed_by


def test_one_thread_that_does_not_spin():
    options = open_session(exported("eegnet")[4], "eegnet").get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
