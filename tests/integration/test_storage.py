from __future__ import annotations

import base64
import http.client
import json
import socket
import subprocess
from pathlib import Path

import pytest

from pytest_kubernix import Cluster

from .pods import PROGRAM, address, eventually, pod

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.kubernix(nodes=2)]


def test_config_maps_and_secrets_are_files_and_variables(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A pod reads both as files and as environment, and a change of either arrives in the files."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    kubectl("create", "configmap", "settings", "--from-literal=colour=green", namespace=namespace)
    kubectl("create", "secret", "generic", "hidden", "--from-literal=word=xyzzy", namespace=namespace)
    main = {
        "volumeMounts": [
            {"name": "settings", "mountPath": "/settings"},
            {"name": "hidden", "mountPath": "/hidden", "readOnly": True},
        ],
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "hidden"}}],
    }
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o400}},
    ]
    kubectl.apply(pod("reader", main=main, volumes=volumes), namespace=namespace)
    address(kubectl, namespace, "reader")

    def read(path: str) -> str:
        return kubectl.exec("reader", PROGRAM, "cat", path, namespace=namespace).stdout

    assert read("/settings/colour") == "green"
    assert read("/hidden/word") == "xyzzy"
    environment = kubectl.exec("reader", PROGRAM, "env", namespace=namespace).stdout.splitlines()
    assert {"colour=green", "word=xyzzy"} <= set(environment)

    kubectl("patch", "configmap", "settings", '--patch={"data":{"colour":"blue"}}', namespace=namespace)
    word = base64.b64encode(b"plugh").decode()
    kubectl("patch", "secret", "hidden", f'--patch={{"data":{{"word":"{word}"}}}}', namespace=namespace)
    # A kubelet looks at its mounts once a minute, and whenever the pod changes.
    kubectl("annotate", "pod", "reader", "example.com/look=now", namespace=namespace)
    eventually(lambda: read("/settings/colour") == "blue", timeout=90)
    eventually(lambda: read("/hidden/word") == "plugh", timeout=90)


