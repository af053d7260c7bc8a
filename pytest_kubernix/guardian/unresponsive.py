"""Guardians that do not answer: what can be said of them, and how to end them.
A stopped process can't end its cluster; the kernel can, by ending the guardian."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from ..errors import ClusterGone, KubernixError
from ..layout import how_to_remove
from ..linux import calls as linux
from .connection import Connection
from .locks import wait_for
from .rundir import CONTROL_SOCKET, GUARDIAN_LOCK, GUARDIAN_LOG, leave_root
from .sweep import remove

# Machines swap; who is not stopped gets that long to end its cluster itself.
ANSWER_TIMEOUT = 10.0
# To be dead after SIGKILL; the kernel has a whole PID namespace to end.
DEATH_TIMEOUT = 10.0


def describe(connection: Connection) -> str:
    """A guardian as an error names it that has to explain why no answer came."""
    how = "is stopped" if linux.is_stopped(connection.guardian) else "does not answer"
    return f"its guardian (process {connection.guardian}) {how}"


def how_to_mend(run_dir: Path) -> str:
    """What to do about a guardian that does not answer."""
    return f"Let it go on if it was stopped (SIGCONT); or end it: {how_to_remove(run_dir.name, run_dir)}"


def find_stopped(run_dir: Path) -> int:
    """PID of a guardian that is stopped, found by its command line, since it need not listen yet, or any more; or 0."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            guards = os.fsencode(run_dir) in words and any(b"guardian.server" in word for word in words)
            if guards and process.stat().st_uid == os.getuid() and linux.is_stopped(int(process.name)):
                return int(process.name)
    return 0


def end(run_dir: Path) -> None:
    """End a cluster whose guardian did not answer, whoever holds it; returns when nothing of it is left.

    Raises:
        KubernixError: Something is left; it says what.
    """
    problems: list[str] = []
    try:
        lock = os.open(run_dir / GUARDIAN_LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        try:
            _end_guardian(Connection(run_dir / CONTROL_SOCKET, run_dir.name, ANSWER_TIMEOUT))
        except ClusterGone:
            stopped = find_stopped(run_dir)
            _kill(stopped, lambda: find_stopped(run_dir) == stopped)
        # Its children share it, so it is free when all of them are dead.
        if not wait_for(lock, DEATH_TIMEOUT):
            log = run_dir / GUARDIAN_LOG
            raise KubernixError(f"cluster {run_dir.name} has not ended within {DEATH_TIMEOUT:g} s; see {log}")
        remove(run_dir, problems.append)
    finally:
        os.close(lock)
    leave_root(run_dir.parent)
    if problems:
        raise KubernixError("\n".join(problems))


def _end_guardian(connection: Connection) -> None:
    with contextlib.closing(connection):
        if not connection.guardian:
            name = connection.cluster_id
            raise KubernixError(f"the guardian of cluster {name} is in a PID namespace that can't be seen from here")
        if not linux.is_stopped(connection.guardian):
            with contextlib.suppress(TimeoutError, KubernixError):
                connection.request({"op": "stop"}, timeout=ANSWER_TIMEOUT)
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
