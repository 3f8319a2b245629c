"""What decodes is recorded, replay uses the same, a swap brings its own, and cuda without a GPU is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.__main__ import main
from bci.build import build_session, load, open_recorded
from bci.config import SessionConfig, parse_config
from bci.errors import ConfigError, ModelError
from bci.pipeline import Pipeline
from bci.recording.replay import compare, recorded_events, replay
from bci.types import Prediction, SegmentStarted, Swap
from decoders.checkpoint import save_model
from decoders.onnx_step import export_fitted
from tests.helpers.models import CHANNELS, untrained
from tests.helpers.recorded import Run, eeg, with_channels
from tests.test_session import run as feed

SFREQ_HZ, HOP = 250.0, 25
SPEC = eeg(labels=CHANNELS[:3], sfreq_hz=SFREQ_HZ)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two with a graph, one without."""
    root = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("a", "b", "eager")):
        _, spec, fitted = untrained("eegnet", seed, n_channels=3, sfreq_hz=SFREQ_HZ, hop=HOP)
        onnx = None if name == "eager" else export_fitted(spec, fitted).onnx
        how = {"channels": spec.channels, "sfreq_hz": SFREQ_HZ, "hop": HOP, "bandpass_hz": (8.0, 30.0)}
        save_model(root / name, spec, fitted, how, {"labels": {}, "decide_at_s": 1.0}, "# random\n", (onnx,))
    return [root / name for name in ("a", "b", "eager")]


@pytest.fixture(scope="module")
def models(folders):
    return [load(folder) for folder in folders]


def decided(session, samples, sizes, swaps):
    """Predictions, with samples in chunks of ``sizes`` and models swapped after so many blocks."""
    outputs = feed(session, samples, np.arange(len(samples)) / SFREQ_HZ, sizes, swaps)
    return [o for o in outputs if isinstance(o, Prediction | SegmentStarted)]


def test_each_model_has_its_own_backend(models):
    assert [Pipeline(model, SPEC).compute for model in models] == ["onnxruntime", "onnxruntime", "torch"]


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_swaps_between_graphs_replay_bit_for_bit_in_any_chunks(data, models):
    """Live, every swap brings a pipeline of its own, warmed; replay has one a model."""
    samples = np.random.default_rng(0).normal(0, 10, (50 * HOP, 3)).astype(np.float32)
    places = sorted(data.draw(st.lists(st.integers(5, 48), min_size=1, max_size=4)))
    swaps = [(at, Swap(models[data.draw(st.integers(0, 2))].hash)) for at in places]
    by_hash = {model.hash: model for model in models}
    live, again = (
        build_session(SessionConfig(), SPEC, {h: Pipeline(m, SPEC) for h, m in by_hash.items()}, models[0].hash)
        for _ in range(2)
    )
    receive = live.receive

    def with_its_own(event):
        if isinstance(event, Swap):
            live.pipelines[event.model_hash] = Pipeline(by_hash[event.model_hash], SPEC)
            live.pipelines[event.model_hash].warm_up()
        return receive(event)

    live.receive = with_its_own
    sizes = data.draw(st.lists(st.integers(1, 90), min_size=1, max_size=20))
    expected = decided(live, samples, iter([len(samples)]), swaps)
    assert decided(again, samples, iter(sizes + [31] * len(samples)), swaps) == expected
    assert len(expected) == 51


@pytest.fixture
def recorded(folders, models, tmp_path):
    """A session that began with one graph and went on with another."""
    run = Run(tmp_path / "s", folders[0], spec=SPEC, signal=with_channels(3)[1])
    run.session.pipelines[models[1].hash] = Pipeline(models[1], SPEC)
    run.folder.add_model(folders[1], models[1].hash)
    run.play(8)
    run.issue(Swap(models[1].hash))
    run.play(6)
    run.end()
    return run.folder.path


def test_what_decoded_is_recorded_and_replayed_by_the_same(recorded, models):
    what = open_recorded(recorded / "session.xdf")
    metadata = what.recorded.metadata
    assert metadata["environment"]["compute"] == "onnxruntime"
    assert metadata["environment"]["libraries"]["onnxruntime"]
    assert metadata["onnx_sha256"] == [hashlib.sha256(models[0].onnx[0]).hexdigest()]
    assert what.is_same_environment
    outputs = list(replay(what.session(), recorded_events(what.recorded)))
    result = compare(what.recorded, outputs, bits=True)
    assert (result.n_differences, result.bitwise) == (0, True)
    assert {o.model_hash for o in outputs if isinstance(o, Prediction)} == {m.hash for m in models[:2]}


def test_eager_torch_replays_a_graph_within_the_tolerance_and_not_as_the_same(recorded, monkeypatch):
    """Where onnxruntime decoded and cannot now; bits are not promised then, and `compare` says how far off it is."""
    make = Pipeline.__init__

    def without_graph(self, model, *rest):
        make(self, type(model)(**{k: getattr(model, k) for k in type(model).__slots__} | {"onnx": (None,)}), *rest)

    monkeypatch.setattr(Pipeline, "__init__", without_graph)
    what = open_recorded(recorded / "session.xdf")
    assert not what.is_same_environment
    result = compare(what.recorded, list(replay(what.session(), recorded_events(what.recorded))), bits=False)
    assert result.n_differences == 0
    assert not result.bitwise


without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


@without_gpu
def test_cuda_without_a_gpu_is_one_line_for_replay_and_run(recorded, folders, capsys, tmp_path):
    for verb in (
        ["replay", str(recorded), "--verify"],
        ["run", "--recording", str(recorded / "session.xdf"), "--stream", "eeg", "--model", str(folders[0]),
         "--session", str(tmp_path / "new")],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            main([*verb, "--compute", "cuda"])
        said = capsys.readouterr().err
        assert end.value.code == 1
        assert said.startswith("bci: model ")
        assert "compute cuda was asked for" in said
        assert "use --compute cpu" in said
        assert said.count("\n") == 1
    assert not (tmp_path / "new" / "session.xdf").exists()


@without_gpu
def test_cuda_is_refused_for_a_decoder_on_numpy_too(models, tmp_path):
    from bci.bench.latency import linear_model

    linear_model(tmp_path / "m", 3, SFREQ_HZ, HOP)
    spec = eeg(labels=("ch1", "ch2", "ch3"), sfreq_hz=SFREQ_HZ)
    with pytest.raises(ModelError, match="compute cuda was asked for"):
        Pipeline(load(tmp_path / "m"), spec, compute="cuda")
    assert Pipeline(load(tmp_path / "m"), spec, compute="cpu").compute == "numpy"


def test_session_toml_says_where_to_decode():
    assert parse_config("[model]\ncompute = 'cpu'").model.compute == "cpu"
    with pytest.raises(ConfigError, match=r"model\.compute"):
        parse_config("[model]\ncompute = 'gpu'")
