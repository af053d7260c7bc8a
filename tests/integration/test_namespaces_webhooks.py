"""Namespaces of tests where a webhook stands in their way, and what is told of objects that do nothing here."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_kubernix import Cluster, ClusterFactory, KubernixError, NamespaceStuckWarning, NotEnforcedWarning
from pytest_kubernix.fixtures import namespaces as module
from pytest_kubernix.fixtures.namespaces import Namespaces

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

TEST = "tests/test_x.py::test_it"


@pytest.fixture(scope="module")
def alone(kubernix_cluster_factory: ClusterFactory) -> Iterator[Cluster]:
    """A cluster whose namespaces may be forbidden."""
    cluster = kubernix_cluster_factory(nodes=0)
    yield cluster
    cluster.stop()


@contextlib.contextmanager
def webhook(cluster: Cluster, operation: str, seconds: int) -> Iterator[None]:
    """A webhook on namespaces that lets everyone in and never answers; the API server gives it so many seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": ["namespaces"]}
        hook: dict[str, Any] = {
            "name": "silent.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{server.getsockname()[1]}/"},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": seconds,
            "rules": [rule],
        }
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
        cluster.kubectl.apply({**kind, "metadata": {"name": "silent"}, "webhooks": [hook]})
        try:
            yield
        finally:
            cluster.kubectl.delete("validatingwebhookconfiguration", "silent")


def test_a_webhook_that_forbids_a_namespace_is_named_at_once(alone: Cluster) -> None:
    """The error begins with the namespace and has the API server's own words, which name the webhook."""
    spaces = Namespaces(alone)
    with (
        webhook(alone, "CREATE", 1),
        pytest.raises(KubernixError, match=r'^namespace test-it-\w+ could not be made: .*webhook "silent.example.com"'),
    ):
        spaces.create(TEST)
    spaces.finish()


def test_a_slow_webhook_is_not_taken_for_a_dead_api_server(alone: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal waits for as long as a webhook may take, and says then which one it was."""
    monkeypatch.setattr(module, "REQUEST_TIMEOUT", 1.0)
    spaces = Namespaces(alone)
    name = spaces.create(TEST)
    with webhook(alone, "DELETE", 3), pytest.warns(NamespaceStuckWarning, match="silent.example.com") as caught:
        spaces.remove(name)
    assert "does not answer" not in str(caught[0].message)
    spaces.finish()
    alone.kubectl.delete("namespace", name, wait=False)


def test_an_api_server_that_is_dead_is_told_soon(alone: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test has paused is not waited for as if it were a webhook."""
    monkeypatch.setattr(module, "REQUEST_TIMEOUT", 1.0)
    monkeypatch.setattr(module, "QUICK_TIMEOUT", 0.5)
    spaces = Namespaces(alone)
    name = spaces.create(TEST)
    with (
        alone.components["kube-apiserver"].paused(),
        pytest.warns(NamespaceStuckWarning, match="the API server does not answer"),
    ):
        spaces.remove(name)
    spaces.finish()


def test_a_policy_that_nothing_enforces_is_told_once(alone: Cluster, recwarn: pytest.WarningsRecorder) -> None:
    """The test that makes a NetworkPolicy is named; others, and later ones, are not."""
    spaces = Namespaces(alone)
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"}}
    for test in ("test_none", "test_first", "test_second"):
        name = spaces.create(f"tests/test_x.py::{test}")
        if test != "test_none":
            alone.kubectl.apply({**policy, "spec": {"podSelector": {}}}, namespace=name)
        spaces.remove(name)
    spaces.finish()
    told = [str(one.message) for one in recwarn if issubclass(one.category, NotEnforcedWarning)]
    assert len(told) == 1
    assert told[0].startswith("tests/test_x.py::test_first makes a NetworkPolicy, and nothing enforces it here")
