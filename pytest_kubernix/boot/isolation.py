"""What makes sure that nothing of a cluster outlives its guardian: a PID namespace of its own, whose processes the
kernel ends with their first one; and the one link of the host, which the kernel removes a moment after the rest."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..linux import calls

# The kernel removes a network namespace in the background, some milliseconds after its last process.
LINK_TIMEOUT = 5.0
PAUSE = 0.002


def isolate() -> bool:
    """Put this process into a PID and mount namespace of its own, as process 1 of it.

    Returns in the new process only; the old one exits after it has passed on nothing.

    Returns:
        Whether the kernel allowed it.
    """
    if not calls.may_make_namespaces():
        return False
    calls.unshare(calls.CLONE_NEWPID | calls.CLONE_NEWNS)
    calls.mount("none", "/", "", calls.MS_REC | calls.MS_PRIVATE)
    if os.fork():
        os._exit(0)
    calls.mount("proc", "/proc", "proc")
    return True


def wait_until_link_is_gone(name: str) -> list[str]:
    """Return once the host has no link of that name any more, or after a few seconds.

    Returns:
        A line if it is still there.
    """
    deadline = time.monotonic() + LINK_TIMEOUT
    while has_link(name):
        if time.monotonic() > deadline:
            return [f"link {name} is still there {LINK_TIMEOUT:g} s after its namespace"]
        time.sleep(PAUSE)
    return []


def has_link(name: str, table: Path = Path("/proc/net/dev")) -> bool:
    """Whether this network namespace has a link of that name."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return any(line.partition(":")[0].strip() == name for line in lines)
