"""What `bci doctor` says: each check in every way it can come out, with real outlets where it is about LSL."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest

import bci.doctor
from bci.__main__ import main
from bci.doctor import (
    clock,
    clocks,
    decoder,
    first_second,
    lsl_library,
    outlets_listen,
    own_outlet,
    scope,
    steps,
    streams,
    torch_setup,
    window,
)
from bci.lsl import visible_streams
from bci.preflight import Finding
from bci.types import marker_spec
from tests.helpers.outlets import Outlet, numeric_spec
from tests.helpers.played import noise_model


def raising(error):
    def load():
        raise error

    return load


def said(findings):
    return [(f.level, f.stream, f.text) for f in findings]


# --- LSL -------------------------------------------------------------------------------------------------------------


def test_the_lsl_library_that_is_there(monkeypatch):
    monkeypatch.delenv("PYLSL_LIB", raising=False)
    (found,) = lsl_library()
    assert (found.level, found.text[:9]) == ("ok", "liblsl 1.")
    monkeypatch.setenv("PYLSL_LIB", "somewhere")
    assert lsl_library()[0].text.endswith(" by PYLSL_LIB")


LIBRARIES = [
    (RuntimeError("LSL binary library file was not found.\n Please"), "install liblsl (with pylsl"),
    (OSError("/lib/libc.so.6: version `GLIBC_2.34' not found"), "it needs a newer system (glibc)"),
]


@pytest.mark.parametrize(("error", "advice"), LIBRARIES)
def test_an_lsl_library_that_does_not_load(error, advice):
    (found,) = lsl_library(raising(error))
    assert found.level == "fail"
    assert advice in found.text
    assert found.text.endswith("and set PYLSL_LIB to it")
    assert "\n" not in found.text


def test_an_old_lsl_library():
    (found,) = lsl_library(lambda: SimpleNamespace(library_version=lambda: 114))
    assert said([found]) == [
        ("warn", "LSL library", "liblsl 1.14 is old; 1.16 or newer is tested: update it, or unset PYLSL_LIB")
    ]


def test_streams_that_make_trouble():
    a = numeric_spec("a", source_id="amp", hostname="here")
    assert said(streams([a])) == [("ok", "streams", "1 visible: 'a' (EEG, 250 Hz, here)")]
    assert streams([])[0].text.startswith("none is visible: start the program of the amplifier")
    assert [f.level for f in streams([])] == ["warn"]
    found = streams([a, numeric_spec("b", source_id=""), marker_spec("m")])
    assert said(found[1:]) == [
        ("warn", "b", "it has no source_id: when its program restarts, the session ends; set one in the program")
    ]
    assert "'m' (Markers, irregular, " in found[0].text
    found = streams([a, numeric_spec("b", source_id="amp")])
    assert said(found[1:]) == [
        (
            "warn",
            "source_id amp",
            "2 streams have it ('a', 'b'): a restart may be taken for another stream; give each its own",
        )
    ]
    found = streams([a, numeric_spec("a", source_id="other")])
    assert said(found[1:]) == [("warn", "a", "2 streams have this name: ask for one by --source-id (amp, other)")]
    found = streams([a, a])
    assert ("fail", "a", "2 streams have this name: stop all but one") in said(found)


def test_the_clocks_of_real_outlets(unique_name):
    with Outlet(numeric_spec(unique_name)) as outlet:
        infos = [info for info, spec in visible_streams(2.0) if spec.name == unique_name]
        (found,) = clocks(infos)
        assert (found.level, found.stream) in (("ok", unique_name), ("warn", unique_name))
        assert found.text.startswith("clock offset ")
        assert clocks(infos * 9)[-1].text == "only the first 8 of 9 streams were asked"
        outlet.kill()
        (found,) = clocks(infos, wait_s=0.5)
        assert found.level == "fail"
        assert "does not answer within 0.5 s" in found.text


def test_a_clock_is_judged_by_how_well_it_is_known():
    assert clock("a", (0.001, 0.0002), 2.0) == Finding("ok", "a", "clock offset 1.000 ms, known to 0.200 ms")
    assert clock("a", (0.001, 0.02), 2.0).text.endswith("the network is slow or busy; use a cable, not WLAN")
    assert clock("a", (0.001, 0.02), 2.0).level == "warn"
    assert clock("a", None, 2.0) == Finding(
        "fail", "a", "its clock does not answer within 2 s: let UDP through the firewall of both machines"
    )


SCOPES = [
    (None, "", "ok", "no lsl_api.cfg: streams are looked for on the site's network"),
    ("x.cfg", "", "fail", "x.cfg cannot be read, or is empty: correct LSLAPICFG, or the file"),
    ("x.cfg", "[multicast]\nResolveScope = link\n", "ok", "x.cfg: streams are looked for on this network segment"),
    (
        "x.cfg",
        "[multicast]\nResolveScope=machine",
        "ok",
        "x.cfg: streams are looked for on this machine only; for an amplifier on another machine set ResolveScope = "
        "site, or name it under KnownPeers",
    ),
    (
        "x.cfg",
        "ResolveScope=machine\nKnownPeers={10.0.0.2}\nSessionID=lab",
        "ok",
        "x.cfg: streams are looked for on this machine only, and at 10.0.0.2; only streams of SessionID 'lab' are seen",
    ),
    (
        "x.cfg",
        "; ResolveScope=machine\nResolveScope=home",
        "fail",
        "x.cfg: ResolveScope = home; allowed are machine, link, site, organization, global",
    ),
]


@pytest.mark.parametrize(("path", "text", "level", "expected"), SCOPES)
def test_how_far_streams_are_looked_for(path, text, level, expected):
    assert said(scope(path, text)) == [(level, "network", expected)]


def test_an_outlet_of_this_machine_is_found_and_listens():
    discovery, listens = own_outlet()
    assert (discovery.level, discovery.stream) == ("ok", "discovery")
    assert (listens.level, listens.stream) == ("warn", "outlets")
    assert "they listen on 0.0.0.0" in listens.text


def test_an_outlet_that_is_not_found():
    discovery, _ = own_outlet(lambda name, wait_s: [])
    assert discovery.level == "fail"
    assert "blocks UDP multicast or the loopback" in discovery.text


def test_who_can_read_an_outlet():
    assert outlets_listen(["127.0.0.1", "::1"]).level == "ok"
    assert outlets_listen(["0.0.0.0", "127.0.0.1"]).level == "warn"
    assert "without a password" in outlets_listen(["::"]).text
    assert "it cannot be seen where they listen" in outlets_listen([]).text


def test_the_first_second_of_a_stream(unique_name):
    with Outlet(numeric_spec(unique_name, sfreq_hz=100.0)) as outlet:
        outlet.stream(6000, 10)
        found = first_second(unique_name, 20.0)
        assert [(f.level, f.stream) for f in found if f.level != "warn"] == [("ok", unique_name)]
    (found,) = first_second(unique_name, 0.3)
    assert found.level == "fail"
    assert f"no LSL stream with name '{unique_name}'" in found.text


def test_a_stream_that_sends_at_another_rate_than_it_says_fails(unique_name):
    with Outlet(numeric_spec(unique_name, sfreq_hz=100.0)) as outlet:

        def push():
            outlet.wait_for_consumer()
            outlet.push(150, [1000 + k / 80 for k in range(150)])

        pushing = threading.Thread(target=push)
        pushing.start()
        found = first_second(unique_name, 20.0)
        pushing.join(20)
    (failed,) = [f for f in found if f.level == "fail"]
    assert failed.text.startswith("it says 100 Hz but sends 80 Hz: set the rate in its program")


# --- torch, the decoder, Qt ------------------------------------------------------------------------------------------


def fake_torch(n_threads=1, names=()):
    cuda = SimpleNamespace(
        is_available=lambda: bool(names), device_count=lambda: len(names), get_device_name=lambda i: names[i]
    )
    return SimpleNamespace(__version__="2.0", cuda=cuda, get_num_threads=lambda: n_threads)


def test_torch():
    assert said(torch_setup(lambda: fake_torch())) == [
        ("ok", "torch", "torch 2.0 on CPU; 1 thread; a session decodes on the CPU with one")
    ]
    assert said(torch_setup(lambda: fake_torch(8, ("Card A",)))) == [
        (
            "warn",
            "torch",
            "torch 2.0 on CPU, Card A; 8 threads: a session decodes with one, more are slower and change last bits",
        )
    ]
    (found,) = torch_setup(raising(OSError("libtorch.so: cannot open")))
    assert found.level == "fail"
    assert "it does not load (OSError: libtorch.so: cannot open)" in found.text
    assert torch_setup()[0].text.startswith("torch 2.")


def test_the_built_in_decoder_and_a_model_are_timed(tmp_path):
    (found,) = decoder()
    assert found.stream == "decoder"
    assert found.text.startswith("bandpower (built-in, 64 channels): warm-up ")
    assert " of the 20 ms it has" in found.text
    meg = noise_model(
        tmp_path / "m", "bandpower", numeric_spec("x"), {"L": "a", "R": "b"}, 250.0, 25, {"bandpass_hz": (8.0, 30.0)},
        unit="T",
    )  # fmt: skip
    (found,) = decoder(str(meg))
    assert found.text.startswith(f"bandpower ({meg}): warm-up ")
    (found,) = decoder(str(tmp_path / "none"))
    assert (found.level, found.stream) == ("fail", "decoder")
    assert "none" in found.text


@pytest.mark.parametrize(
    ("steps_ms", "level", "advice"),
    [([1.0] * 100, "ok", " of the 20 ms it has"), ([1.0] * 95 + [15.0] * 5, "warn", "little room; stop other programs"),
     ([30.0] * 100, "fail", "too slow for this machine")],
)  # fmt: skip
def test_hops_are_judged_by_the_time_that_they_have(steps_ms, level, advice):
    found = steps("x", 0.5, steps_ms, 20.0)
    assert found.level == level
    assert advice in found.text
    assert found.text.startswith("x: warm-up 0.50 s, a hop takes ")


def test_qt_is_asked_in_a_process_of_its_own():
    (found,) = window()
    assert (found.level, found.stream) == ("ok", "Qt")
    assert "offscreen" in found.text
    (found,) = window("import os; os.abort()")
    assert found.level == "fail"
    assert found.text.startswith("it crashes (")
    told = "qt.qpa.xcb: could not connect to display\\nAvailable platform plugins are: xcb"
    (found,) = window(f"import sys, os; print('{told}', file=sys.stderr, flush=True); os.abort()")
    assert (found.level, found.text[:24]) == ("warn", "there is no screen here:")
    (found,) = window("import no_such_binding")
    assert found.level == "fail"
    assert found.text.startswith("it does not load (ModuleNotFoundError: No module named 'no_such_binding')")
    assert "set QT_QPA_PLATFORM=offscreen" in found.text
    (found,) = window("import time; time.sleep(60)", timeout_s=0.5)
    assert found.text.startswith("it does not start within 0.5 s")


# --- the verb --------------------------------------------------------------------------------------------------------


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["doctor", *arguments])
    return end.value.code, capsys.readouterr().out


def test_the_verb_on_this_machine(capsys, unique_name):
    with Outlet(numeric_spec(unique_name, source_id="")):
        code, out = run(capsys, "--json", "-")
    found = json.loads(out)["findings"]
    assert {"LSL library", "streams", "network", "discovery", "outlets", "torch", "decoder", "Qt", unique_name} == {
        f["what"] for f in found
    }
    assert code == any(f["level"] == "fail" for f in found)
    assert [f["text"] for f in found if f["what"] == unique_name and "source_id" in f["text"]]


def test_one_fail_is_exit_code_1_and_a_check_that_breaks_is_one(capsys, monkeypatch):
    for name in ("lsl_library", "torch_setup", "window"):
        monkeypatch.setattr(bci.doctor, name, lambda: [Finding("ok", "x", "fine")])
    monkeypatch.setattr(bci.doctor, "own_outlet", raising(OSError("no sockets left")))
    monkeypatch.setattr(bci.doctor, "decoder", lambda model: [Finding("warn", "decoder", "slow")])
    code, out = run(capsys)
    assert code == 1
    assert "fail network: the check itself failed: OSError: no sockets left" in out
    monkeypatch.setattr(bci.doctor, "own_outlet", list)
    assert run(capsys)[0] == 0


def test_without_liblsl_the_rest_is_checked(capsys, monkeypatch):
    monkeypatch.setattr(bci.doctor, "lsl_library", lambda: [Finding("fail", "LSL library", "gone")])
    monkeypatch.setattr(bci.doctor, "window", list)
    code, out = run(capsys)
    assert code == 1
    subjects = [line[5:].split(":")[0] for line in out.splitlines()]
    assert subjects == ["LSL library", "torch", "decoder"]
