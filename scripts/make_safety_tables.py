"""Write the tables of states and events in ``docs/safety.md`` from the code: `python scripts/make_safety_tables.py`."""

from __future__ import annotations

from pathlib import Path

from bci.control import gate, host_table

PAGE = Path(__file__).parents[1] / "docs" / "safety.md"
BEGIN, END = "<!-- {} begin -->", "<!-- {} end -->"


def table(states: type, events: type, transitions: dict) -> str:
    """Markdown: a row a state, a column an event; a dot where the state stays."""
    lines = ["| state | " + " | ".join(e.value for e in events) + " |", "|---" * (len(list(events)) + 1) + "|"]
    for state in states:
        cells = (transitions[state, event] for event in events)
        row = " | ".join("·" if target is state else target.value for target in cells)
        lines.append(f"| **{state.value}** | {row} |")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with its tables made anew."""
    tables = {
        "gate": table(gate.GateMode, gate.GateEvent, gate.TRANSITIONS),
        "device host": table(host_table.HostMode, host_table.HostEvent, host_table.TRANSITIONS),
    }
    for name, text in tables.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, rest = page.split(begin)
        page = f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
