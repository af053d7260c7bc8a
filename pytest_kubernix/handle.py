"""What is known of a running cluster in every process that uses it: its handle, the state of its parts, what happened.
All of it is plain data that crosses processes; moments are on the monotonic clock, which all of a machine share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from . import plain


class Capability(StrEnum):
    """What a cluster can do, and another one perhaps not. Drivers from outside may name others."""

    ETCD = "etcd"
    """Checkpoints and rollbacks, past the API server."""
    IMAGES = "images"
    """Nodes take images without a registry."""
    NODES = "nodes"
    """Pods run."""
    USERS = "users"
    """Users and service accounts with kubeconfigs of their own."""


class ComponentState(StrEnum):
    """What a component or a node is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


class Action(StrEnum):
    """What can be done to a component or a node."""

    KILL = "kill"
    PAUSE = "pause"
    RESUME = "resume"
    RESTART = "restart"


class Event(NamedTuple):
    """Something that happened to a part of a cluster.

    Attributes:
        name: The component, node or phase; "cluster" for the whole.
        what: What happened to it.
        at: When, in seconds on the monotonic clock.
    """

    name: str
    what: str
    at: float


@dataclass(frozen=True)
class Death:
    """A component that ended although no test had asked for it.

    Attributes:
        component: Its name.
        at: When, in seconds on the monotonic clock.
        text: How, with the end of its log.
    """

    component: str
    at: float
    text: str


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
        components: Component → a digest of what runs, of those that plugins added or changed.
        capabilities: What this cluster can do: see `Capability`.
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
    components: dict[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    programs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` is its inverse."""
        data: dict[str, Any] = plain.to_plain(self)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ClusterHandle:
        """The handle that `to_json` wrote."""
        return plain.from_plain(cls, data)


def wall_clock(at: float) -> float:
    """A moment on the monotonic clock as seconds since the epoch, by how long ago it was."""
    return time.time() - (time.monotonic() - at)


def not_running(components: Mapping[str, ComponentState]) -> str:
    """Which parts of a cluster keep it from being ready, as a phrase; "" when all of them run."""
    return ", ".join(f"{name} is {state}" for name, state in components.items() if state != ComponentState.RUNNING)
