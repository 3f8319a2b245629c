"""Devices for the device host's tests, and one that breaks each check of the contract."""

import json
import socket
import time
from pathlib import Path

from bci.devices.null import NullDevice
from bci.errors import DeviceError


def listener():
    """A UDP socket on loopback and the URL of the device that talks to it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    return sock, f"udp://127.0.0.1:{sock.getsockname()[1]}"


def datagram(sock):
    """The next datagram; waits at most ten seconds."""
    return json.loads(sock.recv(4096))


def open_flaky(url):
    """``flaky:FOLDER``: fails to send while FOLDER/broken exists, and to go neutral while FOLDER/dead exists."""
    device = Flaky(url)
    device.open()
    return device


class Flaky(NullDevice):
    def __init__(self, url):
        super().__init__(url)
        self.folder = Path(url.removeprefix("flaky:"))

    def open(self):
        if (self.folder / "dead").exists():
            raise DeviceError(f"device {self.url} is unplugged")
        super().open()

    def send(self, command):
        if (self.folder / "broken").exists():
            raise OSError("cable")
        return super().send(command)

    def neutral(self, reason):
        if (self.folder / "dead").exists():
            raise DeviceError(f"device {self.url} is unplugged")
        with (self.folder / "neutrals").open("a") as file:
            file.write(reason + "\n")


def open_hopeless(url):
    """Somebody else's opener with a bug in it."""
    raise ZeroDivisionError(url)


# --- one broken double for each check --------------------------------------------------------------------------------


class NoMeaning(NullDevice):
    neutral_means = "whatever"


class SaysNothing(NullDevice):
    def send(self, command):
        super().send(command)
        return "ok"


class NeutralOnce(NullDevice):
    n = 0

    def neutral(self, reason):
        self.n += 1
        if self.n > 1:
            raise OSError("already neutral")


class SendsWhenClosed(NullDevice):
    def send(self, command):
        return command.name


class OpensOnce(NullDevice):
    n = 0

    def open(self):
        self.n += 1
        if self.n > 1:
            raise DeviceError("in use")
        super().open()

    def close(self):
        if self.n:
            self._is_open = False


class ClosesOnce(NullDevice):
    def close(self):
        if not self._is_open:
            raise OSError("not open")
        super().close()


class Waits(NullDevice):
    def neutral(self, reason):
        time.sleep(0.6)
