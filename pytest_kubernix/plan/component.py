"""Component: the contract of one part of a cluster; ComponentRegistry: the parts that a cluster has.
A component says what to run; `boot/` runs it. Adding one is described in CONTRIBUTING."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import KubernixError
from .model import ComponentPlan, Phase

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

    def __getitem__(self, name: str) -> Component:
        """The component of that name, so that another can wrap it."""
        return self._components[name]

    def __iter__(self) -> Iterator[Component]:
        return iter(self._components.values())

    def __len__(self) -> int:
        return len(self._components)

    def by_phase(self) -> list[tuple[Phase, list[Component]]]:
        """The components grouped by phase, phases in order; empty phases are left out."""
        groups: dict[Phase, list[Component]] = {}
        for component in self:
            groups.setdefault(component.phase, []).append(component)
        return sorted(groups.items())

    def build(self, ctx: ClusterContext) -> tuple[ComponentPlan, ...]:
        """Every component's plan, in the order of registration.

        Raises:
            KubernixError: A component's plan contradicts its component, or itself.
        """
        plans = tuple(component.build(ctx) for component in self)
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
