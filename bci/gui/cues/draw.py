"""The pictures of the cue screen, in hundredths of its height, so that they can be seen from 2 m on any screen.

All cues have one colour and one size, and stand in the middle: only their shape tells them apart, so that eyes and
colours say as little as they can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pyqtgraph.Qt import QtCore, QtGui

from bci.gui.theme import DARK as T
from calibration.flicker import SIDE, grey

TEXT_H = 5.0
SMALL_H = 2.3
# where a cue points, in degrees against the clock from the right; by the words of its class
POINTS = {"left": 180.0, "right": 0.0, "hands": 90.0, "both": 90.0, "up": 90.0, "feet": 270.0, "foot": 270.0,
          "down": 270.0}  # fmt: skip
# where targets stand, in heights from the middle: far enough for `calibration.flicker.check_flicker`
PLACES = ((-0.6, 0.0), (0.6, 0.0), (0.0, -0.33), (0.0, 0.33))


@dataclass(frozen=True)
class View:
    """A screen and its unit: ``h`` is a hundredth of its height, or of its width where that is smaller."""

    rect: QtCore.QRectF

    @property
    def h(self) -> float:
        """In pixels."""
        return min(self.rect.height(), self.rect.width()) / 100

    @property
    def middle(self) -> QtCore.QPointF:
        """Where eyes rest."""
        return self.rect.center()

    def box(self, x: float, y: float, width: float, height: float) -> QtCore.QRectF:
        """A rectangle whose centre is (x, y) from the middle, in hundredths."""
        centre = self.middle + QtCore.QPointF(x * self.h, y * self.h)
        size = QtCore.QSizeF(width * self.h, height * self.h)
        return QtCore.QRectF(centre.x() - size.width() / 2, centre.y() - size.height() / 2, size.width(), size.height())


def direction(label: str) -> float | None:
    """Where the arrow of a class points, in degrees; None: a word instead."""
    words = label.lower().replace("_", " ").replace("-", " ").split()
    return next((POINTS[word] for word in words if word in POINTS), None)


def text(
    p: QtGui.QPainter, box: QtCore.QRectF, said: str, height: float, colour: str, *, bold: bool = False,
    flags: int = int(QtCore.Qt.AlignCenter) | int(QtCore.Qt.TextWordWrap),
) -> None:  # fmt: skip
    """Text whose line is ``height`` pixels high."""
    font = QtGui.QFont(p.font())
    font.setPixelSize(max(6, round(height * 0.8)))
    font.setWeight(QtGui.QFont.DemiBold if bold else QtGui.QFont.Normal)
    p.setFont(font)
    p.setPen(QtGui.QColor(colour))
    p.drawText(box, flags, said)


def cross(p: QtGui.QPainter, view: View, colour: str = T.soft) -> None:
    """What is fixated."""
    pen = QtGui.QPen(QtGui.QColor(colour), 0.8 * view.h)
    pen.setCapStyle(QtCore.Qt.RoundCap)
    p.setPen(pen)
    for dx, dy in ((3.0, 0.0), (0.0, 3.0)):
        d = QtCore.QPointF(dx * view.h, dy * view.h)
        p.drawLine(view.middle - d, view.middle + d)


def cue(p: QtGui.QPainter, view: View, label: str, is_bright: bool) -> None:
    """An arrow, or a word where the class has no direction; an outline once imagination has begun."""
    angle = direction(label)
    colour = T.text if is_bright else T.soft
    if angle is None:
        text(p, view.box(0, 0, 120, 16), label, 14 * view.h, colour, bold=True)
        return
    arrow(p, view.middle, 34 * view.h, angle, colour, is_bright)
    text(p, view.box(0, 26, 100, 6), label, TEXT_H * view.h, T.soft)


def arrow(p: QtGui.QPainter, centre: QtCore.QPointF, length: float, angle: float, colour: str, is_filled: bool) -> None:
    """An arrow whose middle is ``centre``."""
    shaft, head, wide = 0.13, 0.42, 0.33  # half height, length, half width of the head, in lengths
    outline = [(-0.5, -shaft), (0.5 - head, -shaft), (0.5 - head, -wide), (0.5, 0.0), (0.5 - head, wide),
               (0.5 - head, shaft), (-0.5, shaft)]  # fmt: skip
    polygon = QtGui.QPolygonF([QtCore.QPointF(x * length, y * length) for x, y in outline])
    pen = QtGui.QPen(QtGui.QColor(colour), length * 0.035)
    pen.setJoinStyle(QtCore.Qt.RoundJoin)
    p.save()
    p.translate(centre)
    p.rotate(-angle)
    p.setPen(pen)
    p.setBrush(QtGui.QColor(colour) if is_filled else QtCore.Qt.NoBrush)
    p.drawPolygon(polygon)
    p.restore()


def bar_box(view: View) -> QtCore.QRectF:
    """Where the feedback is, and nothing else."""
    return view.box(0, 37, 90, 10)


def bar(p: QtGui.QPainter, view: View, labels: Sequence[str], probabilities: Sequence[float] | None, cued: str) -> None:
    """The decoder's probabilities: to the left and right for two sides, else of what is cued from 0 to 1."""
    track = view.box(0, 37, 72, 4.4)
    round_ = track.height() / 2
    p.setPen(QtCore.Qt.NoPen)
    p.setBrush(QtGui.QColor(T.raised))
    p.drawRoundedRect(track, round_, round_)
    sides = [direction(label) for label in labels]
    is_two_sided = sorted(s for s in sides if s is not None) == [0.0, 180.0] and len(labels) == 2
    zero = track.center().x() if is_two_sided else track.left()
    if probabilities is not None:
        if is_two_sided:
            part = probabilities[sides.index(0.0)] - probabilities[sides.index(180.0)]
            reach = part * track.width() / 2
        else:
            reach = probabilities[labels.index(cued)] * track.width()
        path = QtGui.QPainterPath()
        path.addRoundedRect(track, round_, round_)
        p.setClipPath(path)
        p.fillRect(QtCore.QRectF(zero, track.top(), reach, track.height()).normalized(), QtGui.QColor(T.accent))
        p.setClipping(False)
    p.setPen(QtGui.QPen(QtGui.QColor(T.text), 0.35 * view.h))
    marks = [zero] if is_two_sided else [track.left() + track.width() / len(labels)]
    for x in marks:
        p.drawLine(QtCore.QPointF(x, track.top() - view.h), QtCore.QPointF(x, track.bottom() + view.h))
    if probabilities is None:
        text(p, view.box(0, 37, 72, 4.4), "waiting for the decoder", 2.6 * view.h, T.soft)


