"""What CONTRIBUTING says, done: its component is built, its hook is called, and its files are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_kubernix import ComponentRegistry
from pytest_kubernix.components import register_all
from pytest_kubernix.plan import make_plan

from .plan.conftest import example_config, example_facts

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_component_of_the_example_is_part_of_a_plan() -> None:
    """The code in CONTRIBUTING runs as it stands, with public names alone, and adds its component."""
    names: dict[str, object] = {}
    exec(EXAMPLE, names)
    hook = names["pytest_kubernix_components"]
    assert callable(hook)
    plan = make_plan(example_config(nodes=0), example_facts(), register_all, plugins=hook)
    found = next(component for component in plan.components if component.name == "metrics-server")
    assert "--secure-port=4443" in found.argv
    assert re.findall(r"(?m)^from (\S+) import", EXAMPLE) == ["pytest_kubernix"]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py|/)?)`", TEXT))))
def test_the_files_it_names_are_there(path: str) -> None:
    """A path in CONTRIBUTING leads somewhere, in the checkout or in the package."""
    made_by_hand = {"components/metrics_server.py"}
    there = [(root / path) for root in (REPOSITORY, REPOSITORY / "pytest_kubernix")]
    assert any(one.exists() for one in there) or path.removeprefix("pytest_kubernix/") in made_by_hand


def test_a_patch_is_as_it_says() -> None:
    """The line about single flags works."""
    (flags,) = re.findall(r"`registry\.patch\(([^`]*)\)`", TEXT)
    registry = ComponentRegistry()
    config, facts = example_config(nodes=1), example_facts()
    register_all(registry, config, facts)
    exec(f"registry.patch({flags})", {"registry": registry})
    assert [patch.flags for patch in registry.patches("kubelet/node-1", config)] == [{"max-pods": 7}]
