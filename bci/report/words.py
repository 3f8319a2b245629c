"""How a report says numbers: units, durations, counts. Pure. A number and its unit stay on one line (U+00A0)."""

from __future__ import annotations

from collections.abc import Sequence

NBSP = "\u00a0"


def number(value: float | None, digits: int = 3, *, trim: bool = True) -> str:
    """A figure as a person writes it: at most so many significant digits, no exponent, thousands set apart.

    ``trim`` drops zeros at the end; columns of figures keep them.
    """
    if value is None or value != value:
        return "–"
    before = len(f"{abs(value):.0f}") if abs(value) >= 1 else 0
    text = f"{value:,.{max(0, digits - before)}f}"
    text = (text.rstrip("0").rstrip(".") or "0") if trim and "." in text else text
    return text.replace("-", "−")


def count(n: int, noun: str, plural: str = "") -> str:
    """``1 sample``, ``12,345 samples``."""
    return f"{n:,}{NBSP}{noun if n == 1 else plural or noun + 's'}"


def times(n: int) -> str:
    """``once``, ``twice``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(n, f"{n:,}{NBSP}times")


def percent(share: float | None, digits: int = 0) -> str:
    """``93 %``; 100 % only if it is all, 0 % only if it is nothing."""
    if share is None or share != share:
        return "–"
    least = 10.0**-digits
    if 0 < 100 * share < least / 2:
        return f"<{NBSP}{least:.{digits}f}{NBSP}%"
    if 100 - least / 2 <= 100 * share < 100:
        return f">{NBSP}{100 - least:.{digits}f}{NBSP}%"
    return f"{100 * share:.{digits}f}{NBSP}%"


def seconds(value_s: float | None) -> str:
    """``12 ms``, ``4.2 s``, ``3 min 5 s``, ``2 h 4 min``."""
    if value_s is None or value_s != value_s:
        return "–"
    if value_s < 0:
        return "−" + seconds(-value_s)
    if value_s < 1e-5:
        return f"<{NBSP}0.01{NBSP}ms" if value_s else f"0{NBSP}ms"
    if value_s < 0.9995:
        digits = 0 if value_s >= 0.00995 else 1 if value_s >= 0.000995 else 2
        return f"{1000 * value_s:.{digits}f}{NBSP}ms"
    if value_s < 59.95:
        return f"{value_s:.1f}{NBSP}s"
    minutes, rest_s = divmod(round(value_s), 60)
    if minutes < 60:
        return _two(minutes, "min", rest_s, "s")
    hours, minutes = divmod(minutes, 60)
    return _two(hours, "h", minutes, "min")


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{NBSP}{unit}" + (f"{NBSP}{small}{NBSP}{small_unit}" if small else "")


def milliseconds(value_ms: float | None) -> str:
    """As `seconds`, from milliseconds."""
    return seconds(None if value_ms is None else value_ms / 1000)


def clock(t_s: float) -> str:
    """Time within a run: ``1:02.3``."""
    tenths = round(10 * t_s)
    sign, tenths = ("−" if tenths < 0 else ""), abs(tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{sign}{head}:{rest // 10:02d}.{rest % 10}"


def listed(items: Sequence[str], most: int = 4) -> str:
    """``a, b and c``; of many the first few, and how many more."""
    items = [*items[:most], f"{len(items) - most} more"] if len(items) > most + 1 else list(items)
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def when(iso: str) -> str:
    """``2026-11-26 22:34 UTC`` from ISO 8601; nothing from anything else."""
    return f"{iso[:10]} {iso[11:16]}{NBSP}UTC" if len(iso) >= 16 else ""
