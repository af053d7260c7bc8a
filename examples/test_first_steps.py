"""The first five minutes: what a test can do with a cluster, a few lines each.
Run it with `pytest examples/test_first_steps.py`."""

from __future__ import annotations

import urllib.request

import pytest
from kubernetes.client import ApiClient, CoreV1Api

from pytest_kubernix import Cluster, Kubectl, KubectlError

# A pod that says something and then serves HTTP; its image is on every node, no registry is asked.
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - name: web
      image: kubernix.test/server:1
      ports: [{containerPort: 8080}]
"""

pytestmark = pytest.mark.timeout(180)


def test_apply_wait_logs_exec(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A pod from a manifest runs on a real node, and can be asked what one would ask it by hand."""
    kubernix.kubectl.apply(POD, namespace=kubernix_namespace)
    kubernix.kubectl.wait("pod/web", "condition=Ready", namespace=kubernix_namespace)
    assert "serving on" in kubernix.kubectl.logs("web", namespace=kubernix_namespace)
    assert kubernix.kubectl.exec("web", "hostname", namespace=kubernix_namespace).stdout == "web\n"


def test_port_forward(kubernix_kubectl: Kubectl, kubernix_namespace: str) -> None:
    """A test reaches a pod's port as a local one, for as long as a `with` block."""
    kubernix_kubectl.apply(POD, namespace=kubernix_namespace)
    kubernix_kubectl.wait("pod/web", "condition=Ready", namespace=kubernix_namespace)
    with (
        kubernix_kubectl.port_forward("pod/web", 8080, namespace=kubernix_namespace) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer,
    ):
        assert answer.read() == b"web\n"


@pytest.mark.kubernix_requires(version=">=1.30")
def test_python_client(kubernix: Cluster, kubernix_client: ApiClient) -> None:
    """The official client works as it is: every node of the cluster says that it is Ready."""
    nodes = CoreV1Api(kubernix_client).list_node().items
    assert tuple(sorted(node.metadata.name for node in nodes)) == kubernix.nodes
    for node in nodes:
        assert [c.status for c in node.status.conditions if c.type == "Ready"] == ["True"]


@pytest.mark.parametrize("word", ["one", "two"])
def test_namespace_of_its_own(kubernix_kubectl: Kubectl, kubernix_namespace: str, word: str) -> None:
    """Two tests that make an object of the same name do not meet: each has a fresh namespace."""
    kubernix_kubectl(
        "create", "configmap", "settings", f"--from-literal=word={word}", namespace=kubernix_namespace
    )
    assert kubernix_kubectl.get("configmap", "settings", namespace=kubernix_namespace)["data"] == {
        "word": word
    }


def test_a_user_with_few_rights(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A user may do what a RoleBinding says, in that namespace, and is refused elsewhere."""
    alice = kubernix.kubectl.using(kubernix.user("alice"))
    grant = ("create", "rolebinding", "alice", "--clusterrole=view", "--user=alice")
    kubernix.kubectl(*grant, namespace=kubernix_namespace)
    assert alice.get("pods", namespace=kubernix_namespace)["items"] == []
    with pytest.raises(KubectlError, match='User "alice" cannot list resource "pods"'):
        alice.get("pods", namespace="kube-system")
