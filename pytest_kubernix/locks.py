"""Locks that processes share: the kernel drops a share when the last process that has it is dead.
Not by `filelock`, which serves wherever one process has a lock alone and leaves a file: here a lock has many holders at
once, is handed to a child as an open descriptor, or must leave no file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

SHARED = fcntl.LOCK_SH
ALONE = fcntl.LOCK_EX

# flock(2) has no limit of its own.
PAUSE = 0.005
# Of a socket without a file.
LONGEST_NAME = 107


def opened(path: Path, *, create: bool = True) -> int:
    """A descriptor of a lock's file, which children do not inherit by themselves.

    Raises:
        FileNotFoundError: There is no directory for it, or no such file.
    """
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)


def try_lock(descriptor: int, how: int = ALONE) -> bool:
    """Take a lock if it is free."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take(descriptor: int, how: int = ALONE) -> None:
    """Take a lock, however long that takes."""
    fcntl.flock(descriptor, how)


def wait_for(descriptor: int, timeout: float, how: int = ALONE) -> bool:
    """Take a lock once it is free; returns whether that was so within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (taken := try_lock(descriptor, how)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return taken


def wait_until_unshared(path: Path) -> int:
    """Wait, as long as it takes, until no process shares a lock; returns its descriptor, with the lock taken."""
    descriptor = opened(path, create=False)
    take(descriptor)
    return descriptor


@contextlib.contextmanager
def tried(path: Path, how: int = ALONE) -> Iterator[bool]:
    """Whether a lock was free; while the context lasts, it is the caller's then.

    Raises:
        FileNotFoundError: There is no directory for its file.
    """
    descriptor = opened(path)
    try:
        yield try_lock(descriptor, how)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone(what: str, timeout: float = 0.0) -> Iterator[bool]:
    """Be the only process of this user that does something.

    Args:
        what: Which no other process does meanwhile.
        timeout: Limit in seconds for a process that does it already.

    Returns:
        Whether that is so.
    """
    deadline = time.monotonic() + timeout
    # A name that goes with this process, however it ends.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        while not (free := _bind(lock, f"\0kubernix/{os.getuid()}/{what}"[:LONGEST_NAME])):
            if time.monotonic() >= deadline:
                break
            time.sleep(PAUSE)
        yield free


def _bind(lock: socket.socket, name: str) -> bool:
    try:
        lock.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True
