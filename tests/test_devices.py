"""Every device of the registry keeps the contract, and every check of the contract catches a device that does not."""

import json
import os
import sys
import threading
import types
from importlib.metadata import EntryPoint

import pylsl
import pytest
from pythonosc.osc_message import OscMessage

from bci import devices
from bci.devices import DEVICES, check_continuous, contract, make_device, open_device
from bci.errors import ConfigError, ContractError, DeviceError
from bci.types import Command
from tests.helpers import devices as doubles
from tests.helpers.live import wait_for

LEFT = Command(id=7, name="left", value=0.93, issued_s=1.0, ttl_ms=300.0, arm_id=1, hop=412)
VELOCITY = Command(8, "velocity", 0.5, 1.0, 300.0, 1, 413, velocity=(0.4, -0.3))
BROKEN = {
    contract.check_declares: [doubles.NoMeaning],
    contract.check_continuous_stops_by_itself: [doubles.MovesOn],
    contract.check_velocities: [doubles.OneVelocity],
    contract.check_check: [doubles.KnowsOtherIds, doubles.ChecksOnlyOpen],
    contract.check_says_what_was_sent: [doubles.SaysNothing],
    contract.check_neutral_at_any_time: [doubles.NeutralOnce],
    contract.check_closed_refuses: [doubles.SendsWhenClosed],
    contract.check_opens_again: [doubles.OpensOnce, doubles.ClosesOnce],
    contract.check_is_quick: [doubles.Waits, doubles.WaitsInCheck],
}
posix = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals of POSIX")


@pytest.fixture
def server():
    running = doubles.LineServer()
    yield running
    running.close()


@pytest.fixture
def microcontroller(tmp_path):
    if os.name != "posix":
        pytest.skip("pseudo-terminals of POSIX")
    board = doubles.Microcontroller(tmp_path / "tty")
    yield board
    board.unplug()


@pytest.fixture
def keys(monkeypatch):
    """A stand-in for pynput, which needs a display: the list of what was pressed and released."""
    done = []

    class Controller:
        def press(self, key):
            done.append(("press", key))

        def release(self, key):
            done.append(("release", key))

    class KeyCode:
        from_char = staticmethod(lambda text: f"char {text}")

    keyboard = types.SimpleNamespace(Controller=Controller, KeyCode=KeyCode, Key={"space": "the space bar"})
    monkeypatch.setitem(sys.modules, "pynput", types.SimpleNamespace(keyboard=keyboard))
    return done


URLS = {
    "null": ["null:"],
    "udp": ["udp://127.0.0.1:9", "udp://127.0.0.1:9?loss=zero"],
    "tcp": ["tcp://127.0.0.1:{port}?ack_ms=1000", "tcp://127.0.0.1:{port}?loss=release"],
    "osc": ["osc://127.0.0.1:9/stage", "osc://127.0.0.1:9?loss=zero"],
    "lsl": ["lsl:contract", "lsl:contract?loss=zero"],
    "serial": ["serial://{tty}?ack_ms=1000", "serial://{tty}?loss=zero"],
    "keyboard": ["keyboard:?left=a&right=space"],
    "cursor": ["cursor:contract"],
}


@pytest.fixture(params=[url for urls in URLS.values() for url in urls])
def url(request):
    """Each spelling, with something there that listens."""
    if "{port}" in request.param:
        return request.param.format(port=request.getfixturevalue("server").port)
    if "{tty}" in request.param:
        return request.param.format(tty=request.getfixturevalue("microcontroller").path)
    if request.param.startswith("keyboard"):
        request.getfixturevalue("keys")
    return request.param


def test_every_device_and_every_check_is_tried():
    assert set(URLS) == set(DEVICES)
    assert set(BROKEN) == set(contract.CHECKS)


@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(url, check):
    check(lambda: make_device(url))


