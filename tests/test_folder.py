import os
import stat
from collections import namedtuple

import pytest

from bci.errors import ConfigError, RecordingError
from bci.recording import folder as folder_module
from bci.recording.folder import SessionFolder, check_free_space, next_part, parts


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_sessions_are_numbered_and_a_name_may_be_given(tmp_path):
    assert SessionFolder.create(tmp_path, "P01").path == tmp_path / "sub-P01" / "ses-1"
    (tmp_path / "sub-P01" / "ses-7").mkdir()
    (tmp_path / "sub-P01" / "ses-x").mkdir()
    assert SessionFolder.create(tmp_path, "P01").path.name == "ses-8"
    assert SessionFolder.create(tmp_path, "P01", "pre").path.name == "ses-pre"
    with pytest.raises(ConfigError, match="session 'pre' of subject 'P01' exists"):
        SessionFolder.create(tmp_path, "P01", "pre")


def test_two_that_start_at_once_get_two_folders(tmp_path, monkeypatch):
    """The other one makes ses-1 after we have looked."""
    make, calls = SessionFolder._make.__func__, []

    def make_late(cls, path):
        if not calls:
            path.mkdir()
        calls.append(path.name)
        return make(cls, path)

    monkeypatch.setattr(SessionFolder, "_make", classmethod(make_late))
    assert SessionFolder.create(tmp_path, "P01").path.name == "ses-2"
    assert calls == ["ses-1", "ses-2"]


@pytest.mark.parametrize("name", ["", "../x", "a b", "P_1"])
def test_names_that_bids_does_not_allow_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="letters and digits"):
        SessionFolder.create(tmp_path, name)
    with pytest.raises(ConfigError, match="letters and digits"):
        SessionFolder.create(tmp_path, "P1", name)


def test_a_root_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for make in (
        lambda: SessionFolder.create(tmp_path / "file", "P1"),
        lambda: SessionFolder.at(tmp_path / "file" / "x"),
    ):
        with pytest.raises(RecordingError, match=r"Not a directory|File exists|exists|cannot find") as error:
            make()
        assert "\n" not in str(error.value)
    with pytest.raises(RecordingError, match="cannot write"):
        SessionFolder(tmp_path / "none").write(tmp_path / "none" / "session.toml", "")


def test_small_files_are_whole_and_private(tmp_path):
    session = SessionFolder.create(tmp_path, "P01")
    session.write(session.toml, "a = 1\n")
    session.write(session.toml, "a = 'ü'\n")
    assert session.toml.read_text(encoding="utf-8") == "a = 'ü'\n"
    assert [p.name for p in session.path.iterdir()] == ["session.toml"]
    if os.name == "posix":
        assert mode(session.toml) == 0o600
        assert mode(session.path) == 0o700


def test_a_model_is_durable_before_it_is_there(tmp_path, monkeypatch):
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / "weights.safetensors").write_bytes(b"\x00\x01")
    (model / "sub" / "card.md").write_text("hello")
    synced = []
    sync = os.fsync
    session = SessionFolder.create(tmp_path, "P01")
    target = session.model("abc")
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(target.exists()), sync(fd)))
    assert session.add_model(model, "abc") == target
    assert synced[:2] == [False, False]  # the two files, before the folder has its name
    if os.name == "posix":
        assert synced.count(True) >= 2  # its name and its parent's
        assert mode(target / "weights.safetensors") == 0o600
    assert (target / "weights.safetensors").read_bytes() == b"\x00\x01"
    assert (target / "sub" / "card.md").read_text() == "hello"
    n = len(synced)
    assert session.add_model(model, "abc") == target
    assert len(synced) == n
    with pytest.raises(RecordingError, match="cannot copy the model"):
        session.add_model(tmp_path / "none", "def")
    assert not session.model("def").exists()


def test_a_copy_that_was_interrupted_is_made_again(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "spec.json").write_text("{}")
    session = SessionFolder.create(tmp_path, "P01")
    (session.path / "models" / "abc.new").mkdir(parents=True)
    (session.path / "models" / "abc.new" / "half").write_text("")
    assert [p.name for p in session.add_model(model, "abc").iterdir()] == ["spec.json"]


def test_resume_finds_the_next_part(tmp_path):
    session = SessionFolder.create(tmp_path, "P01")
    with pytest.raises(RecordingError, match=r"no session\.xdf to resume"):
        SessionFolder.resume(session.path)
    assert next_part(session.xdf) == session.xdf
    assert SessionFolder.at(session.path) == session
    session.xdf.touch()
    with pytest.raises(ConfigError, match="--resume"):
        SessionFolder.at(session.path)
    assert SessionFolder.resume(session.path) == session
    for n in (2, 3):
        part = next_part(session.xdf)
        assert part.name == f"session.part{n}.xdf"
        part.touch()
    session.path.joinpath("session.part10.xdf").touch()
    session.path.joinpath("session.partx.xdf").touch()
    names = ["session.xdf", "session.part2.xdf", "session.part3.xdf", "session.part10.xdf"]
    assert [p.name for p in parts(session.xdf)] == names
    assert [p.name for p in parts(session.path / "session.part3.xdf")] == names
    assert next_part(session.path / "session.part3.xdf").name == "session.part11.xdf"
    assert parts(tmp_path / "none" / "a.xdf") == []


def test_space_is_checked_where_the_file_will_be(tmp_path, monkeypatch):
    asked = []
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        folder_module.shutil, "disk_usage", lambda path: (asked.append(path), usage(10**9, 0, 100_000_000))[1]
    )
    check_free_space(tmp_path / "not" / "yet" / "a.xdf", 1e6, 100.0)
    assert asked == [tmp_path]
    with pytest.raises(RecordingError, match=r"100 MB free; 2 min at 1\.00 MB/s need 120 MB"):
        check_free_space(tmp_path / "a.xdf", 1e6, 120.0)
