"""Names of namespaces. Their removal is tested in tests/integration."""

from __future__ import annotations

import re

import pytest

from pytest_kubernix.fixtures.namespaces import namespace_name


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/test_web.py::test_scale", "test-scale"),
        ("tests/test_web.py::TestWeb::test_scale[nodes=2-a/b]", "test-scale-nodes-2-a-b"),
        ("tests/test_web.py::test_Über", "test-ber"),
        ("a.py::test_" + "x" * 100, "test-" + "x" * 43),
        ("a.py::test_" + "x_" * 100, ("test-" + "x-" * 43)[:48].rstrip("-")),
        ("a.py::[" + "ü" + "]", "test"),
    ],
)
def test_a_namespace_is_called_by_its_test(nodeid: str, expected: str) -> None:
    """The name tells the test, is a DNS label, and leaves room for names derived from it."""
    name = namespace_name(nodeid)
    stem, _, suffix = name.rpartition("-")
    assert stem == expected
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)
    assert re.fullmatch(r"[a-z0-9]{6}", suffix)


def test_no_two_namespaces_clash() -> None:
    """Two runs of one test, in two processes or on one cluster, get names of their own."""
    assert len({namespace_name("a.py::test_a") for _ in range(1000)}) == 1000
