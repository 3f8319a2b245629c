"""An ensemble keeps the streaming contract, averages calibrated logits, and each member keeps its own backend."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bci.__main__ import main
from decoders import contract as c
from decoders import load_class
from decoders.checkpoint import Model, load_model, save_model
from decoders.engine import Runner
from decoders.ensemble import combine, combined_spec, pack
from decoders.onnx_step import export_fitted
from decoders.spec import Fitted, SpecError
from tests.helpers.models import request, untrained

HOW = {"channels": ["C3", "Cz", "C4"], "bandpass_hz": [8.0, 30.0], "hop": 8, "sfreq_hz": 80.0}


def riemann(temperature=2.0, **sizes):
    family = load_class("riemann")
    spec = family.design(request(**({"n_channels": 3} | sizes)))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, len(spec.channels), spec.context)).astype(np.float32)
    y = np.arange(20) % 2
    x[y == 1, 0] *= 2
    fitted = family.fit(spec, x, y, seed=0)
    return spec, Fitted(fitted.weights, fitted.params | {"temperature": np.full(1, temperature)})


def network(name, **sizes):
    return untrained(name, **({"n_channels": 3} | sizes))[1:]


@pytest.fixture(scope="module")
def parts():
    return [network("eegnet"), riemann(), network("lstm", seed=3)]


@pytest.mark.parametrize("check", c.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("which", [(0, 1), (0, 2)], ids=["eegnet+riemann", "eegnet+lstm"])
def test_an_ensemble_keeps_the_contract(parts, which, check):
    spec = combined_spec([parts[i][0] for i in which])
    fitted = pack([parts[i][1] for i in which])
    check(lambda: (load_class("ensemble").restore(spec, fitted.weights), dict(fitted.params)))


def save(folder, spec, fitted, how=HOW, onnx=None, labels=None):
    info = {"labels": labels or {"T1": "left", "T2": "right"}, "decide_at_s": 3.5}
    save_model(folder, spec, fitted, how, info, "# card\n", (onnx,))
    return folder


@pytest.fixture(scope="module")
def folders(parts, tmp_path_factory):
    root = tmp_path_factory.mktemp("members")
    onnx = export_fitted(*parts[0]).onnx
    return [save(root / "eegnet", *parts[0], onnx=onnx), save(root / "riemann", *parts[1])]


def test_models_are_combined_by_the_command_and_decode_the_mean(folders, tmp_path, capsys):
    main(["ensemble", *map(str, folders), "--out", str(tmp_path / "both"), "--json", "-"])
    told = json.loads(capsys.readouterr().out)
    assert [m["decoder"] for m in told["members"]] == ["eegnet", "riemann"]
    both, members = load_model(tmp_path / "both"), [load_model(f) for f in folders]
    assert told["model_hash"] == both.hash
    assert both.onnx == (members[0].onnx[0], None)
    assert both.spec.n_priming_hops == max(m.spec.n_priming_hops for m in members)
    assert both.info["labels"] == {"T1": "left", "T2": "right"}
    runner = Runner(both.decoder, both.params, both.onnx)
    assert runner.compute == "onnxruntime + numpy"
    alone = [Runner(m.decoder, m.params, m.onnx) for m in members]
    for x in np.random.default_rng(1).normal(size=(20, 3, 8)).astype(np.float32):
        logits = np.mean([np.log(one.step(x)) for one in alone], axis=0)
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(runner.step(x), expected, atol=1e-6)
    runner.reset()
    alone[0].reset()
    assert np.array_equal(runner.step(x), Runner(both.decoder, both.params, both.onnx).step(x))


def test_what_does_not_fit_is_named(folders, parts, tmp_path, capsys):
    with pytest.raises(SpecError, match="1 member; at least 2"):
        combined_spec([parts[0][0]])
    with pytest.raises(SpecError, match=r"differ in hop: 8 and 16"):
        combined_spec([parts[0][0], riemann(hop=16)[0]])
    with pytest.raises(SpecError, match="is an ensemble"):
        combined_spec([combined_spec([p[0] for p in parts]), parts[0][0]])
    other = save(tmp_path / "other", *parts[1], how=HOW | {"bandpass_hz": [4.0, 30.0]})
    with pytest.raises(SpecError, match=r"differ in preprocessing: bandpass_hz \[8.0, 30.0\] and \[4.0, 30.0\]"):
        combine([load_model(folders[0]), load_model(other)])
    turned = save(tmp_path / "turned", *parts[1], labels={"T1": "right", "T2": "left"})
    with pytest.raises(SystemExit) as end:
        main(["ensemble", str(folders[0]), str(turned), "--out", str(tmp_path / "x")])
    said = capsys.readouterr().err
    assert (end.value.code, said) == (1, "bci: marker T1 cues left in one model and right in another\n")


def test_it_is_combined_and_not_trained():
    with pytest.raises(SpecError, match="bci ensemble MODEL MODEL"):
        load_class("ensemble").design(request())


# --- recentring ------------------------------------------------------------------------------------------------------


def recentring(name, align=None, seed=0):
    spec, fitted = network(name, recentre_hops=20, seed=seed)
    params = fitted.params if align is None else {**fitted.params, "align": align}
    fitted = Fitted(fitted.weights, params)
    restored = load_class(name).restore(spec, fitted.weights)
    return Model(restored, fitted.params, HOW, spec, name[0] * 64, {}, (None,), fitted.weights)


def test_what_recentring_moves_reaches_every_member():
    align = recentring("eegnet").params["align"]
    models = [recentring("eegnet"), recentring("tcn", align)]
    spec, fitted, _ = combine(models)
    assert spec.recentre_hops == 20
    both = Runner(load_class("ensemble").restore(spec, fitted.weights), fitted.params)
    alone = [Runner(m.decoder, m.params) for m in models]
    hops = np.random.default_rng(1).normal(size=(12, 3, spec.hop)).astype(np.float32)
    for k, hop in enumerate(hops):
        if k == 6:
            moved = align + 0.3 * np.eye(3, dtype=np.float32)
            for runner in (both, *alone):
                runner.set_params(align=moved)
        logits = [np.log(runner.step(hop)) for runner in alone]
        wanted = np.exp(np.mean([one - one.mean() for one in logits], axis=0))
        np.testing.assert_allclose(both.step(hop), wanted / wanted.sum(), rtol=1e-6)


def test_members_that_start_elsewhere_are_refused():
    first = recentring("eegnet")
    with pytest.raises(SpecError, match="start their recentring elsewhere; train them on the same recordings"):
        combine([first, recentring("tcn", 2 * first.params["align"])])
