"""The sender dies, falls silent, or comes back as it was or as another: neutral at once; what came is kept."""

import time

import numpy as np

from bci.types import Flag, Gap, SegmentStarted
from tests.helpers.live import Sender, assert_nothing_missing, bci, session


def verdicts(live):
    return [e.verdict for e in live.events() if isinstance(e, Gap) and e.stream == 0 and e.verdict != "open"]


def n_segments(live):
    return sum(h["kind"] == SegmentStarted.__struct_config__.tag for h in live.health())


def is_without_holes(counter):
    """Sample numbers in order, from 0 again at most once."""
    new = np.flatnonzero(np.diff(counter) < 0)
    assert len(new) <= 1
    for part in np.split(counter, new + 1):
        assert_nothing_missing(part)


def test_gone_for_good_ends_the_session_with_one_line(model, unique_name, tmp_path):
    with session(model, unique_name, tmp_path, "--arm", "--reconnect", "3") as live:
        live.wait_for_commands()
        at_s = time.monotonic()
        live.senders[0].kill()
        ms = live.wait_for_neutral(at_s)
        print(f"SIGKILL of the sender -> neutral at the listener: {ms:.0f} ms")
        assert live.wait_for_end() == 1
        assert time.monotonic() - at_s > 2.9
        assert live.errors.count("\n") == 1
        assert live.errors.startswith(f"bci: stream '{unique_name}': no samples for 3 s; its sender has gone")
        assert live.report()["ended_because"] in live.errors
        assert any("is silent" in trouble for trouble in live.report()["troubles"])
        assert_nothing_missing(live.streams()["raw"].samples[:, 0])
        assert live.report()["n_samples"] == len(live.streams()["raw"].stamps_s)
        live.verify()


def test_silent_for_a_while_is_late_not_lost(live):
    (sender,) = live.senders
    at_s = time.monotonic()
    sender.suspend()
    ms = live.wait_for_neutral(at_s)
    print(f"SIGSTOP of the sender -> neutral at the listener: {ms:.0f} ms")
    sender.go_on()
    back_s = time.monotonic()
    live.wait_for_commands_again(back_s)
    assert live.interrupt() == 0
    report = live.report()
    assert (report["n_samples_lost"], report["n_segments"]) == (0, 1)
    assert_nothing_missing(live.streams()["raw"].samples[:, 0])
    assert set(verdicts(live)) <= {"late"}
    live.verify()
    assert live.errors == ""


def test_restarted_with_the_same_shape_is_a_new_segment(live):
    at_s = time.monotonic()
    live.senders[0].kill()
    live.wait_for_neutral(at_s)
    live.senders.append(Sender(live.name))
    live.wait_for_commands_again(live.listener.neutrals(at_s)[0][0], 2)
    assert live.interrupt() == 0
    report = live.report()
    assert report["n_segments"] == 2
    assert n_segments(live) == 2
    assert verdicts(live).count("unknown") == 1
    is_without_holes(live.streams()["raw"].samples[:, 0])
    assert report["n_samples"] == len(live.streams()["raw"].stamps_s)
    live.verify()
    assert live.errors == ""


def test_restarted_with_another_shape_ends_the_session_and_names_the_difference(live):
    at_s = time.monotonic()
    live.senders[0].kill()
    live.wait_for_neutral(at_s)
    live.senders.append(Sender(live.name, n_more=2))
    assert live.wait_for_end() == 1
    assert live.errors.count("\n") == 1
    assert "came back in another shape: 6 channels instead of 4" in live.errors
    assert live.listener.commands(live.listener.neutrals(at_s)[0][0]) == []
    assert live.listener.neutrals()[-1][1] == "the session ended"
    assert live.report()["n_samples"] == len(live.streams()["raw"].stamps_s)
    assert_nothing_missing(live.streams()["raw"].samples[:, 0])
    live.verify()


def test_gone_for_longer_than_the_gate_waits_disarms_and_a_person_arms_again(live):
    (sender,) = live.senders
    at_s = time.monotonic()
    sender.suspend()
    ms = live.wait_for_neutral(at_s)
    print(f"SIGSTOP of the sender -> neutral at the listener: {ms:.0f} ms")
    live.wait_for(lambda: time.monotonic() - at_s > 4.0, "four seconds")
    sender.go_on()
    back_s = time.monotonic()
    live.wait_for(lambda: time.monotonic() - back_s > 4.0, "four seconds with the stream")
    assert live.listener.commands(live.listener.neutrals(at_s)[0][0]) == []
    assert bci("control", "arm").returncode == 0
    live.wait_for_commands_again(back_s)
    assert live.interrupt() == 0
    assert live.report()["n_samples_lost"] == 0
    assert any(h["kind"] == "gate" and h["state"] == "disarmed" for h in live.health())
    live.verify()
    assert live.errors == ""


def test_a_burst_of_nan_is_neutral_at_once_and_comes_back_by_itself(live):
    at_s = time.monotonic()
    live.senders[0].nan()
    ms = live.wait_for_neutral(at_s)
    print(f"NaN -> neutral at the listener: {ms:.0f} ms")
    neutral_s, reason = live.listener.neutrals(at_s)[0]
    assert reason == "the prediction is flagged: nonfinite"
    live.wait_for_commands_again(neutral_s)
    assert live.listener.commands(neutral_s)[0][0] - neutral_s > 2.0
    assert live.interrupt() == 0
    flags = live.streams()["bci-hops"].samples[:, 4].astype(int)
    assert ((flags & int(Flag.NONFINITE)) != 0).sum() >= 1
    raw = live.streams()["raw"].samples
    assert np.isnan(raw[:, 1]).sum() == 5
    assert_nothing_missing(raw[:, 0])
    live.verify()
    assert live.errors == ""


def test_an_end_marker_ends_it_in_order(live):
    live.senders[0].end()
    assert live.wait_for_end() == 0
    assert live.report()["ended_because"] == "the stream said that it has ended"
    assert_nothing_missing(live.streams()["raw"].samples[:, 0])
    live.verify()
    assert live.errors == ""
