"""pytest-kubernix: real Kubernetes clusters for tests, without Docker, a VM or an image registry.
The public names; each is imported when it is first used, so that importing the package costs nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import Cluster
    from .config import ClusterConfig
    from .drivers.base import BootOptions, Diagnostics, Driver, RunningCluster, State, Status
    from .drivers.registry import DriverRegistry
    from .errors import (
        BootError,
        ClusterGone,
        ComponentError,
        ConfigError,
        DriverError,
        ExecutablesError,
        ImageError,
        KubectlError,
        KubernixError,
        NamespaceStuckWarning,
    )
    from .fixtures.factory import ClusterFactory
    from .handle import Action, Capability, ClusterHandle, ComponentState, Death, Event
    from .kubectl import Kubectl, KubectlResult
    from .store.history import Checkpoint

__version__ = "0.1.0"

_HOME = {
    "Action": "handle",
    "Capability": "handle",
    "ComponentState": "handle",
    "Event": "handle",
    "BootError": "errors",
    "BootOptions": "drivers.base",
    "Checkpoint": "store.history",
    "Cluster": "cluster",
    "ClusterConfig": "config",
    "ClusterFactory": "fixtures.factory",
    "ClusterGone": "errors",
    "ClusterHandle": "handle",
    "ComponentError": "errors",
    "ConfigError": "errors",
    "Death": "handle",
    "Diagnostics": "drivers.base",
    "Driver": "drivers.base",
    "DriverError": "errors",
    "DriverRegistry": "drivers.registry",
    "ExecutablesError": "errors",
    "ImageError": "errors",
    "Kubectl": "kubectl",
    "KubectlError": "errors",
    "KubectlResult": "kubectl",
    "KubernixError": "errors",
    "NamespaceStuckWarning": "errors",
    "RunningCluster": "drivers.base",
    "State": "drivers.base",
    "Status": "drivers.base",
}

__all__ = [
    "Action",
    "BootError",
    "BootOptions",
    "Capability",
    "Checkpoint",
    "Cluster",
    "ClusterConfig",
    "ClusterFactory",
    "ClusterGone",
    "ClusterHandle",
    "ComponentError",
    "ComponentState",
    "ConfigError",
    "Death",
    "Diagnostics",
    "Driver",
    "DriverError",
    "DriverRegistry",
    "Event",
    "ExecutablesError",
    "ImageError",
    "Kubectl",
    "KubectlError",
    "KubectlResult",
    "KubernixError",
    "NamespaceStuckWarning",
    "RunningCluster",
    "State",
    "Status",
]


def __getattr__(name: str) -> object:
    """Import a public name from its module (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
