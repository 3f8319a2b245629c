"""``keyboard:?left=a&right=space``: taps of a key a command, in whatever program has the focus. Only what is named.

Needs pynput (``pip install rolandic[keyboard]``). A command is one press and one release: no key is ever held, so that
nothing repeats. Keys are single characters or pynput's names (``space``, ``enter``, ``left``, ``f1``). The window that
has the focus gets them: know which one that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bci.devices.lines import parse_url
from bci.errors import ConfigError, DeviceError
from bci.ports import Means
from bci.types import Command

SPELLING = "keyboard:?COMMAND=KEY, such as keyboard:?left=a&right=space"


class KeyboardDevice:
    """Taps through pynput."""

    means = Means(neutral="release", stop="release", loss="release")
    is_continuous = False

    def __init__(self, url: str):
        self.url = url
        parts, self._keys = parse_url(url, SPELLING, {}, others=_key)
        if parts.path or not self._keys:
            raise ConfigError(f"device {url!r}: must be {SPELLING}")
        self._controller: Any = None
        self._codes: dict[str, Any] = {}  # command -> what pynput calls the key
        self._pressed: Any = None

    def open(self) -> None:
        """Find the keyboard and the keys."""
        self.close()
        try:
            from pynput import keyboard  # where there is no display it fails here, in several ways
        except ImportError as error:
            raise DeviceError(
                f"device {self.url} cannot be opened ({error}); pip install rolandic[keyboard], and run on a display"
            ) from None
        try:
            self._codes = {name: _code(keyboard, key) for name, key in self._keys.items()}
            self._controller = keyboard.Controller()
        except Exception as error:  # pynput has no base of its own for what can go wrong
            raise DeviceError(f"device {self.url} cannot be opened ({type(error).__name__}: {error})") from None

    def send(self, command: Command) -> str:
        """Tap the command's key; the answer is the key, or that there is none."""
        if self._controller is None:
            raise DeviceError(f"device {self.url} is not open")
        if command.name not in self._codes:
            return f"nothing: no key for {command.name}"
        self._pressed = self._codes[command.name]
        try:
            self._controller.press(self._pressed)
        except Exception as error:
            raise DeviceError(f"device {self.url} did not take a key ({error})") from None
        finally:
            self._release()
        return f"tap {self._keys[command.name]}"

    def check(self) -> Sequence[int]:
        """A keyboard tells nothing."""
        return ()

    def neutral(self, reason: str) -> None:
        """Let go of a key whose release failed; others are the person's."""
        self._release()

    def close(self) -> None:
        """Let go."""
        self._release()
        self._controller = None

    def _release(self) -> None:
        if self._pressed is None or self._controller is None:
            return
        try:
            self._controller.release(self._pressed)
        except Exception as error:
            raise DeviceError(f"device {self.url} did not release a key ({error})") from None
        self._pressed = None


def _key(text: str) -> str:
    if not text:
        raise ValueError("must be a character or the name of a key")
    return text


def _code(keyboard: Any, key: str) -> Any:
    if len(key) == 1:
        return keyboard.KeyCode.from_char(key)
    try:
        return keyboard.Key[key]
    except KeyError:
        raise DeviceError(f"no key is called {key!r}") from None
