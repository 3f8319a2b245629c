"""The device host process: one thread, one loop over the engine's channel, the stop socket and a timer.

The engine starts it (`bci.host.device_host`). What it may do is decided by `bci.control.host_table`; here are only the
devices and the sockets. It ignores Ctrl-C: when the engine goes, it goes neutral and ends by itself.
"""

from __future__ import annotations

import contextlib
import select
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from importlib import import_module

import msgspec

from bci.control.host_table import (
    Alive,
    Arm,
    Close,
    EngineMessage,
    Failed,
    GoNeutral,
    HostMessage,
    HostMode,
    HostReport,
    HostSettings,
    HostState,
    HostTable,
    Send,
    Stop,
    Tick,
    deadline_s,
    receive,
)
from bci.errors import DeviceError, RolandicError
from bci.host.channel import Channel, ChannelClosed, ChannelFull, connect_to_parent
from bci.host.clock import now_s
from bci.host.control_socket import ControlServer, Message
from bci.ports import Device
from bci.types import Acknowledged, Command, Receipt

ALIVE_S = 0.05
MEND_S = 0.5
SLOW_S = 0.3  # a call that takes longer held up everything else: the device has failed


class Host:
    """Carries out what the table decides."""

    def __init__(self, channel: Channel, devices: list[Device], settings: HostSettings, table: HostTable):
        self.channel = channel
        self.devices = devices
        self.settings = settings
        self.table = table
        self.troubles: dict[str, str] = {}  # url -> what the device did not do; until it could be opened again
        self._not_neutral: list[str] = []  # urls of which the last neutral failed
        self._check_s = 0.0  # when to look after the devices again
        self._mend_s: dict[str, float] = {}  # url -> when to try to open it again
        self._menders: dict[str, threading.Thread] = {}  # url -> who opens it now: that may wait, a stop may not
        self._mended: deque[tuple[Device, Exception | None]] = deque()

    @property
    def trouble(self) -> str:
        """All devices in trouble, in one line."""
        return "; ".join(self.troubles.values())

    def take(self, message: HostMessage) -> None:
        """Let the table decide on one message, and do it."""
        if isinstance(message, Arm) and self.troubles:
            self._report(refused=self.trouble)
            return
        self.table, actions = receive(self.settings, self.table, message, now_s())
        for action in actions:
            match action:
                case GoNeutral():
                    self.neutral(action.reason)
                case Send():
                    self._send(action.command)
                case HostState():
                    self.tell(msgspec.structs.replace(action, trouble=self.trouble))
                case Receipt():
                    self.tell(action)
        self._disarm_for_trouble()

    def neutral(self, reason: str) -> None:
        """Every device; one that fails does not keep the others waiting, and is tried again by `tick`."""
        self._not_neutral = []
        for device in self.devices:
            is_here = device.url not in self._menders  # else it goes neutral when it is open
            if is_here:
                self._try(device, lambda device=device: device.neutral(reason))
            if not is_here or device.url in self.troubles:  # who has failed is not known to be neutral
                self._not_neutral.append(device.url)

    def tick(self) -> None:
        """Time has passed: watch the engine and the devices, and open those in trouble again."""
        self.take(Tick())
        if now_s() < self._check_s:
            return
        self._check_s = now_s() + ALIVE_S
        before = self.trouble
        for device in self.devices:
            if device.url not in self.troubles:
                self._try(device, lambda device=device: self._check(device))
            elif device.url not in self._menders and now_s() >= self._mend_s[device.url]:
                thread = threading.Thread(target=self._mend, args=(device,), name="mend", daemon=True)
                self._menders[device.url] = thread
                thread.start()
        while self._mended:
            self._take_back(*self._mended.popleft())
        if self.trouble != before:
            self._disarm_for_trouble()
            self._report()

    def close(self) -> None:
        """Close every device, whatever it says: neutral was said, nothing more can be done for it."""
        for device in self.devices:
            if mender := self._menders.get(device.url):
                mender.join(1.0)
            with contextlib.suppress(Exception):
                device.close()

    def tell(self, report: HostReport) -> None:
        """To the engine. One that does not read is found out by its heartbeat, one that has gone by the loop."""
        with contextlib.suppress(ChannelFull, ChannelClosed):
            self.channel.send(report)

    def answer(self, message: Message) -> Message:
        """The stop socket."""
        if message["action"] != "stop":
            raise RolandicError("the device host takes only stop")
        self.take(Stop(str(message.get("value") or "stopped")))
        urls = [device.url for device in self.devices]
        return {"ok": not self._not_neutral, "devices": urls, "error": self.trouble}

    def _send(self, command: Command) -> None:
        devices = [d for d in self.devices if command.velocity is None or d.is_continuous]
        if not devices:
            self.tell(Receipt(command.id, False, "no device takes velocities"))
            return
        sent: list[str] = []
        for device in devices:
            self._try(device, lambda device=device: sent.append(device.send(command)))
        self.tell(Receipt(command.id, not self.troubles, self.trouble, tuple(sent), now_s()))

    def _check(self, device: Device) -> None:
        for command_id in device.check():
            self.tell(Acknowledged(command_id, device.url, now_s()))

    def _try(self, device: Device, call: Callable[[], object]) -> bool:
        """Call a device; False, and it is in trouble, where it failed or waited."""
        began_s = now_s()
        try:
            call()
            if (took_s := now_s() - began_s) > SLOW_S:
                raise DeviceError(f"device {device.url} held up the device host for {took_s:.2f} s; it must not wait")
        except Exception as error:
            self._blame(device, error)
            return False
        return True

    def _mend(self, device: Device) -> None:
        """In a thread of its own."""
        try:
            device.close()
            device.open()
        except Exception as error:
            self._mended.append((device, error))
        else:
            self._mended.append((device, None))

    def _take_back(self, device: Device, error: Exception | None) -> None:
        """It was opened, or not; neutral is the first that it hears."""
        del self._menders[device.url]
        if error is not None:
            self._blame(device, error)
        elif self._try(device, lambda: device.neutral("opened again")):
            del self.troubles[device.url]

    def _disarm_for_trouble(self) -> None:
        if self.troubles and self.table.name in (HostMode.ARMED, HostMode.HELD):
            self.take(Failed(self.trouble))

    def _report(self, refused: str = "") -> None:
        self.tell(HostState(self.table.name.value, self.table.reason, self.table.arm_id, refused, self.trouble))

    def _blame(self, device: Device, error: Exception) -> None:
        self.troubles[device.url] = _line(device.url, error)
        self._mend_s[device.url] = now_s() + MEND_S


