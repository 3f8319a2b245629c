"""What every device must keep, as checks that need no test framework: ``for check in CHECKS: check(make)``.

``make`` returns a new device that is not open. A check raises `ContractError` that says what was broken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bci.errors import ContractError, DeviceError
from bci.ports import Device, Means
from bci.types import Command

MAX_CALL_S = 0.3  # no call may hold the device host up for longer
_COMMAND = Command(id=1, name="left", value=0.9, issued_s=0.0, ttl_ms=300.0, arm_id=1, hop=0)
_VELOCITY = Command(3, "velocity", 0.5, 0.0, 300.0, 1, 9, velocity=(0.3, -0.4))
Make = Callable[[], Device]


def check_declares(make: Make) -> None:
    """It names its URL, and what neutral, a stop and a loss of the host mean, before it is opened."""
    device = make()
    _must(isinstance(device.url, str) and ":" in device.url, device, "has no url")
    means = device.means
    _must(isinstance(means, Means), device, "means must be bci.ports.Means(neutral, stop, loss)")
    for what, word in zip(Means._fields, means, strict=True):
        _must(word in ("zero", "hold", "release"), device, f"means.{what} must be zero, hold or release")
    _must(isinstance(device.is_continuous, bool), device, "is_continuous must be True or False")


def check_continuous_stops_by_itself(make: Make) -> None:
    """A device that takes velocities declares that its receiver does not go on without the host."""
    device = make()
    _must(
        not device.is_continuous or device.means.loss != "hold", device, "is continuous, and holds when the host dies"
    )


def check_velocities(make: Make) -> None:
    """A device that takes velocities says which it sent. Another never gets one: the device host sees to that."""
    device = make()
    if not device.is_continuous:
        return
    device.open()
    try:
        one = device.send(_VELOCITY)
        other = device.send(Command(4, "velocity", 0.5, 0.0, 300.0, 1, 10, velocity=(-0.3, 0.4)))
        _must(isinstance(one, str) and bool(one), device, "send must return the velocity that was sent, as text")
        _must(one != other, device, "send returned the same for two different velocities")
    finally:
        device.close()


def check_check(make: Make) -> None:
    """`check` works before `open`, while nothing is wrong, and after `close`; it returns ids of commands sent."""
    device = make()
    _call(device, "check before open", device.check)
    device.open()
    try:
        device.send(_COMMAND)
        ids = device.check()
        _must(isinstance(ids, Sequence) and not isinstance(ids, str), device, "check must return a sequence of ids")
        _must(set(ids) <= {_COMMAND.id}, device, f"check returned {list(ids)}; sent was {_COMMAND.id}")
    finally:
        device.close()
    _call(device, "check after close", device.check)


def check_says_what_was_sent(make: Make) -> None:
    """`send` returns what really went out, as text that is not empty and depends on the command."""
    device = make()
    device.open()
    try:
        left = device.send(_COMMAND)
        right = device.send(Command(id=2, name="right", value=0.8, issued_s=0.0, ttl_ms=300.0, arm_id=1, hop=9))
        _must(isinstance(left, str) and bool(left), device, "send must return what was sent, as text")
        _must(left != right, device, "send returned the same for two different commands")
    finally:
        device.close()


def check_neutral_at_any_time(make: Make) -> None:
    """`neutral` works before `open`, twice in a row, after a command, and after `close`."""
    device = make()
    _call(device, "neutral before open", lambda: device.neutral("before open"))
    device.open()
    try:
        _call(device, "neutral", lambda: device.neutral("first"))
        _call(device, "neutral twice", lambda: device.neutral("second"))
        device.send(_COMMAND)
        _call(device, "neutral after a command", lambda: device.neutral("after a command"))
    finally:
        device.close()
    _call(device, "neutral after close", lambda: device.neutral("after close"))


def check_closed_refuses(make: Make) -> None:
    """A device that is not open refuses commands with a `DeviceError` that names its URL."""
    device = make()
    for when in ("before open", "after close"):
        try:
            device.send(_COMMAND)
        except DeviceError as error:
            _must(device.url in str(error), device, f"the error {when} does not name the url")
        else:
            raise ContractError(f"device {device.url}: send {when} must raise DeviceError")
        device.open()
        device.close()


def check_opens_again(make: Make) -> None:
    """`close` may come twice, and the device can be opened again after it."""
    device = make()
    _call(device, "close before open", device.close)
    for nth in ("first", "second"):
        _call(device, f"the {nth} open", device.open)
        try:
            device.send(_COMMAND)
        finally:
            device.close()
        _call(device, "close twice", device.close)


def check_is_quick(make: Make) -> None:
    """No call after `open` waits for the receiver."""
    device = make()
    device.open()
    try:
        calls = (
            ("send", lambda: device.send(_COMMAND)),
            ("check", device.check),
            ("neutral", lambda: device.neutral("quick")),
        )
        for name, call in calls:
            started_s = time.monotonic()
            call()
            _must(time.monotonic() - started_s < MAX_CALL_S, device, f"{name} took longer than {MAX_CALL_S} s")
    finally:
        device.close()


CHECKS: tuple[Callable[[Make], None], ...] = (
    check_declares,
    check_continuous_stops_by_itself,
    check_velocities,
    check_check,
    check_says_what_was_sent,
    check_neutral_at_any_time,
    check_closed_refuses,
    check_opens_again,
    check_is_quick,
)


def _must(holds: bool, device: Device, what: str) -> None:
    if not holds:
        raise ContractError(f"device {device.url}: {what}")


def _call(device: Device, what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:
        raise ContractError(f"device {device.url}: {what} raised {type(error).__name__}: {error}") from error
