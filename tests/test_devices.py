"""Every device of the registry keeps the contract, and every check of the contract catches a device that does not."""

import json
import threading

import pylsl
import pytest

from bci.devices import DEVICES, contract, make_device, open_device
from bci.errors import ConfigError, ContractError, DeviceError
from bci.types import Command
from tests.helpers import devices as doubles

LEFT = Command(id=7, name="left", value=0.93, issued_s=1.0, ttl_ms=300.0, arm_id=1, hop=412)
URLS = {"null": "null:", "udp": "udp://127.0.0.1:9", "lsl": "lsl:contract"}
BROKEN = {
    contract.check_declares: [doubles.NoMeaning],
    contract.check_says_what_was_sent: [doubles.SaysNothing],
    contract.check_neutral_at_any_time: [doubles.NeutralOnce],
    contract.check_closed_refuses: [doubles.SendsWhenClosed],
    contract.check_opens_again: [doubles.OpensOnce, doubles.ClosesOnce],
    contract.check_is_quick: [doubles.Waits],
}


def test_every_device_and_every_check_is_tried():
    assert set(URLS) == set(DEVICES)
    assert set(BROKEN) == set(contract.CHECKS)


@pytest.mark.parametrize("check", contract.CHECKS)
@pytest.mark.parametrize("url", URLS.values())
def test_contract(url, check):
    check(lambda: make_device(url))


@pytest.mark.parametrize(("check", "broken"), [(c, b) for c, doubles_ in BROKEN.items() for b in doubles_])
def test_every_check_rejects_its_broken_double(check, broken):
    with pytest.raises(ContractError, match="device null:"):
        check(lambda: broken("null:"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("teapot:", "device 'teapot:' is unknown; what works: null:, udp://HOST:PORT, lsl:NAME"),
        ("null", "device 'null' is unknown"),
        ("", "device '' is unknown"),
        ("udp://[::1:9", "device 'udp://.*' is unknown"),
        ("udp://127.0.0.1", "must be udp://HOST:PORT"),
        ("udp://127.0.0.1:99999", "must be udp://HOST:PORT"),
        ("udp://127.0.0.1:9/left", "must be udp://HOST:PORT"),
        ("lsl:", "must be lsl:NAME"),
    ],
)
def test_a_bad_url_is_refused_with_what_would_work(url, message):
    with pytest.raises(ConfigError, match=message):
        make_device(url)


def test_a_host_that_is_unknown_is_a_device_error_that_names_the_url():
    with pytest.raises(DeviceError, match=r"device udp://a\.\.b:9 cannot be opened"):
        open_device("udp://a..b:9")


def test_udp_datagrams():
    sock, url = doubles.listener()
    with sock:
        device = open_device(url)
        assert doubles.datagram(sock) == {"neutral": True, "reason": "opened"}
        sent = device.send(LEFT)
        got = doubles.datagram(sock)
        assert got == {"command": "left", "value": 0.93, "id": 7, "hop": 412, "ttl_ms": 300.0}
        assert json.loads(sent) == got
        device.close()


def test_lsl_markers(unique_name):
    device = open_device(f"lsl:{unique_name}")
    (info,) = pylsl.resolve_byprop("name", unique_name, 1, 10)
    assert (info.type(), info.channel_format(), info.nominal_srate()) == ("Markers", pylsl.cf_string, 0.0)
    inlet = pylsl.StreamInlet(info)
    inlet.open_stream(10)
    assert device.send(LEFT) == "left"
    assert inlet.pull_sample(10)[0] == ["left"]
    closing = threading.Thread(target=lambda: (device.neutral("end"), device.close()))
    closing.start()
    assert inlet.pull_sample(10)[0] == ["neutral"]
    closing.join(10)
    assert not closing.is_alive()
    inlet.close_stream()
