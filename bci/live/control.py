"""What people may ask of a running session, by `bci control`, at its terminal, or from its window."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from bci.build import load
from bci.control.gate import with_dwell, with_threshold
from bci.errors import RolandicError
from bci.host.claim import Claim
from bci.host.control_socket import ControlServer
from bci.host.engine import Engine, SwapRequest
from bci.host.inbox import Inbox
from bci.recording.folder import SessionFolder
from bci.session import HopModel, check_swap
from bci.types import Control
from decoders.checkpoint import CheckpointError, Model


class ControlHandler:
    """What `bci control`, and a person at the terminal, may ask of the running session."""

    ACTIONS = ("arm", "disarm", "pause", "resume", "note", "threshold", "dwell", "command", "reset", "swap", "status")
    OF_WINDOWS = ("claim", "take over", "beat", "end")  # of a window, which says its name in every message

    def __init__(
        self,
        engine: Engine,
        inbox: Inbox,
        folder: SessionFolder,
        fit: Callable[[Model], HopModel],
        group: str = "",
    ):
        self._engine, self._inbox, self._folder, self._fit = engine, inbox, folder, fit
        self._group = group  # of the outlets, so that a window shows the session that it controls
        self._swap_error = ""
        self._claim = Claim()

    def serve(self) -> ControlServer:
        """Listen on the control socket."""
        server = ControlServer("engine", self.receive, session=str(self._folder.path))
        server.start()
        return server

    def receive(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; runs in the control socket's thread."""
        # what is no text (a lone surrogate, from a terminal of another encoding) could not be written down
        action, value, by, window = (
            str(message.get(key, default)).encode("utf-8", "replace").decode()
            for key, default in (("action", ""), ("value", ""), ("by", "control socket"), ("window", ""))
        )
        if window and (refused := self._of_window(window, action)) is not None:
            return refused
        try:
            if action == "swap":
                self._swap_error = ""
                threading.Thread(target=self._swap, args=(value,), name="swap", daemon=True).start()
            elif action == "status":
                return {"ok": True, **self._status()}
            elif action == "beat":
                self._engine.lease.beat(self._engine.now_s())
            elif action == "end" and window:
                self._engine.stop("ended from the window")
            elif action in self.ACTIONS:
                if action in ("threshold", "dwell"):
                    change = with_threshold if action == "threshold" else with_dwell
                    change(self._engine.session.settings, float(value))
                self._inbox.put(Control(action, value=value, by=by))  # type: ignore[arg-type]
                # afterwards: a lease that ran out before the engine heard of the arming would leave it armed for ever
                if action == "arm" and value == "lease":  # by a window, which beats from now on
                    self._engine.lease.begin(self._engine.now_s())
                elif action in ("arm", "disarm"):
                    self._engine.lease.end()
            else:
                allowed = ", ".join((*self.ACTIONS, *self.OF_WINDOWS))
                return {"ok": False, "error": f"unknown action {action!r}; allowed: {allowed}"}
        except (CheckpointError, RolandicError, ValueError) as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True}

    def _of_window(self, window: str, action: str) -> dict[str, Any] | None:
        """What stands before a window's controls: the claim. None where it has it, and may ask."""
        now_s = self._engine.now_s()
        if action in ("claim", "take over"):
            if not self._claim.take(window, now_s, over=action == "take over"):
                return {"ok": False, "error": f"{self._claim.holder(now_s)} controls this session"}
            if action == "take over":  # what another had armed does not stay armed
                self._engine.lease.break_off()
            settings = self._engine.session.settings  # they may have changed before the window came
            return {"ok": True, "threshold": settings.threshold, "dwell_s": settings.dwell_s}
        if action != "status" and not self._claim.beat(window, now_s):
            holder = self._claim.holder(now_s)
            why = f"{holder} controls this session: take it over first" if holder else "claim the session first"
            return {"ok": False, "error": why}
        return None

    def _status(self) -> dict[str, Any]:
        session = self._engine.session
        return {
            "gate": session.gate.name.value,
            "is_armed": session.gate.is_armed,
            "health": session.health.level,
            "reasons": list(session.refusal if session.health.level == "ok" else session.health.reasons),
            "n_hops": session.n_hops,
            "age_ms": self._engine.age_ms,
            "backlog_samples": session.timeline.backlog,
            "model_hash": session.pipeline.model_hash,
            "threshold": session.settings.threshold,
            "dwell_s": session.settings.dwell_s,
            "controlled_by": self._claim.holder(self._engine.now_s()),
            "group": self._group,
            "swap_error": self._swap_error,
            "session": str(self._folder.path),
        }

    def _swap(self, path: str) -> None:
        """Read, check, warm up and store a model; only then may it take over."""
        try:
            model = load(path)
            pipeline = self._fit(model)
            check_swap(self._engine.session.pipeline, pipeline)
            self._folder.add_model(path, model.hash)
        except RolandicError as error:
            self._swap_error = str(error)
            self._inbox.put(Control("note", value=f"swap to {path} refused: {error}", by="engine"))
        else:
            self._inbox.put(SwapRequest(model.hash, pipeline, path))

    def read_terminal(self) -> None:
        """Typed lines are controls or notes."""

        def read() -> None:
            for line in sys.stdin:
                word = line.strip()
                if not word:
                    continue
                if word in ("arm", "disarm", "pause", "resume", "reset"):
                    self.receive({"action": word, "by": "terminal"})
                else:
                    self.receive({"action": "note", "value": word, "by": "terminal"})

        threading.Thread(target=read, daemon=True).start()
