"""The engine's side of the device host: tells it what to do, hears what it did, and never waits for it."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass

import msgspec

from bci.control.host_table import (
    Alive,
    Arm,
    Close,
    Disarm,
    EngineMessage,
    Heartbeat,
    HostReport,
    HostSettings,
    HostState,
    Neutral,
    Reset,
)
from bci.errors import DeviceError, one_line
from bci.host.channel import Channel, ChannelClosed, ChannelFull, spawn_child
from bci.types import Acknowledged, Command, Receipt

MODULE = "bci.host.device_host_main"
OPENER = "bci.devices:open_device"
SILENT_S = 0.5  # a host that says nothing for so long is dead; it says something every 50 ms
START_S = 20.0
RETRY_S = 1.0
Report = Receipt | Acknowledged | HostState


@dataclass(frozen=True, slots=True)
class _Link:
    child: subprocess.Popen[bytes]
    channel: Channel


class DeviceHost:
    """One device host process and its devices.

    Only `start` and `close` wait, both for a bounded time. Everything else may be called by the decode thread.

    Parameters
    ----------
    urls : list of str
        The devices, as `bci.devices.make_device` takes them; check them with it first.
    settings : HostSettings
    session : str
        The session's folder, for what `bci stop` prints.
    opener : str
        ``module:function`` that opens a URL in the host process.
    """

    def __init__(
        self, urls: list[str], settings: HostSettings | None = None, *, session: str = "", opener: str = OPENER
    ):
        self.urls = list(urls)
        self._config = {
            "devices": self.urls,
            "settings": msgspec.to_builtins(settings or HostSettings()),
            "session": session,
            "opener": opener,
        }
        self._link: _Link | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._state = HostState("dead", "not started")
        self._heard_s: float | None = None
        self._reports: deque[Report] = deque()
        self._restarting: threading.Thread | None = None
        self._is_closing = threading.Event()

    @property
    def state(self) -> HostState:
        """What the host said last, or ``dead``."""
        return self._state

    @property
    def pid(self) -> int | None:
        """Of the host process that was started last."""
        return self._child.pid if self._child else None

    @property
    def trouble(self) -> str:
        """Why nothing may move, or nothing: dead, holding because the engine was late, or a device that failed."""
        if self._state.state == "dead":
            return f"device host: {self._state.reason}"
        if self._state.state == "held":
            return f"device host holds: {self._state.reason}"
        return self._state.trouble

    def start(self) -> None:
        """Start the process and open the devices; waits until they are neutral and ready.

        Raises
        ------
        DeviceError
            A device cannot be opened.
        RolandicError
            The process does not start in time.
        """
        self._launch(is_restart=False)

    def restart(self) -> None:
        """Replace a dead host, from a thread of its own that tries until it works; of a living one, nothing happens.

        The new one is STOPPED until a person resets it. `poll` tells when it is there; its devices are neutral then.
        """
        is_at_it = self._restarting is not None and self._restarting.is_alive()
        if self._state.state == "dead" and not is_at_it:
            self._restarting = threading.Thread(target=self._restart, name="device-host-restart", daemon=True)
            self._restarting.start()

    def arm(self, arm_id: int) -> None:
        """Let commands of this arming through."""
        self._tell(Arm(arm_id))

    def disarm(self, reason: str = "") -> None:
        """Neutral until the next arming."""
        self._tell(Disarm(reason))

    def neutral(self, reason: str) -> None:
        """Neutral now; commands issued before are void."""
        self._tell(Neutral(reason))

    def reset(self) -> None:
        """A person releases the stop latch; the host is disarmed then."""
        self._tell(Reset())

    def heartbeat(self, hop: int, age_s: float, now_s: float) -> None:
        """Say that the decode thread works, and how old the newest sample is that it has decided on (last: ``hop``).

        Due well within 150 ms. An age that grows while hops do not is how a stuck decoder shows.
        """
        self._tell(Heartbeat(hop, age_s, now_s))

    def send(self, command: Command) -> None:
        """Propose a command; the receipt comes by `poll`."""
        self._tell(command)

    def poll(self, now_s: float) -> list[Report]:
        """All that the host has said since the last call, in order; once ``dead`` when it has gone or says nothing."""
        if (link := self._link) is not None:
            try:
                heard = link.channel.receive()
                if heard or self._heard_s is None:
                    self._heard_s = now_s
                for report in heard:
                    if not isinstance(report, Alive):
                        self._note(report)
                link.channel.flush()
            except ChannelClosed:
                self._die("it has gone")
            except msgspec.MsgspecError as error:
                self._die(f"it speaks another protocol ({error})")
            else:
                if now_s - self._heard_s > SILENT_S:
                    self._die("it does not answer")
        reports = list(self._reports)
        for _ in reports:
            self._reports.popleft()
        return reports

    def close(self) -> list[Report]:
        """Neutral first, then end the process; waits at most a few seconds. Returns what it said last."""
        self._is_closing.set()
        if self._restarting is not None:
            self._restarting.join(START_S)
        if (link := self._link) is not None:
            until_s = time.monotonic() + 3.0
            with contextlib.suppress(ChannelClosed, ChannelFull, msgspec.MsgspecError):
                link.channel.send(Close("the session ended"))
                link.channel.flush_all(1.0)
                while (left_s := until_s - time.monotonic()) > 0:
                    for report in link.channel.receive(left_s):
                        if not isinstance(report, Alive):
                            self._note(report)
            self._link = None
            link.channel.close()
        _reap(self._child, 3.0)
        self._state = HostState("dead", "closed")
        reports = list(self._reports)
        self._reports.clear()
        return reports

    def _tell(self, message: EngineMessage) -> None:
        if (link := self._link) is not None:
            try:
                link.channel.send(message)
            except ChannelClosed:
                self._die("it has gone")
            except ChannelFull:
                self._die("it does not read")

    def _note(self, report: Report) -> None:
        if isinstance(report, HostState):
            self._state = report
        self._reports.append(report)

    def _die(self, reason: str) -> None:
        """Closing the channel makes a host that still lives go neutral and end."""
        if (link := self._link) is not None:
            self._link = None
            link.channel.close()
        if self._state.state != "dead":
            self._note(HostState("dead", reason, self._state.arm_id))

    def _restart(self) -> None:
        while not self._is_closing.is_set():
            try:
                _reap(self._child, 0.2)
                self._launch(is_restart=True)
            except Exception as error:  # whatever it is: nobody else brings the host back
                if (why := one_line(error)) != self._state.reason:
                    self._note(HostState("dead", why))
                self._is_closing.wait(RETRY_S)
            else:
                return

    def _launch(self, *, is_restart: bool) -> None:
        self._child, channel = spawn_child(
            MODULE, HostReport, {**self._config, "is_restart": is_restart}, timeout_s=START_S, max_pending=2**16
        )
        first = HostState("closed", "the device host ended at its start")
        until_s = time.monotonic() + START_S
        with contextlib.suppress(ChannelClosed, msgspec.MsgspecError):
            while reports := channel.receive(max(0.0, until_s - time.monotonic())):
                if isinstance(reports[0], HostState):
                    first = reports[0]
                    break
        if first.state == "closed":
            channel.close()
            _reap(self._child, 3.0)
            raise DeviceError(first.reason)
        self._heard_s = None
        self._note(first)
        self._link = _Link(self._child, channel)


def _reap(child: subprocess.Popen[bytes] | None, timeout_s: float) -> None:
    """Wait for the end of a process, and bring it about after ``timeout_s``."""
    if child is None:
        return
    try:
        child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
