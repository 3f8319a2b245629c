"""`bci replay` on a real session that was changed afterwards: each change is found, at its place.

One session is recorded live, once: a sender, `bci run` with commands, a swap of the model in its middle.
"""

import json
import re
import shutil

import msgspec
import numpy as np
import pytest

from bci.__main__ import main
from bci.build import open_recorded
from bci.recording.replay import HOP_LABELS, compare, recorded_events, replay
from bci.recording.scan import Tag, scan
from bci.recording.xdf import XdfWriter, read_xdf_file
from bci.types import Numbered, Prediction
from decoders.checkpoint import load_model, model_hash, save_model
from decoders.spec import Fitted
from tests.helpers.fault_sender import CHUNK, fitted_model
from tests.helpers.live import bci as bci_process
from tests.helpers.live import session as live_session

pytestmark = pytest.mark.timeout(240)
P = len(HOP_LABELS)  # a row of bci-hops: these, then probabilities


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two that hear the sender's commands, and one that comes from elsewhere."""
    root = tmp_path_factory.mktemp("models")
    return [fitted_model(root / name, seed) for seed, name in enumerate(("first", "second", "third"), 1)]


@pytest.fixture(scope="module")
def original(models, tmp_path_factory):
    """The session's folder."""
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROLANDIC_RUNTIME_DIR", str(folder / "runtime"))
        with live_session(models[0], f"replay-{folder.name}-{id(patch)}", folder, "--arm") as live:
            live.wait_for_commands(2)
            assert bci_process("control", "swap", models[1]).returncode == 0
            live.wait_for(lambda: _status()["model_hash"] == model_hash(models[1]), "the second model")
            live.wait_for_commands(len(live.listener.commands()) + 2)
            live.senders[0].end()
            assert live.wait_for_end() == 0, live.errors
    return live.folder


def _status():
    reply = bci_process("control", "status", "--json", "-")
    return json.loads(reply.stdout) if reply.returncode == 0 else {"model_hash": ""}


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(original, tmp_path / "session")


@pytest.fixture
def bci(capsys):
    """Run a verb here: its exit code, its JSON, and what it said on standard error."""

    def run(*arguments):
        code = 0
        try:
            main([*map(str, arguments), "--json", "-"])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, json.loads(said.out or "null"), said.err

    return run


def change(folder, stream, edit):
    """Write the recording anew, with the samples of one stream as ``edit`` makes them; all other bits stay."""
    path = folder / "session.xdf"
    file = read_xdf_file(path)
    path.unlink()
    with path.open("xb", buffering=0) as new:
        writer = XdfWriter(new)
        for number, (was, xml) in enumerate(zip(file.recording.streams, file.header_xml, strict=True), 1):
            writer.open_stream(number, xml, was.spec.format)
            samples = edit(was.samples) if was.spec.name == stream else was.samples
            stamps_s = was.stamps_s[: len(samples)]
            writer.samples(number, [[s] for s in samples] if isinstance(samples, list) else samples, stamps_s)
        writer.finish(0.0)


def edited(**of):
    """Edit lines of JSON: ``edited(line=3, name="up")``."""
    line = of.pop("line")

    def edit(lines):
        changed = json.loads(lines[line])
        changed.update(of)
        return [*lines[:line], json.dumps(changed), *lines[line + 1 :]]

    return edit


def streams(folder):
    return {s.spec.name: s for s in read_xdf_file(folder / "session.xdf").recording.streams}


def raw_name(folder):
    return open_recorded(folder / "session.xdf").spec.name


def hops(folder):
    return streams(folder)["bci-hops"].samples


def first(result):
    return result["first_difference"]["kind"], result["first_difference"]["index"]


# --- unchanged -------------------------------------------------------------------------------------------------------


def test_unchanged_is_bitwise_the_same_however_it_is_chunked(folder, bci):
    change(folder, "", None)  # written anew, which changes no bit
    for options in ((), ("--rechunk", 1), ("--rechunk", 2)):
        code, result, said = bci("replay", folder, "--verify", *options)
        assert (code, said, result["n_differences"], result["first_difference"]) == (0, "", 0, None)
        assert result["bitwise"]
        assert result["max_abs_dp"] == 0
        assert (result["n_tail_recorded"], result["n_tail_replayed"]) == (0, 0)
        assert result["n_predictions"] == result["n_hops"] == len(hops(folder))
        assert result["n_commands"] >= 4
        assert result["n_samples"] == len(streams(folder)[raw_name(folder)].stamps_s)


# --- one thing changed -----------------------------------------------------------------------------------------------


