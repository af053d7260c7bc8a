"""The flock(2) calls of a run directory: by its locks others see who lives for a cluster.
The kernel drops a lock when the last process that shares it is dead, however it died."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

# flock(2) has no limit of its own.
PAUSE = 0.005


def try_lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Take a lock if it is free."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for(descriptor: int, timeout: float, how: int = fcntl.LOCK_EX) -> bool:
    """Take a lock once it is free; returns whether that was so within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (taken := try_lock(descriptor, how)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return taken


@contextlib.contextmanager
def tried(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[bool]:
    """Whether a lock was free; while the context lasts, it is ours then.

    Raises:
        FileNotFoundError: There is no directory for its file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield try_lock(descriptor, how)
    finally:
        os.close(descriptor)
