"""Things that move, by URL. They live in the device host process; `bci.devices.contract` says what each must keep.

Other people's devices are found by the entry point group ``rolandic.devices``, whose names are the schemes of their
URLs (``docs/devices.md``).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from urllib.parse import urlsplit

from bci.errors import ConfigError
from bci.ports import Device

GROUP = "rolandic.devices"
# scheme -> (module:Class, how its URL is spelled)
DEVICES: dict[str, tuple[str, str]] = {
    "null": ("bci.devices.null:NullDevice", "null:"),
    "udp": ("bci.devices.udp:UdpDevice", "udp://HOST:PORT"),
    "tcp": ("bci.devices.tcp:TcpDevice", "tcp://HOST:PORT"),
    "osc": ("bci.devices.osc:OscDevice", "osc://HOST:PORT/ADDRESS"),
    "lsl": ("bci.devices.lsl_outlet:LslDevice", "lsl:NAME"),
    "serial": ("bci.devices.serial_line:SerialDevice", "serial:PORT"),
    "keyboard": ("bci.devices.keyboard:KeyboardDevice", "keyboard:?COMMAND=KEY"),
    "cursor": ("bci.devices.cursor:CursorDevice", "cursor:NAME"),
}


def make_device(url: str) -> Device:
    """The device of a URL, not opened yet.

    Raises
    ------
    ConfigError
        The scheme is unknown, its package cannot be imported, or the URL is not as its scheme spells it.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if ":" in url and scheme in DEVICES:
        module, name = DEVICES[scheme][0].split(":")
        return getattr(import_module(module), name)(url)
    others = {point.name: point for point in entry_points(group=GROUP)}
    if ":" not in url or scheme not in others:
        known = ", ".join([*(spelling for _, spelling in DEVICES.values()), *(f"{name}:" for name in others)])
        raise ConfigError(f"device {url!r} is unknown; what works: {known}")
    return _loaded(others[scheme])(url)


def open_device(url: str) -> Device:
    """The device of a URL, opened and neutral.

    Raises
    ------
    ConfigError
        As `make_device`.
    DeviceError
        It cannot be opened.
    """
    device = make_device(url)
    device.open()
    device.neutral("opened")
    return device


def check_continuous(url: str) -> None:
    """Refuse a device that must not be steered by velocities.

    Raises
    ------
    ConfigError
        It takes none, or nobody has said that its receiver stops by itself.
    """
    device = make_device(url)
    if not device.is_continuous:
        raise ConfigError(
            f"device {url!r}: takes no velocities; continuous control needs a receiver that stops by itself at ttl_ms. "
            "Where it does, say so by ?loss=zero (udp, tcp, osc, lsl, serial)"
        )


def _loaded(point: EntryPoint) -> Callable[[str], Device]:
    try:
        return point.load()
    except Exception as error:  # somebody else's package
        raise ConfigError(f"device {point.name}: {point.value} cannot be imported ({error})") from error
