from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_kubernix.components import register_all
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.errors import ExecutablesError, KubernixError
from pytest_kubernix.plan import ClusterContext, Component, ComponentRegistry, HostFacts, Phase, make_plan
from pytest_kubernix.plan.assemble import make_context
from pytest_kubernix.plan.model import ApiObject, ComponentPlan

MakeConfig = Callable[..., ClusterConfig]
MakeFacts = Callable[..., HostFacts]


class Extra(Component):
    """A component as a user's plugin would write one."""

    def __init__(self, name: str = "extra", phase: Phase = Phase.CONTROLLER, *, objects: bool = False) -> None:
        self.name = name
        self.phase = phase
        self.objects = objects

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        objects = (ApiObject("/api/v1/namespaces", {"kind": "Namespace"}),) if self.objects else ()
        return ComponentPlan(self.name, self.phase, argv=("/bin/extra", ctx.server), objects=objects)


def test_phases_come_in_order_whatever_the_order_of_registration() -> None:
    """Components are grouped by phase, phases ascend, and members keep the order they were registered in."""
    registry = ComponentRegistry()
    for name, phase in (("d", Phase.NODE_AGENT), ("b", Phase.CONTROLLER), ("a", Phase.INFRASTRUCTURE)):
        registry.register(Extra(name, phase))
    registry.register(Extra("c", Phase.CONTROLLER))
    grouped = [(phase.title, [component.name for component in group]) for phase, group in registry.by_phase()]
    assert grouped == [("Infrastructure", ["a"]), ("Controller", ["b", "c"]), ("NodeAgent", ["d"])]


def test_a_name_belongs_to_one_component() -> None:
    """Registering a second component of one name is an error that names it."""
    registry = ComponentRegistry()
    registry.register(Extra())
    with pytest.raises(KubernixError, match="'extra' is registered twice"):
        registry.register(Extra())


def test_a_component_can_be_replaced() -> None:
    """A plugin puts its own component in the place of one of ours, and can't miss the name."""
    registry = ComponentRegistry()
    registry.register(Extra("first"))
    registry.register(Extra())
    registry.replace(Extra("first", Phase.INFRASTRUCTURE))
    assert [(component.name, component.phase) for component in registry] == [
        ("first", Phase.INFRASTRUCTURE),
        ("extra", Phase.CONTROLLER),
    ]
    with pytest.raises(KubernixError, match="no component 'frist' to replace; there are first, extra"):
        registry.replace(Extra("frist"))


def test_plugins_add_components(config: MakeConfig, facts: MakeFacts) -> None:
    """A component that a plugin registers is part of the plan, with the context's knowledge in it."""

    def plugin(registry: ComponentRegistry, _: ClusterConfig) -> None:
        registry.register(Extra())

    plan = make_plan(config(nodes=0), facts(), register_all, plugins=plugin)
    extra = plan.components[-1]
    assert (extra.name, extra.argv) == ("extra", ("/bin/extra", "https://127.0.0.1:6443"))


def test_objects_need_an_api_server(config: MakeConfig, facts: MakeFacts) -> None:
    """A component that wants API objects before there is an API server is refused while planning."""
    registry = ComponentRegistry()
    registry.register(Extra(phase=Phase.INFRASTRUCTURE, objects=True))
    with pytest.raises(KubernixError, match="'extra' wants API objects in phase Infrastructure"):
        registry.build(make_context(config(nodes=0), facts()))


def test_only_earlier_phases_are_waited_for(config: MakeConfig, facts: MakeFacts) -> None:
    """A component that waits for one of its own or a later phase, or for none at all, is refused while planning."""

    class Waiting(Extra):
        def build(self, ctx: ClusterContext) -> ComponentPlan:
            return ComponentPlan(self.name, self.phase, argv=("/bin/extra",), waits_for=("other",))

    registry = ComponentRegistry()
    registry.register(Waiting())
    registry.register(Extra("other"))
    with pytest.raises(KubernixError, match="'extra' waits for 'other', which is not in an earlier phase"):
        registry.build(make_context(config(nodes=0), facts()))


def test_a_plan_is_its_components_own(config: MakeConfig, facts: MakeFacts) -> None:
    """A component that builds a plan under another name or phase is refused while planning."""

    class Liar(Extra):
        def build(self, ctx: ClusterContext) -> ComponentPlan:
            return ComponentPlan("other", self.phase, argv=("/bin/other",))

    registry = ComponentRegistry()
    registry.register(Liar())
    with pytest.raises(KubernixError, match=r"'extra' .* built a plan for 'other'"):
        registry.build(make_context(config(nodes=0), facts()))


def test_a_missing_executable_is_named(config: MakeConfig, facts: MakeFacts) -> None:
    """Planning with an executable missing says which, and which there are."""
    with pytest.raises(ExecutablesError, match=r"no executable named 'etcd'; there are kubectl"):
        make_plan(config(nodes=0), facts(programs={"kubectl": "/executables/kubectl"}), register_all)


def test_nothing_of_the_callers_environment_reaches_components(
    config: MakeConfig, facts: MakeFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A developer's variables don't change a cluster; only proxies reach the runtime, for pulling images."""
    monkeypatch.setenv("GODEBUG", "surprise")
    plan = make_plan(config(nodes=1), facts(proxy_env={"HTTPS_PROXY": "http://proxy.test:3128"}), register_all)
    for component in plan.components:
        assert set(component.env) <= {"PATH", "HOME", "GOGC", "HTTPS_PROXY"}
        assert ("HTTPS_PROXY" in component.env) == component.name.startswith("containerd/")
