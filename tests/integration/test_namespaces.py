"""Namespaces of tests: there at once, removed without waiting, and named with what holds them."""

from __future__ import annotations

import time
import warnings

import pytest

from pytest_kubernix import Cluster, Kubectl, NamespaceStuckWarning
from pytest_kubernix.fixtures.namespaces import FINALIZER_GRACE, Namespaces

from .conftest import server_pod

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


def held(name: str) -> dict[str, object]:
    """An object that nothing in the cluster will let go of."""
    metadata = {"name": name, "finalizers": ["example.com/hold"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def let_go(kubectl: Kubectl, namespace: str, name: str) -> None:
    patch = '{"metadata":{"finalizers":null}}'
    kubectl("patch", "configmap", name, "--type=merge", f"--patch={patch}", namespace=namespace)


def test_pods_can_be_made_at_once(kubernix: Cluster, kubernix_namespace: str) -> None:
    """The namespace is there with its default ServiceAccount, and says which test it is for."""
    kubernix.kubectl.apply(server_pod("now", "sleep", "infinity"), namespace=kubernix_namespace)
    found = kubernix.kubectl.get("namespace", kubernix_namespace)["metadata"]
    assert found["annotations"]["pytest-kubernix/test"].endswith("::test_pods_can_be_made_at_once")
    assert kubernix_namespace.startswith("test-pods-can-be-made-at-once-")


def test_what_holds_a_namespace_is_named(kubernix: Cluster) -> None:
    """The warning tells the namespace, its test, the object and the finalizer; the others are not accused."""
    namespaces = Namespaces(kubernix)
    stuck = namespaces.create("tests/test_x.py::test_stuck")
    fine = namespaces.create("tests/test_x.py::test_fine")
    kubernix.kubectl.apply(held("kept"), namespace=stuck)
    kubernix.kubectl.apply(server_pod("busy", "sleep", "infinity"), namespace=fine)
    namespaces.remove(stuck)
    namespaces.remove(fine)
    with pytest.warns(NamespaceStuckWarning) as caught:
        namespaces.finish()
    try:
        assert len(caught) == 1
        text = str(caught[0].message)
        assert text.splitlines()[0].startswith(f"namespace {stuck} is still there")
        assert "(tests/test_x.py::test_stuck):" in text
        assert "configmap/kept waits for finalizer example.com/hold" in text
        assert fine not in text
    finally:
        let_go(kubernix.kubectl, stuck, "kept")
    kubernix.kubectl.wait(f"namespace/{stuck}", "delete", timeout=60)
    kubernix.kubectl.wait(f"namespace/{fine}", "delete", timeout=60)


def test_what_is_on_its_way_is_not_waited_for(kubernix: Cluster) -> None:
    """Pods that take their time, and finalizers of Kubernetes itself, cost the session's end no wait."""
    namespaces = Namespaces(kubernix)
    name = namespaces.create("tests/test_x.py::test_slow")
    pod = server_pod("slow", "sleep", "infinity")
    pod["metadata"]["finalizers"] = ["kubernetes.io/example"]
    kubernix.kubectl.apply(pod, namespace=name)
    namespaces.remove(name)
    begun = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        namespaces.finish()
    assert caught == []
    assert time.monotonic() - begun < FINALIZER_GRACE
    patch = '--patch={"metadata":{"finalizers":null}}'
    kubernix.kubectl("patch", "pod", "slow", "--type=merge", patch, namespace=name)


def test_a_namespace_that_the_test_removed_itself(kubernix: Cluster) -> None:
    """A test that cleans up itself is not punished for it."""
    namespaces = Namespaces(kubernix)
    name = namespaces.create("tests/test_x.py::test_tidy")
    kubernix.kubectl.delete("namespace", name, wait=False)
    namespaces.remove(name)
    gone = namespaces.create("tests/test_x.py::test_tidy")
    kubernix.kubectl.delete("namespace", gone, timeout=60)
    namespaces.remove(gone)
    namespaces.finish()


SUITE = """
import pytest

NAMES = []

@pytest.mark.parametrize("number", [1, 2])
def test_each(kubernix, kubernix_namespace, number):
    NAMES.append(kubernix_namespace)
    kubernix.kubectl("create", "configmap", "mine", namespace=kubernix_namespace)

def test_after(kubernix):
    assert len(set(NAMES)) == 2
    for name in NAMES:
        assert "deletionTimestamp" in kubernix.kubectl.get("namespace", name)["metadata"]

def test_stuck(kubernix, kubernix_namespace):
    held = {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "kept", "finalizers": ["example.com/hold"]}}
    kubernix.kubectl.apply(held, namespace=kubernix_namespace)
"""


def test_a_suite_of_its_own(suite: pytest.Pytester) -> None:
    """Each test gets its own namespace, removed after it; one that can't go is in the summary of warnings."""
    suite.makepyfile(test_suite=SUITE)
    result = suite.runpytest_subprocess("--kubernix-nodes=0", timeout=120)
    result.assert_outcomes(passed=4, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "kubernix: booting Kubernetes * with no nodes (driver native)",
            "*NamespaceStuckWarning: namespace test-stuck-* (test_suite.py::test_stuck):",
            "*configmap/kept waits for finalizer example.com/hold*",
        ]
    )
