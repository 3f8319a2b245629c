"""`bci fetch eegbci` from a local server: whole, damaged, missing, silent, and not there at all."""

import contextlib
import functools
import http.server
import json
import lzma
import socket
import threading
import types
from pathlib import Path

import pytest

from bci.__main__ import main

TREE = "files/eegmmidb/1.0.0"


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    """Without a proxy that the machine may have, and without a pause between two tries."""
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fetch(capsys, tmp_path):
    """Exit code, what it printed, and what it said on standard error."""

    def run(*arguments):
        code = 0
        try:
            main(["fetch", "eegbci", "--out", str(tmp_path / "got"), "--quiet", *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        self.server.asked.append(self.path)


@contextlib.contextmanager
def serving(folder):
    """A server of ``folder``: its address, and the paths that were asked for."""
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{TREE}", server.asked
        finally:
            server.shutdown()
            thread.join(10)


@contextlib.contextmanager
def listening(*, is_silent):
    """A port that takes connections and never answers; or one that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not is_silent:
            server.close()
        yield f"http://127.0.0.1:{port}/{TREE}"


def put(folder, name, content):
    path = folder / TREE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_people_and_runs_are_fetched_once(fetch, data_dir, tmp_path):
    for run in ("R04", "R08"):
        packed = data_dir / "motor_imagery_64ch" / f"S001{run}.edf.xz"
        put(tmp_path / "web", f"S001/S001{run}.edf", lzma.decompress(packed.read_bytes()))
    with serving(tmp_path / "web") as (url, asked):
        code, out, err = fetch("--subject", 1, "--run", 4, 8, "--url", url, "--json", "-")
        assert (code, err) == (0, "")
        result = json.loads(out)
        assert result["n_files"] == 2
        assert [Path(name).name for name in result["files"]] == ["S001R04.edf", "S001R08.edf"]
        n_asked = len(asked)
        assert n_asked >= 2
        assert fetch("--subject", 1, "--run", 4, 8, "--url", url)[0] == 0
        assert len(asked) == n_asked  # what is there is not asked for again
    from bci.sources.files import load_recording

    assert len(load_recording(result["files"][0]).markers[0].samples) == 30


def test_a_damaged_file_is_said_and_not_kept(fetch, tmp_path):
    put(tmp_path / "web", "S002/S002R04.edf", b"not what it was")
    with serving(tmp_path / "web") as (url, _):
        code, _, err = fetch("--subject", 2, "--run", 4, "--url", url)
    assert code == 1
    assert err == f"bci: S002R04.edf arrived damaged from {url} (its checksum is wrong); try again\n"
    assert not list((tmp_path / "got").rglob("*.edf"))


def test_a_file_that_the_server_does_not_have(fetch, tmp_path):
    (tmp_path / "web").mkdir()
    with serving(tmp_path / "web") as (url, _):
        assert fetch("--subject", 3, "--run", 4, "--url", url)[::2] == (
            1,
            f"bci: S003R04.edf: {url} answers 404; is --url right?\n",
        )


@pytest.mark.parametrize(("is_silent", "kind"), [(True, "ReadTimeout"), (False, "ConnectionError")])
def test_without_an_answer_it_ends_and_says_so(fetch, is_silent, kind):
    with listening(is_silent=is_silent) as url:
        code, _, err = fetch("--subject", 1, "--run", 4, "--url", url, "--timeout", 0.2)
    assert code == 1
    assert err == (
        f"bci: S001R04.edf: cannot be had from {url} ({kind}); is this machine on the internet? "
        "--url names another server\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--subject", 110], "110 is not in the range"),
        (["--subject", 1, "--run", 15], "15 is not in the range"),
        ([], "Missing option '--subject'"),
        (
            ["--subject", 1, "--url", "http://127.0.0.1/elsewhere/"],
            "must be a web address that ends in /files/eegmmidb",
        ),
    ],
)
def test_asked_wrongly(fetch, arguments, says):
    code, _, err = fetch(*arguments)
    assert code == 2
    assert says in err


def test_a_place_that_cannot_be_written(fetch, tmp_path):
    (tmp_path / "got").mkdir()
    (tmp_path / "got" / "MNE-eegbci-data").write_text("in the way")
    with listening(is_silent=False) as url:
        code, _, err = fetch("--subject", 1, "--run", 4, "--url", url)
    assert code == 1
    assert "S001R04.edf: cannot be written" in err
    assert "choose another --out" in err
