"""Clusters that run on this machine: listing them, telling them apart, ending them by name or id.
What the command line and `--kubernix-reuse` know of clusters that they did not start."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import plain
from ..config import ClusterConfig
from ..errors import ClusterGone, KubernixError
from ..handle import ClusterHandle, not_running
from ..layout import Layout, default_root, how_to_remove
from . import unresponsive
from .client import GuardianClient
from .connection import Connection
from .protocol import ClusterStatus, GetStatus, Stage
from .rundir import run_dirs
from .sweep import is_held

# A guardian answers at once; one that is stopped must not hold up a listing of the others.
ASK_TIMEOUT = 5.0

SILENT = "silent"

# Settings that say how a cluster is made and watched, not what it is.
NOT_COMPARED = ("driver", "root", "boot_timeout", "log_level")


@dataclass(frozen=True)
class RunningInfo:
    """A cluster that runs on this machine, as seen from outside.

    Attributes:
        cluster_id: Its id.
        name: The name it is kept under, or "".
        run_dir: Its directory.
        state: A `Stage`; "not ready" with a component that does not run; "silent" when its guardian does not answer.
        holders: The processes that hold it.
        kept: Whether it stays without holders.
        spare: Whether it waits for a holder that takes it.
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

    @property
    def layout(self) -> Layout:
        """The paths of its files."""
        return Layout(self.run_dir)

    def end(self) -> None:
        """End it, whatever processes hold it, and return when nothing of it is left.

        Raises:
            KubernixError: Something is left; it says what.
        """
        if self.state == SILENT:
            unresponsive.end(self.layout)
        else:
            GuardianClient.join(self.layout).stop()
        if self.run_dir.exists():
            name = self.name or self.cluster_id
            raise KubernixError(f"{name} is still ending; see {self.layout.guardian_log}")

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
    layout = Layout(run_dir)
    state, status, trouble = _status(layout)
    name = layout.name
    return RunningInfo(
        cluster_id=run_dir.name,
        name=name.read_text(encoding="utf-8") if name.exists() else "",
        run_dir=run_dir,
        state=state,
        holders=status.holders,
        kept=status.kept,
        spare=status.spare,
        trouble=trouble,
        handle=plain.from_json(ClusterHandle, layout.handle.read_bytes()) if layout.handle.exists() else None,
    )


def _status(layout: Layout) -> tuple[str, ClusterStatus, str]:
    """A cluster's state, what its guardian says of it, and what is wrong with it or with the guardian."""
    try:
        connection = Connection(layout.control_socket, layout.cluster_id, ASK_TIMEOUT)
    except ClusterGone:
        if not (stopped := unresponsive.find_stopped(layout)):
            raise
        trouble = f"its guardian (process {stopped}) is stopped"
    except KubernixError as error:
        trouble = str(error)
    else:
        with contextlib.closing(connection):
            try:
                return _judged(connection.request(GetStatus(), timeout=ASK_TIMEOUT))
            except TimeoutError:
                trouble = unresponsive.describe(connection)
            except ClusterGone:
                raise
            except KubernixError as error:
                trouble = str(error)
    holders = ("a process",) if is_held(layout) else ()
    unknown = ClusterStatus(Stage.VACANT, holders, (), kept=False, spare=False, components={}, at=0.0)
    return SILENT, unknown, f"{trouble}; to end it: {how_to_remove(layout.cluster_id, layout.run_dir)}"


def _judged(status: ClusterStatus) -> tuple[str, ClusterStatus, str]:
    broken = not_running(status.components) if status.stage == Stage.READY else ""
    return ("not ready" if broken else status.stage.value), status, broken


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


def difference(asked: ClusterConfig, components: Mapping[str, str], there: ClusterHandle) -> list[str]:
    """How a running cluster differs from what is asked for, a line for each setting; empty when it will do.

    Args:
        asked: What is asked for; settings that leave the choice open (no CIDR, port 0) match any.
        components: Those that plugins add or change, each with a digest of what it would run.
        there: The running cluster.
    """
    lines = []
    for name, value in asked.to_json().items():
        has = there.config.get(name)
        if name in NOT_COMPARED or value == has or (name in ("cidr", "api_port") and not value):
            continue
        lines.append(f"{name}: {_shown(has)} there, {_shown(value)} asked for")
    for name in sorted({*components, *there.components}):
        if name not in there.components:
            lines.append(f"component {name}: not as a plugin of this suite makes it (pytest_kubernix_components)")
        elif name not in components:
            lines.append(f"component {name}: added or changed there by a plugin that this suite does not have")
        elif components[name] != there.components[name]:
            lines.append(f"component {name}: would run otherwise than it does there")
    return lines


def _shown(value: object) -> str:
    return json.dumps(value) if isinstance(value, list) else str(value)
