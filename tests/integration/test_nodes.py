from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

import pytest

from pytest_kubernix import Cluster
from pytest_kubernix.binaries.pins import CONTAINERD
from pytest_kubernix.linux import cgroups

from .pods import PORT, PROGRAM, address, eventually, fetch, node_address, pod, template

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.kubernix(nodes=2)]

NODES = ("node-1", "node-2")


def test_two_nodes_are_ready(kubernix: Cluster) -> None:
    """Both nodes are Ready, and say which kubelet and which runtime they really run."""
    items = kubernix.kubectl.get("nodes")["items"]
    assert tuple(item["metadata"]["name"] for item in items) == kubernix.nodes == NODES
    for item in items:
        conditions = {condition["type"]: condition["status"] for condition in item["status"]["conditions"]}
        assert conditions["Ready"] == "True"
        assert conditions["MemoryPressure"] == conditions["DiskPressure"] == conditions["PIDPressure"] == "False"
        info = item["status"]["nodeInfo"]
        assert info["kubeletVersion"] == f"v{kubernix.version}"
        assert info["containerRuntimeVersion"] == f"containerd://{CONTAINERD}"
    version = kubernix.kubectl("version").stdout
    assert version.count(f"Version: v{kubernix.version}") == 2


def test_pods_get_addresses_of_their_nodes_block(kubernix: Cluster, kubernix_namespace: str) -> None:
    """Each node has a pod block of its own, and its pods' addresses are from it."""
    kubectl = kubernix.kubectl
    kubectl.apply([pod(node, node=node) for node in NODES], namespace=kubernix_namespace)
    blocks = {}
    for node in NODES:
        spec = kubectl.get("node", node)["spec"]
        blocks[node] = ipaddress.ip_network(spec["podCIDR"])
        assert spec["podCIDRs"] == [spec["podCIDR"]]
        assert ipaddress.ip_address(address(kubectl, kubernix_namespace, node)) in blocks[node]
    first, second = blocks.values()
    assert not first.overlaps(second)


def test_pods_are_spread(kubernix: Cluster, kubernix_namespace: str) -> None:
    """The scheduler uses both nodes for a Deployment's pods."""
    kubectl = kubernix.kubectl
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")},
    }
    kubectl.apply(deployment, namespace=kubernix_namespace)
    kubectl.wait("deployment/web", "condition=Available", namespace=kubernix_namespace, timeout=60)
    pods = kubectl.get("pods", namespace=kubernix_namespace, selector="app=web")["items"]
    assert {item["spec"]["nodeName"] for item in pods} == set(NODES)


