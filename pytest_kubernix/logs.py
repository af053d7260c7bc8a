"""Logs: the guardian's own lines, and the ends of others, which errors show."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

TAIL_LINES = 20
TAIL_BYTES = 16_384


def log(line: str) -> None:
    """Write one line to the guardian's log, which is its standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, or "" when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
