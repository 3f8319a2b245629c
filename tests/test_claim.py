"""One window controls a session at a time; a stop and a person at the terminal need no claim."""

import pytest

from bci.control.gate import GateSettings
from bci.host.claim import CLAIM_S, Claim
from bci.host.inbox import Inbox
from bci.host.lease import Lease
from bci.live import ControlHandler
from bci.recording.folder import SessionFolder


def test_it_lasts_as_long_as_it_is_renewed_and_then_is_free():
    claim = Claim()
    assert claim.take("a", 10.0)
    for k in range(100):
        assert claim.beat("a", 10.0 + 0.05 * k)
        assert not claim.take("b", 10.0 + 0.05 * k)
        assert claim.holder(10.0 + 0.05 * k) == "a"
    last_s = 10.0 + 0.05 * 99
    assert claim.holder(last_s + CLAIM_S + 0.01) == ""
    assert not claim.beat("a", last_s + CLAIM_S + 0.01)
    assert claim.take("b", last_s + CLAIM_S + 0.02)
    assert not claim.beat("a", last_s + CLAIM_S + 0.03)


def test_it_is_taken_over_only_by_who_asks_to():
    claim = Claim()
    claim.take("a", 10.0)
    assert not claim.take("b", 10.1)
    assert claim.take("b", 10.1, over=True)
    assert not claim.beat("a", 10.2)
    assert not claim.take("a", 10.2)


class Engine:
    """What a handler touches of one."""

    def __init__(self):
        self.time_s, self.lease, self.ended = 10.0, Lease(), ""
        self.session = self
        self.settings = GateSettings(classes=("left", "right"))

    def now_s(self):
        return self.time_s

    def stop(self, why):
        self.ended = why


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def ask(engine, inbox, tmp_path):
    handler = ControlHandler(engine, inbox, SessionFolder(tmp_path), None)  # type: ignore[arg-type]

    def send(action, value="", window="", by="control socket"):
        return handler.receive({"action": action, "value": value, "window": window, "by": by})

    return send


def test_every_control_of_a_window_needs_its_claim(ask, inbox, engine):
    actions = ("arm", "disarm", "pause", "resume", "reset", "note", "threshold", "dwell", "command", "beat", "end")
    for action in actions:
        assert ask(action, "0.9", "a") == {"ok": False, "error": "claim the session first"}
    assert ask("claim", window="a") == {"ok": True, "threshold": 0.8, "dwell_s": 0.5}
    for action in actions:
        assert ask(action, "0.9", "b") == {"ok": False, "error": "a controls this session: take it over first"}
    assert ask("claim", window="b") == {"ok": False, "error": "a controls this session"}
    assert inbox.take(0.0) == []
    assert engine.ended == ""
    for action in ("arm", "disarm", "pause", "command", "dwell"):
        assert ask(action, "0.9", "a")["ok"]
    assert [c.action for c in inbox.take(0.0)] == ["arm", "disarm", "pause", "command", "dwell"]
    assert ask("end", window="a")["ok"]
    assert engine.ended == "ended from the window"


def test_a_person_at_the_terminal_needs_none_and_cannot_end_it_so(ask, inbox):
    ask("claim", window="a")
    assert ask("disarm")["ok"]
    assert [c.action for c in inbox.take(0.0)] == ["disarm"]
    assert not ask("end")["ok"]


def test_taking_over_breaks_the_lease_of_whoever_armed(ask, engine):
    ask("claim", window="a")
    ask("arm", "lease", "a")
    assert ask("take over", window="b")["ok"]
    assert ask("beat", window="b")["ok"]
    assert not ask("beat", window="a")["ok"]
    assert engine.lease.is_lost(engine.time_s)


def test_the_engine_hears_of_an_arming_before_its_lease_can_run_out(ask, engine, inbox, monkeypatch):
    """Else a thread that is held up between the two would leave the engine armed without a lease."""
    ask("claim", window="a")
    put = inbox.put

    def held_up(item):
        put(item)
        engine.time_s += 0.5  # the control thread gets no processor meanwhile

    monkeypatch.setattr(inbox, "put", held_up)
    assert ask("arm", "lease", "a")["ok"]
    assert not engine.lease.is_lost(engine.time_s + 0.1)
    assert engine.lease.is_lost(engine.time_s + 0.3)


def test_a_beat_renews_claim_and_lease(ask, engine):
    ask("claim", window="a")
    ask("arm", "lease", "a")
    for _ in range(40):
        engine.time_s += 0.05
        assert ask("beat", window="a")["ok"]
    assert not engine.lease.is_lost(engine.time_s)
    engine.time_s += 0.25
    assert engine.lease.is_lost(engine.time_s)
    engine.time_s += CLAIM_S
    assert ask("beat", window="a") == {"ok": False, "error": "claim the session first"}


@pytest.mark.parametrize(("action", "value"), [("dwell", "-1"), ("dwell", "nan"), ("threshold", "0.1"), ("dwell", "x")])
def test_what_the_gate_could_not_take_is_refused(ask, inbox, action, value):
    assert not ask(action, value)["ok"]
    assert inbox.take(0.0) == []
