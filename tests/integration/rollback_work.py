"""A test's work that nothing but a rollback undoes: a namespace, a CRD, an instance held by a finalizer, a pod.
Stands alone, since suites inside of tests and a benchmark use it as well."""

from __future__ import annotations

from typing import Any

IMAGE = "kubernix.test/server:1"
GROUP = "work.example.com"


def manifests() -> list[dict[str, Any]]:
    """A namespace, a CRD, and a Deployment of one pod."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "args": ["serve"]}
    labels = {"app": "web"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "work"}},
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"things.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "work"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
    ]


def work(kubernix: Any, namespace: str = "work") -> None:
    """Do it, and wait until the instance is there and the pod has a node."""
    kubectl = kubernix.kubectl
    kubectl.apply(manifests())
    kubectl.wait(f"crd/things.{GROUP}", "condition=Established")
    thing = {"apiVersion": f"{GROUP}/v1", "kind": "Thing", "metadata": {"name": "t", "finalizers": ["a.example/b"]}}
    kubectl.apply(thing, namespace=namespace)
    kubectl.wait("pods", "condition=PodScheduled", selector="app=web", namespace="work")
