"""Limits of the machine that a cluster runs into, looked at before it boots.
The kernel counts inotify instances per user over all namespaces, so no isolation of ours gives more of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Counted on running clusters of 1.33 and 1.36: what their processes hold open when idle.
CONTROL_PLANE_INSTANCES = 17
NODE_INSTANCES = 9

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")


def inotify_needed(nodes: int) -> int:
    """How many inotify instances a cluster of that many nodes holds."""
    return CONTROL_PLANE_INSTANCES + NODE_INSTANCES * nodes


def inotify_limit() -> int:
    """How many inotify instances one user may have."""
    return int(LIMIT.read_text())


def inotify_used(proc: Path = Path("/proc")) -> int:
    """How many inotify instances this user has open now, as far as it may see."""
    mine = os.getuid()
    count = 0
    for process in proc.iterdir():
        # Processes come and go, and other users' are none of our business.
        with contextlib.suppress(OSError):
            if process.name.isdecimal() and process.stat().st_uid == mine:
                for descriptor in (process / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        count += descriptor.readlink().name == "anon_inode:inotify"
    return count