def outcome(p: QtGui.QPainter, view: View, said: str, is_right: bool | None) -> None:
    """What was decided in the trial: a tick, a ring, or a dash where nothing was."""
    colour = T.soft if is_right is None else T.good if is_right else T.warn
    pen = QtGui.QPen(QtGui.QColor(colour), 2.4 * view.h)
    pen.setCapStyle(QtCore.Qt.RoundCap)
    pen.setJoinStyle(QtCore.Qt.RoundJoin)
    p.setPen(pen)
    p.setBrush(QtCore.Qt.NoBrush)
    c, h = view.middle, view.h
    if is_right is None:
        p.drawLine(c - QtCore.QPointF(7 * h, 0), c + QtCore.QPointF(7 * h, 0))
    elif is_right:
        points = [c + QtCore.QPointF(x * h, y * h) for x, y in ((-9, 0.5), (-2.5, 7), (9, -7))]
        p.drawPolyline(QtGui.QPolygonF(points))
    else:
        p.drawEllipse(c, 7 * h, 7 * h)
    text(p, view.box(0, 20, 120, 8), said, TEXT_H * h, T.text)


def target_boxes(view: View, n: int) -> list[QtCore.QRectF]:
    """Where n targets stand; nearer to the middle on a narrow screen."""
    reach = max(0.4, view.rect.width() / (200 * view.h) - 0.13)
    places = [(math.copysign(min(abs(x), reach), x) if x else 0.0, y) for x, y in PLACES[:n]]
    return [view.box(100 * x, 100 * y, 100 * SIDE, 100 * SIDE) for x, y in places]


