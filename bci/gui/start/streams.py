"""The LSL streams that are there now, and how the picked one does. Looked for in a thread; asking never waits."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import pylsl

from bci.lsl import spec_from_xml
from bci.types import StreamSpec

LOOK_S = 0.25
FORGET_S = 3.0  # a stream that was not seen for this long is gone; liblsl's default is 5
RATE_S = 3.0  # the rate is measured over so long
INFO_S = 2.0
MAX_SAMPLES = 8192


@dataclass
class Watched:
    """The picked stream: its whole description, and what it sends.

    Attributes
    ----------
    spec : StreamSpec
        With channels by name and unit.
    n_samples : int
        That came since it was picked.
    """

    spec: StreamSpec
    n_samples: int = 0
    heard_s: float = field(default_factory=time.monotonic)  # the newest sample, or when it was picked
    came: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=200))

    @property
    def age_s(self) -> float:
        """Since its newest sample came."""
        return time.monotonic() - self.heard_s

    @property
    def rate_hz(self) -> float:
        """As measured over the last seconds; NaN where nothing is known yet."""
        came = list(self.came)
        if len(came) < 2 or came[-1][0] - came[0][0] < 0.5:
            return math.nan
        return sum(n for _, n in came[1:]) / (came[-1][0] - came[0][0])

    def take(self, n: int, now_s: float) -> None:
        """``n`` samples have come."""
        self.n_samples += n
        self.heard_s = now_s
        self.came.append((now_s, n))
        while now_s - self.came[0][0] > RATE_S:
            self.came.popleft()


class Streams:
    """Looks for streams until it is closed."""

    def __init__(self) -> None:
        self._seen: dict[str, StreamSpec] = {}
        self._wanted = ""
        self._watched: Watched | None = None
        self._trouble = ""
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._look, name="streams", daemon=True)
        self._thread.start()

    @property
    def seen(self) -> list[StreamSpec]:
        """Streams of others, signals first; their channels have no names yet, for only an inlet tells them."""
        found = [s for s in self._seen.values() if s.type != "rolandic" and not s.name.startswith("bci-")]
        return sorted(found, key=lambda s: (s.is_marker_stream or not s.sfreq_hz, s.name.casefold(), s.uid))

    @property
    def watched(self) -> Watched | None:
        """The picked stream, once its description is there."""
        return self._watched

    @property
    def trouble(self) -> str:
        """Why the picked one cannot be read."""
        return self._trouble

    def watch(self, uid: str) -> None:
        """Read this one from now on, to see what it sends; none where empty."""
        self._wanted = uid

    def close(self) -> None:
        """Stop looking."""
        self._is_closing.set()
        self._thread.join(2 * INFO_S + 1)

    def _look(self) -> None:
        resolver = pylsl.ContinuousResolver(forget_after=FORGET_S)
        infos: dict[str, pylsl.StreamInfo] = {}
        inlet, uid = None, ""
        while not self._is_closing.wait(LOOK_S):
            with contextlib.suppress(Exception):  # a stream that goes while it is looked at is none
                infos = {info.uid(): info for info in resolver.results()}
                self._seen = {u: self._seen.get(u) or spec_from_xml(info.as_xml()) for u, info in infos.items()}
            if uid != self._wanted or (inlet is not None and uid not in infos):
                inlet, uid, self._watched, self._trouble = None, "", None, ""
            try:
                if inlet is None and self._wanted in infos:
                    uid = self._wanted
                    inlet = pylsl.StreamInlet(infos[uid], max_buflen=2, recover=False)
                    self._watched = Watched(spec_from_xml(inlet.info(timeout=INFO_S).as_xml()))
                    inlet.open_stream(timeout=INFO_S)
                if inlet is not None and self._watched is not None:
                    self._pull(inlet, self._watched)
            except Exception:
                inlet, uid, self._watched = None, "", None
                self._trouble = "it is visible, but does not answer: a firewall on its machine, or its program hangs"

    @staticmethod
    def _pull(inlet: pylsl.StreamInlet, watched: Watched) -> None:
        while True:
            _, stamps = inlet.pull_chunk(timeout=0.0, max_samples=MAX_SAMPLES)
            if stamps:
                watched.take(len(stamps), time.monotonic())
            if len(stamps) < MAX_SAMPLES:
                return
