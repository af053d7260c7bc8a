"""Removes what a guardian that was killed could not: its run directory and its cgroups.
Only directories of clusters that nobody lives for; who lives holds a lock, which the kernel drops at death."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

from ..linux import cgroups
from .locks import tried
from .rundir import GUARDIAN_LOCK, GUARDIAN_LOG, HOLDERS_LOCK, NAME, START_LOCK, STARTER, leave_root, run_dirs

# A process that has just died leaves its cgroup in a moment; one that lives there is none of the cluster's.
CGROUP_TIMEOUT = 0.5
# What belongs to those who meet in a directory, not to the cluster that was there.
OF_A_MEETING = {GUARDIAN_LOCK, GUARDIAN_LOG, HOLDERS_LOCK, NAME, START_LOCK, STARTER}

Tell = Callable[[str], object]


def tell_nobody(line: str) -> None:
    """Drop what could not be removed: the next sweep finds it again."""


def sweep(root: Path, tell: Tell = tell_nobody) -> list[str]:
    """Remove the remains of dead clusters of this user below a root directory.

    Args:
        root: Directory that holds run directories; it need not exist.
        tell: Called with a line for each thing that can't be removed.

    Returns:
        The ids of the clusters that were removed.
    """
    removed = [run_dir.name for run_dir in run_dirs(root) if sweep_one(run_dir, tell)]
    leave_root(root)
    return removed


def sweep_one(run_dir: Path, tell: Tell = tell_nobody) -> bool:
    """Remove one cluster's remains if nobody lives for it; returns whether it is gone."""
    try:
        with tried(run_dir / HOLDERS_LOCK) as unheld, tried(run_dir / GUARDIAN_LOCK) as unguarded:
            if not (unheld and unguarded):
                return False
            remove(run_dir, tell)
        leave_root(run_dir.parent)
    except FileNotFoundError:
        # Removed by its own guardian, or by another sweep, a moment ago.
        pass
    return not run_dir.exists()


def remove(run_dir: Path, tell: Tell = tell_nobody) -> None:
    """Remove what is left of a cluster whose guardian's lock the caller holds.

    The directory goes last, and only if all else has gone: whoever finds it finds the rest.
    """
    problems = _remove_cgroups(run_dir.name)
    for problem in problems:
        tell(f"cluster {run_dir.name}: {problem}")
    if not problems:
        # Without a mount, whatever is below is ours; the guardian's mounts ended with it.
        shutil.rmtree(run_dir, ignore_errors=True)


def clear(run_dir: Path) -> None:
    """Remove what a cluster left in a directory where others meet for the next; the caller holds the guardian's lock.

    A cgroup that can't be removed serves the next one.
    """
    _remove_cgroups(run_dir.name)
    for path in run_dir.iterdir():
        if path.name in OF_A_MEETING:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def is_held(run_dir: Path) -> bool:
    """Whether some process holds a cluster; a guardian that has seen the last one leave locks all others out."""
    with tried(run_dir / HOLDERS_LOCK) as unheld, tried(run_dir / HOLDERS_LOCK, fcntl.LOCK_SH) as shared:
        return not unheld and shared


def _remove_cgroups(cluster_id: str) -> list[str]:
    name = f"kubernix/{cluster_id}"
    for top in cgroups.hierarchies():
        # Root's clusters make the common parent private; below it is nothing of another user's.
        with contextlib.suppress(PermissionError):
            if (top / name).exists():
                return cgroups.remove(name, CGROUP_TIMEOUT)
    return []
