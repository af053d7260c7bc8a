"""Single flags and variables of components: what a suite sets is in the plan, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pytest_kubernix.components import register_all
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.errors import KubernixError
from pytest_kubernix.plan import ComponentRegistry, HostFacts, Plan, make_plan
from pytest_kubernix.plan.fingerprint import fingerprint
from pytest_kubernix.plan.model import ComponentPlan, Phase
from pytest_kubernix.plan.patches import Patch

MakeConfig = Callable[..., ClusterConfig]
MakeFacts = Callable[..., HostFacts]

PREPARED = "/cache/etcd/1.36.3"


def argv(plan: Plan, name: str) -> tuple[str, ...]:
    return next(each.argv for each in plan.components if each.name == name)


def planned(config: ClusterConfig, facts: HostFacts, patch: Callable[[ComponentRegistry], None]) -> Plan:
    return make_plan(config, facts, register_all, plugins=lambda registry, _: patch(registry))


def test_flags_are_set_added_and_dropped(config: MakeConfig, facts: MakeFacts) -> None:
    """A value takes a flag's place, None its flag away, a list is one flag each, and all others stay."""
    usual = make_plan(config(nodes=0), facts(), register_all)
    args = {
        "kube-apiserver": {"v": 4, "profiling": None, "runtime-config": ["a=true", "b=false"], "anonymous-auth": True}
    }
    changed = make_plan(config(nodes=0, component_args=args), facts(), register_all)
    before, after = (set(argv(plan, "kube-apiserver")) for plan in (usual, changed))
    assert before - after == {"--v=1", "--profiling=false", "--anonymous-auth=false"}
    assert after - before == {"--v=4", "--runtime-config=a=true", "--runtime-config=b=false", "--anonymous-auth=true"}
    assert argv(changed, "etcd") == argv(usual, "etcd")


def test_words_that_are_no_flags_stay_behind_them() -> None:
    """A command's flags come before its words, and variables are set and dropped."""
    plan = ComponentPlan("a", Phase.CONTROLLER, argv=("/bin/a", "run", "--x=1"), env={"A": "1", "B": "2"})
    changed = Patch({"y": 2}, {"A": None, "C": "3"}).apply(plan)
    assert changed.argv == ("/bin/a", "--y=2", "run", "--x=1")
    assert changed.env == {"B": "2", "C": "3"}


@pytest.mark.parametrize(
    ("args", "used"),
    [
        ({"kubelet": {"max-pods": 7}}, True),
        ({"kube-apiserver": {"v": 4, "audit-log-path": "-", "profiling": None}}, True),
        ({"etcd": {"quota-backend-bytes": 1}}, True),
        ({"kube-apiserver": {"vendor-flag": 4}}, False),
        ({"kube-apiserver": {"feature-gates": "A=true"}}, False),
        ({"etcd": {"auth-token": "simple"}}, False),
    ],
)
def test_prepared_data_is_used_where_it_does_no_harm(
    config: MakeConfig, facts: MakeFacts, args: Mapping[str, Any], used: bool
) -> None:
    """A flag that may change what an API server writes first lets it write; and no such cluster makes prepared data."""
    plan = make_plan(config(component_args=args), facts(etcd_data=PREPARED), register_all)
    assert (PREPARED in repr(plan)) is used
    assert plan.stock is (args.keys() == {"kubelet"})


def test_a_plugin_changes_one_node_or_all(config: MakeConfig, facts: MakeFacts) -> None:
    """`kubelet` is every node's, `kubelet/node-2` one node's, and plugins come after the configuration."""

    def patch(registry: ComponentRegistry) -> None:
        registry.patch("kubelet", flags={"max-pods": 5}, env={"GODEBUG": "x=1"})
        registry.patch("kubelet/node-2", flags={"max-pods": 6})

    plan = planned(config(nodes=2, component_args={"kubelet": {"max-pods": 4}}), facts(), patch)
    kubelets = [each for each in plan.components if each.name.startswith("kubelet/")]
    found = [[word for word in each.argv if word.startswith("--max-pods")] for each in kubelets]
    assert found == [["--max-pods=5"], ["--max-pods=6"]]
    assert all(each.env["GODEBUG"] == "x=1" for each in kubelets)


def test_a_component_that_is_not_there_is_named(config: MakeConfig, facts: MakeFacts) -> None:
    """A slip in a name is an error with the names that there are, from the configuration as from a plugin."""
    message = "no component 'kubelt' to change; there are .*kube-apiserver.*kubelet, kubelet/node-1"
    with pytest.raises(KubernixError, match=message):
        planned(config(nodes=1), facts(), lambda registry: registry.patch("kubelt", flags={"v": 2}))
    with pytest.raises(KubernixError, match=message):
        make_plan(config(nodes=1, component_args={"kubelt": {"v": 2}}), facts(), register_all)


def test_a_fingerprint_knows_what_plugins_change(config: MakeConfig, facts: MakeFacts) -> None:
    """Two suites whose plugins make the same components run the same; another flag is another cluster."""

    def digests(patch: Callable[[ComponentRegistry], None]) -> dict[str, str]:
        usual, plugged = ComponentRegistry(), ComponentRegistry()
        for registry in (usual, plugged):
            register_all(registry, config(nodes=0), facts())
        patch(plugged)
        return fingerprint(config(nodes=0), facts(), usual, plugged)

    assert digests(lambda registry: None) == {}
    four, again, five = (
        digests(lambda registry, level=level: registry.patch("etcd", flags={"log-level": level}))  # type: ignore[misc]
        for level in ("4", "4", "5")
    )
    assert four.keys() == {"etcd"}
    assert four == again != five
