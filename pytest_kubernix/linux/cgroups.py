"""Cgroups of nodes, for both versions: made before the kubelet starts, removed after its pods are gone.
Version 1 has a hierarchy per controller; version 2 has one, whose controllers must be passed down."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# Without these no kubelet starts.
REQUIRED = ("cpu", "cpuset", "memory", "pids")
NEEDED = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")


def version(root: Path = ROOT) -> int:
    """1 or 2: which version the controllers of this machine are in."""
    return 2 if (root / "cgroup.controllers").exists() else 1


def unusable(root: Path = ROOT) -> str:
    """Why no node's cgroups can be made here, or ""."""
    if version(root) == 2:
        there = dict.fromkeys((root / "cgroup.controllers").read_text().split(), root)
    else:
        # One hierarchy may have several controllers: "cpu,cpuacct".
        there = {name: top for top in hierarchies(root) for name in top.name.split(",")}
    if absent := [name for name in REQUIRED if name not in there]:
        return f"no controller {', '.join(absent)} below {root}"
    if closed := sorted({str(there[name]) for name in REQUIRED if not os.access(there[name], os.W_OK)}):
        return f"not writable: {', '.join(closed)}"
    return ""


def hierarchies(root: Path = ROOT) -> list[Path]:
    """The roots of every hierarchy that processes of a node may be put in."""
    if version(root) == 2:
        return [root]
    # One of version 2 mounted beside those of version 1 has no controllers to give, but runc uses it as well.
    return sorted({path.resolve() for path in root.iterdir() if (path / "cgroup.procs").exists()})


def create(name: str, root: Path = ROOT) -> None:
    """Make a cgroup in every hierarchy.

    Args:
        name: Path below each hierarchy's root, such as "kubernix/ab12/node-1".
        root: Where cgroups are mounted.
    """
    for top in hierarchies(root):
        while True:
            try:
                _create_below(top, Path(name), root)
                break
            except FileNotFoundError:
                # Another cluster was the last to leave the common parent, and took it along.
                if not top.exists():
                    raise


def _create_below(top: Path, name: Path, root: Path) -> None:
    group = top
    for part in name.parts:
        if version(root) == 2:
            _pass_controllers_down(group)
        parent, group = group, group / part
        with contextlib.suppress(FileExistsError):
            group.mkdir()
        with contextlib.suppress(PermissionError):  # The common parent may be another user's.
            # Users of a container's own namespace (hostUsers: false) are strangers here, and must get to their cgroup.
            group.chmod(0o755)
        if version(root) == 1 and top.name.startswith("cpuset"):
            _copy_cpuset(parent, group)


def remove(name: str, timeout: float = 5.0, root: Path = ROOT) -> list[str]:
    """Remove a cgroup and all below it, in every hierarchy, and its parents where no other cluster uses them.

    Returns:
        What could not be removed within `timeout` seconds, a line each.
    """
    deadline = time.monotonic() + timeout
    left = []
    for top in hierarchies(root):
        while problem := _remove_tree(top / name):
            if time.monotonic() > deadline:
                left.append(problem)
                break
            # A killed process leaves its cgroup a moment after it was waited for.
            time.sleep(0.005)
        for parent in list(Path(name).parents)[:-1]:
            with contextlib.suppress(OSError):
                (top / parent).rmdir()
    return left


def _remove_tree(group: Path) -> str:
    try:
        for path, _, _ in os.walk(group, topdown=False):
            Path(path).rmdir()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"cgroup {group}: {error.strerror}"
    return ""


def _pass_controllers_down(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    control = group / "cgroup.subtree_control"
    enabled = control.read_text().split()
    for controller in NEEDED:
        if controller in available and controller not in enabled:
            # One that can't be passed down must not keep the others from it.
            with contextlib.suppress(OSError):
                control.write_text(f"+{controller}")


def _copy_cpuset(parent: Path, group: Path) -> None:
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (group / name).read_text().strip():
            (group / name).write_text((parent / name).read_text())
