"""Logs that outlive their cluster: those of boots that failed, the newest few of them.
And the guardian's own lines."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

KEPT_LOGS = 5


def keep_logs(logs: Path, kept: Path) -> str:
    """Move logs out of a run directory that is about to go; only the newest few are kept.

    Returns:
        Where they are now, or "" when they could not be kept.
    """
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copytree(logs, kept)
        older = sorted(kept.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT_LOGS]
        for path in older:
            shutil.rmtree(path, ignore_errors=True)
    except OSError as error:
        log(f"the logs could not be kept: {error}")
        return ""
    return str(kept)


def log(line: str) -> None:
    """Write one line to the guardian's log, which is its standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
