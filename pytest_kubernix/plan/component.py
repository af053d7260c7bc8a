"""Component: the contract of one part of a cluster; ComponentRegistry: the parts that a cluster has.
A component says what to run; `boot/` runs it. Adding one is described in CONTRIBUTING."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..config import ClusterConfig, FlagValue
from ..errors import ConfigError, KubernixError
from .model import ComponentPlan, Phase
from .patches import Patch, of_kind

if TYPE_CHECKING:
    from .context import ClusterContext

__all__ = ["Component", "ComponentRegistry", "Phase"]


class Component(ABC):
    """One part of a cluster: one process, in one place, started in one phase.

    Attributes:
        name: Unique in the cluster, such as "etcd" or "kubelet/node-1".
        phase: When it starts.
    """

    name: str
    phase: Phase

    @abstractmethod
    def build(self, ctx: ClusterContext) -> ComponentPlan:
        """What to run and how to know that it is ready. Pure: the same context gives the same plan."""


class ComponentRegistry:
    """Collects components; names are unique."""

    def __init__(self) -> None:
        self._components: dict[str, Component] = {}
        self._patches: list[tuple[str, Patch]] = []

    def register(self, component: Component) -> None:
        """Add a component.

        Raises:
            KubernixError: One of that name is there already.
        """
        if component.name in self._components:
            raise KubernixError(f"component {component.name!r} is registered twice")
        self._components[component.name] = component

    def replace(self, component: Component) -> None:
        """Put a component in the place of the one that has its name.

        Raises:
            KubernixError: There is none of that name.
        """
        if component.name not in self._components:
            known = ", ".join(self._components)
            raise KubernixError(f"no component {component.name!r} to replace; there are {known}")
        self._components[component.name] = component

    def patch(
        self,
        name: str,
        *,
        flags: Mapping[str, FlagValue] | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> None:
        """Change single flags or variables of a component, whatever class it has.

        Args:
            name: The component, such as "kube-apiserver" or "kubelet/node-1"; "kubelet" is every node's.
            flags: Flag, without its dashes → value; a sequence is the flag once for each; None drops it.
            env: Variable → value; None drops it.

        Raises:
            KubernixError: There is no such component.
        """
        self._must_exist(name)
        self._patches.append((name, Patch(flags or {}, env or {})))

    def patches(self, name: str, config: ClusterConfig) -> list[Patch]:
        """What is to be different of a component, in the order in which it is done: the configuration, then plugins."""
        configured = [(which, Patch(flags)) for which, flags in config.component_args.items()]
        return [patch for which, patch in (*configured, *self._patches) if which in {name, of_kind(name)}]

    def _must_exist(self, name: str) -> None:
        known = dict.fromkeys(known for each in self._components for known in (of_kind(each), each))
        if name not in known:
            raise KubernixError(f"no component {name!r} to change; there are {', '.join(known)}")

    def __getitem__(self, name: str) -> Component:
        """The component of that name, so that another can wrap it."""
        return self._components[name]

    def __iter__(self) -> Iterator[Component]:
        return iter(self._components.values())

    def __len__(self) -> int:
        return len(self._components)

    def _built(self, component: Component, ctx: ClusterContext) -> ComponentPlan:
        plan = component.build(ctx)
        for patch in self.patches(component.name, ctx.config):
            plan = patch.apply(plan)
        return plan

    def by_phase(self) -> list[tuple[Phase, list[Component]]]:
        """The components grouped by phase, phases in order; empty phases are left out."""
        groups: dict[Phase, list[Component]] = {}
        for component in self:
            groups.setdefault(component.phase, []).append(component)
        return sorted(groups.items())

    def build(self, ctx: ClusterContext) -> tuple[ComponentPlan, ...]:
        """Every component's plan, patched, in the order of registration.

        Raises:
            ConfigError: The configuration has arguments for a component that is not there.
            KubernixError: A component's plan contradicts its component, or itself.
        """
        for name in ctx.config.component_args:
            try:
                self._must_exist(name)
            except KubernixError as error:
                raise ConfigError("component_args", name, error.message) from None
        plans = tuple(self._built(component, ctx) for component in self)
        phases = {plan.name: plan.phase for plan in plans}
        for component, plan in zip(self, plans, strict=True):
            for other in plan.waits_for or ():
                if phases.get(other, plan.phase) >= plan.phase:
                    raise KubernixError(
                        f"component {plan.name!r} waits for {other!r}, which is not in an earlier phase"
                    )
            if (plan.name, plan.phase) != (component.name, component.phase):
                raise KubernixError(
                    f"component {component.name!r} (phase {component.phase.title}) "
                    f"built a plan for {plan.name!r} (phase {plan.phase.title})"
                )
            if plan.objects and plan.phase <= Phase.CONTROL_PLANE:
                raise KubernixError(
                    f"component {plan.name!r} wants API objects in phase {plan.phase.title}, "
                    "before there is an API server"
                )
        return plans
