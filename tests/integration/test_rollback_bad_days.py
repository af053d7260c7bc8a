"""Rollbacks while something of the test's world does not answer any more: all is written back all the same."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_kubernix import Cluster, ClusterFactory

from .objects import difference, everything

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240), pytest.mark.kubernix(nodes=0)]

GROUP = "badday.example.com"
NAME = f"leeks.{GROUP}"


@pytest.fixture(scope="module")
def alone(kubernix_cluster_factory: ClusterFactory) -> Iterator[Cluster]:
    """A cluster that is broken here and nowhere else."""
    cluster = kubernix_cluster_factory(nodes=0)
    yield cluster
    cluster.stop()


@contextlib.contextmanager
def never_answering() -> Iterator[str]:
    """The URL of a server that lets everyone in and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}/convert"


def definition(*versions: str, webhook: str = "") -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    spec: dict[str, Any] = {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "leeks", "singular": "leek", "kind": "Leek"},
        "versions": [
            {"name": version, "served": True, "storage": version == versions[-1], "schema": schema}
            for version in versions
        ],
    }
    if webhook:
        client = {"conversionReviewVersions": ["v1"], "clientConfig": {"url": webhook}}
        spec["conversion"] = {"strategy": "Webhook", "webhook": client}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return {**kind, "metadata": {"name": NAME}, "spec": spec}


LEEK = {"apiVersion": f"{GROUP}/v1", "kind": "Leek", "metadata": {"name": "one", "namespace": "default"}}


@pytest.mark.parametrize("there_before", [False, True])
def test_a_conversion_webhook_that_does_not_answer(alone: Cluster, there_before: bool) -> None:
    """A kind whose webhook has ended with the test is as before: gone with its objects, or served without a webhook."""
    if there_before:
        alone.kubectl.apply(definition("v1"))
        alone.kubectl.apply(LEEK)
    before = everything(alone)
    checkpoint = alone.checkpoint()
    with never_answering() as url:
        if not there_before:
            alone.kubectl.apply(definition("v1"))
            alone.kubectl.apply(LEEK)
        # Changed as an operator's installation does it, without waiting for what is not there.
        alone.kubectl.apply(definition("v1", "v2", webhook=url), wait=False)
        alone.kubectl.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}}, namespace="default"
        )
        alone.rollback(checkpoint)
        assert not difference(before, everything(alone))
    if there_before:
        assert alone.kubectl.get("leek", "one", namespace="default")
        alone.kubectl.delete("crd", NAME)
        alone.kubectl.wait(f"crd/{NAME}", "delete")
    else:
        alone.kubectl.apply(definition("v1"))
        alone.kubectl.delete("crd", NAME)


def test_an_admission_webhook_that_does_not_answer(alone: Cluster) -> None:
    """What a test forbade to all by a webhook that has ended is allowed again, and what it changed is undone."""
    before = everything(alone)
    checkpoint = alone.checkpoint()
    alone.kubectl("create", "configmap", "changed")
    with never_answering() as url:
        hook = {
            "name": "never.example.com",
            "clientConfig": {"url": url},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["configmaps"]}],
        }
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
        alone.kubectl.apply({**kind, "metadata": {"name": "never"}, "webhooks": [hook]})
        alone.rollback(checkpoint)
        assert not difference(before, everything(alone))
    alone.kubectl("create", "configmap", "allowed")
    alone.kubectl.delete("configmap", "allowed")


def test_an_aggregated_api_that_does_not_answer(alone: Cluster) -> None:
    """An APIService whose server is not there is removed, and nothing is held up by it."""
    before = everything(alone)
    checkpoint = alone.checkpoint()
    service = {"name": "nowhere", "namespace": "default"}
    spec = {
        "group": "void.example.com",
        "version": "v1",
        "service": service,
        "groupPriorityMinimum": 1,
        "versionPriority": 1,
    }
    api = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.void.example.com"}}
    alone.kubectl.apply({**api, "spec": {**spec, "insecureSkipTLSVerify": True}})
    alone.kubectl("create", "configmap", "changed")
    alone.rollback(checkpoint)
    assert not difference(before, everything(alone))


def test_an_api_server_that_stops_for_a_while(alone: Cluster) -> None:
    """Questions that get no answer for some seconds are asked again; nothing is left undone."""
    before = everything(alone)
    checkpoint = alone.checkpoint()
    for number in range(5):
        alone.kubectl("create", "configmap", f"made-{number}")
    server = alone.components["kube-apiserver"]
    server.pause()
    # Longer than one question's limit, and shorter than a rollback's.
    timer = threading.Timer(3.0, server.resume)
    timer.start()
    try:
        alone.rollback(checkpoint)
    finally:
        timer.join()
    assert not difference(before, everything(alone))
