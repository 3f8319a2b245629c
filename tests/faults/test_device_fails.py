"""A device that fails and mends itself: the device host disarms, and the gate must not believe that it is still armed.

The engine is the real one; source, recorder and device host are fakes, for no real device fails on demand.
"""

import itertools
import json
import threading
import time

import numpy as np
import pylsl

from bci.build import build_session, fit_to_stream, load
from bci.config import parse_config
from bci.control.host_table import HostState
from bci.host.books import Stopwatch
from bci.host.engine import Engine
from bci.host.inbox import Inbox
from bci.ports import Ended, Pulled
from bci.scoring import Scorer
from bci.signal.gaps import GapDetector
from bci.types import Channel, Control, GateChange, StreamSpec
from tests.helpers.devices import LineServer
from tests.helpers.fault_sender import CHUNK, LABELS, SFREQ_HZ, wave
from tests.helpers.live import bci, session, wait_for


class Source:
    """`wave` in real time, until it is told to end."""

    spec = StreamSpec(name="eeg", sfreq_hz=SFREQ_HZ, channels=tuple(Channel(label, "EEG", "uV") for label in LABELS))

    def __init__(self):
        self._is_over = threading.Event()

    def start(self, deliver):
        self._thread = threading.Thread(target=self._run, args=(deliver,), daemon=True)
        self._thread.start()

    def _run(self, deliver):
        start_s, k = pylsl.local_clock(), 0
        while not self._is_over.wait(max(0.0, start_s + (k + CHUNK) / SFREQ_HZ - pylsl.local_clock())):
            stamps_s = start_s + np.arange(k, k + CHUNK) / SFREQ_HZ
            deliver(Pulled(wave(k, CHUNK), stamps_s, pylsl.local_clock()))
            k += CHUNK
        deliver(Ended())

    def finish(self):
        self._is_over.set()

    def close(self):
        self._is_over.set()
        self._thread.join(10)


class Recorder:
    def __init__(self):
        self.closed = 0

    def open_stream(self, spec, metadata=""):
        return 1

    def write(self, stream, samples, stamps_s):
        pass

    def offset(self, stream, offset):
        pass

    def trouble(self):
        return ""

    def restart(self):
        pass

    def close(self):
        self.closed += 1


class Host:
    """Takes the first command, then reports a device that failed and was mended at once."""

    def __init__(self):
        self.trouble = ""
        self.told, self.reports = [], []
        self.closed = 0

    def arm(self, arm_id):
        self.told.append(("arm", arm_id))

    def disarm(self, reason=""):
        self.told.append(("disarm", reason))

    def neutral(self, reason):
        self.told.append(("neutral", reason))

    def heartbeat(self, hop, age_s, now_s):
        pass

    def send(self, command):
        self.told.append(("send", command.id))
        self.reports.append(HostState("disarmed", "device udp://there: the cable is out", command.arm_id))

    def poll(self, now_s):
        reports, self.reports = self.reports, []
        return reports

    def close(self):
        self.closed += 1
        return []


def test_the_gate_is_disarmed_with_its_host(model):
    loaded = load(model)
    pipelines = {loaded.hash: fit_to_stream(loaded, Source.spec)}
    config = parse_config("[gate]\nthreshold = 0.6\ndwell_s = 0.06\nrefractory_s = 0.2\n")
    source, recorder, host, inbox = Source(), Recorder(), Host(), Inbox()
    stopwatch, scorer, outputs = Stopwatch(pylsl.local_clock), Scorer.of(loaded, SFREQ_HZ), []
    scorer.receive = outputs.append
    session = build_session(config, Source.spec, pipelines, loaded.hash, mark=stopwatch.mark)
    engine = Engine(
        session, pipelines, [source], [GapDetector(0, SFREQ_HZ)], recorder, host, inbox, scorer, stopwatch,
        pylsl.local_clock, arm=True,
    )  # fmt: skip

    def rearm_and_end():
        until_s = time.monotonic() + 30
        for wanted in (2, 4):  # armed and disarmed, twice
            while sum(kind in ("arm", "disarm") for kind, _ in host.told) < wanted and time.monotonic() < until_s:
                time.sleep(0.02)
            if wanted == 2:
                time.sleep(1.2)  # the sender's next command falls into it: the gate must propose nothing
                inbox.put(Control("arm", by="test"))
        source.finish()

    helper = threading.Thread(target=rearm_and_end, daemon=True)
    helper.start()
    engine.run()
    helper.join(40)
    assert engine.error is None
    changes = [o.state for o in outputs if isinstance(o, GateChange) and o.state in ("armed", "disarmed")]
    changes = [state for state, _ in itertools.groupby(changes)]  # a dwell that was not held ends in armed, too
    assert changes == ["armed", "disarmed", "armed", "disarmed"]
    assert [told for told in host.told if told[0] == "send"] == [("send", 1), ("send", 2)]
    reasons = [o.reasons for o in outputs if isinstance(o, GateChange) and o.state == "disarmed"]
    assert reasons[0] == ("device udp://there: the cable is out",)
    assert (recorder.closed, host.closed) == (1, 1)


def test_an_unplugged_device_is_neutral_for_all_and_is_armed_again_by_a_person(model, unique_name, tmp_path):
    server = LineServer()
    url = f"tcp://127.0.0.1:{server.port}?ack_ms=2000"
    with session(model, unique_name, tmp_path, "--arm", "--device", url) as live:
        live.wait_for_commands()
        wait_for(lambda: any("command" in line for line in server.lines), "a command at the server")
        at_s = time.monotonic()
        server.close()
        ms = live.wait_for_neutral(at_s)
        print(f"a peer that hangs up -> neutral at the other device: {ms:.0f} ms")
        neutral_s, reason = live.listener.neutrals(at_s)[0]
        assert f"device {url} is lost" in reason
        live.wait_for(lambda: time.monotonic() - at_s > 3.0, "more than one round of the sender")
        assert live.listener.commands(neutral_s) == []
        refused = bci("control", "arm")
        assert refused.returncode == 1
        assert url in refused.stderr
        again = LineServer(server.port)
        wait_for(lambda: again.lines, "a neutral at the server that is back")
        assert again.lines[0] == {"n": 1, "neutral": True, "reason": "opened again"}
        back_s = time.monotonic()
        wait_for(lambda: bci("control", "arm").returncode == 0, "an arming")
        live.wait_for_commands_again(back_s)
        wait_for(lambda: any("command" in line for line in again.lines), "a command at the server that is back")
        assert live.interrupt() == 0
        again.close()
        assert any(f"device {url} is lost" in trouble for trouble in live.report()["troubles"])
        answers = [json.loads(line)["kind"] for line in live.streams()["bci-commands"].samples]
        assert answers.count("acknowledged") >= 2
        live.verify()
        assert live.errors == ""
