"""What the two markers mean, read without a session."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from pytest_kubernix import Cluster
from pytest_kubernix.fixtures.markers import check_requirements, unmet, wanted_changes
from pytest_kubernix.versions import matches as version_matches


@pytest.mark.parametrize(
    ("version", "requirement", "expected"),
    [
        ("1.34.4", ">=1.34", True),
        ("1.34.4", ">=1.34.4", True),
        ("1.34.4", ">=1.34.5", False),
        ("1.34.4", ">=v1.34", True),
        ("1.34.4", ">1.34", False),
        ("1.35.0", ">1.34", True),
        ("1.34.4", "<=1.34", True),
        ("1.34.4", "<1.34", False),
        ("1.34.4", "==1.34", True),
        ("1.34.4", "!=1.34", False),
        ("1.34.4", "==1.34.3", False),
        ("1.9.0", "<1.10", True),
        ("1.34.4", ">=1.33, <1.36", True),
        ("1.36.3", ">=1.33,<1.36", False),
        ("1.34.4-rc.1", ">=1.34", True),
        ("1.34.4", ">=1", True),
    ],
)
def test_versions_compare_as_one_speaks_of_releases(version: str, requirement: str, expected: bool) -> None:
    """A comparison looks at the parts it names, so 1.34 is every 1.34.x."""
    assert version_matches(version, requirement) is expected


@pytest.mark.parametrize("requirement", ["", "1.34", ">=", "~=1.34", ">=1.34.1.2", ">=1.34,", ">=1.x"])
def test_a_requirement_that_is_none(requirement: str) -> None:
    """What can't be read is refused with an example, rather than skipping tests silently."""
    with pytest.raises(ValueError, match="allowed are comparisons such as"):
        version_matches("1.34.4", requirement)


def test_the_closest_mark_wins() -> None:
    """Marks of a test, its class and its module add up; where they disagree, the test's own counts."""
    marks = [pytest.mark.kubernix(nodes=2).mark, pytest.mark.kubernix(nodes=3, addons="none").mark]
    assert wanted_changes(marks) == {"nodes": 2, "addons": ()}


@pytest.mark.parametrize(
    ("nodes", "needed", "reason"),
    [
        (2, 2, ""),
        (3, 2, ""),
        (1, 2, "needs 2 nodes, and the cluster has 1 (spreads pods)"),
        (0, 1, "needs 1 node, and the cluster has 0 (spreads pods)"),
    ],
)
def test_a_test_may_need_more_nodes(nodes: int, needed: int, reason: str) -> None:
    """A cluster with at least that many nodes will do; any other is skipped with both numbers."""
    cluster = SimpleNamespace(nodes=tuple(f"node-{n}" for n in range(nodes)), version="1.36.3", capabilities=())
    mark = pytest.mark.kubernix_requires(nodes=needed, reason="spreads pods").mark
    check_requirements([mark])
    assert unmet([mark], cast("Cluster", cluster)) == reason


@pytest.mark.parametrize("nodes", [0, -1, "2", 1.0, True, None])
def test_a_number_of_nodes_that_is_none(nodes: object) -> None:
    """A mistake is told with the mark as it was written."""
    mark = pytest.mark.kubernix_requires(nodes=nodes).mark
    with pytest.raises(ValueError, match=r"requires\(nodes=.*\): allowed is the least number of nodes, 1 or more"):
        check_requirements([mark])
