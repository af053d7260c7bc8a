"""Removes what a guardian that was killed could not: its run directory and its cgroups.
Only directories of clusters that nobody lives for; who lives holds a lock, which the kernel drops at death."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from . import cgroups
from .rundir import GUARDIAN_LOCK, HOLDERS_LOCK, leave_root, run_dirs


def sweep(root: Path) -> list[str]:
    """Remove the remains of dead clusters of this user below a root directory.

    Args:
        root: Directory that holds run directories; it need not exist.

    Returns:
        The ids of the clusters that were removed.
    """
    removed = [run_dir.name for run_dir in run_dirs(root) if sweep_one(run_dir)]
    leave_root(root)
    return removed


def sweep_one(run_dir: Path) -> bool:
    """Remove one cluster's remains if nobody lives for it; returns whether it is gone."""
    try:
        with _locked(run_dir / HOLDERS_LOCK) as unheld, _locked(run_dir / GUARDIAN_LOCK) as unguarded:
            if not (unheld and unguarded):
                return False
            # Whoever finds the directory finds what else is left of the cluster, so it goes last.
            if any(cgroups.remove(group) for group in _cgroups_of(run_dir.name)):
                return False
            # Without a mount, whatever is below is ours; the guardian's mounts ended with it.
            shutil.rmtree(run_dir, ignore_errors=True)
        leave_root(run_dir.parent)
    except FileNotFoundError:
        # Removed by its own guardian, or by another sweep, a moment ago.
        pass
    return not run_dir.exists()


def is_held(run_dir: Path) -> bool:
    """Whether some process holds a cluster."""
    with _locked(run_dir / HOLDERS_LOCK) as unheld:
        return not unheld


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether the lock was free; while the context lasts, it is ours."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _cgroups_of(cluster_id: str) -> list[str]:
    name = f"kubernix/{cluster_id}"
    for top in cgroups.hierarchies():
        # Root's clusters make the common parent private; below it is nothing of another user's.
        with contextlib.suppress(PermissionError):
            if (top / name).exists():
                return [name]
    return []
