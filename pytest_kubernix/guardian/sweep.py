"""Removes what a guardian that was killed could not: what its engine left, and its run directory.
Only of clusters that no process lives for; one that lives holds a lock, which the kernel drops at its death."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from .. import locks
from ..engine import load
from ..errors import KubernixError
from ..layout import Layout
from ..locks import tried
from .rundir import leave_root, run_dirs

Tell = Callable[[str], object]


def drop(line: str) -> None:
    """Tell no one what could not be removed: the next sweep finds it again."""


def sweep(root: Path, tell: Tell = drop) -> list[str]:
    """Remove the remains of dead clusters of this user below a root directory.

    Args:
        root: Directory that holds run directories; it need not exist.
        tell: Called with a line for each thing that can't be removed.

    Returns:
        The ids of the clusters that were removed.
    """
    removed = [run_dir.name for run_dir in run_dirs(root) if sweep_one(Layout(run_dir), tell)]
    leave_root(root)
    return removed


def sweep_one(layout: Layout, tell: Tell = drop) -> bool:
    """Remove one cluster's remains if no process lives for it; returns whether it is gone."""
    try:
        with tried(layout.holders_lock) as unheld, tried(layout.guardian_lock) as unguarded:
            if not (unheld and unguarded):
                return False
            remove(layout, tell)
        leave_root(layout.run_dir.parent)
    except FileNotFoundError:
        # Removed by its own guardian, or by another sweep, a moment ago.
        pass
    return not layout.run_dir.exists()


def remove(layout: Layout, tell: Tell = drop) -> None:
    """Remove what is left of a cluster whose guardian's lock the caller holds.

    The directory goes last, and only if all else has gone: by it the rest is found.
    """
    problems = _remove_remains(layout)
    for problem in problems:
        tell(f"cluster {layout.cluster_id}: {problem}")
    if not problems:
        # Without a mount, whatever is below is ours; the guardian's mounts ended with it.
        shutil.rmtree(layout.run_dir, ignore_errors=True)


def clear(layout: Layout) -> None:
    """Remove what a cluster left where holders are about to start the next; the caller holds the guardian's lock.

    What its engine can't remove serves the next one.
    """
    _remove_remains(layout)
    of_the_holders = {
        layout.guardian_lock, layout.guardian_log, layout.holders_lock, layout.name, layout.start_lock, layout.starter,
    }  # fmt: skip
    for path in set(layout.run_dir.iterdir()) - of_the_holders:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def is_held(layout: Layout) -> bool:
    """Whether some process holds a cluster; a guardian that has seen the last one leave locks all others out."""
    with tried(layout.holders_lock) as unheld, tried(layout.holders_lock, locks.SHARED) as shared:
        return not unheld and shared


def _remove_remains(layout: Layout) -> list[str]:
    try:
        recorded = layout.engine.read_text(encoding="utf-8")
    except FileNotFoundError:
        # Without an engine nothing was ever started.
        return []
    try:
        return load(recorded).remove_remains(layout)
    except KubernixError as error:
        return [str(error)]
