"""What a person asks before a session, or when it does not work: is this machine fit, and what to do where it is not.

Every check is a function that returns findings; none raises, and a check that cannot be made is a finding, too.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bci.errors import RolandicError, one_line
from bci.preflight import Finding, remarks
from bci.types import Channel, StreamSpec

OLDEST_LSL = 116
UNCERTAIN_S = 0.005  # half a round trip above this is a bad connection for a clock
ASK_S = 2.0  # for an answer of one stream
MAX_ASKED = 8
N_STEPS = 300
QT_S = 60.0
QT_PROGRAM = """
from pyqtgraph.Qt import QT_LIB, QtCore, QtWidgets
app = QtWidgets.QApplication([])
print(QT_LIB, QtCore.qVersion(), "on", app.platformName())
"""


def examine(stream: str = "", model: str = "", wait_s: float = 5.0) -> list[Finding]:
    """All checks, in the order in which one depends on the other.

    Parameters
    ----------
    stream
        Name of a stream whose first second is judged; empty: none.
    model
        A model folder to time; empty: a small built-in one of 64 channels.
    wait_s
        How long to wait for that stream.
    """
    found = lsl_library()
    if found[-1].level != "fail":
        from bci.lsl import configuration, visible_streams

        path = configuration()
        seen = _guarded("streams", lambda: visible_streams(1.0))
        found += seen if seen and isinstance(seen[0], Finding) else streams([spec for _, spec in seen])
        found += _guarded("clock", lambda: clocks([info for info, _ in seen]))
        found += _guarded("network", lambda: scope(path, _text(path)))
        found += _guarded("network", own_outlet)
        if stream:
            found += _guarded(stream, lambda: first_second(stream, wait_s))
    found += torch_setup()
    found += _guarded("decoder", lambda: decoder(model))
    return found + window()


def _guarded(subject: str, check: Callable[[], list[Any]]) -> list[Any]:
    try:
        return check()
    except Exception as error:
        return [Finding("fail", subject, f"the check itself failed: {one_line(error)}")]


def _text(path: Path | None) -> str:
    return path.read_text(errors="replace") if path is not None and path.is_file() else ""


# --- LSL -------------------------------------------------------------------------------------------------------------


def lsl_library(load: Callable[[], Any] = lambda: importlib.import_module("pylsl")) -> list[Finding]:
    """Whether liblsl loads, and which it is."""
    try:
        pylsl = load()
        version = int(pylsl.library_version())
    except Exception as error:  # pylsl raises whatever the system's loader says
        said = " ".join(str(error).split())
        if "GLIBC" in said:
            advice = "it needs a newer system (glibc): install liblsl of your distribution or conda-forge"
        else:
            advice = "install liblsl (with pylsl, from conda-forge, or your distribution)"
        return [Finding("fail", "LSL library", f"it does not load ({said[:200]}); {advice}, and set PYLSL_LIB to it")]
    named = f"liblsl {version // 100}.{version % 100}"
    if version < OLDEST_LSL:
        return [
            Finding("warn", "LSL library", f"{named} is old; 1.16 or newer is tested: update it, or unset PYLSL_LIB")
        ]
    return [Finding("ok", "LSL library", named + (" by PYLSL_LIB" if os.environ.get("PYLSL_LIB") else ""))]


def streams(seen: Sequence[StreamSpec]) -> list[Finding]:
    """What is visible, and what will make trouble: no ``source_id``, the same one twice, the same name twice."""
    if not seen:
        text = "none is visible: start the program of the amplifier, or `bci stream FILE` to try; see network below"
        return [Finding("warn", "streams", text)]
    listed = ", ".join(f"{s.name!r} ({s.type}, {_rate(s)}, {s.hostname})" for s in seen)
    found = [Finding("ok", "streams", f"{len(seen)} visible: {listed}")]
    found += [remark for spec in seen for remark in remarks(spec)]
    for source_id, n in Counter(s.source_id for s in seen if s.source_id).items():
        if n > 1:
            names = ", ".join(repr(s.name) for s in seen if s.source_id == source_id)
            text = f"{n} streams have it ({names}): a restart may be taken for another stream; give each its own"
            found.append(Finding("warn", f"source_id {source_id}", text))
    for name, n in Counter(s.name for s in seen).items():
        if n > 1:
            ids = [s.source_id for s in seen if s.name == name]
            is_told_apart = all(ids) and len(set(ids)) == n
            text = f"{n} streams have this name: " + (
                f"ask for one by --source-id ({', '.join(ids)})" if is_told_apart else "stop all but one"
            )
            found.append(Finding("warn" if is_told_apart else "fail", name, text))
    return found


def _rate(spec: StreamSpec) -> str:
    return f"{spec.sfreq_hz:g} Hz" if spec.sfreq_hz else "irregular"


def clocks(infos: Sequence[Any], wait_s: float = ASK_S) -> list[Finding]:
    """The clock offset to each sender: whether it answers, and how well its time is known."""
    from bci.errors import SourceError
    from bci.sources.lsl_inlet import Inlet

    found = []
    for info in infos[:MAX_ASKED]:
        try:
            offset = Inlet(info, wait_s).offset(wait_s)
        except SourceError as error:
            found.append(Finding("fail", info.name(), str(error)))
            continue
        found.append(clock(info.name(), None if offset is None else (offset.offset_s, offset.uncertainty_s), wait_s))
    if len(infos) > MAX_ASKED:
        found.append(Finding("warn", "clock", f"only the first {MAX_ASKED} of {len(infos)} streams were asked"))
    return found


def clock(name: str, measured_s: tuple[float, float] | None, wait_s: float) -> Finding:
    """Judge one clock offset and its uncertainty, both in seconds; None where there was no answer."""
    if measured_s is None:
        text = f"its clock does not answer within {wait_s:g} s: let UDP through the firewall of both machines"
        return Finding("fail", name, text)
    text = f"clock offset {1000 * measured_s[0]:.3f} ms, known to {1000 * measured_s[1]:.3f} ms"
    if measured_s[1] > UNCERTAIN_S:
        return Finding("warn", name, f"{text}: the network is slow or busy; use a cable, not WLAN")
    return Finding("ok", name, text)


def scope(path: Path | None, text: str) -> list[Finding]:
    """How far this machine looks for streams, by its ``lsl_api.cfg``."""
    settings = {
        key.strip().lower(): value.strip()
        for key, equals, value in (line.partition("=") for line in text.splitlines())
        if equals and not key.lstrip().startswith((";", "#"))
    }
    reach = settings.get("resolvescope", "site").lower()
    where = f"{path}" if path is not None else "no lsl_api.cfg"
    if path is not None and not text:
        return [Finding("fail", "network", f"{path} cannot be read, or is empty: correct LSLAPICFG, or the file")]
    known = {
        "machine": "this machine only",
        "link": "this network segment",
        "site": "the site's network",
        "organization": "the organisation's network",
        "global": "any network",
    }
    if reach not in known:
        return [Finding("fail", "network", f"{where}: ResolveScope = {reach}; allowed are {', '.join(known)}")]
    said = f"{where}: streams are looked for on {known[reach]}"
    if peers := settings.get("knownpeers", "").strip("{} "):
        said += f", and at {peers}"
    if reach == "machine" and not peers:
        said += "; for an amplifier on another machine set ResolveScope = site, or name it under KnownPeers"
    if session := settings.get("sessionid", ""):
        said += f"; only streams of SessionID {session!r} are seen"
    return [Finding("ok", "network", said)]


def own_outlet(resolve: Callable[[str, float], Sequence[Any]] | None = None) -> list[Finding]:
    """Open a stream and look for it: whether discovery works here, and who can reach what this machine sends."""
    import psutil
    import pylsl

    name = f"bci-doctor-{uuid.uuid4().hex[:8]}"
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo(name, "Test", 1, 0, pylsl.cf_float32, name))
    resolve = resolve or (lambda name, wait_s: pylsl.resolve_byprop("name", name, 1, wait_s))
    began_s = time.monotonic()
    if not resolve(name, 5.0):
        text = (
            "a stream of this very machine is not found: a firewall or VPN blocks UDP multicast or the loopback; allow "
            "UDP 16571 to 16604, or set KnownPeers = {127.0.0.1} in lsl_api.cfg"
        )
        found = [Finding("fail", "discovery", text)]
    else:
        text = f"a stream of this machine is found in {1000 * (time.monotonic() - began_s):.0f} ms"
        found = [Finding("ok", "discovery", text)]
    xml = outlet.get_info().as_xml()
    ports = {int(xml.split(f"<{tag}>")[1].split("<")[0]) for tag in ("v4data_port", "v6data_port")} - {0}
    listening = psutil.Process().net_connections("tcp")
    addresses = {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN and c.laddr.port in ports}
    return [*found, outlets_listen(addresses)]


def outlets_listen(addresses: Iterable[str]) -> Finding:
    """Who can reach an outlet that listens on these addresses."""
    addresses = sorted(addresses)
    if not addresses:
        return Finding("warn", "outlets", "it cannot be seen where they listen: ask the system's firewall")
    if all(a.startswith("127.") or a == "::1" for a in addresses):
        return Finding(
            "ok", "outlets", f"they listen on {', '.join(addresses)}: only programs of this machine read them"
        )
    text = (
        f"they listen on {', '.join(addresses)}, without a password: whoever reaches this machine can read what it "
        "sends (`bci stream`, `bci simulate`, lsl: devices); close the ports from 16572 on where that matters"
    )
    return Finding("warn", "outlets", text)


def first_second(stream: str, wait_s: float) -> list[Finding]:
    """The rate, stamps and samples of a stream's first second, as a session judges it that cannot do without it."""
    from bci.config import ExpectSection, SessionConfig, StreamSettings
    from bci.live import preflight

    settings = StreamSettings(name=stream, wait_s=wait_s)
    return preflight(SessionConfig(stream=settings, expect=(ExpectSection(name=stream),)))


