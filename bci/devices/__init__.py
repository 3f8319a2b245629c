"""Things that move, by URL. They live in the device host process; `bci.devices.contract` says what each must keep."""

from __future__ import annotations

from importlib import import_module
from urllib.parse import urlsplit

from bci.errors import ConfigError
from bci.ports import Device

# scheme -> (module:Class, how its URL is spelled)
DEVICES: dict[str, tuple[str, str]] = {
    "null": ("bci.devices.null:NullDevice", "null:"),
    "udp": ("bci.devices.udp:UdpDevice", "udp://HOST:PORT"),
    "lsl": ("bci.devices.lsl_outlet:LslDevice", "lsl:NAME"),
}


def make_device(url: str) -> Device:
    """The device of a URL, not opened yet.

    Raises
    ------
    ConfigError
        The scheme is unknown, or the URL is not as its scheme spells it.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if ":" not in url or scheme not in DEVICES:
        known = ", ".join(spelling for _, spelling in DEVICES.values())
        raise ConfigError(f"device {url!r} is unknown; what works: {known}")
    module, name = DEVICES[scheme][0].split(":")
    return getattr(import_module(module), name)(url)


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
