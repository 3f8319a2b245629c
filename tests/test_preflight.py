"""Ways in which a stream can be wrong, and the sentence that a person reads of each."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from bci.__main__ import main
from bci.config import ExpectSection, parse_config
from bci.errors import ConfigError
from bci.offline.stream import with_labels
from bci.preflight import Finding, FirstLook, fits, mismatches, remarks, why_missing
from bci.types import Channel, StreamSpec, marker_spec
from tests.helpers.outlets import Outlet, numeric_spec
from tests.helpers.played import noise_model


def spec(name="EEG-1", labels=("C3", "Cz", "C4"), unit="uV", sfreq_hz=250.0, **other):
    channels = tuple(Channel(label, "EEG", unit) for label in labels)
    other = {"source_id": "amp-1", "hostname": "here"} | other
    return StreamSpec(name=name, channels=channels, sfreq_hz=sfreq_hz, **other)


def why(name="", type_="", source_id="", seen=(), peers=False):
    return why_missing(name, type_, source_id, seen, this_host="here", has_known_peers=peers)


# --- a stream that is missing ----------------------------------------------------------------------------------------

MISSING = [
    (
        why("EEG-1"),
        "no LSL stream is visible at all: its program is not started or not yet streaming, or a firewall blocks UDP "
        "multicast and the ports from 16571 on; on another machine: name it under KnownPeers in lsl_api.cfg",
    ),
    (
        why("EEG-1", peers=True),
        "no LSL stream is visible at all: its program is not started or not yet streaming, or a firewall blocks UDP "
        "multicast and the ports from 16571 on",
    ),
    (why("eeg1", seen=[spec()]), "there is 'EEG-1': if that is meant, ask for it by this name"),
    (why("EEG-1", "Markers", seen=[spec()]), "'EEG-1' is there, but of type EEG: ask for that type"),
    (why("EEG-1", "", "amp-2", [spec()]), "'EEG-1' is there, but with source_id amp-1: ask for that one"),
    (why("", "MEG", seen=[spec()]), "types there are EEG: ask for one of them, or start its program"),
    (
        why("Amplifier", seen=[spec()]),
        "only streams of this machine are visible: start its program, or, if it runs on another machine, let multicast "
        "through the firewall or name that machine under KnownPeers in lsl_api.cfg",
    ),
    (
        why("Amplifier", seen=[spec(hostname="there")]),
        "its program is not started, or not yet streaming: start it, or ask for one that is there",
    ),
]


@pytest.mark.parametrize(("said", "expected"), MISSING)
def test_why_a_stream_is_missing(said, expected):
    assert said == expected


# --- what a stream says of itself ------------------------------------------------------------------------------------

MISMATCHES = [
    (
        {"sfreq_hz": 500},
        {},
        "it says 250 Hz, 500 Hz is expected: set the rate in its program, or expect.sfreq_hz to what it has",
    ),
    ({"channels": ("C3", "C4", "Pz")}, {}, "channel Pz is missing; it has C3, Cz, C4"),
    ({"channels": ("C3", "C4", "Cz")}, {}, "its channels come in another order: number 2 is Cz, C4 is expected"),
    ({"channels": ("C3", "Cz")}, {}, "it has 3 channels, 2 are expected: C4"),
    (
        {"channels": ("C3", "Cz")},
        {"labels": ("ch1", "ch2")},
        "it does not name its 2 channels, so nobody knows their order: name them in order by labels under [stream]",
    ),
    (
        {"unit": "uV"},
        {"unit": ""},
        'it does not say in which unit its samples are, uV is expected: set unit = "uV" under [stream] if you know it',
    ),
    ({"unit": "uV"}, {"unit": "V"}, "it is in V, uV is expected: change one of them"),
    (
        {},
        {"labels": ("ch1", "ch2")},
        "it does not name its 2 channels, so nobody knows their order: name them in order by labels under [stream]",
    ),
    ({}, {"unit": ""}, "it does not say in which unit its samples are: set unit under [stream] if you know it"),
]


@pytest.mark.parametrize(("expected", "has", "said"), MISMATCHES)
def test_what_is_not_as_expected(expected, has, said):
    assert mismatches(ExpectSection(name="EEG-1", **expected), spec(**has)) == [said]


def test_what_is_as_expected_is_not_mentioned():
    expected = ExpectSection(name="EEG-1", sfreq_hz=250, channels=("c3", "CZ", "C4"), unit="uV")
    assert mismatches(expected, spec()) == []
    assert mismatches(ExpectSection(name="EEG-1", sfreq_hz=250.1), spec()) == []  # as its clock counts
    assert mismatches(ExpectSection(name="EEG-1", need="optional"), spec(unit="", labels=("ch1", "ch2"))) == []
    assert fits(expected, spec())
    assert not fits(expected, spec(name="other"))


def test_a_stream_without_source_id_is_remarked_upon():
    (said,) = remarks(spec(source_id=""))
    assert str(said) == (
        "warn EEG-1: it has no source_id: when its program restarts, the session ends; set one in the program"
    )
    assert remarks(spec()) == remarks(marker_spec("m")) == []
    (said,) = remarks(spec(sfreq_hz=0.0))
    assert said.text == "it has no regular rate, so its first second is not judged, and no decoder runs on it"


# --- the first second ------------------------------------------------------------------------------------------------


def first_second(samples, stamps_s, need="critical", **has):
    look = FirstLook([spec(**has)], [ExpectSection(name="EEG-1", need=need)])
    found = look.take(0, samples[:100], stamps_s[:100]) + look.take(0, samples[100:], stamps_s[100:])
    return found + look.finish()


def noise(n=300, seed=0):
    return np.random.default_rng(seed).normal(0, 10, (n, 3)).astype(np.float32)


def even(n=300, sfreq_hz=250.0):
    return 50 + np.arange(n) / sfreq_hz


def _flat(channels):
    x = noise()
    x[:, channels] = 3.0
    return x


def _nan():
    x = noise()
    x[7, 1] = np.nan
    return x


FIRST_SECONDS = [
    (noise(), even(), "ok   EEG-1: 3 channels, 250 Hz in the first second"),
    (noise(20), even(20), "fail EEG-1: 20 samples came, 250 a second should: is its device on and sending?"),
    (
        noise(),
        even(sfreq_hz=125.0),
        "fail EEG-1: it says 250 Hz but sends 125 Hz: set the rate in its program, or look for losses",
    ),
    (
        noise(),
        np.concatenate((even(150), even(150))),
        "fail EEG-1: its time stamps go back by 0.596 s: its clock was set, or two programs send under one name",
    ),
    (_nan(), even(), "warn EEG-1: NaN or inf in channel Cz: is it plugged in?"),
    (
        _flat([2]),
        even(),
        "warn EEG-1: channel C4 is flat: is the electrode on, and the amplifier not in a test mode?",
    ),
    (
        _flat([0, 1, 2]),
        even(),
        "warn EEG-1: all channels are flat: is the electrode on, and the amplifier not in a test mode?",
    ),
]


@pytest.mark.parametrize(("samples", "stamps_s", "said"), FIRST_SECONDS)
def test_the_first_second_is_judged(samples, stamps_s, said):
    assert [str(f) for f in first_second(samples, stamps_s)] == [said]


def test_what_is_optional_or_not_expected_is_only_warned_of():
    assert [f.level for f in first_second(noise(), even(sfreq_hz=125.0), need="optional")] == ["warn"]
    look = FirstLook([spec(), marker_spec("m")], [None, None])
    assert not look.is_done
    assert [f.level for f in look.take(0, noise(), even(sfreq_hz=125.0))] == ["warn"]
    assert look.is_done


def test_jitter_and_late_stamps_do_not_bend_the_rate():
    stamps_s = even() + np.abs(np.random.default_rng(1).normal(0, 0.004, 300))
    stamps_s[-1] += 0.01
    assert [f.level for f in first_second(noise(), np.maximum.accumulate(stamps_s))] == ["ok"]
    assert [str(f) for f in first_second(noise(), stamps_s - np.eye(1, 300, 100)[0] * 0.1)] == [
        "warn EEG-1: its time stamps jitter, and go back by up to 94.7 ms: they are smoothed"
    ]


# --- labels for a stream that has none -------------------------------------------------------------------------------


def test_channels_without_names_are_named_in_order():
    named = with_labels(spec(labels=("ch1", "ch2")), ("C3", "C4"))
    assert named.labels == ("C3", "C4")
    with pytest.raises(ConfigError, match="names 1 channels, stream 'EEG-1' has 2"):
        with_labels(spec(labels=("ch1", "ch2")), ("C3",))
    with pytest.raises(ConfigError, match="names its channels itself"):
        with_labels(spec(), ("C3", "Cz", "C4"))


def test_a_wrong_key_of_an_expected_stream_is_named():
    with pytest.raises(ConfigError, match=r"unknown key expect\.0\.rate = 250; allowed in this section: name, type"):
        parse_config("[[expect]]\nname = 'a'\nrate = 250")
    with pytest.raises(ConfigError, match="which stream is expected"):
        parse_config("[[expect]]\nsfreq_hz = 250")


# --- on real streams -------------------------------------------------------------------------------------------------


@pytest.fixture
def preflight(tmp_path, unique_name, capsys):
    """`bci run --preflight-only` for the stream ``unique_name`` with more of a session.toml."""

    def run(toml="", wait_s=20):
        config = tmp_path / "session.toml"
        config.write_text(f"[stream]\nname = '{unique_name}'\nwait_s = {wait_s}\nmarkers = []\n{toml}")
        with pytest.raises(SystemExit) as stop:
            main(["run", "--config", str(config), "--preflight-only", "--json", "-"])
        lines = json.loads(capsys.readouterr().out)["findings"]
        return stop.value.code, [str(Finding(**line)) for line in lines]

    return run


def test_a_stream_in_order_passes_by_its_own_first_second(preflight, unique_name):
    with Outlet(numeric_spec(unique_name)) as outlet:
        outlet.stream(30_000, 25)
        code, said = preflight(f"[[expect]]\nname = '{unique_name}'\nsfreq_hz = 250\nunit = 'uV'")
    assert code == 0
    assert len(said) == 1
    assert said[0].startswith(f"ok   {unique_name}: 4 channels, 25")


def test_a_missing_critical_stream_refuses_and_an_optional_one_is_reported(preflight, unique_name):
    missing = f"[[expect]]\nname = 'nobody-{unique_name}'\n"
    with Outlet(numeric_spec(unique_name)) as outlet:
        outlet.stream(30_000, 25)
        code, said = preflight(missing, wait_s=0.5)
        assert code == 1
        assert f"no LSL stream with name 'nobody-{unique_name}' within 0.5 s" in said[0]
        code, said = preflight(missing + "need = 'optional'", wait_s=0.5)
        assert code == 0
    assert said[0].startswith(f"warn nobody-{unique_name}: optional, and not there: no LSL stream")


def test_all_that_is_missing_is_said_at_once_each_by_its_name(preflight, unique_name):
    other = f"other-{unique_name}"
    with Outlet(numeric_spec(unique_name)):
        code, said = preflight(f"[[expect]]\nname = '{other}'\n[[expect]]\nname = '{other}-2'\n", wait_s=0.5)
    assert code == 1
    assert [line.split(": ")[0] for line in said] == [f"fail {other}", f"fail {other}-2"]


def test_a_stream_that_is_not_as_expected_refuses(preflight, unique_name):
    with Outlet(numeric_spec(unique_name)):
        code, said = preflight(f"[[expect]]\nname = '{unique_name}'\nsfreq_hz = 500")
    assert code == 1
    assert said == [
        f"fail {unique_name}: stream '{unique_name}' is not as session.toml expects: it says 250 Hz, 500 Hz is "
        "expected: set the rate in its program, or expect.sfreq_hz to what it has"
    ]


def test_two_streams_that_nothing_tells_apart(preflight, unique_name):
    with Outlet(numeric_spec(unique_name, source_id="")), Outlet(numeric_spec(unique_name, source_id="")):
        for _ in range(3):  # and never one of them in silence
            code, said = preflight()
            assert code == 1
            assert said[0].endswith("nothing tells them apart: stop all but one")


def test_a_critical_stream_at_another_rate_ends_the_session_and_is_recorded(tmp_path, unique_name, capsys):
    model = noise_model(
        tmp_path / "model", "bandpower", numeric_spec(unique_name), {"a": "left", "b": "right"}, 250.0, 25, {}
    )
    config = tmp_path / "session.toml"
    config.write_text(f"[stream]\nname = '{unique_name}'\nwait_s = 20\n[[expect]]\nname = '{unique_name}'\n")
    with Outlet(numeric_spec(unique_name)) as outlet:

        def send():
            outlet.wait_for_consumer()
            outlet.push(600, [1000 + i / 125 for i in range(600)])

        pushing = threading.Thread(target=send)
        pushing.start()
        with pytest.raises(SystemExit) as stop:
            main(["run", "--config", str(config), "--model", str(model), "--session", str(tmp_path / "s"), "--quiet"])
        pushing.join(20)
    assert stop.value.code == 1
    assert f"stream '{unique_name}': it says 250 Hz but sends 125 Hz" in capsys.readouterr().err
    assert (tmp_path / "s" / "session.xdf").exists()
