"""Logs: their ends, which errors show; those of boots that failed, of which the newest few outlive their cluster;
and the guardian's own lines."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .layout import Layout

KEPT_LOGS = 5
TAIL_LINES = 20
TAIL_BYTES = 16_384
TIMELINE = "timeline.json"


def keep_logs(run_dir: Path, kept: Path, timeline: Sequence[tuple[str, str, float]]) -> str:
    """Copy logs out of a run directory that is about to go; only the newest few boots' are kept.

    Args:
        run_dir: The run directory.
        kept: The directory to make, with the logs of components, the guardian's, and the timeline.
        timeline: What happened so far; see `PlanLauncher`.

    Returns:
        Where they are now, or "" when they could not be kept.
    """
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A cluster that is kept under a name has the same id each time.
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(Layout(run_dir).logs, kept)
        (kept / TIMELINE).write_text(json.dumps(timeline))
        shutil.copy(Layout(run_dir).guardian_log, kept)
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


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, or "" when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