@pytest.mark.parametrize("node", NODES)
def test_kubectl_reaches_into_pods(kubernix: Cluster, kubernix_namespace: str, tmp_path: Path, node: str) -> None:
    """exec with and without input, cp both ways and port-forward work on each node."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    kubectl.apply(pod("web", node=node), namespace=namespace)
    address(kubectl, namespace, "web")
    assert kubectl.exec("web", PROGRAM, "hostname", namespace=namespace).stdout == "web\n"
    # Larger than any pipe's buffer, so that both directions must flow at once.
    text = "0123456789abcdef" * 16_384
    assert kubectl.exec("web", PROGRAM, "cat", namespace=namespace, stdin=text).stdout == text
    (tmp_path / "to").write_text(text)
    kubectl.cp(tmp_path / "to", "web:/tmp/copied", namespace=namespace)
    kubectl.cp("web:/tmp/copied", tmp_path / "fro", namespace=namespace)
    assert (tmp_path / "fro").read_text() == text
    with kubectl.port_forward("web", PORT, namespace=namespace) as port:
        assert fetch("127.0.0.1", port=port) == (200, "web\n")


def test_logs_are_followed(kubernix: Cluster, kubernix_namespace: str) -> None:
    """`kubectl logs --follow` shows a line as soon as the container has written it."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    kubectl.apply(pod("web"), namespace=namespace)
    address(kubectl, namespace, "web")
    follow = [str(kubectl.executable), f"--kubeconfig={kubectl.kubeconfig}", "logs", "--follow", "web"]
    with subprocess.Popen([*follow, f"--namespace={namespace}"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == f"serving on [::]:{PORT}\n"
            kubectl.exec("web", PROGRAM, "write", "/proc/1/fd/1", "later", namespace=namespace)
            assert process.stdout.readline() == "later\n"
        finally:
            process.terminate()


def test_a_container_that_fails_is_restarted(kubernix: Cluster, kubernix_namespace: str) -> None:
    """The exit code of the last run and its logs are there after the restart, and a second failure is backed off."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    kubectl.apply(pod("web"), namespace=namespace)
    ip = address(kubectl, namespace, "web")

    def state() -> dict[str, object]:
        found: dict[str, object] = kubectl.get("pod", "web", namespace=namespace)["status"]["containerStatuses"][0]
        return found

    assert fetch(ip, "/exit?code=3")[0] == 200
    eventually(lambda: state()["restartCount"] == 1 and state()["ready"], what="one restart")
    assert state()["lastState"]["terminated"]["exitCode"] == 3  # type: ignore[index]
    assert kubectl.logs("web", namespace=namespace, previous=True) == f"serving on [::]:{PORT}\n"
    assert fetch(ip, "/exit?code=4")[0] == 200
    eventually(
        lambda: state()["state"]["waiting"]["reason"] == "CrashLoopBackOff",  # type: ignore[index]
        what="CrashLoopBackOff",
    )
    assert state()["lastState"]["terminated"]["exitCode"] == 4  # type: ignore[index]


def test_init_containers_come_first(kubernix: Cluster, kubernix_namespace: str) -> None:
    """An init container runs to its end before the pod's container starts, and they share a volume."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    mounts = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    made = pod(
        "page", "cat", "/shared/page", main=mounts, restartPolicy="Never", volumes=[{"name": "shared", "emptyDir": {}}]
    )
    main = made["spec"]["containers"][0]
    made["spec"]["initContainers"] = [{**main, "name": "prepare", "args": ["write", "/shared/page", "prepared"]}]
    kubectl.apply(made, namespace=namespace)
    kubectl.wait("pod/page", "jsonpath={.status.phase}=Succeeded", namespace=namespace, timeout=60)
    assert kubectl.logs("page", namespace=namespace) == "prepared\n"
    started = kubectl.get("pod", "page", namespace=namespace)["status"]
    prepared = started["initContainerStatuses"][0]["state"]["terminated"]
    assert prepared["exitCode"] == 0
    assert prepared["finishedAt"] <= started["containerStatuses"][0]["state"]["terminated"]["startedAt"]


def test_workloads_of_every_kind(kubernix: Cluster, kubernix_namespace: str) -> None:
    """Jobs complete or fail, StatefulSets count from 0 in order, DaemonSets are on each node, CronJobs make Jobs."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    never = {"restartPolicy": "Never"}
    selector = {"selector": {"matchLabels": {"app": "all"}}, "template": template("all")}
    ordered = {"selector": {"matchLabels": {"app": "one"}}, "template": template("one"), "serviceName": "one"}
    cron = {"jobTemplate": {"spec": {"template": template("cron", "print", "tick", **never)}}}
    kubectl.apply(
        [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "good"},
                "spec": {
                    "completions": 2,
                    "parallelism": 2,
                    "template": template("good", "print", "done", **never),
                },
            },
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "bad"},
                "spec": {"backoffLimit": 0, "template": template("bad", "exit", "9", **never)},
            },
            {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "all"}, "spec": selector},
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "one"},
                "spec": {**ordered, "replicas": 2},
            },
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {"name": "cron"},
                "spec": {**cron, "schedule": "0 0 1 1 *"},
            },
        ],
        namespace=namespace,
    )
    kubectl("create", "job", "--from=cronjob/cron", "now", namespace=namespace)
    kubectl.wait("job/good", "condition=Complete", namespace=namespace, timeout=60)
    kubectl.wait("job/now", "condition=Complete", namespace=namespace, timeout=60)
    kubectl.wait("job/bad", "condition=Failed", namespace=namespace, timeout=60)
    assert kubectl.get("job", "good", namespace=namespace)["status"]["succeeded"] == 2
    assert kubectl.logs("job/now", namespace=namespace) == "tick\n"
    kubectl("rollout", "status", "daemonset/all", "--timeout=60s", namespace=namespace)
    kubectl("rollout", "status", "statefulset/one", "--timeout=60s", namespace=namespace)
    pods = kubectl.get("pods", namespace=namespace, selector="app=all")["items"]
    assert sorted(item["spec"]["nodeName"] for item in pods) == list(NODES)
    pods = kubectl.get("pods", namespace=namespace, selector="app=one")["items"]
    assert [item["metadata"]["name"] for item in pods] == ["one-0", "one-1"]
    assert pods[0]["status"]["startTime"] <= pods[1]["metadata"]["creationTimestamp"]


def test_resource_limits_are_set_in_the_kernel(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A container's limits are those of its cgroup, below the cgroup of its own node."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    limits = {"cpu": "200m", "memory": "64Mi"}
    kubectl.apply(pod("small", node="node-2", main={"resources": {"limits": limits}}), namespace=namespace)
    address(kubectl, namespace, "small")
    found = kubectl.get("pod", "small", namespace=namespace)
    assert found["status"]["qosClass"] == "Guaranteed"
    container = found["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    group = f"kubernix/{kubernix.handle.cluster_id}/node-2/kubepods/pod{found['metadata']['uid']}/{container}"
    if cgroups.version() == 2:
        assert (cgroups.ROOT / group / "memory.max").read_text().strip() == str(64 << 20)
        assert (cgroups.ROOT / group / "cpu.max").read_text().split() == ["20000", "100000"]
    else:
        assert (cgroups.ROOT / "memory" / group / "memory.limit_in_bytes").read_text().strip() == str(64 << 20)
        assert (cgroups.ROOT / "cpu" / group / "cpu.cfs_quota_us").read_text().strip() == "20000"


def test_what_takes_too_much_memory_is_killed(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A container that passes its memory limit is told to be OOMKilled, and its node stays Ready."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    main = {"resources": {"limits": {"memory": "32Mi"}}, "stdin": True, "stdinOnce": True}
    # A file in /dev/shm is memory that counts as the container's.
    kubectl.apply(pod("greedy", "write", "/dev/shm/much", main=main, restartPolicy="Never"), namespace=namespace)
    kubectl.wait("pod/greedy", "condition=Ready", namespace=namespace, timeout=60)
    kubectl("attach", "--stdin", "greedy", namespace=namespace, stdin="x" * (48 << 20), check=False)
    reason = "jsonpath={.status.containerStatuses[0].state.terminated.reason}=OOMKilled"
    kubectl.wait("pod/greedy", reason, namespace=namespace, timeout=30)
    kubectl.wait("nodes", "condition=Ready", selector="kubernetes.io/os=linux", timeout=5)


def test_a_container_runs_as_who_it_is_told(kubernix: Cluster, kubernix_namespace: str) -> None:
    """User, group, dropped capabilities and a read-only root are what the security context says."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    context = {
        "runAsUser": 1234,
        "runAsGroup": 2345,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    kubectl.apply(pod("user", main={"securityContext": context}), namespace=namespace)
    address(kubectl, namespace, "user")
    status = kubectl.exec("user", PROGRAM, "cat", "/proc/1/status", namespace=namespace).stdout
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert set(fields["Uid"].split()) == {"1234"}
    assert set(fields["Gid"].split()) == {"2345"}
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"
    assert fields["Seccomp"].strip() == "2"
    refused = kubectl.exec("user", PROGRAM, "write", "/file", "x", namespace=namespace, check=False)
    assert "read-only file system" in refused.stderr


def test_a_pod_ends_in_grace(kubernix: Cluster, kubernix_namespace: str, tmp_path: Path) -> None:
    """At its deletion a pod's preStop hook runs, then its process gets SIGTERM and its exit code is reported."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    main = {
        "lifecycle": {"preStop": {"exec": {"command": [PROGRAM, "write", "/goodbye/said", "yes"]}}},
        "volumeMounts": [{"name": "goodbye", "mountPath": "/goodbye"}],
    }
    volume = {"name": "goodbye", "hostPath": {"path": str(tmp_path), "type": "Directory"}}
    made = pod("polite", "sleep", "infinity", main=main, volumes=[volume], terminationGracePeriodSeconds=30)
    # Keeps the object, so that its end can be seen.
    made["metadata"]["finalizers"] = ["example.com/watch"]
    kubectl.apply(made, namespace=namespace)
    kubectl.wait("pod/polite", "condition=Ready", namespace=namespace, timeout=60)
    try:
        kubectl.delete("pod/polite", namespace=namespace, wait=False)
        kubectl.wait("pod/polite", "jsonpath={.status.phase}=Failed", namespace=namespace, timeout=20)
        ended = kubectl.get("pod", "polite", namespace=namespace)["status"]["containerStatuses"][0]
        assert ended["state"]["terminated"]["exitCode"] == 128 + 15
        assert (tmp_path / "said").read_text() == "yes\n"
    finally:
        patch = '--patch={"metadata":{"finalizers":null}}'
        kubectl("patch", "pod", "polite", "--type=merge", patch, namespace=namespace)
    kubectl.wait("pod/polite", "delete", namespace=namespace, timeout=30)


def test_liveness(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A container whose liveness probe fails is restarted by its kubelet."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    probe = {"exec": {"command": [PROGRAM, "test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 2}
    made = pod("ill", "sleep", "infinity", main={"livenessProbe": {**probe, "initialDelaySeconds": 2}})
    kubectl.apply(made, namespace=namespace)
    kubectl.wait("pod/ill", "condition=Ready", namespace=namespace, timeout=60)
    kubectl.wait("pod/ill", "jsonpath={.status.containerStatuses[0].restartCount}=1", namespace=namespace, timeout=30)


def test_nodes_have_addresses(kubernix: Cluster) -> None:
    """Every node has an address of the cluster's network, no two the same."""
    network = ipaddress.ip_network(kubernix.kubectl.get("node", "node-1")["spec"]["podCIDR"]).supernet(new_prefix=16)
    addresses = {node_address(kubernix.kubectl, node) for node in NODES}
    assert len(addresses) == 2
    assert all(ipaddress.ip_address(item) in network for item in addresses)