# --- the decoder and the window --------------------------------------------------------------------------------------


def torch_setup(load: Callable[[], Any] = lambda: importlib.import_module("torch")) -> list[Finding]:
    """Which torch decodes, and with how many threads."""
    try:
        torch = load()
    except Exception as error:
        text = f"it does not load ({one_line(error)[:200]}): install rolandic again, with the pinned torch"
        return [Finding("fail", "torch", text)]
    devices = ["CPU"]
    if torch.cuda.is_available():
        devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    n_threads = torch.get_num_threads()
    said = f"torch {torch.__version__} on {', '.join(devices)}; {n_threads} thread{'s' * (n_threads != 1)}"
    if n_threads != 1:
        return [Finding("warn", "torch", f"{said}: a session decodes with one, more are slower and change last bits")]
    return [Finding("ok", "torch", f"{said}; a session decodes on the CPU with one")]


def decoder(folder: str = "") -> list[Finding]:
    """How long a model's first and further hops take here; a built-in one of 64 channels without a folder."""
    from bci.bench.latency import linear_model
    from bci.build import load

    try:
        if folder:
            return [_timed(load(folder), folder)]
        with tempfile.TemporaryDirectory(prefix="bci-doctor-") as room:
            linear_model(Path(room) / "model", 64, 250.0, 5)
            return [_timed(load(Path(room) / "model"), "built-in, 64 channels")]
    except RolandicError as error:
        return [Finding("fail", "decoder", str(error))]


