"""ClusterHandle and Death: all that crosses a process boundary about a running cluster, as JSON.
Whoever has one can build a `Cluster` from it; nothing else is shared between processes."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ClusterHandle:
    """Where a running cluster is and how to reach it.

    Attributes:
        cluster_id: Short name, unique on this machine while the cluster lives.
        driver: Name of the driver that made it.
        k8s_version: Version of the API server, without a "v".
        server: URL of the API server.
        kubeconfig: Path of the administrator's kubeconfig.
        kubectl: Path of the kubectl of the cluster's own version.
        nodes: Names of its nodes, in order.
        run_dir: Directory with its files, or None for a driver that has none.
        control_socket: Socket of the guardian, or None.
        config: The `ClusterConfig` it was made from, as JSON data.
        capabilities: What this cluster can do: "nodes", "images", "users", "etcd", …
        programs: Name → path of the executables that the cluster's tools need (ctr, …).
        metrics: Component → URL of its metrics, for the administrator.
        timings: Phase → seconds it took to boot.
    """

    cluster_id: str
    driver: str
    k8s_version: str
    server: str
    kubeconfig: Path
    kubectl: Path
    nodes: tuple[str, ...]
    run_dir: Path | None = None
    control_socket: Path | None = None
    config: dict[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    programs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """One JSON text; `from_json` is its inverse."""
        return json.dumps(dataclasses.asdict(self), default=str, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ClusterHandle:
        """The handle that `to_json` wrote."""
        data = json.loads(text)
        for name in ("kubeconfig", "kubectl"):
            data[name] = Path(data[name])
        for name in ("run_dir", "control_socket"):
            data[name] = Path(data[name]) if data[name] else None
        for name in ("nodes", "capabilities"):
            data[name] = tuple(data[name])
        return cls(**data)


@dataclass(frozen=True)
class Death:
    """A component that ended although nobody had asked for it.

    Attributes:
        component: Its name.
        at: When, in seconds since the epoch.
        text: How, with the end of its log.
    """

    component: str
    at: float
    text: str
