"""The kubectl wrapper on a real cluster."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from pytest_kubernix import Cluster, Kubectl, KubectlError

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
    kubernix_kubectl.apply(CONFIG, namespace=kubernix_namespace)
    with pytest.raises(KubectlError, match="timed out waiting for the condition on configmaps/settings"):
        kubernix_kubectl.wait(
            "configmap/settings", "jsonpath={.data.colour}=red", namespace=kubernix_namespace, timeout=1
        )
    with pytest.raises(KubectlError, match='pods "nobody" not found'):
        kubernix_kubectl.wait("pod/nobody", "condition=Ready", namespace=kubernix_namespace, timeout=1)


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
