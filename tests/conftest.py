"""Every test run is alone on LSL (loopback, a session id of its own), and every test has its own runtime folder."""

import os
import signal
import tempfile
import uuid
from pathlib import Path

import hypothesis
import pytest

_LSL_CONFIG = """
[ports]
IPv6=disable
PortRange=128
[multicast]
ResolveScope=machine
[lab]
KnownPeers={{127.0.0.1}}
SessionID={session}
[tuning]
MulticastMinRTT=0.05
MulticastMaxRTT=0.5
UnicastMinRTT=0.1
UnicastMaxRTT=0.5
ContinuousResolveInterval=0.2
TimeProbeInterval=0.008
TimeProbeMaxRTT=0.03
TimeUpdateInterval=1.0
[log]
level=-3
"""
hypothesis.settings.register_profile("rolandic", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("rolandic")

_folder = tempfile.TemporaryDirectory(prefix="rolandic-test-")
_config = Path(_folder.name) / "lsl_api.cfg"
_config.write_text(_LSL_CONFIG.format(session=f"test-{uuid.uuid4().hex[:12]}"))
os.environ["LSLAPICFG"] = str(_config)  # before anything imports pylsl; child processes inherit it
os.environ["QT_QPA_PLATFORM"] = os.environ.get("ROLANDIC_TEST_PLATFORM", "offscreen")  # xcb: under Xvfb, as in CI

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: its children would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)

DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items):
    for item in items:
        if {"path", "faults"} & set(item.path.parts[-3:-1]):
            item.add_marker(pytest.mark.live)


@pytest.fixture(autouse=True)
def runtime_dir(tmp_path, monkeypatch):
    """Sessions of one test are invisible to `bci stop` and `bci control` of another."""
    folder = tmp_path / "runtime"
    monkeypatch.setenv("ROLANDIC_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def unique_name():
    """A stream name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def data_dir():
    """The folder of real recordings beside the repository (ROLANDIC_DATA points elsewhere)."""
    folder = Path(os.environ.get("ROLANDIC_DATA", DATA))
    if not folder.is_dir():
        pytest.skip("needs the folder of real recordings: set ROLANDIC_DATA to it")
    return folder
