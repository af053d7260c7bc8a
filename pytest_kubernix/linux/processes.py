"""What /proc says of a process: its state, its parent, whether it is stopped.
Reads only; a process that is gone is no error."""

from __future__ import annotations

from pathlib import Path


def stat(pid: int) -> list[str]:
    """A process's fields of /proc/PID/stat after its name: state, parent, …; empty when it is gone."""
    try:
        # The name, in parentheses, may contain anything.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def state(pid: int) -> str:
    """A process's state as one letter, "X" when it is gone."""
    return (stat(pid) or ["X"])[0]


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped, by a signal or by a debugger."""
    return state(pid) in "Tt"
