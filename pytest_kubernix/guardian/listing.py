"""Clusters that run on this machine: listing them, telling them apart, ending them by name or id.
What the command line and `--kubernix-reuse` know of clusters that they did not start."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import ClusterConfig
from ..errors import ClusterGone, KubernixError
from ..handle import ClusterHandle
from ..layout import default_root, how_to_remove
from . import unresponsive as silence
from .connection import Connection
from .rundir import CONTROL_SOCKET, HANDLE, NAME, run_dirs
from .sweep import is_held

# A guardian answers at once; one that is stopped must not stop a listing of the others.
ASK_TIMEOUT = 5.0

# Settings that say how a cluster is made and watched, not what it is.
NOT_COMPARED = ("driver", "root", "boot_timeout", "log_level")


@dataclass(frozen=True)
class RunningInfo:
    """A cluster that runs on this machine, as seen from outside.

    Attributes:
        cluster_id: Its id.
        name: The name it is kept under, or "".
        run_dir: Its directory.
        state: "ready", "booting", …; "not ready" with a component that does not run; "silent" when its guardian
            does not answer.
        holders: Who holds it.
        kept: Whether it stays when nobody does.
        spare: Whether it waits for somebody to take it.
        trouble: Why it is not ready or silent, and what to do, or "".
        handle: How to reach it, once it is ready.
    """

    cluster_id: str
    name: str
    run_dir: Path
    state: str
    holders: tuple[str, ...]
    kept: bool
    spare: bool
    trouble: str
    handle: ClusterHandle | None

    def to_json(self) -> dict[str, Any]:
        """Plain data, for scripts."""
        handle = self.handle
        return {
            "id": self.cluster_id,
            "name": self.name,
            "state": self.state,
            "holders": list(self.holders),
            "kept": self.kept,
            "spare": self.spare,
            "trouble": self.trouble,
            "k8s_version": handle.k8s_version if handle else "",
            "nodes": len(handle.nodes) if handle else 0,
            "kubeconfig": str(handle.kubeconfig) if handle else "",
            "run_dir": str(self.run_dir),
        }


def running(root: Path | None = None) -> list[RunningInfo]:
    """Every cluster of this user below a root directory whose guardian lives."""
    found = []
    for run_dir in run_dirs(root or default_root()):
        with contextlib.suppress(ClusterGone, OSError):
            found.append(_look(run_dir))
    return found


def _look(run_dir: Path) -> RunningInfo:
    status, trouble = _status(run_dir)
    handle = run_dir / HANDLE
    name = run_dir / NAME
    return RunningInfo(
        cluster_id=run_dir.name,
        name=name.read_text() if name.exists() else "",
        run_dir=run_dir,
        state=status["state"],
        holders=tuple(status["holders"]),
        kept=status["kept"],
        # A cluster that an older version of this package left running says nothing of it.
        spare=status.get("spare", False),
        trouble=trouble,
        handle=ClusterHandle.from_json(handle.read_text()) if handle.exists() else None,
    )


def _status(run_dir: Path) -> tuple[dict[str, Any], str]:
    """What a guardian says of its cluster, and why it says nothing."""
    try:
        connection = Connection(run_dir / CONTROL_SOCKET, run_dir.name, ASK_TIMEOUT)
    except ClusterGone:
        if not (stopped := silence.find_stopped(run_dir)):
            raise
        trouble = f"its guardian (process {stopped}) is stopped"
    except KubernixError as error:
        trouble = str(error)
    else:
        with contextlib.closing(connection):
            try:
                return _judged(connection.request({"op": "status"}, timeout=ASK_TIMEOUT))
            except TimeoutError:
                trouble = silence.describe(connection)
    holders = ["somebody"] if is_held(run_dir) else []
    status = {"state": "silent", "holders": holders, "kept": False, "spare": False}
    return status, f"{trouble}; to end it: {how_to_remove(run_dir.name, run_dir)}"


def _judged(status: dict[str, Any]) -> tuple[dict[str, Any], str]:
    components = status.get("components", {})
    broken = [f"{name} is {state}" for name, state in components.items() if state != "running"]
    if status["state"] == "ready" and broken:
        return {**status, "state": "not ready"}, ", ".join(broken)
    return status, ""


def how_to_reach(handle: ClusterHandle) -> str:
    """Lines that say how to reach a cluster that stays, and how to remove it."""
    return (
        f"cluster {handle.cluster_id} (Kubernetes {handle.k8s_version}, {count(len(handle.nodes))}) is left running\n"
        f"  reach it:  export KUBECONFIG={handle.kubeconfig} PATH={handle.kubectl.parent}:$PATH\n"
        f"  remove it: {how_to_remove(handle.cluster_id, handle.run_dir)}"
    )


def count(nodes: int) -> str:
    """So many nodes, in words."""
    return f"{nodes} node{'' if nodes == 1 else 's'}" if nodes else "no nodes"


def find(word: str, root: Path | None = None) -> RunningInfo:
    """The running cluster with that name or id.

    Raises:
        KubernixError: There is none; it says which there are.
    """
    there = running(root)
    for info in there:
        if word in (info.name, info.cluster_id):
            return info
    known = ", ".join(info.name or info.cluster_id for info in there) or "none"
    raise KubernixError(f"no running cluster {word!r}; running: {known}")


def difference(asked: ClusterConfig, there: dict[str, Any]) -> list[str]:
    """How a running cluster differs from what is asked for, a line for each setting; empty when it will do.

    Args:
        asked: What is asked for; settings that leave the choice open (no CIDR, port 0) match any.
        there: The configuration of the running cluster, as in its handle.
    """
    lines = []
    for name, value in asked.to_json().items():
        has = there.get(name)
        if name in NOT_COMPARED or value == has or (name in ("cidr", "api_port") and not value):
            continue
        lines.append(f"{name}: {_shown(has)} there, {_shown(value)} asked for")
    return lines


def _shown(value: object) -> str:
    return json.dumps(value) if isinstance(value, list) else str(value)
