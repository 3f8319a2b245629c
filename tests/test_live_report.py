"""The report at the end of a run cannot hurt it: everything is closed by then, and what goes wrong is a line."""

import json
import signal

import pytest

import bci.report.write
from bci.config import parse_config
from bci.errors import RecordingError
from bci.host.inbox import Inbox
from bci.live import ControlHandler, _make_page, run_live
from bci.recording.folder import SessionFolder
from bci.recording.xdf import read_xdf
from tests.helpers.pages import reported
from tests.helpers.played import counted, write_xdf


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from bci.bench.latency import linear_model

    folder = tmp_path_factory.mktemp("live-report") / "model"
    linear_model(folder, 8, 250.0, 5)
    return folder


def lived(model, tmp_path):
    """A session of two seconds from a file."""
    recording = write_xdf(tmp_path / "source.xdf", counted(500, 9, 250.0))
    settings = {
        "stream": {"recording": str(recording)},
        "model": {"path": str(model)},
        "gate": {"threshold": 0.6},
        "devices": {"urls": ["null:"]},
    }
    return run_live(parse_config("", settings, where="test"), session_dir=str(tmp_path / "session"), arm=True)


def test_a_run_leaves_its_report_and_says_where(model, tmp_path):
    result = lived(model, tmp_path)
    assert result.error is None
    told = json.loads(json.dumps(result.report, default=str))
    assert json.loads((tmp_path / "session" / "run.json").read_text()) == told
    made = reported(tmp_path / "session", told)
    assert made["max_backlog_samples"] == told["max_backlog_samples"]
    assert result.text.splitlines()[-1] == f"report          {tmp_path / 'session' / 'report.html'}"


def test_a_report_that_cannot_be_written_is_a_line(model, tmp_path):
    (tmp_path / "session" / "report.html").mkdir(parents=True)
    (tmp_path / "session" / "report.html" / "in the way").touch()
    result = lived(model, tmp_path)
    assert result.error is None
    assert "report          not made (cannot write" in result.text
    assert "bci report" in result.text.splitlines()[-1]
    assert len(read_xdf(tmp_path / "session" / "session.xdf").streams[0].stamps_s) == 500


@pytest.mark.parametrize(
    ("error", "why"),
    [(KeyboardInterrupt(), "interrupted"), (MemoryError(), "MemoryError"), (RecordingError("no room"), "no room")],
)
def test_whatever_goes_wrong_is_a_line_and_ctrl_c_means_again_what_it_meant(error, why, monkeypatch, tmp_path):
    def fail(folder):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        raise error

    monkeypatch.setattr(bci.report.write, "write_session_report", fail)
    ours = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        mine = signal.getsignal(signal.SIGINT)
        assert _make_page(SessionFolder(tmp_path)) == f"not made ({why}); make it by: bci report {tmp_path}"
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, ours)


def test_a_note_that_is_no_text_can_be_written_down(tmp_path):
    """A terminal of another encoding gives lone surrogates, which no file takes: they would end the session."""
    inbox = Inbox()
    handler = ControlHandler(None, inbox, SessionFolder(tmp_path), None)  # type: ignore[arg-type]
    assert handler.receive({"action": "note", "value": "caf\udce9", "by": "\ud800"}) == {"ok": True}
    (note,) = inbox.take(0.0)
    assert (note.value, note.by) == ("caf?", "?")