def _timed(model: Any, what: str) -> Finding:
    import numpy as np

    from bci.pipeline import Pipeline
    from bci.session import no_mark

    pre = model.preprocessing
    unit = pre.get("unit", "uV")
    channels = tuple(Channel(label, "MEG" if "T" in unit else "EEG", unit) for label in pre["channels"])
    spec = StreamSpec(name="doctor", sfreq_hz=model.spec.sfreq_hz, channels=channels)
    pipeline = Pipeline(model, spec)
    began_s = time.perf_counter()
    pipeline.warm_up()
    warm_up_s = time.perf_counter() - began_s
    block = np.random.default_rng(0).normal(0, 10, (len(channels), pipeline.block)).astype(np.float32)
    pipeline.start(block[:, 0])
    steps_ms, since_s = [], time.perf_counter()
    while len(steps_ms) < N_STEPS:
        if pipeline.step(block, 0, no_mark):
            steps_ms.append(1000 * (time.perf_counter() - since_s))
            since_s = time.perf_counter()
    return steps(f"{model.spec.name} ({what})", warm_up_s, steps_ms, 1000 * model.spec.hop / model.spec.sfreq_hz)


def steps(name: str, warm_up_s: float, steps_ms: Sequence[float], hop_ms: float) -> Finding:
    """Judge the time that hops took against the time between them."""
    import numpy as np

    p50, p99 = np.percentile(steps_ms, (50, 99))
    text = f"{name}: warm-up {warm_up_s:.2f} s, a hop takes {p50:.2f} ms (p99 {p99:.2f}) of the {hop_ms:g} ms it has"
    if p50 > hop_ms:
        return Finding(
            "fail", "decoder", f"{text}: too slow for this machine; train with a longer --hop, or a smaller one"
        )
    if p99 > hop_ms / 2:
        return Finding("warn", "decoder", f"{text}: little room; stop other programs, or train with a longer --hop")
    return Finding("ok", "decoder", text)


def window(program: str = QT_PROGRAM, timeout_s: float = QT_S) -> list[Finding]:
    """Whether Qt loads and opens, in a process of its own: where its libraries do not fit, it dies without a word."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return [Finding("fail", "Qt", f"it does not start within {timeout_s:g} s: is the display reachable?")]
    if done.returncode == 0:
        return [Finding("ok", "Qt", done.stdout.strip())]
    said = (done.stderr.strip().splitlines() or ["without a word"])[-1][:200]
    if "could not connect to display" in done.stderr or "no Qt platform plugin could be initialized" in done.stderr:
        text = "there is no screen here: sessions run, their window does not (QT_QPA_PLATFORM=offscreen draws unseen)"
        return [Finding("warn", "Qt", text)]
    how = "it crashes" if done.returncode < 0 or done.returncode > 127 else "it does not load"
    advice = "install PyQt5 again, and the xcb libraries of your system; without a screen set QT_QPA_PLATFORM=offscreen"
    return [Finding("fail", "Qt", f"{how} ({said}); only the window needs it: {advice}")]
