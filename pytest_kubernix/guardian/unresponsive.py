"""Guardians that do not answer: what can be said of them, and how to end them.
A stopped process can't end its cluster; the kernel can, by ending the guardian."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from .. import locks
from ..errors import ClusterGone, KubernixError
from ..layout import Layout, how_to_remove
from ..linux import processes
from .connection import Connection
from .protocol import Stop
from .rundir import leave_root
from .sweep import remove

# Machines swap; a guardian that is not stopped gets that long to end its cluster itself.
ANSWER_TIMEOUT = 10.0
# To be dead after SIGKILL; the kernel has a whole PID namespace to end.
DEATH_TIMEOUT = 10.0


def describe(connection: Connection) -> str:
    """A guardian as an error names it that has to explain why no answer came."""
    how = "is stopped" if processes.is_stopped(connection.guardian) else "does not answer"
    return f"its guardian (process {connection.guardian}) {how}"


def how_to_mend(layout: Layout) -> str:
    """What to do about a guardian that does not answer."""
    return f"Let it go on if it was stopped (SIGCONT); or end it: {how_to_remove(layout.cluster_id, layout.run_dir)}"


def find_stopped(layout: Layout) -> int:
    """PID of a guardian that is stopped, found by its command line, since it need not listen yet, or any more; or 0."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            guards = os.fsencode(layout.run_dir) in words and any(b"guardian.server" in word for word in words)
            if guards and process.stat().st_uid == os.getuid() and processes.is_stopped(int(process.name)):
                return int(process.name)
    return 0


def end(layout: Layout) -> None:
    """End a cluster whose guardian did not answer, whatever processes hold it; returns when nothing of it is left.

    Raises:
        KubernixError: Something is left; it says what.
    """
    problems: list[str] = []
    try:
        lock = locks.opened(layout.guardian_lock, create=False)
    except FileNotFoundError:
        return
    try:
        try:
            _end_guardian(Connection(layout.control_socket, layout.cluster_id, ANSWER_TIMEOUT))
        except ClusterGone:
            stopped = find_stopped(layout)
            _kill(stopped, lambda: find_stopped(layout) == stopped)
        # Its children share it, so it is free when all of them are dead.
        if not locks.wait_for(lock, DEATH_TIMEOUT):
            log = layout.guardian_log
            raise KubernixError(f"cluster {layout.cluster_id} has not ended within {DEATH_TIMEOUT:g} s; see {log}")
        remove(layout, problems.append)
    finally:
        os.close(lock)
    leave_root(layout.run_dir.parent)
    if problems:
        raise KubernixError("\n".join(problems))


def _end_guardian(connection: Connection) -> None:
    with contextlib.closing(connection):
        if not connection.guardian:
            name = connection.cluster_id
            raise KubernixError(f"the guardian of cluster {name} is in a PID namespace that can't be seen from here")
        if not processes.is_stopped(connection.guardian):
            with contextlib.suppress(TimeoutError, KubernixError):
                connection.request(Stop(), timeout=ANSWER_TIMEOUT)
                return
        _kill(connection.guardian, lambda: not connection.hung_up())


def _kill(pid: int, lives: Callable[[], bool]) -> None:
    """Kill a process that is known to live after it was opened, so that it is no other one with its PID."""
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            if lives():
                signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)
