"""What arrived of each stream, what did not, and how good its times were; from a run's recording."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci.recording.runs import RunRecord, StreamRecord
from bci.types import ChunkRef, ClockOffset, Gap, Marker

BLOCK_S = 10.0  # stamps are compared with a line through so much
RECONNECTED = "reconnected"  # the one unknown gap whose length says about how much is missing


def gaps(run: RunRecord, start_s: float) -> list[dict[str, Any]]:
    """Every verdict of the gap ledger. ``t_s`` is its end: when the first sample after it arrived."""
    arrivals = {(e.stream, e.first_index): e.arrival_s for _, e in run.events if isinstance(e, ChunkRef)}
    found = []
    for at_s, event in run.events:
        if isinstance(event, Gap) and event.verdict != "open":
            ended_s = arrivals.get((event.stream, event.first_index), at_s)
            found.append(
                {
                    "t_s": ended_s - start_s,
                    "stream": run.streams[event.stream].spec.name if event.stream < len(run.streams) else "?",
                    "stream_index": event.stream,
                    "is_primary": event.stream == 0,
                    "verdict": event.verdict,
                    "duration_s": event.duration_s,
                    "n": event.n,
                    "n_about": _n_about(event, run.streams),
                    "reason": event.reason,
                }
            )
    return found


def _n_about(gap: Gap, streams: tuple[StreamRecord, ...]) -> int | None:
    """How many samples are missing: counted, estimated from the time, or not to be told (None)."""
    if gap.verdict != "unknown":
        return gap.n
    if gap.reason == RECONNECTED and gap.stream < len(streams):
        return round(gap.duration_s * streams[gap.stream].spec.sfreq_hz)
    return None


def streams(run: RunRecord, ledger: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a stream, the primary one first.

    ``n`` samples arrived, ``n_recorded`` of them are on disk; ``n_expected`` adds what the gap ledger misses (None for
    markers, of which nobody knows how many there should be).
    """
    arrived = _arrived(run)
    result = []
    for number, stream in enumerate(run.streams):
        spec = stream.spec
        mine = [g for g in ledger if g["stream_index"] == number]
        n = max(arrived.get(number, 0), len(stream.stamps_s))
        n_missing = sum(g["n_about"] or 0 for g in mine)
        is_regular = not spec.is_marker_stream and spec.sfreq_hz > 0
        result.append(
            {
                "name": spec.name,
                "type": spec.type,
                "source_id": spec.source_id,
                "hostname": spec.hostname,
                "n_channels": len(spec.channels),
                "units": sorted({c.unit for c in spec.channels} - {""}),
                "sfreq_hz": spec.sfreq_hz,
                "stamps": spec.stamps,
                "n": n,
                "n_recorded": len(stream.stamps_s),
                "n_lost": sum(g["n"] for g in mine),
                "n_missing_about": n_missing,
                "n_expected": n + n_missing if is_regular else None,
                "completeness": n / (n + n_missing) if is_regular and n + n_missing else None,
                **(stamp_quality(stream.stamps_s, spec.sfreq_hz) if is_regular else _NO_STAMPS),
                "clock": _clock(stream, number, run),
            }
        )
    return result


def _arrived(run: RunRecord) -> dict[int, int]:
    """Samples or markers that entered the session, by stream: what the events say, which count on over all parts."""
    n: dict[int, int] = {}
    for _, event in run.events:
        if isinstance(event, ChunkRef):
            n[event.stream] = max(n.get(event.stream, 0), event.first_index + event.n)
        elif isinstance(event, Marker):
            n[event.stream] = n.get(event.stream, 0) + 1
    return n


_NO_STAMPS = {"effective_hz": None, "jitter_ms": None, "n_backward": None}


def stamp_quality(stamps_s: NDArray[np.float64], sfreq_hz: float) -> dict[str, Any]:
    """Rate and jitter of raw stamps, against a straight line through every 10 s of them.

    Returns
    -------
    dict
        ``jitter_ms``: 95 % of the samples lie within so much of the line, in the half of the stretches where that is
        least (a gap spoils a stretch); ``effective_hz``: the median over those; ``n_backward``: stamps that are earlier
        than the one before.
    """
    stamps_s = stamps_s[np.isfinite(stamps_s)]
    n = min(round(BLOCK_S * sfreq_hz), len(stamps_s))
    if n < 3:
        return dict(_NO_STAMPS)
    blocks = stamps_s[: len(stamps_s) // n * n].reshape(-1, n)
    index = np.arange(n) - (n - 1) / 2
    centred = blocks - blocks.mean(axis=1, keepdims=True)
    period_s = centred @ index / (index @ index)
    off_s = np.percentile(np.abs(centred - period_s[:, None] * index), 95, axis=1)
    best = np.argsort(off_s)[: (len(off_s) + 1) // 2]
    typical_s = float(np.median(period_s[best]))
    return {
        "effective_hz": 1 / typical_s if typical_s > 0 else None,
        "jitter_ms": 1000 * float(off_s[best[-1]]),
        "n_backward": int((np.diff(stamps_s) < 0).sum()),
    }


def _clock(stream: StreamRecord, number: int, run: RunRecord) -> dict[str, Any] | None:
    """The sender's clock against ours; None if it was never measured."""
    if not stream.offsets:
        return None
    at_s = np.array([o.collected_s for o in stream.offsets])
    offset_ms = 1000 * np.array([o.offset_s for o in stream.offsets])
    uncertain_s = [e.uncertainty_s for _, e in run.events if isinstance(e, ClockOffset) and e.stream == number]
    spans_s = float(at_s[-1] - at_s[0])
    return {
        "n": len(at_s),
        "median_ms": float(np.median(offset_ms)),
        "min_ms": float(offset_ms.min()),
        "max_ms": float(offset_ms.max()),
        "drift_ppm": 1000 * float(np.polyfit(at_s - at_s[0], offset_ms, 1)[0]) if spans_s >= 60 else None,
        "uncertainty_ms": 1000 * max(uncertain_s) if uncertain_s else None,
    }