def test_one_changed_sample_is_found_at_its_hop(folder, bci):
    at = len(hops(folder)) // 2 * CHUNK + 2

    def edit(samples):
        changed = samples.copy()
        changed[at, 1] += 0.01
        return changed

    change(folder, raw_name(folder), edit)
    code, result, _ = bci("replay", folder, "--verify")
    assert code == 1
    assert first(result) == ("prediction", at // CHUNK)
    assert result["first_difference"]["recorded"][:P] == result["first_difference"]["replayed"][:P]
    assert result["n_differences"] >= 1  # and where the decoder's memory still holds it
    assert 0 < result["max_abs_dp"] < 0.1
    assert not result["bitwise"]


@pytest.mark.parametrize("column", [P, 3])
def test_one_changed_bit_of_a_prediction_is_found_at_its_hop(column, folder, bci):
    at = len(hops(folder)) // 3

    def edit(rows):
        changed = rows.copy()
        changed.view(np.uint64)[at, column] ^= 1
        return changed

    change(folder, "bci-hops", edit)
    code, result, _ = bci("replay", folder, "--verify")
    assert code == 1
    assert (first(result), result["n_differences"], result["bitwise"]) == (("prediction", at), 1, False)
    was, now = result["first_difference"]["recorded"], result["first_difference"]["replayed"]
    assert [i for i, (a, b) in enumerate(zip(was, now, strict=True)) if a != b] == [column]


@pytest.mark.parametrize("of", [{"name": "up"}, {"value": 0.123}, {"hop": 1}, {"arm_id": 77}])
def test_one_changed_command_is_found_at_its_number(of, folder, bci):
    lines = streams(folder)["bci-commands"].samples
    commands = [i for i, line in enumerate(lines) if json.loads(line)["kind"] == "command"]
    change(folder, "bci-commands", edited(line=commands[2], **of))
    code, result, _ = bci("replay", folder, "--verify")
    assert (code, result["n_differences"]) == (1, 1)
    assert first(result) == ("command", 2)
    assert {k: result["first_difference"]["recorded"][k] for k in of} == of


def test_a_command_that_was_taken_out_is_found(folder, bci):
    lines = streams(folder)["bci-commands"].samples
    last = max(i for i, line in enumerate(lines) if json.loads(line)["kind"] == "command")
    change(folder, "bci-commands", lambda lines: lines[:last] + lines[last + 1 :])
    code, result, _ = bci("replay", folder, "--verify")
    n = sum(json.loads(line)["kind"] == "command" for line in lines)
    assert (code, result["n_differences"], first(result)) == (1, 1, ("command", n - 1))
    assert result["first_difference"]["recorded"] is None


def test_an_event_that_was_taken_out_is_an_error_that_names_it(folder, bci):
    change(folder, "bci-events", lambda lines: lines[:100] + lines[101:])
    code, _, said = bci("replay", folder, "--verify")
    assert code == 1
    assert said == "bci: event 100 is missing from the recorded sequence (next is 101)\n"


def test_a_changed_time_of_the_gate_is_found_at_its_hop(folder, bci):
    lines = [json.loads(line) for line in streams(folder)["bci-events"].samples]
    n_steps, at, hop = 0, None, len(hops(folder)) // 2
    for i, line in enumerate(lines):
        n_steps += line["event"]["kind"] == "step"
        if n_steps == hop + 1:
            at = i + 1
            break
    assert lines[at]["event"]["kind"] == "now"
    later = lines[at]["event"] | {"now_s": lines[at]["event"]["now_s"] + 1e-6}
    change(folder, "bci-events", edited(line=at, event=later))
    code, result, _ = bci("replay", folder, "--verify")
    assert code == 1
    assert first(result) == ("prediction", hop)  # its age is another


# --- models ----------------------------------------------------------------------------------------------------------


def with_another_weight(path, into):
    """The model with one weight a little larger, properly sealed; its hash."""
    from safetensors.numpy import load

    arrays = load((path / "weights.safetensors").read_bytes())
    name = next(n for n in sorted(arrays) if n.startswith("weights.") and arrays[n].dtype.kind == "f")
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] *= 1.001
    model = load_model(path)
    weights, params = (
        {k.removeprefix(kind): v for k, v in arrays.items() if k.startswith(kind)} for kind in ("weights.", "params.")
    )
    card = (path / "card.md").read_text()
    return save_model(into, model.spec, Fitted(weights, params), model.preprocessing, model.info, card)


def test_a_changed_byte_of_a_model_is_an_error_that_names_the_folder(folder, models, bci):
    path = folder / "models" / model_hash(models[1]) / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, _, said = bci("replay", folder, "--verify")
    assert code == 1
    assert said.startswith(f"bci: model {path.parent}: its files do not match SHA256 (")
    assert said.count("\n") == 1


