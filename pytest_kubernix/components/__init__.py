"""The parts of a cluster, one module each. `register_all` is the list of them, in one place.
Each module knows the flags and files of its own program, and nothing of how processes are run."""

from __future__ import annotations

from ..config import ClusterConfig
from ..plan.component import ComponentRegistry
from ..plan.context import HostFacts
from .apiserver import ApiServer
from .containerd import Containerd
from .controller_manager import ControllerManager
from .coredns import CoreDns
from .egress import Egress
from .etcd import Etcd
from .kubelet import Kubelet
from .proxy import Proxy
from .relay import Relay
from .scheduler import Scheduler

__all__ = ["register_all"]


def register_all(registry: ComponentRegistry, config: ClusterConfig, facts: HostFacts) -> None:
    """Register every component that this configuration has on this machine."""
    registry.register(Etcd())
    registry.register(ApiServer())
    registry.register(ControllerManager())
    registry.register(Scheduler())
    if not config.nodes:
        return
    registry.register(Relay())
    if facts.egress_program:
        registry.register(Egress())
    if "coredns" in config.addons:
        registry.register(CoreDns())
    for node in range(1, config.nodes + 1):
        registry.register(Containerd(node))
        registry.register(Kubelet(node))
        registry.register(Proxy(node))
