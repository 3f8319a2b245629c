"""A model folder is whole and unchanged, or it is refused with a reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import load_class
from decoders.checkpoint import CheckpointError, load_model, model_hash, save_model
from decoders.engine import Runner
from decoders.spec import Fitted, Request
from tests.helpers.decoders import AT_HOPS

FILES = ("weights.safetensors", "spec.json", "card.md", "SHA256")


def make(folder, name="bandpower", temperature=1.5):
    family = load_class(name)
    spec = family.design(
        Request(channels=("C3", "Cz", "C4"), sfreq_hz=80.0, hop=8, classes=("left", "right"), window_s=1.0)
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 3, spec.context)).astype(np.float32), np.arange(10) % 2
    fitted = family.fit(spec, x, y, seed=0)
    fitted = Fitted(fitted.weights, {**fitted.params, "temperature": np.full(1, temperature)})
    digest = save_model(folder, spec, fitted, {"bandpass_hz": [8, 30]}, {"labels": {"T1": "left"}}, "# a card\n")
    return family, spec, fitted, digest


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "m"
    make(folder)
    return folder


def copy(saved, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes((saved / name).read_bytes())
    return folder


@pytest.mark.parametrize("name", AT_HOPS)
def test_what_was_saved_decodes_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr("decoders.training.loop.MIN_EPOCHS", 1)
    monkeypatch.setattr("decoders.training.loop.MIN_STEPS", 1)
    family, spec, fitted, digest = make(tmp_path / "m", name)
    model = load_model(tmp_path / "m")
    assert model.spec == spec
    assert model.hash == digest == model_hash(tmp_path / "m")
    assert (model.preprocessing, model.info) == ({"bandpass_hz": [8, 30]}, {"labels": {"T1": "left"}})
    before, after = Runner(family.restore(spec, fitted.weights), fitted.params), Runner(model.decoder, model.params)
    for hop in np.random.default_rng(1).normal(size=(5, 3, 8)).astype(np.float32):
        assert np.array_equal(before.step(hop), after.step(hop))


def test_the_folder_holds_plain_files_and_says_its_temperature(saved):
    assert sorted(p.name for p in saved.iterdir()) == sorted(FILES)
    assert json.loads((saved / "spec.json").read_text())["temperature"] == 1.5


def test_the_same_model_has_the_same_hash_and_another_another(tmp_path):
    one, two = make(tmp_path / "a")[3], make(tmp_path / "b")[3]
    assert one == two
    assert make(tmp_path / "a", temperature=2.0)[3] != one  # it replaces the older one
    assert load_model(tmp_path / "a").params["temperature"][0] == 2.0
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a", "b"]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(saved, tmp_path_factory, data):
    folder = copy(saved, tmp_path_factory.mktemp("x"))
    name = data.draw(st.sampled_from(FILES))
    content = bytearray((folder / name).read_bytes())
    digits = 64 if name == "SHA256" else len(content)  # what follows the digits is white space
    at = data.draw(st.integers(0, digits - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="do not match SHA256"):
        load_model(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_off_or_missing_is_found(saved, tmp_path, name):
    folder = copy(saved, tmp_path)
    (folder / name).write_bytes((folder / name).read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="do not match"):
        load_model(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} missing"):
        load_model(folder)


def test_foreign_files_and_places_are_refused(saved, tmp_path):
    folder = copy(saved, tmp_path)
    (folder / "model.pkl").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"model\.pkl does not belong there"):
        load_model(folder)
    with pytest.raises(CheckpointError, match="no model folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no model folder"):
        load_model(saved / "spec.json")


def reseal(folder):
    (folder / "SHA256").write_text(model_hash(folder) + "\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda spec: spec.update(format=99), "format 99, this program reads 1"),
        (lambda spec: spec["decoder"].update(name="svm"), "no decoder 'svm'"),
        (lambda spec: spec["decoder"].update(channels=["C3", "Cz"]), "weights do not fit"),
        (lambda spec: spec["decoder"].update(hop=0), "hop 0"),
        (lambda spec: spec.pop("decoder"), "spec.json is not ours"),
    ],
)
def test_a_sealed_folder_of_another_kind_is_refused(saved, tmp_path, change, says):
    folder = copy(saved, tmp_path)
    spec = json.loads((folder / "spec.json").read_text())
    change(spec)
    (folder / "spec.json").write_text(json.dumps(spec))
    reseal(folder)
    with pytest.raises(CheckpointError, match=says):
        load_model(folder)


def test_sealed_weights_that_are_no_safetensors_are_refused(saved, tmp_path):
    folder = copy(saved, tmp_path)
    (folder / "weights.safetensors").write_bytes(b"\x80\x04pickle")
    reseal(folder)
    with pytest.raises(CheckpointError, match="weights do not fit"):
        load_model(folder)


def test_what_is_not_a_model_is_never_overwritten(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear diary")
    with pytest.raises(CheckpointError, match="is not a model"):
        make(tmp_path / "notes")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="is not a model"):
        make(tmp_path / "file")
    assert (tmp_path / "notes" / "diary.txt").read_text() == "dear diary"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="cannot write model") as error:
        make(tmp_path / "file" / "m")
    assert "\n" not in str(error.value)


def test_a_failed_write_leaves_the_old_model_and_no_litter(tmp_path, monkeypatch):
    old = make(tmp_path / "m")[3]

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        make(tmp_path / "m", temperature=3.0)
    assert load_model(tmp_path / "m").hash == old
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
