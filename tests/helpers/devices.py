"""Devices for the device host's tests, and one that breaks each check of the contract."""

import contextlib
import json
import os
import select
import socket
import threading
import time
from pathlib import Path

from bci.devices import open_device
from bci.devices.null import NullDevice
from bci.errors import DeviceError
from bci.ports import Means


def listener():
    """A UDP socket on loopback and the URL of the device that talks to it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    return sock, f"udp://127.0.0.1:{sock.getsockname()[1]}"


def datagram(sock):
    """The next datagram; waits at most ten seconds."""
    return json.loads(sock.recv(4096))


class LineServer:
    """A TCP server that keeps every line, and acknowledges them while ``acknowledges`` is set."""

    def __init__(self, port=0):
        self.lines, self.acknowledges = [], True
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        self._client = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._client = client
                threading.Thread(target=self._read, args=(client,), daemon=True).start()

    def _read(self, client):
        with contextlib.suppress(OSError), client, client.makefile("rb") as file:
            for line in file:
                self.lines.append(json.loads(line))
                if self.acknowledges:
                    client.sendall(json.dumps({"ack": self.lines[-1]["n"]}).encode() + b"\n")

    def close(self):
        """Listen no more, and hang up."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)


class Microcontroller:
    """The other end of a pseudo-terminal; ``path`` is a link, so that it can be unplugged and plugged in again."""

    def __init__(self, path):
        self.path, self.lines, self.acknowledges = Path(path), [], True
        self._thread = None
        self.plug_in()

    def plug_in(self):
        fd, other = os.openpty()
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(other))
        self._other = other  # kept open: what is written before anybody opens it is not lost
        self._pulled, self._pull = os.pipe()
        self._thread = threading.Thread(target=self._read, args=(fd,), daemon=True)
        self._thread.start()

    def _read(self, fd):
        received = b""
        with contextlib.suppress(OSError):
            while self._pulled not in select.select([fd, self._pulled], [], [])[0]:
                data = os.read(fd, 4096)
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    self.lines.append(line.decode())
                    if self.acknowledges:
                        os.write(fd, b"ack " + line.split()[0] + b"\n")
        os.close(fd)

    def unplug(self):
        """The port is gone, as after pulling a USB plug."""
        self.path.unlink(missing_ok=True)
        thread, self._thread = self._thread, None
        if thread is not None:
            os.close(self._other)
            os.write(self._pull, b"x")
            thread.join(10)
            os.close(self._pull)
            os.close(self._pulled)


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


class Stuck(NullDevice):
    """``stuck:FOLDER``: with FOLDER/gone it is lost, and opening it again waits until FOLDER/gone is no more."""

    def __init__(self, url):
        super().__init__(url)
        self.gone = Path(url.removeprefix("stuck:")) / "gone"

    def open(self):
        until_s = time.monotonic() + 20
        while self.gone.exists() and time.monotonic() < until_s:
            time.sleep(0.01)
        super().open()

    def check(self):
        if self.gone.exists():
            raise DeviceError(f"device {self.url} is unplugged")
        return ()


class Sluggish(NullDevice):
    """``sluggish:``: takes its time to send."""

    def send(self, command):
        time.sleep(0.35)
        return super().send(command)


def open_any(url):
    """Ours, or one of the doubles above."""
    doubles = {"stuck": Stuck, "sluggish": Sluggish}
    scheme = url.split(":")[0]
    if scheme not in doubles:
        return open_device(url)
    device = doubles[scheme](url)
    device.open()
    return device


def open_hopeless(url):
    """Somebody else's opener with a bug in it."""
    raise ZeroDivisionError(url)


# --- one broken double for each check --------------------------------------------------------------------------------


class NoMeaning(NullDevice):
    means = Means("zero", "whatever", "zero")


class MovesOn(NullDevice):
    means = Means("zero", "zero", "hold")


class OneVelocity(NullDevice):
    def send(self, command):
        super().send(command)
        return command.name


class KnowsOtherIds(NullDevice):
    def check(self):
        return (99,)


class ChecksOnlyOpen(NullDevice):
    def check(self):
        if not self._is_open:
            raise OSError("not open")
        return ()


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


class WaitsInCheck(NullDevice):
    def check(self):
        time.sleep(0.6)
        return ()
