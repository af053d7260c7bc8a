"""The first five minutes: what a test can do with a cluster, a few lines each.
Run it with `pytest examples/test_first_steps.py`."""

from __future__ import annotations

import urllib.request

import pytest
from kubernetes.client import ApiClient, CoreV1Api, V1ConfigMap, V1ObjectMeta

from pytest_kubernix import Cluster, Kubectl, KubectlError, State

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


@pytest.mark.kubernix_requires(capability="nodes")
def test_apply_wait_logs_exec(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A pod from a manifest runs on a real node, and can be asked what one would ask it by hand."""
    kubectl = kubernix.kubectl.in_namespace(kubernix_namespace)
    kubectl.apply(POD)
    kubectl.wait("pod/web", "condition=Ready")
    assert "serving on" in kubectl.logs("web")
    assert kubectl.exec("web", "hostname").stdout == "web\n"


@pytest.mark.kubernix_requires(capability="nodes")
def test_port_forward(kubectl: Kubectl) -> None:
    """A test reaches a pod's port as a local one, for as long as a `with` block."""
    kubectl.apply(POD)
    kubectl.wait("pod/web", "condition=Ready")
    with (
        kubectl.port_forward("pod/web", 8080) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer,
    ):
        assert answer.read() == b"web\n"


def test_python_client(kubernix_client: ApiClient, kubernix_namespace: str) -> None:
    """The official client works as it is, on the same cluster."""
    core = CoreV1Api(kubernix_client)
    made = V1ConfigMap(metadata=V1ObjectMeta(name="settings"), data={"colour": "red"})
    core.create_namespaced_config_map(kubernix_namespace, made)
    assert core.read_namespaced_config_map("settings", kubernix_namespace).data == {"colour": "red"}


@pytest.mark.parametrize("colour", ["red", "blue"])
def test_namespace_of_its_own(kubectl: Kubectl, colour: str) -> None:
    """Two tests that make an object of the same name do not meet: each has a fresh namespace."""
    kubectl("create", "configmap", "settings", f"--from-literal=colour={colour}")
    assert kubectl.get("configmap", "settings")["data"] == {"colour": colour}


@pytest.mark.kubernix_requires(version=">=1.32", capability="nodes")
def test_nodes_are_ready(kubernix: Cluster) -> None:
    """Every node of the cluster is a real kubelet, which says that it is Ready."""
    kubernix.kubectl("wait", "node", *kubernix.nodes, "--for=condition=Ready")
    assert kubernix.status().state is State.READY


def test_a_user_with_few_rights(kubernix: Cluster, kubectl: Kubectl) -> None:
    """A user may do what a RoleBinding says, in that namespace, and is refused elsewhere."""
    alice = kubectl.using(kubernix.user("alice"))
    kubectl("create", "rolebinding", "alice", "--clusterrole=view", "--user=alice")
    assert alice.get("pods")["items"] == []
    assert not alice.can_i("delete", "pods")
    with pytest.raises(KubectlError, match='User "alice" cannot list resource "pods"'):
        alice.get("pods", namespace="kube-system")
