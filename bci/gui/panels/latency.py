"""Latency: every stage's percentiles, the whole as a histogram, and what the clocks and the gap ledger say."""

from __future__ import annotations

import math

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import QtCore, QtWidgets

from bci.gui.panels.base import Panel, Shared, row, soft
from bci.gui.state import STAGES

WORDS = {
    "arrival": "last sample → here", "dequeued": "waits for the decoder", "filtered": "filters", "decoded": "decoder",
    "gated": "gate", "sent": "to the device host",
}  # fmt: skip


class Latency(Panel):
    """Where the time of a hop goes."""

    title = "Latency"

    def __init__(self, shared: Shared):
        super().__init__(shared)
        self.said, self.clock = QtWidgets.QLabel(), soft()
        self.table = QtWidgets.QTableWidget(len(STAGES), 4)
        self.table.setHorizontalHeaderLabels(["p50 ms", "p95", "p99", "max"])
        self.table.setVerticalHeaderLabels([WORDS[s] for s in STAGES])
        self.table.setEditTriggers(QtWidgets.QAbstractItemView.NoEditTriggers)
        self.table.setSelectionMode(QtWidgets.QAbstractItemView.NoSelection)
        self.table.setFocusPolicy(QtCore.Qt.NoFocus)
        self.table.setShowGrid(False)
        self.table.horizontalHeader().setSectionResizeMode(QtWidgets.QHeaderView.ResizeToContents)
        self.table.setCornerButtonEnabled(False)
        self.table.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
        self.table.setMinimumWidth(430)
        self.table.verticalHeader().setDefaultSectionSize(22)
        for r in range(len(STAGES)):
            for c in range(4):
                item = QtWidgets.QTableWidgetItem()
                item.setTextAlignment(QtCore.Qt.AlignRight | QtCore.Qt.AlignVCenter)
                self.table.setItem(r, c, item)
        self.view = self.plot("hops", "last sample → decided, ms")
        self.bars = pg.BarGraphItem(x=[], height=[], width=1, brush=shared.theme.accent, pen=None)
        self.view.addItem(self.bars)
        self.ledger = QtWidgets.QListWidget()
        self.ledger.setWordWrap(True)
        self.ledger.setToolTip("Every irregularity of the streams, with its verdict")
        self.box.addLayout(row(self.said, None, self.clock))
        body = QtWidgets.QHBoxLayout()
        body.addWidget(self.table, 3)
        body.addWidget(self.view, 2)
        body.addWidget(self.ledger, 1)
        self.box.addLayout(body, 1)
        self._n_gaps = -1

    def refresh(self) -> None:
        """Numbers of the last hops."""
        if not self.isVisible():
            return
        state = self.shared.state
        age = f"newest sample {1000 * state.age_s:.0f} ms old" if np.isfinite(state.age_s) else "no hops yet"
        n_late, n = state.late_hops()
        self.said.setText(f"{age}; {n_late} of {n} hops late" if n else age)
        now_s = state.hops[-1][0] if state.hops else math.nan
        clocks = [
            f"stream {n}: ± {1e6 * o['uncertainty_s']:.0f} µs, {max(0.0, now_s - o['at_s']):.0f} s ago"
            for n, o in sorted(state.offsets.items())[:3]
            if math.isfinite(now_s)
        ]
        self.said.setToolTip("Age at the gate; late: a hop that took longer than a hop lasts, from arrival to the gate")
        self.clock.setToolTip("How well the clock of each stream is known, and how long ago it was measured")
        self.clock.setText("   ".join(clocks) or "no clock offsets yet")
        for r, values in enumerate(state.stage_percentiles_ms()):
            for c, value in enumerate(values):
                self.table.item(r, c).setText(f"{value:.2f}" if np.isfinite(value) else "–")
        if state.latency_s:
            total = 1000 * np.nansum(np.array(state.latency_s)[:, :5], axis=1)
            top = max(5.0, float(np.percentile(total, 99.5)))
            counts, edges = np.histogram(np.clip(total, 0, top), bins=40, range=(0, top))
            self.bars.setOpts(x=(edges[:-1] + edges[1:]) / 2, height=counts, width=top / 42)
        if len(state.gaps) != self._n_gaps:
            self._n_gaps = len(state.gaps)
            self.ledger.clear()
            for gap in reversed(state.gaps):
                n = f", {gap['n']} samples" if gap["n"] else ""
                self.ledger.addItem(
                    f"{gap['verdict']}{n} at {gap['first_index']} (stream {gap['stream']}) {gap['reason']}"
                )
            if not state.gaps:
                self.ledger.addItem("no gaps: every sample came, in time")
