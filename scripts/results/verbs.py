"""The command line, as the sections of docs/results.md call it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def bci(*arguments: object, timeout_s: float = 1800) -> dict[str, Any]:
    """Run one verb and return its JSON; RuntimeError with what it said where it gives none."""
    command = [sys.executable, "-m", "bci", *map(str, arguments), "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if not done.stdout:
        raise RuntimeError(f"bci {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])