@pytest.mark.parametrize(("check", "broken"), [(c, b) for c, doubles_ in BROKEN.items() for b in doubles_])
def test_every_check_rejects_its_broken_double(check, broken):
    with pytest.raises(ContractError, match="device null:"):
        check(lambda: broken("null:"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("teapot:", "device 'teapot:' is unknown; what works: null:, udp://HOST:PORT, tcp://HOST:PORT"),
        ("null", "device 'null' is unknown"),
        ("", "device '' is unknown"),
        ("udp://[::1:9", "device 'udp://.*' is unknown"),
        ("udp://127.0.0.1", "must be udp://HOST:PORT"),
        ("udp://127.0.0.1:99999", "must be udp://HOST:PORT"),
        ("udp://127.0.0.1:9/left", "must be udp://HOST:PORT"),
        ("udp://127.0.0.1:9?loss=maybe", "loss = 'maybe': must be zero, hold or release"),
        ("udp://127.0.0.1:9?ttl=3", "unknown option ttl; allowed: loss"),
        ("tcp://127.0.0.1:9?ack_ms=0", "ack_ms = '0': must be above 0"),
        ("tcp:somewhere", "must be tcp://HOST:PORT"),
        ("osc://127.0.0.1:9/a*b", "an OSC address has none of"),
        ("lsl:", "must be lsl:NAME"),
        ("serial:", "must be serial:PORT"),
        ("serial:COM3?baud=fast", "baud = 'fast': must be a whole number"),
        ("keyboard:", r"must be keyboard:\?COMMAND=KEY"),
        ("cursor:?n_targets=0", "n_targets = '0': must be a whole number above 0"),
        ("cursor:?hands=north", "hands = 'north': must be one of left, right, up, down"),
    ],
)
def test_a_bad_url_is_refused_with_what_would_work(url, message):
    with pytest.raises(ConfigError, match=message):
        make_device(url)


def test_a_host_that_is_unknown_is_a_device_error_that_names_the_url():
    with pytest.raises(DeviceError, match=r"device udp://a\.\.b:9 cannot be opened"):
        open_device("udp://a..b:9")


def test_devices_of_others_are_found_by_their_entry_point(monkeypatch):
    points = [
        EntryPoint("teapot", "tests.helpers.devices:Flaky", devices.GROUP),
        EntryPoint("kettle", "nowhere.at_all:Kettle", devices.GROUP),
        EntryPoint("null", "nowhere.at_all:Null", devices.GROUP),  # ours cannot be replaced
    ]
    monkeypatch.setattr(devices, "entry_points", lambda group: points)
    assert isinstance(make_device("teapot:/tmp"), doubles.Flaky)
    assert make_device("null:").url == "null:"
    with pytest.raises(ConfigError, match=r"device kettle: nowhere\.at_all:Kettle cannot be imported"):
        make_device("kettle:")
    with pytest.raises(ConfigError, match=r"device 'pot:' is unknown; .*, teapot:, kettle:"):
        make_device("pot:")


@pytest.mark.parametrize("url", ["udp://127.0.0.1:9", "keyboard:?left=a", "lsl:x", "osc://127.0.0.1:9?loss=hold"])
def test_continuous_control_needs_a_time_out_at_the_receiver(url):
    with pytest.raises(ConfigError, match=r"takes no velocities; .* say so by \?loss=zero"):
        check_continuous(url)


@pytest.mark.parametrize("url", ["null:", "cursor:", "udp://127.0.0.1:9?loss=zero", "serial:COM3?loss=release"])
def test_continuous_control_where_the_receiver_stops_by_itself(url):
    check_continuous(url)


# --- what goes out ---------------------------------------------------------------------------------------------------


def test_udp_datagrams():
    sock, url = doubles.listener()
    with sock:
        device = open_device(url + "?loss=zero")
        assert doubles.datagram(sock) == {"neutral": True, "reason": "opened"}
        sent = device.send(LEFT)
        got = doubles.datagram(sock)
        assert got == {"command": "left", "value": 0.93, "id": 7, "hop": 412, "ttl_ms": 300.0}
        assert json.loads(sent) == got
        device.send(VELOCITY)
        assert doubles.datagram(sock)["velocity"] == [0.4, -0.3]
        device.close()


