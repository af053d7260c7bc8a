"""The kubectl wrapper on a real cluster."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import CustomObjectsApi
from kubernetes.watch import Watch

from pytest_kubernix import Cluster, ClusterFactory, Kubectl, KubectlError

from .conftest import server_pod

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  labels: {app: a}
data:
  colour: green
"""


def test_it_is_the_kubectl_of_the_cluster(kubernix: Cluster) -> None:
    """Client and server have one version, the one that was asked for."""
    version = kubernix.kubectl("version", "--output=yaml").stdout
    assert version.count(f"gitVersion: v{kubernix.version}") == 2
    assert kubernix.version == kubernix.config.k8s_version
    assert kubernix.status().state.value == "ready"


def test_objects_come_and_go(kubernix_kubectl: Kubectl, kubernix_namespace: str, tmp_path: Path) -> None:
    """apply, get, wait and delete work with text, files, dicts and lists."""
    kubectl, namespace = kubernix_kubectl, kubernix_namespace
    kubectl.apply(CONFIG, namespace=namespace)
    found = kubectl.get("configmap", "settings", namespace=namespace)
    assert found["data"] == {"colour": "green"}

    found["data"]["colour"] = "blue"
    kubectl.apply([found], namespace=namespace, server_side=False)
    listed = kubectl.get("configmaps", namespace=namespace, selector="app=a")["items"]
    assert [item["data"] for item in listed] == [{"colour": "blue"}]

    kubectl.wait("configmap/settings", "jsonpath={.data.colour}=blue", namespace=namespace, timeout=10)
    path = tmp_path / "settings.yaml"
    path.write_text(CONFIG)
    kubectl.delete(path, namespace=namespace)
    with pytest.raises(KubectlError, match="NotFound") as raised:
        kubectl.get("configmap", "settings", namespace=namespace)
    assert raised.value.returncode == 1
    kubectl.delete("configmap", "settings", namespace=namespace, missing_ok=True)


def test_a_wait_that_fails_says_for_what(kubernix_kubectl: Kubectl, kubernix_namespace: str) -> None:
    """When the time is up, the error is kubectl's own."""
    kubectl = kubernix_kubectl.in_namespace(kubernix_namespace)
    kubectl.apply(CONFIG)
    with pytest.raises(KubectlError, match="timed out waiting for the condition on configmaps/settings"):
        kubectl.wait("configmap/settings", "jsonpath={.data.colour}=red", timeout=1)
    with pytest.raises(KubectlError, match='pods "nobody" not found'):
        kubectl.wait("pod/nobody", "condition=Ready", timeout=1)


def test_a_wait_that_fails_says_what_it_saw(kubernix_kubectl: Kubectl, kubernix_namespace: str) -> None:
    """A Deployment whose image is nowhere is told with its condition, its pod's container and the events."""
    kubectl = kubernix_kubectl.in_namespace(kubernix_namespace)
    spec: dict[str, Any] = server_pod("web", image="nowhere.test/none:1")["spec"]
    del spec["terminationGracePeriodSeconds"]
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    deployment = {"selector": {"matchLabels": labels}, "template": template}
    kubectl.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": deployment})
    with pytest.raises(KubectlError, match="timed out waiting for the condition on deployments/web") as raised:
        kubectl.wait("deployment/web", "condition=Available", timeout=5)
    text = str(raised.value)
    assert "deployment/web: 0 of 1 replicas ready" in text
    assert "  Available=False (MinimumReplicasUnavailable: " in text
    assert "  container main: waiting (ErrImageNeverPull: " in text
    assert "Warning ErrImageNeverPull pod/web-" in text


def test_a_refused_pod_is_told_by_an_event(kubernix_kubectl: Kubectl, kubernix_namespace: str) -> None:
    """Why a Deployment has no pod at all is known to its ReplicaSet only, and is in the error."""
    kubectl = kubernix_kubectl.in_namespace(kubernix_namespace)
    kubectl("create", "quota", "none", "--hard=pods=0")
    kubectl("create", "deployment", "web", "--image=nowhere.test/none:1")
    kubectl.wait("deployment/web", "condition=ReplicaFailure")
    with pytest.raises(KubectlError, match=r"FailedCreate replicaset/web-.*exceeded quota"):
        kubectl.wait("deployment/web", "condition=Available", timeout=1)