def test_a_pod_knows_itself(kubernix: Cluster, kubernix_namespace: str) -> None:
    """The downward API tells a pod its name, labels, address, node and limits."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    fields = {"POD": "metadata.name", "NODE": "spec.nodeName", "IP": "status.podIP", "HOST": "status.hostIP"}
    environment: list[dict[str, object]] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()
    ]
    limit = {"resourceFieldRef": {"resource": "limits.memory"}}
    environment.append({"name": "MEMORY", "valueFrom": limit})
    main = {
        "env": environment,
        "resources": {"limits": {"memory": "64Mi"}},
        "volumeMounts": [{"name": "self", "mountPath": "/self"}],
    }
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    volume = {"name": "self", "downwardAPI": {"items": items}}
    kubectl.apply(pod("self", node="node-2", main=main, volumes=[volume]), namespace=namespace)
    address(kubectl, namespace, "self")
    status = kubectl.get("pod", "self", namespace=namespace)["status"]
    lines = kubectl.exec("self", PROGRAM, "env", namespace=namespace).stdout.splitlines()
    assert {
        "POD=self",
        "NODE=node-2",
        f"IP={status['podIP']}",
        f"HOST={status['hostIP']}",
        f"MEMORY={64 << 20}",
    } <= set(lines)
    assert 'app="self"' in kubectl.exec("self", PROGRAM, "cat", "/self/labels", namespace=namespace).stdout


def test_a_pod_has_a_token_of_its_account(kubernix: Cluster, kubernix_namespace: str, tmp_path: Path) -> None:
    """The projected token and CA let a client in as the pod's ServiceAccount."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    kubectl("create", "serviceaccount", "robot", namespace=namespace)
    kubectl.apply(pod("robot", serviceAccountName="robot"), namespace=namespace)
    address(kubectl, namespace, "robot")
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    seen = {
        name: kubectl.exec("robot", PROGRAM, "cat", f"{folder}/{name}", namespace=namespace).stdout
        for name in ("token", "ca.crt", "namespace")
    }
    assert seen["namespace"] == namespace
    (tmp_path / "ca.crt").write_text(seen["ca.crt"])
    # Without a kubeconfig's certificate, only the token can say who asks.
    whoami = subprocess.run(
        [kubectl.executable, "--kubeconfig=/dev/null", f"--server={kubernix.server}",
         f"--certificate-authority={tmp_path / 'ca.crt'}", f"--token={seen['token']}",
         f"--cache-dir={tmp_path}", "auth", "whoami", "--output=json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    info = json.loads(whoami.stdout)["status"]["userInfo"]
    assert info["username"] == f"system:serviceaccount:{namespace}:robot"
    assert info["extra"]["authentication.kubernetes.io/pod-name"] == ["robot"]


@pytest.mark.parametrize("medium", ["", "Memory"])
def test_containers_of_a_pod_share_an_empty_dir(kubernix: Cluster, kubernix_namespace: str, medium: str) -> None:
    """What one container writes to an emptyDir, the other reads; in memory, it is a tmpfs."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    mounts = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    made = pod("pair", "sleep", "infinity", main=mounts, volumes=[{"name": "shared", "emptyDir": {"medium": medium}}])
    made["spec"]["containers"].append({**made["spec"]["containers"][0], "name": "other"})
    kubectl.apply(made, namespace=namespace)
    kubectl.wait("pod/pair", "condition=Ready", namespace=namespace, timeout=60)
    kubectl.exec("pair", PROGRAM, "write", "/shared/file", "hello", namespace=namespace, container="main")
    read = kubectl.exec("pair", PROGRAM, "cat", "/shared/file", namespace=namespace, container="other")
    assert read.stdout == "hello\n"
    mounted = kubectl.exec("pair", PROGRAM, "cat", "/proc/mounts", namespace=namespace, container="main").stdout
    kinds = [line.split()[2] for line in mounted.splitlines() if line.split()[1] == "/shared"]
    if medium:
        assert kinds == ["tmpfs"]
    else:
        assert len(kinds) == 1


@pytest.mark.parametrize("node", ["node-1", "node-2"])
def test_a_directory_of_the_host_is_the_pods(
    kubernix: Cluster, kubernix_namespace: str, tmp_path: Path, node: str
) -> None:
    """A hostPath that the test made is seen in the pod, and what the pod writes is seen by the test."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    (tmp_path / "from-test").write_text("hello pod")
    main = {"volumeMounts": [{"name": "host", "mountPath": "/host"}]}
    volume = {"name": "host", "hostPath": {"path": str(tmp_path), "type": "Directory"}}
    kubectl.apply(pod("local", node=node, main=main, volumes=[volume]), namespace=namespace)
    address(kubectl, namespace, "local")
    assert kubectl.exec("local", PROGRAM, "cat", "/host/from-test", namespace=namespace).stdout == "hello pod"
    kubectl.exec("local", PROGRAM, "write", "/host/from-pod", "hello test", namespace=namespace)
    assert (tmp_path / "from-pod").read_text() == "hello test\n"


def test_what_a_pod_writes_to_its_nodes_system_stays_there(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A hostPath below /etc, /usr or /var is the node's own copy: the machine's stays as it is."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    names = ("etc", "usr", "var", "opt")
    main = {"volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in names]}
    volumes = [{"name": name, "hostPath": {"path": f"/{name}"}} for name in names]
    kubectl.apply(pod("deep", node="node-1", main=main, volumes=volumes), namespace=namespace)
    address(kubectl, namespace, "deep")
    for name in names:
        path = f"/{name}/kubernix-was-here-{namespace}"
        kubectl.exec("deep", PROGRAM, "write", path, "x", namespace=namespace)
        assert not Path(path).exists()
    assert (
        kubectl.exec("deep", PROGRAM, "cat", "/etc/os-release", namespace=namespace).stdout
        == Path("/etc/os-release").read_text()
    )


def test_a_persistent_volume_is_bound_and_used(kubernix: Cluster, kubernix_namespace: str, tmp_path: Path) -> None:
    """A claim is bound to a volume that the test made, and a pod that names the claim writes to it."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": namespace}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace},
        "spec": {**common, "capacity": {"storage": "1Mi"}, "hostPath": {"path": str(tmp_path)}},
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {**common, "resources": {"requests": {"storage": "1Mi"}}},
    }
    main = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    mounted = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    made = pod("store", "write", "/data/kept", "yes", main=main, volumes=[mounted], restartPolicy="Never")
    kubectl.apply(volume)
    try:
        kubectl.apply([claim, made], namespace=namespace)
        kubectl.wait("pvc/data", "jsonpath={.status.phase}=Bound", namespace=namespace)
        kubectl.wait("pod/store", "jsonpath={.status.phase}=Succeeded", namespace=namespace, timeout=60)
        assert (tmp_path / "kept").read_text() == "yes\n"
    finally:
        kubectl.delete("persistentvolume", namespace, wait=False)


def test_secrets_are_encrypted_in_etcd(kubernix: Cluster, kubernix_namespace: str) -> None:
    """In the store a Secret is ciphertext, and a ConfigMap is not."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    kubectl("create", "secret", "generic", "hidden", "--from-literal=word=xyzzy-plugh", namespace=namespace)
    kubectl("create", "configmap", "open", "--from-literal=word=xyzzy-plugh", namespace=namespace)
    assert kubernix.handle.run_dir
    socket_path = kubernix.handle.run_dir / "etcd.sock"
    secret = stored(socket_path, f"/registry/secrets/{namespace}/hidden")
    assert secret.startswith(b"k8s:enc:secretbox:v1:key1:")
    assert b"xyzzy" not in secret
    assert b"xyzzy-plugh" in stored(socket_path, f"/registry/configmaps/{namespace}/open")


def stored(path: Path, key: str) -> bytes:
    """The value of a key in etcd, by its JSON gateway."""
    connection = http.client.HTTPConnection("localhost", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(path))
    try:
        body = json.dumps({"key": base64.b64encode(key.encode()).decode()})
        connection.request("POST", "/v3/kv/range", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        return base64.b64decode(answer["kvs"][0]["value"])
    finally:
        connection.close()