def test_a_weight_changed_with_its_seal_is_another_model(folder, models, bci, tmp_path):
    was = model_hash(models[1])
    path = folder / "models" / was
    now = with_another_weight(path, tmp_path / "changed")
    shutil.rmtree(path)
    shutil.copytree(tmp_path / "changed", path)
    code, _, said = bci("replay", folder, "--verify")
    assert code == 1
    assert said == f"bci: {path}: holds model {now[:12]}, the session used {was[:12]}; restore the folder\n"


def test_one_changed_weight_shows_at_the_first_hop_that_used_it(folder, models, tmp_path):
    """Were a hash ever to lie: the predictions would not."""
    what = open_recorded(folder / "session.xdf")
    second, changed = model_hash(models[1]), tmp_path / "changed"
    swapped = [p.hop for p in _replayed(what, what.session()) if isinstance(p, Prediction) and p.model_hash == second]
    with_another_weight(models[1], changed)
    session = what.session()
    session.pipelines[second] = open_recorded(folder / "session.xdf", changed).pipelines[model_hash(changed)]
    result = compare(what.recorded, _replayed(what, session), bits=True)
    assert (result.first_difference["kind"], result.first_difference["index"]) == ("prediction", swapped[0])
    assert 0 < swapped[0] < len(what.recorded.hops) - 1
    assert result.n_differences > 1


def _replayed(what, session):
    return list(replay(session, recorded_events(what.recorded)))


def test_a_missing_model_is_an_error_that_says_where_it_belongs(folder, models, bci):
    path = folder / "models" / model_hash(models[1])
    shutil.rmtree(path)
    code, _, said = bci("replay", folder)
    assert code == 1
    assert said == (
        f"bci: no {path}: a session is replayed with the models that it used; put the recording into the session's "
        "folder, beside models/, or try another by --model DIR\n"
    )


# --- what would it have done -----------------------------------------------------------------------------------------


def test_another_model(folder, models, bci):
    code, result, said = bci("replay", folder, "--model", models[2])
    assert (code, said) == (0, "")
    assert result["model_hash"] == model_hash(models[2])
    assert result["n_hops"] == result["n_predictions"] == len(hops(folder))
    assert result["n_commands"] > 0


def test_another_threshold(folder, bci):
    n_commands = {p: bci("replay", folder, "--threshold", p)[1]["n_commands"] for p in (0.6, 0.9999999)}
    assert n_commands[0.6] > n_commands[0.9999999]


def test_what_cannot_be_asked(folder, models, bci):
    expected = "bci: --verify compares with what was recorded; drop --model and --threshold, or drop --verify\n"
    assert bci("replay", folder, "--verify", "--threshold", 0.9) == (2, None, expected)
    assert bci("replay", folder, "--verify", "--model", models[2]) == (2, None, expected)
    code, _, said = bci("replay", folder, "--threshold", 2)
    assert code == 2
    assert said.endswith("Error: Invalid value for '--threshold': 2.0 is not in the range 0<x<1.\n")
    expected = "bci: gate threshold = 0.2: must be above chance (0.333) and at most 1\n"
    assert bci("replay", folder, "--threshold", 0.2) == (2, None, expected)


# --- a crash cut it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.35, 0.6, 0.9])
def test_a_recording_that_a_crash_cut_is_repaired_and_verified(part, folder, bci):
    path, fixed = folder / "session.xdf", folder / "fixed.xdf"
    content = path.read_bytes()
    chunks = [c for c in scan(content).chunks if c.tag is Tag.SAMPLES]
    cut = chunks[int(part * len(chunks))]
    path.write_bytes(content[: (cut.start + cut.end) // 2])  # in the middle of a chunk
    code, _, said = bci("replay", folder, "--verify")
    assert code == 1
    at = re.search(r"at byte (\d+);", said)[1]
    assert (
        said == f"bci: {path} is cut or damaged at byte {at}; make a readable copy: bci repair {path} --out FIXED.xdf\n"
    )
    assert cut.start <= int(at)
    assert bci("repair", path, "--out", fixed)[0] == 0

    code, result, said = bci("replay", fixed, "--verify")
    assert (code, said, result["n_differences"]) == (0, "", 0)
    assert result["bitwise"]
    assert result["n_predictions"] > 10
    assert result["n_tail_recorded"] == 0
    events = [msgspec.json.decode(line, type=Numbered) for line in _streams(fixed)["bci-events"].samples]
    assert [e.seq for e in events] == list(range(len(events)))


def _streams(path):
    return {s.spec.name: s for s in read_xdf_file(path).recording.streams}
