"""What works on this machine and what is missing: the checks that `pytest-kubernix doctor` prints.
They are the driver's own checks, so that the doctor and a failing fixture never disagree."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass

from .errors import KubernixError
from .linux import calls as linux
from .linux import cgroups, limits

# Fewer than that, and a suite with two clusters of two nodes does not fit.
NODES_WANTED = 6


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: What was looked at.
        good: Whether it is as it should be.
        detail: What was seen, and what mends it.
        needed: Whether clusters can't do without it.
    """

    what: str
    good: bool
    detail: str
    needed: bool = True

    def __str__(self) -> str:
        mark = "ok" if self.good else ("MISSING" if self.needed else "missing")
        return f"{mark:>7}  {self.what}: {self.detail}"


def diagnose(version: str) -> list[Finding]:
    """Look at everything that a cluster of this version needs here."""
    looks: dict[str, Callable[[], Finding]] = {
        "system": _system,
        f"executables of Kubernetes {version}": lambda: _executables(version),
        "nodes (namespaces, programs, cgroups)": _nodes,
        "cgroups": _cgroups,
        "egress of pods": _egress,
        "inotify instances": _inotify,
        "directory of running clusters": _root,
    }
    return [_looked(what, look) for what, look in looks.items()]


def _looked(what: str, look: Callable[[], Finding]) -> Finding:
    """What was found; a look that fails is a finding too, and keeps no other from being told."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - the doctor is for machines on which anything may be wrong
        return Finding(what, good=False, detail=f"could not be looked at: {type(error).__name__}: {error}")


def _system() -> Finding:
    detail = f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} CPUs"
    return Finding("system", platform.system() == "Linux", detail)


def _root() -> Finding:
    from .layout import default_root, problem_with

    root = default_root()
    problem = problem_with(root)
    way_out = "; TMPDIR names the directory that it is in, and --kubernix-root another one"
    return Finding("directory of running clusters", not problem, f"{root}{f' {problem}{way_out}' if problem else ''}")


def _executables(version: str) -> Finding:
    from .binaries import find_executables

    what = f"executables of Kubernetes {version}"
    try:
        found = find_executables(version, build=False)
    except KubernixError as error:
        return Finding(what, good=False, detail=str(error))
    return Finding(what, good=True, detail=str(found["kube-apiserver"]))


def _nodes() -> Finding:
    from .drivers.native.machine import missing

    problem = missing(1)
    detail = str(problem) if problem else "this user may make them"
    # Who has no rights for nodes can still have clusters without them.
    needed = linux.may_make_namespaces()
    return Finding("nodes (namespaces, programs, cgroups)", good=problem is None, detail=detail, needed=needed)


def _cgroups() -> Finding:
    problem = cgroups.unusable()
    return Finding("cgroups", good=not problem, detail=f"version {cgroups.version()}{problem and ': '}{problem}",
                   needed=linux.may_make_namespaces())  # fmt: skip


def _egress() -> Finding:
    from .drivers.native.machine import egress_program

    program = egress_program()
    missing = "pods get no way out of the cluster; apt-get install slirp4netns, and /dev/net/tun must exist"
    return Finding("egress of pods", good=bool(program), detail=program or missing, needed=False)


def _inotify() -> Finding:
    limit, used = limits.inotify_limit(), limits.inotify_used()
    nodes = max(0, (limit - used - limits.CONTROL_PLANE_INSTANCES) // limits.NODE_INSTANCES)
    detail = f"{used} of {limit} in use: enough for {nodes} more nodes; fs.inotify.max_user_instances raises the limit"
    return Finding("inotify instances", nodes >= NODES_WANTED, detail, needed=False)