def test_a_paused_api_server_does_not_hold_up_the_error(kubernix_cluster_factory: ClusterFactory) -> None:
    """A wait that the API server does not answer ends within its limit and a few seconds, as an error."""
    cluster = kubernix_cluster_factory(nodes=0)
    try:
        cluster.kubectl.apply(CONFIG)
        cluster.components["kube-apiserver"].pause()
        started = time.monotonic()
        with pytest.raises(KubectlError, match=r"^kubectl wait configmap/settings …: "):
            cluster.kubectl.wait("configmap/settings", "jsonpath={.data.colour}=red", timeout=1)
        assert time.monotonic() - started < 20
    finally:
        cluster.stop()


CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: NAMEs.kubectl.kubernix.test}
spec:
  group: kubectl.kubernix.test
  scope: Namespaced
  names: {kind: KIND, plural: NAMEs, singular: NAME}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
    - {name: v0, served: false, storage: false, schema: {openAPIV3Schema: {type: object}}}
"""


def crd(name: str) -> str:
    """A CRD of a kind with this name."""
    return CRD.replace("NAME", name).replace("KIND", name.capitalize())


def test_a_crd_is_served_when_apply_returns(kubernix: Cluster, kubernix_namespace: str) -> None:
    """Clients that begin at that moment list, watch and create the kind; none gets 404 or 429."""
    api = CustomObjectsApi(kubernix.client())
    for name in ("apple", "berry", "cherry"):
        kubernix.kubectl.apply(crd(name))
        where = ("kubectl.kubernix.test", "v1", kubernix_namespace, f"{name}s")
        # The very first request of a client that watches, as an operator is: nothing is tried again here.
        found: Any = api.list_namespaced_custom_object(*where, resource_version="0")
        assert found["items"] == []
        for event in Watch().stream(api.list_namespaced_custom_object, *where, timeout_seconds=1):
            pytest.fail(f"there is nothing yet: {event}")
        body = {"apiVersion": "kubectl.kubernix.test/v1", "kind": name.capitalize(), "metadata": {"name": "a"}}
        api.create_namespaced_custom_object(*where, body)
        assert kubernix.kubectl.get(name, "a", namespace=kubernix_namespace)["kind"] == name.capitalize()


def test_a_crd_and_an_object_of_it_are_one_manifest(kubernix_kubectl: Kubectl, kubernix_namespace: str) -> None:
    """One apply makes the kind and the first object of it, the object in the namespace that is asked for."""
    kubectl = kubernix_kubectl.in_namespace(kubernix_namespace)
    first = "apiVersion: kubectl.kubernix.test/v1\nkind: Plum\nmetadata: {name: first}\n"
    kubectl.apply(f"{crd('plum')}---\n{first}")
    assert kubectl.get("plum", "first")["metadata"]["namespace"] == kubernix_namespace


def test_rights_of_a_user(kubernix: Cluster, kubernix_namespace: str) -> None:
    """can_i tells what RBAC allows, where, and refuses to answer for a resource that does not exist."""
    kubectl = kubernix.kubectl.in_namespace(kubernix_namespace)
    alice = kubectl.using(kubernix.user("alice-of-kubectl"))
    assert not alice.can_i("get", "pods")
    kubectl("create", "role", "reader", "--verb=get", "--resource=pods,pods/log", "--resource-name=a")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--user=alice-of-kubectl")
    assert alice.can_i("get", "pods", "a")
    assert alice.can_i("get", "pods", "a", subresource="log")
    assert not alice.can_i("get", "pods", "a", all_namespaces=True)
    assert not alice.can_i("get", "pods", "b")
    assert kubectl.can_i("*", "*", all_namespaces=True)
    with pytest.raises(KubectlError, match="doesn't have a resource type 'podss'"):
        alice.can_i("get", "podss")


def test_patches(kubernix_kubectl: Kubectl, kubernix_namespace: str) -> None:
    """Each kind of patch does to an object what it says."""
    kubectl = kubernix_kubectl.in_namespace(kubernix_namespace)
    kubectl.apply(CONFIG)
    kubectl.patch("configmap/settings", {"data": {"colour": None, "size": "1"}})
    kubectl.patch("configmap/settings", [{"op": "replace", "path": "/data/size", "value": "2"}], type="json")
    kubectl.patch("configmap/settings", {"metadata": {"labels": {"b": "c"}}}, type="strategic")
    found = kubectl.get("configmap", "settings")
    assert (found["data"], found["metadata"]["labels"]) == ({"size": "2"}, {"app": "a", "b": "c"})


def test_a_pod_from_birth_to_end(kubernix_kubectl: Kubectl, kubernix_namespace: str) -> None:
    """A pod runs, its logs are read, and its end is waited for."""
    kubectl, namespace = kubernix_kubectl, kubernix_namespace
    pod = server_pod("once", "print", "hello")
    pod["spec"]["restartPolicy"] = "Never"
    kubectl.apply(pod, namespace=namespace)
    kubectl.wait("pod", "jsonpath={.status.phase}=Succeeded", selector="app=once", namespace=namespace, timeout=60)
    assert kubectl.logs("once", namespace=namespace) == "hello\n"
    assert kubectl.logs("once", namespace=namespace, container="main", tail=1) == "hello\n"
    kubectl.delete("pod/once", namespace=namespace, wait=False)
    kubectl.wait("pod/once", "delete", namespace=namespace, timeout=30)


def test_exec(kubernix_kubectl: Kubectl, kubernix_namespace: str, served_pod: str) -> None:
    """A command's output, input and exit code pass through."""
    kubectl, namespace = kubernix_kubectl, kubernix_namespace
    assert kubectl.exec(served_pod, "echo", "a b", "$HOME", namespace=namespace).stdout == "a b $HOME\n"
    assert kubectl.exec(served_pod, "cat", namespace=namespace, stdin="in").stdout == "in"
    result = kubectl.exec(served_pod, "/test-server", "exit", "7", namespace=namespace, check=False)
    assert result.returncode == 7
    with pytest.raises(KubectlError) as raised:
        kubectl.exec(served_pod, "/test-server", "exit", "7", namespace=namespace)
    assert raised.value.returncode == 7
    with pytest.raises(KubectlError) as raised:
        kubectl.exec(served_pod, "sleep", "60", namespace=namespace, timeout=1)
    assert raised.value.returncode is None


