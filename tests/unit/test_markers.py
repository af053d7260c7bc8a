"""What the two markers mean, read without a session."""

from __future__ import annotations

import pytest

from pytest_kubernix.fixtures.markers import version_matches, wanted_changes


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
