"""The cue screen: runs a `calibration.paradigm.Paradigm`, with the decoder's answer as feedback where there is one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pylsl
from pyqtgraph.Qt import QtCore, QtGui

from bci.gui.cues import draw
from bci.gui.cues.stage import Stage
from bci.gui.cues.warning import FlickerWarning
from bci.gui.theme import Theme
from calibration.flicker import brightness, check_flicker
from calibration.paradigm import Paradigm, Phase

if TYPE_CHECKING:
    from bci.gui.state import SessionState

RECENT_S = 0.5  # of the decoder's answers that the bar averages
STALE_S = 1.0


class CueScreen(Stage):
    """One run of a paradigm, from `begin` to the signal ``finished``; it closes itself.

    Flicker is preceded by a warning, and by a check of this screen's rate; nothing flickers before a person has
    acknowledged it.

    Parameters
    ----------
    paradigm
        What is shown.
    theme, group
        As of `Stage`.
    state
        Of a running session, which somebody else keeps up to date: its probabilities are shown while a person imagines.
    """

    def __init__(self, paradigm: Paradigm, theme: Theme, *, group: str = "", state: SessionState | None = None):
        super().__init__(theme, group)
        self.paradigm, self.state = paradigm, state
        self._phases: list[tuple[int, Phase]] = list(paradigm.phases)
        if paradigm.lead_s:
            self._phases.insert(0, (-1, Phase("pause", paradigm.lead_s)))
        self._rest_s = np.cumsum([phase.duration_s for _, phase in self._phases][::-1])[::-1].tolist()
        self._at = -1  # before the first phase
        self._since_s = 0.0
        self._until_s = 0.0
        self._now_s = 0.0
        self._skips = False
        self._progress = ""
        self._outcome: tuple[str, bool | None] = ("", None)
        self._counted = -1
        self.warning: FlickerWarning | None = None

    @property
    def phase(self) -> Phase | None:
        """What is shown now; None before the beginning."""
        return self._phases[self._at][1] if self._at >= 0 else None

    @property
    def label(self) -> str:
        """Class of this trial."""
        trial = self._phases[self._at][0]
        return self.paradigm.trials[trial].label if trial >= 0 else ""

    def begin(self, is_full_screen: bool = True) -> None:
        """Show it, and begin; after a warning where something flickers.

        Raises
        ------
        calibration.flicker.FlickerError
            This screen cannot show the frequencies.
        """
        if self.paradigm.flickers:
            check_flicker(self.paradigm.frequencies_hz, self.refresh_hz)
            self.warning = FlickerWarning(self, self.theme)
            self.warning.acknowledged.connect(self._acknowledged)
            self.warning.refused.connect(lambda: self.end(False))
        super().begin(is_full_screen)

    def _start(self) -> None:
        if self.warning is None:
            super()._start()

    def _acknowledged(self) -> None:
        if self.warning is not None and not self.is_over:
            self.warning.hide()
            self.warning = None
            self.setFocus()
            self._start()

    # --- frames ------------------------------------------------------------------------------------------------------

    def advance(self, now_s: float) -> tuple[QtGui.QRegion | None, str | None]:
        """The next phase, half a frame before it is due at the latest; else what moves within this one."""
        self._now_s = now_s
        if self._at < 0 or self._skips or now_s >= self._until_s - 0.5 / self.refresh_hz:
            self._skips = False
            if self._at + 1 >= len(self._phases):
                self.end(True)
                return None, None
            self._at += 1
            phase = self._phases[self._at][1]
            self._since_s, self._until_s = now_s, now_s + phase.duration_s
            if phase.kind == "feedback":  # said once: what is decoded afterwards is no part of the trial
                self._outcome = self._decided()
            if phase.kind in ("rest", "pause"):  # not within a trial, where only the cue may change
                self._progress = self._said_progress()
            return None, phase.marker
        return self._moving(), None

    def began(self, stamp_s: float) -> None:
        """A phase lasts from when it was seen, so none is ever shorter than it should be."""
        self._since_s, self._until_s = stamp_s, stamp_s + self._phases[self._at][1].duration_s

    def _moving(self) -> QtGui.QRegion | None:
        phase, view = self._phases[self._at][1], draw.View(QtCore.QRectF(self.rect()))
        if phase.kind == "flicker":
            region = QtGui.QRegion()
            for box in draw.target_boxes(view, len(self.paradigm.frequencies_hz)):
                region = region.united(QtGui.QRegion(box.toAlignedRect()))
            return region
        if phase.kind == "imagery" and self.state is not None and self.n_frames % 2 == 0:
            return QtGui.QRegion(draw.bar_box(view).toAlignedRect())
        if phase.kind == "pause" and (left_s := math.ceil(self._until_s - self._now_s)) != self._counted:
            self._counted = left_s
            return QtGui.QRegion(self.rect())
        return None

    def go_on(self) -> None:
        """Enter ends a pause."""
        if (phase := self.phase) is not None and phase.kind == "pause":
            self._skips = True

    # --- pictures ----------------------------------------------------------------------------------------------------

    def paint(self, painter: QtGui.QPainter, view: draw.View) -> None:
        """The picture of this phase."""
        phase = self.phase
        if phase is None:
            return
        draw.progress(painter, view, self._progress, self._part_done())
        if phase.kind == "pause":
            self._paint_pause(painter, view)
        elif phase.kind == "rest":
            draw.cross(painter, view)
            if self.paradigm.flickers:
                self._paint_targets(painter, view, is_cued=False)
        elif phase.kind == "feedback":
            draw.outcome(painter, view, *self._outcome)
        elif self.paradigm.flickers:
            draw.cross(painter, view)
            self._paint_targets(painter, view, is_cued=True)
        else:
            draw.cue(painter, view, self.label, is_bright=phase.kind == "cue")
            if self.state is not None:
                p = self._probabilities(self._now_s - RECENT_S) if phase.kind == "imagery" else None
                draw.bar(painter, view, self.paradigm.labels, p, self.label)

    def _paint_targets(self, painter: QtGui.QPainter, view: draw.View, is_cued: bool) -> None:
        hz = self.paradigm.frequencies_hz
        is_on = self._phases[self._at][1].kind == "flicker"
        light = [brightness(f, self._now_s - self._since_s) if is_on else 0.08 for f in hz]
        draw.targets(painter, view, light, self.paradigm.labels.index(self.label) if is_cued else None)

    def _paint_pause(self, painter: QtGui.QPainter, view: draw.View) -> None:
        left = f"goes on in {max(1, math.ceil(self._until_s - self._now_s))} s   (Enter: now)"
        if self._phases[self._at][0] >= 0:
            n, done = len(self.paradigm.trials), self._phases[self._at][0] + 1
            draw.page(painter, view, "Pause", f"{done} of {n} are done.\nRest your eyes, move, breathe.", left)
        elif self.paradigm.flickers:
            body = "One square gets a frame.\nLook at it until the flicker ends, and blink in between."
            draw.page(painter, view, "Get ready", body, left)
        else:
            body = "Look at the cross. When a cue comes,\nimagine its movement until it has gone.\n"
            body += "Keep still, and blink in between."
            body += "\nThe bar shows what is decoded." if self.state is not None else ""
            draw.page(painter, view, "Get ready", body, left, self.paradigm.labels)

    def _said_progress(self) -> str:
        n, trial = len(self.paradigm.trials), self._phases[self._at][0]
        left_s = self._rest_s[self._at]
        left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
        return f"{n} trials, {left}" if trial < 0 else f"trial {trial + 1} of {n}, {left} left"

    def _part_done(self) -> float:
        return max(0, self._phases[self._at][0]) / len(self.paradigm.trials)

    # --- what is decoded ---------------------------------------------------------------------------------------------

    def _probabilities(self, since_s: float) -> list[float] | None:
        """Mean probability of each class since then, of trusted hops; None where nothing is said of these classes."""
        state, labels = self.state, self.paradigm.labels
        if state is None or not state.hops or not set(labels) <= set(state.classes):
            return None
        last_s = state.hops[-1][0]
        if pylsl.local_clock() - last_s > STALE_S:
            return None
        rows = [p for stamp_s, p, flags in reversed(state.hops) if not flags and stamp_s >= min(since_s, last_s)]
        return [float(np.mean([p[state.classes.index(name)] for p in rows])) for name in labels] if rows else None

    def _decided(self) -> tuple[str, bool | None]:
        """What the decoder said over the imagery of this trial, in words, and whether that was what was cued."""
        imagery_s = self._phases[self._at - 1][1].duration_s if self._at else 0.0
        p = self._probabilities(self._since_s - imagery_s)
        if p is None:
            return "nothing was decoded", None
        best = int(np.argmax(p))
        return f"{self.paradigm.labels[best]}  {p[best]:.0%}", self.paradigm.labels[best] == self.label
