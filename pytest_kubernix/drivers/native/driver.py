"""The native driver: a real cluster out of this project's own executables, kept by a guardian of its own.
Puts the rooms together: machine, executables, claims, plan, boot, handle."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ... import plain
from ...binaries import Executables, find_executables
from ...boot.engine import NativeEngine, NativeFacts, NativeSpec, NativeWants
from ...config import ClusterConfig
from ...errors import KubernixError
from ...guardian import spare
from ...guardian.boot_ahead import BootAhead
from ...guardian.client import GuardianClient
from ...guardian.joining import Joining
from ...handle import Capability, ClusterHandle
from ...layout import Layout
from ...plan.component import ComponentRegistry
from ...plan.model import Plan
from ...store.etcd import EtcdClient
from ..base import BootOptions, Driver, RunningCluster
from . import machine
from .running import NativeCluster


class NativeDriver(Driver):
    """Clusters of real processes on this machine."""

    name = "native"

    def check(self, config: ClusterConfig) -> KubernixError | None:
        return machine.missing(config.nodes)

    def start(self, config: ClusterConfig, options: BootOptions) -> RunningCluster:
        if problem := self.check(config):
            raise problem
        executables = find_executables(config.k8s_version, nodes=config.nodes > 0, progress=options.progress)
        recipe = NativeRecipe(config, options, executables)
        spares = None
        if options.spares and not config.repeatable:
            options.progress("boots no spare: a fixed port or network is there once")
        elif options.spares:
            ahead = Joining(config, options.share, options.progress, recipe)
            spares = BootAhead(config.root, options.share, recipe.identity(), ahead.start, ahead.boot_spare)
        guardian, handle = Joining(config, options.share, options.progress, recipe, spares).join()
        if spares:
            spares.fill(options.spares)
        return NativeCluster(guardian, handle, shared=bool(options.share.key), spares=spares)


class NativeRecipe:
    """How this driver makes one cluster; see `guardian.joining.Recipe`.

    Args:
        config: What it should be.
        options: Of the cluster that was asked for.
        executables: What it runs.
    """

    engine = NativeEngine

    def __init__(self, config: ClusterConfig, options: BootOptions, executables: Executables) -> None:
        self._config = config
        self._options = options
        self._executables = executables
        self._components: dict[str, str] | None = None
        self._leaves_data = False

    def wants(self) -> Mapping[str, Any]:
        """Ports of the API server and of what its administrator asks, and a network for nodes."""
        config = self._config
        if problem := machine.too_many(config):
            raise problem
        ports = {"kube-apiserver": config.api_port, "kube-controller-manager": 0, "kube-scheduler": 0}
        wants: Mapping[str, Any] = plain.to_plain(NativeWants(ports, network=config.nodes > 0, cidr=config.cidr))
        return wants

    def plan(self, layout: Layout, claimed: Mapping[str, Any]) -> tuple[Mapping[str, Any], ClusterHandle]:
        """Make the plan, plugins' components included."""
        from ...components import register_all
        from ...plan import make_plan

        facts = machine.host_facts(
            self._executables,
            layout,
            plain.from_plain(NativeFacts, claimed),
            etcd_data=machine.prepared_data(self._executables).find(),
            shared=self._options.directories,
        )
        plan = make_plan(
            self._config, facts, register_all, plugins=self._plug if self._options.component_plugins else None
        )
        self._leaves_data = plan.stock and not facts.etcd_data
        spec = plain.to_plain(NativeSpec(plan, machine.failed_boots()))
        return spec, self._handle(plan, layout, facts.ports)

    def _handle(self, plan: Plan, layout: Layout, ports: Mapping[str, int]) -> ClusterHandle:
        with_nodes = (Capability.IMAGES, Capability.NODES) if plan.nodes else ()
        return ClusterHandle(
            cluster_id=plan.cluster_id,
            driver=NativeDriver.name,
            k8s_version=self._config.k8s_version,
            server=plan.server,
            kubeconfig=Path(plan.admin_kubeconfig),
            kubectl=self._executables["kubectl"],
            nodes=plan.nodes,
            run_dir=layout.run_dir,
            control_socket=layout.control_socket,
            config=self._config.to_json(),
            components=dict(self.components()),
            capabilities=(Capability.ETCD, Capability.USERS, *with_nodes),
            programs={name: str(path) for name, path in self._executables.programs.items()},
            metrics={name: f"https://127.0.0.1:{port}/metrics" for name, port in ports.items()},
        )

    def components(self) -> Mapping[str, str]:
        """What plugins make of the components; nothing, at no cost, where there is no such plugin."""
        if self._components is None and self._options.component_plugins:
            self._plug(self._usual(), self._config)
        return self._components or {}

    def _plug(self, registry: ComponentRegistry, config: ClusterConfig) -> None:
        """Let plugins add components, and remember what they have made of them."""
        from ...plan.fingerprint import fingerprint

        assert self._options.component_plugins
        self._options.component_plugins(registry, config)
        facts = machine.planned_facts(config, etcd_data="")
        self._components = fingerprint(config, facts, self._usual(), registry)

    def _usual(self) -> ComponentRegistry:
        from ...components import register_all

        registry = ComponentRegistry()
        register_all(registry, self._config, machine.planned_facts(self._config, etcd_data=""))
        return registry

    def identity(self) -> str:
        """What a spare of this cluster is."""
        programs = [str(path) for path in self._executables.programs.values()]
        return spare.identity(self._config, programs, self.components(), machine.proxy_environment())

    def booted(self, layout: Layout) -> None:
        """The first cluster of a version leaves what makes all later ones boot faster; not one that plugins changed."""
        if not self._leaves_data:
            return
        data = machine.prepared_data(self._executables)
        try:
            with contextlib.closing(EtcdClient(layout.etcd_socket)) as etcd:
                data.make(etcd, self._executables["etcd"], layout.run_dir)
        except (KubernixError, OSError) as error:
            self._options.progress(f"later boots will be no faster: {error}")

    def on_ready(self, guardian: GuardianClient, handle: ClusterHandle) -> None:
        """Hand the cluster to the plugins' hook."""
        self._options.on_ready(NativeCluster(guardian, handle, shared=bool(self._options.share.key)))

    def meanwhile(self) -> None:
        """Import what makes plans: its library for keys takes half as long to import as a guardian to start."""
        import_module("pytest_kubernix.plan.assemble")
