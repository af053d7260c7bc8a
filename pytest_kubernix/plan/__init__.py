"""Pure planning: configuration in, data out. Nothing here touches a disk, a clock, a process or a port.
`make_plan` is the way in; a `Plan` is what `boot/` carries out, and what a dry run prints."""

from .assemble import make_plan
from .component import Component, ComponentRegistry, Phase
from .context import ClusterContext, HostFacts
from .model import Plan

__all__ = ["ClusterContext", "Component", "ComponentRegistry", "HostFacts", "Phase", "Plan", "make_plan"]
