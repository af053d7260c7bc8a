"""Components that fail in their own ways, and the shortest way to boot a cluster that has them.
Given to the driver as a plugin's hook would give them; no part of the boot is replaced."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pytest_kubernix.binaries.pins import DEFAULT_VERSION
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions, RunningCluster
from pytest_kubernix.drivers.native.driver import NativeDriver
from pytest_kubernix.plan import ClusterContext, Component, ComponentRegistry, Phase
from pytest_kubernix.plan.model import ComponentPlan, Probe

NEVER = Probe("socket", "/nowhere/at-all.sock")


class Scripted(Component):
    """A component that is a line of shell, and never ready.

    Args:
        name: Its name.
        script: What it runs.
        last: Whether it starts in the last phase instead of the first.
    """

    def __init__(self, name: str, script: str, *, last: bool = False) -> None:
        self.name = name
        self.phase = Phase.NODE_AGENT if last else Phase.INFRASTRUCTURE
        self.script = script

    def argv(self) -> tuple[str, ...]:
        return ("/bin/sh", "-c", self.script)

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        return ComponentPlan(self.name, self.phase, self.argv(), env=ctx.environment(), ready=(NEVER,))


class Dying(Scripted):
    """Says a few words, and dies with code 7."""

    def __init__(self, name: str, *, delay: float = 0, last: bool = False) -> None:
        script = f"echo the first words of {name}; sleep {delay:g}; echo the last words of {name} >&2; exit 7"
        super().__init__(name, script, last=last)


class DyingHeld(Dying):
    """Is loaded early, to begin late, and dies in between."""

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        return dataclasses.replace(super().build(ctx), held=True, waits_for=("kube-apiserver",))


class NoExecutable(Scripted):
    """Is a file that the kernel does not run."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "", last=True)

    def argv(self) -> tuple[str, ...]:
        return ("/etc/hostname",)


def boot(*components: Component, **settings: Any) -> RunningCluster:
    """Boot a cluster that has some components more, without nodes unless told otherwise."""

    def register(registry: object, config: ClusterConfig) -> None:
        assert isinstance(registry, ComponentRegistry)
        for component in components:
            registry.register(component)

    root = settings.pop("root", None)
    config = ClusterConfig(
        k8s_version=DEFAULT_VERSION, **{"nodes": 0, "root": Path(root) if root else None, **settings}
    )
    return NativeDriver().start(config, BootOptions(component_plugins=register))