def test_cp(kubernix_kubectl: Kubectl, kubernix_namespace: str, served_pod: str, tmp_path: Path) -> None:
    """Files and directories go in and come out the same."""
    kubectl, namespace = kubernix_kubectl, kubernix_namespace
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "file").write_text("content\n")
    kubectl.cp(tmp_path / "in", f"{served_pod}:/tmp/copied", namespace=namespace, container="main")
    assert kubectl.exec(served_pod, "cat", "/tmp/copied/deep/file", namespace=namespace).stdout == "content\n"
    kubectl.cp(f"{served_pod}:/tmp/copied", tmp_path / "out", namespace=namespace)
    assert (tmp_path / "out" / "deep" / "file").read_text() == "content\n"


def test_port_forward(kubernix_kubectl: Kubectl, kubernix_namespace: str, served_pod: str) -> None:
    """Two forwards at once reach the pod, through it and through its Service, and end with their blocks."""
    kubectl, namespace = kubernix_kubectl, kubernix_namespace
    kubectl("expose", "pod", served_pod, "--port=80", "--target-port=8080", namespace=namespace)
    with (
        kubectl.port_forward(f"pod/{served_pod}", 8080, namespace=namespace) as one,
        kubectl.port_forward(f"service/{served_pod}", 80, namespace=namespace) as two,
    ):
        assert one != two
        for port in (one, two):
            for _ in range(2):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    assert served_pod in answer.read().decode()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{one}/", timeout=10)
    with (
        pytest.raises(KubectlError, match='pods "nobody" not found'),
        kubectl.port_forward("pod/nobody", 80, namespace=namespace),
    ):
        pytest.fail("there is no such pod")


def test_what_kubectl_learns_stays_with_the_cluster(
    kubernix: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The user's home gets no cache of a cluster that is gone tomorrow."""
    monkeypatch.setenv("HOME", str(tmp_path))
    kubernix.kubectl.get("pods", all_namespaces=True)
    assert list(tmp_path.iterdir()) == []
    assert kubernix.handle.run_dir is not None
    assert (kubernix.handle.run_dir / "kubectl-cache").is_dir()
