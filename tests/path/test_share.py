"""`bci run --share` and what `bci view` makes of it: a session read over LSL by somebody who came later."""

import threading
import time

import numpy as np
import pylsl
import pytest

from bci.gui.feed import Feed
from bci.gui.ring import SignalRing
from bci.gui.state import SessionState
from tests.helpers.fault_sender import fitted_model
from tests.helpers.live import bci, session, wait_for


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return fitted_model(tmp_path_factory.mktemp("share") / "model")


class Viewer:
    """What a window does at every frame, without Qt."""

    def __init__(self):
        self.feed, self.state = Feed(), SessionState()
        self.ring = None
        self.n_wrong = 0

    def look(self):
        for stream, rows, stamps_s in self.feed.poll():
            if stream.is_raw:
                self.ring = self.ring or SignalRing(rows.shape[1], stream.spec.sfreq_hz)
                self.n_wrong += int((np.diff(rows[:, 0]) != 1).sum())  # the sender counts its samples
                self.ring.write(rows, stamps_s)
            else:
                self.state.receive(stream.spec.name, rows, stamps_s)
        if not self.state.classes and {"bci-events", "bci-hops"} <= self.feed.streams.keys():
            events, hops = self.feed.streams["bci-events"], self.feed.streams["bci-hops"]
            self.state.describe(events.metadata, list(hops.spec.labels))

    def wait_for(self, is_so, what):
        def look():
            self.look()
            return is_so()

        wait_for(look, what, 30.0, lambda: f"{self.feed.trouble}; {list(self.feed.streams)}")


def test_a_viewer_that_comes_later_sees_all_and_changes_nothing(model, unique_name, tmp_path, monkeypatch):
    with session(model, unique_name, tmp_path, "--arm", "--share") as live:
        live.wait_for_commands(3)
        measured = []
        measure = pylsl.StreamInlet.time_correction

        def spy(inlet, timeout):
            measured.append((threading.current_thread().name, inlet))
            return measure(inlet, timeout)

        monkeypatch.setattr(pylsl.StreamInlet, "time_correction", spy)
        viewer = Viewer()
        try:
            state = viewer.state
            viewer.wait_for(
                lambda: state.gate in ("armed", "dwell", "refractory"), "the gate, though it changed before"
            )
            viewer.wait_for(lambda: state.classes == ("rest", "left", "right"), "what the decoder tells apart")
            assert (state.threshold, state.dwell_s) == (0.6, 0.06)
            viewer.wait_for(lambda: len(state.hops) > 50 and viewer.ring is not None and viewer.ring.n > 500, "signals")
            viewer.wait_for(lambda: state.n_commands > 1, "commands")
            # no pull may wait for a clock: that of a first command would hang the window that armed
            assert {("feed", s.inlet) for s in viewer.feed.streams.values()} <= set(measured)
            assert viewer.n_wrong == 0
            assert abs(viewer.ring.end_s - state.hops[-1][0]) < 0.5  # on one clock
            assert np.isfinite(state.stage_percentiles_ms()[:5, 0]).all()
            assert viewer.feed.trouble == ""

            at_s = time.monotonic()
            assert bci("stop").returncode == 0
            live.wait_for_neutral(at_s)
            viewer.wait_for(lambda: state.gate == "stopped", "the stop")
            assert live.interrupt() == 0
            viewer.wait_for(lambda: viewer.feed.trouble.startswith("nothing from the session for"), "its end")
        finally:
            viewer.feed.close()
        live.verify()
        assert live.errors == ""
