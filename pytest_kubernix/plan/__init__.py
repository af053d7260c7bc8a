"""Pure planning: configuration in, data out. Nothing here touches a disk, a clock, a process or a port.
`make_plan` is the way in; a `Plan` is what `boot/` carries out, and what a dry run prints."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .assemble import make_plan
    from .component import Component, ComponentRegistry
    from .context import ClusterContext, HostFacts, flags
    from .model import ApiObject, Command, ComponentPlan, Copy, File, Phase, Plan, Probe

__all__ = [
    "ApiObject",
    "ClusterContext",
    "Command",
    "Component",
    "ComponentPlan",
    "ComponentRegistry",
    "Copy",
    "File",
    "HostFacts",
    "Phase",
    "Plan",
    "Probe",
    "flags",
    "make_plan",
]

_HOMES = {
    "ApiObject": "model",
    "ClusterContext": "context",
    "Command": "model",
    "Component": "component",
    "ComponentPlan": "model",
    "Copy": "model",
    "File": "model",
    "Probe": "model",
    "flags": "context",
    "ComponentRegistry": "component",
    "HostFacts": "context",
    "Phase": "model",
    "Plan": "model",
    "make_plan": "assemble",
}


def __getattr__(name: str) -> object:
    # A guardian needs a plan's classes alone: keys and their library would cost it half of its start.
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