def test_osc_messages():
    sock, url = doubles.listener()
    with sock:
        device = open_device(url.replace("udp", "osc") + "/stage?loss=zero")
        said = []
        for command in (LEFT, VELOCITY):
            device.send(command)
        device.neutral("enough")
        for _ in range(4):
            message = OscMessage(sock.recv(4096))
            said.append((message.address, [pytest.approx(p) if isinstance(p, float) else p for p in message.params]))
        assert said == [
            ("/stage/neutral", ["opened"]),
            ("/stage/command", ["left", 0.93, 7, 300.0]),
            ("/stage/velocity", [0.4, -0.3, 8, 300.0]),
            ("/stage/neutral", ["enough"]),
        ]
        device.close()


def test_lsl_markers_and_velocities(unique_name):
    device = open_device(f"lsl:{unique_name}?loss=zero")
    inlets = []
    for name in (unique_name, f"{unique_name}-velocity"):
        (info,) = pylsl.resolve_byprop("name", name, 1, 10)
        inlets.append(pylsl.StreamInlet(info))
        inlets[-1].open_stream(10)
    info = inlets[0].info()
    assert (info.type(), info.channel_format(), info.nominal_srate()) == ("Markers", pylsl.cf_string, 0.0)
    assert device.send(LEFT) == "left"
    assert inlets[0].pull_sample(10)[0] == ["left"]
    device.send(VELOCITY)
    assert inlets[1].pull_sample(10)[0] == pytest.approx([0.4, -0.3, 300.0])
    closing = threading.Thread(target=lambda: (device.neutral("end"), device.close()))
    closing.start()
    assert inlets[0].pull_sample(10)[0] == ["neutral"]
    assert inlets[1].pull_sample(10)[0] == [0.0, 0.0, 0.0]
    closing.join(10)
    assert not closing.is_alive()
    for inlet in inlets:
        inlet.close_stream()


def test_tcp_lines_are_acknowledged(server):
    device = open_device(f"tcp://127.0.0.1:{server.port}?ack_ms=10000&loss=zero")
    assert json.loads(device.send(LEFT)) == {
        "n": 2, "command": "left", "value": 0.93, "id": 7, "hop": 412, "ttl_ms": 300.0,
    }  # fmt: skip
    assert wait_for(device.check, "an acknowledgement") == (7,)
    device.send(VELOCITY)
    device.neutral("enough")
    assert wait_for(device.check, "an acknowledgement") == (8,)
    wait_for(lambda: len(server.lines) == 4, "four lines")
    assert server.lines[0] == {"n": 1, "neutral": True, "reason": "opened"}
    assert server.lines[2]["velocity"] == [0.4, -0.3]
    assert server.lines[3] == {"n": 4, "neutral": True, "reason": "enough"}
    device.close()


def test_serial_lines_are_acknowledged(microcontroller):
    device = open_device(f"serial://{microcontroller.path}?ack_ms=10000&loss=zero")
    assert device.send(LEFT) == "2 left 0.930 300"
    assert wait_for(device.check, "an acknowledgement") == (7,)
    device.send(VELOCITY)
    device.neutral("enough")
    wait_for(lambda: len(microcontroller.lines) == 4, "four lines")
    assert microcontroller.lines == ["1 neutral", "2 left 0.930 300", "3 velocity 0.400 -0.300 300", "4 neutral"]
    device.close()


def failure(device):
    """What `check` says once it fails."""

    def fails():
        try:
            device.check()
        except DeviceError as error:
            return str(error)
        return ""

    return wait_for(fails, "a failure")


def test_a_line_that_is_not_acknowledged_is_a_failure(server):
    server.acknowledges = False
    device = make_device(f"tcp://127.0.0.1:{server.port}?ack_ms=20")
    device.open()
    device.send(LEFT)
    assert failure(device).endswith("has not acknowledged line 1 within 20 ms")
    assert device.check() == ()  # said once
    device.close()