def run(host: Host, server: ControlServer) -> None:
    """Until the engine closes or has gone."""
    alive_s = now_s()
    while host.table.name is not HostMode.CLOSED:
        until_s = min(alive_s, deadline_s(host.settings, host.table))
        writing = [host.channel] if host.channel.n_pending else []
        select.select([host.channel, *server.sockets()], writing, [], max(0.0, until_s - now_s()))
        server.serve()  # a stop comes before everything else
        try:
            if writing:
                host.channel.flush()
            for message in host.channel.receive():
                if isinstance(message, Command):
                    server.serve()  # however many wait in the channel
                host.take(message)
        except ChannelClosed:
            host.take(Close("the engine has gone"))
        host.tick()
        if now_s() >= alive_s:
            host.tell(Alive())
            alive_s = now_s() + ALIVE_S


def main() -> None:
    """Open the devices, tell the engine, run, and leave them neutral and closed whatever happens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    channel, config = connect_to_parent(EngineMessage, max_pending=2**18)
    settings = msgspec.convert(config["settings"], HostSettings)
    table = HostTable(name=HostMode.STOPPED, reason="restarted") if config["is_restart"] else HostTable()
    host = Host(channel, [], settings, table)
    server = None
    try:
        for url in config["devices"]:
            host.devices.append(_open(config["opener"], url))
        server = ControlServer("device_host", host.answer, config["session"])
        host.tell(HostState(table.name.value, table.reason or "ready"))
        run(host, server)
    except RolandicError as error:  # a device that cannot be opened, or no runtime folder
        host.neutral("the device host ends")
        host.tell(HostState("closed", str(error)))
        sys.exit(error.exit_code)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if host.table.name is not HostMode.CLOSED:
            host.neutral("the device host ends")
        if server is not None:
            server.close()
        host.close()
        with contextlib.suppress(ChannelClosed):
            channel.flush_all(0.5)
        channel.close()


def _open(opener: str, url: str) -> Device:
    """``module:function`` opens it: layers keep host and devices apart, so the one is told the name of the other."""
    module, function = opener.split(":")
    try:
        return getattr(import_module(module), function)(url)
    except RolandicError:
        raise
    except Exception as error:  # somebody else's device
        raise DeviceError(_line(url, error)) from error


def _line(url: str, error: Exception) -> str:
    return str(error) if isinstance(error, RolandicError) else f"device {url}: {type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