def targets(p: QtGui.QPainter, view: View, luminance: Sequence[float], cued: int | None) -> None:
    """Squares of so much light each, from 0 to 1, and a ring around the one that is cued."""
    for k, (box, light) in enumerate(zip(target_boxes(view, len(luminance)), luminance, strict=True)):
        level = grey(light)
        p.fillRect(box, QtGui.QColor(level, level, level))
        if k == cued:
            ring = 1.8 * view.h
            p.setBrush(QtCore.Qt.NoBrush)
            p.setPen(QtGui.QPen(QtGui.QColor(T.accent), 0.8 * view.h))
            p.drawRect(box.adjusted(-ring, -ring, ring, ring))


def progress(p: QtGui.QPainter, view: View, said: str, part: float) -> None:
    """How far it is: small, at the top, out of sight of who looks at the middle."""
    top = QtCore.QRectF(view.rect.left(), view.rect.top(), view.rect.width(), 0.35 * view.h)
    p.fillRect(top, QtGui.QColor(T.panel))
    p.fillRect(QtCore.QRectF(top.left(), top.top(), top.width() * part, top.height()), QtGui.QColor(T.soft))
    box = view.rect.adjusted(2.5 * view.h, 1.8 * view.h, -2.5 * view.h, 0)
    text(p, box, said, SMALL_H * view.h, T.soft, flags=int(QtCore.Qt.AlignRight) | int(QtCore.Qt.AlignTop))


def patch_box(view: View) -> QtCore.QRectF:
    """The corner where a photodiode is fastened."""
    side = 8 * view.h
    return QtCore.QRectF(view.rect.left(), view.rect.bottom() - side, side, side)


def patch(p: QtGui.QPainter, view: View, is_on: bool) -> None:
    """White or black, within a black border so that a sensor sees nothing else."""
    box = patch_box(view)
    border = 1.2 * view.h
    p.fillRect(box, QtGui.QColor("#000000"))
    if is_on:
        p.fillRect(box.adjusted(0, border, -border, 0), QtGui.QColor("#ffffff"))


def question(p: QtGui.QPainter, view: View) -> None:
    """Esc was pressed once."""
    box = view.box(0, 44.5, 84, 7)
    p.setPen(QtCore.Qt.NoPen)
    p.setBrush(QtGui.QColor(T.raised))
    p.drawRoundedRect(box, view.h, view.h)
    text(p, box, "End now?  Esc again ends it, any other key goes on", 3.2 * view.h, T.text)


def page(p: QtGui.QPainter, view: View, title: str, body: str, foot: str = "", labels: Sequence[str] = ()) -> None:
    """Words to read: before the first trial, and in pauses; below them the cues of ``labels``."""
    text(p, view.box(0, -28, 150, 12), title, 9 * view.h, T.text, bold=True)
    text(p, view.box(0, -8, 150, 24), body, 4.4 * view.h, T.text)
    step = min(30.0, 120 / max(1, len(labels)))
    for k, label in enumerate(labels):
        x = step * (k - (len(labels) - 1) / 2)
        if (angle := direction(label)) is not None:
            arrow(p, view.box(x, 15, 1, 1).center(), 11 * view.h, angle, T.text, True)
        text(p, view.box(x, 25 if angle is not None else 15, step, 6), label, 4 * view.h, T.soft)
    if foot:
        text(p, view.box(0, 39, 120, 6), foot, 3.4 * view.h, T.soft)