def test_a_server_that_hangs_up_is_a_failure_and_can_be_opened_again(server):
    device = open_device(f"tcp://127.0.0.1:{server.port}")
    device.send(LEFT)
    wait_for(lambda: len(server.lines) == 2, "two lines")
    server.close()
    assert "is lost" in failure(device)
    device.neutral("lost")
    with pytest.raises(DeviceError, match="is not open"):
        device.send(LEFT)
    with pytest.raises(DeviceError, match="is its server running"):
        device.open()
    again = doubles.LineServer(server.port)
    device.open()
    device.send(LEFT)
    wait_for(lambda: again.lines, "a line")
    again.close()
    device.close()


def test_a_server_that_does_not_read_is_a_failure_and_nothing_waits():
    server = doubles.socket.create_server(("127.0.0.1", 0))
    with server:
        device = open_device(f"tcp://127.0.0.1:{server.getsockname()[1]}")

        def flood():
            for _ in range(10**6):
                device.neutral("x" * 10_000)

        with pytest.raises(DeviceError, match="is lost"):
            flood()


def test_a_plug_that_was_pulled_is_a_failure_and_can_be_plugged_in_again(microcontroller):
    device = open_device(f"serial://{microcontroller.path}")
    device.send(LEFT)
    wait_for(lambda: len(microcontroller.lines) == 2, "two lines")
    microcontroller.unplug()
    assert "is lost" in failure(device)
    with pytest.raises(DeviceError, match="is it plugged in"):
        device.open()
    microcontroller.plug_in()
    device.open()
    device.send(LEFT)
    wait_for(lambda: len(microcontroller.lines) == 3, "another line")
    device.close()


def test_keys_are_tapped_and_never_held(keys):
    device = open_device("keyboard:?left=a&right=space")
    assert device.send(LEFT) == "tap a"
    assert device.send(Command(9, "right", 0.9, 1.0, 300.0, 1, 413)) == "tap space"
    assert device.send(Command(10, "hands", 0.9, 1.0, 300.0, 1, 414)) == "nothing: no key for hands"
    device.neutral("enough")
    assert keys == [
        ("press", "char a"), ("release", "char a"), ("press", "the space bar"), ("release", "the space bar"),
    ]  # fmt: skip
    with pytest.raises(DeviceError, match="no key is called 'hyper'"):
        open_device("keyboard:?left=hyper")


def test_a_key_whose_release_failed_is_let_go_at_neutral(keys):
    device = open_device("keyboard:?left=a")
    release, device._controller.release = device._controller.release, lambda key: 1 / 0
    with pytest.raises(DeviceError, match="did not release"):
        device.send(LEFT)
    device._controller.release = release
    device.neutral("trouble")
    device.neutral("again")
    assert keys == [("press", "char a"), ("release", "char a")]


def test_without_pynput_the_keyboard_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynput", None)
    with pytest.raises(DeviceError, match=r"pip install rolandic\[keyboard\]"):
        open_device("keyboard:?left=a")


def test_the_cursor_is_an_lsl_stream_and_says_where_it_is(unique_name):
    device = open_device(f"cursor:{unique_name}?hands=up&n_targets=2")
    (info,) = pylsl.resolve_byprop("name", unique_name, 1, 10)
    inlet = pylsl.StreamInlet(info)
    inlet.open_stream(10)
    assert info.type() == "Cursor"
    assert device.send(Command(1, "hands", 0.9, 1.0, 300.0, 1, 1)).startswith("hands: at 0.000 0.250")
    assert "no direction for feet" in device.send(Command(2, "feet", 0.9, 1.0, 300.0, 1, 1))
    device.check()
    row = inlet.pull_sample(10)[0]
    assert row[:4] == pytest.approx([0, 0.25, 0, 0])
    assert abs(row[4]) == pytest.approx(0.75)
    device.close()
    inlet.close_stream()
