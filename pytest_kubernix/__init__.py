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
        NotEnforcedWarning,
    )
    from .fixtures.factory import ClusterFactory
    from .handle import Action, Capability, ClusterHandle, ComponentState, Death, Event
    from .kubectl import Kubectl, KubectlResult
    from .plan import (
        ApiObject,
        ClusterContext,
        Command,
        Component,
        ComponentPlan,
        ComponentRegistry,
        File,
        Phase,
        Probe,
        flags,
    )
    from .store.history import Checkpoint

__version__ = "0.1.0"

_HOME = {
    "Action": "handle",
    "ApiObject": "plan",
    "BootError": "errors",
    "BootOptions": "drivers.base",
    "Capability": "handle",
    "Checkpoint": "store.history",
    "Cluster": "cluster",
    "ClusterConfig": "config",
    "ClusterContext": "plan",
    "ClusterFactory": "fixtures.factory",
    "ClusterGone": "errors",
    "ClusterHandle": "handle",
    "Command": "plan",
    "Component": "plan",
    "ComponentError": "errors",
    "ComponentPlan": "plan",
    "ComponentRegistry": "plan",
    "ComponentState": "handle",
    "ConfigError": "errors",
    "Death": "handle",
    "Diagnostics": "drivers.base",
    "Driver": "drivers.base",
    "DriverError": "errors",
    "DriverRegistry": "drivers.registry",
    "Event": "handle",
    "ExecutablesError": "errors",
    "File": "plan",
    "ImageError": "errors",
    "Kubectl": "kubectl",
    "KubectlError": "errors",
    "KubectlResult": "kubectl",
    "KubernixError": "errors",
    "NamespaceStuckWarning": "errors",
    "NotEnforcedWarning": "errors",
    "Phase": "plan",
    "Probe": "plan",
    "RunningCluster": "drivers.base",
    "State": "drivers.base",
    "Status": "drivers.base",
    "flags": "plan",
}

__all__ = [
    "Action",
    "ApiObject",
    "BootError",
    "BootOptions",
    "Capability",
    "Checkpoint",
    "Cluster",
    "ClusterConfig",
    "ClusterContext",
    "ClusterFactory",
    "ClusterGone",
    "ClusterHandle",
    "Command",
    "Component",
    "ComponentError",
    "ComponentPlan",
    "ComponentRegistry",
    "ComponentState",
    "ConfigError",
    "Death",
    "Diagnostics",
    "Driver",
    "DriverError",
    "DriverRegistry",
    "Event",
    "ExecutablesError",
    "File",
    "ImageError",
    "Kubectl",
    "KubectlError",
    "KubectlResult",
    "KubernixError",
    "NamespaceStuckWarning",
    "NotEnforcedWarning",
    "Phase",
    "Probe",
    "RunningCluster",
    "State",
    "Status",
    "flags",
]


def __getattr__(name: str) -> object:
    """Import a public name from its module (PEP 562)."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
