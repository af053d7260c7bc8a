"""Breaking and mending components and nodes of a running cluster."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_kubernix import Cluster, KubernixError, State
from pytest_kubernix.binaries import find_executables
from pytest_kubernix.fixtures.factory import ClusterFactory

from .conftest import server_pod
from .pods import descendants, eventually, guardian_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.kubernix(nodes=2)]

EVERYTHING = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "relay",
    "coredns",
    "containerd/node-1",
    "kubelet/node-1",
    "kube-proxy/node-1",
    "node-1",
)


@pytest.mark.parametrize("name", EVERYTHING)
def test_everything_can_be_broken_and_mended(kubernix: Cluster, name: str) -> None:
    """Each component, and a whole node, is killed, paused, resumed and restarted, and the cluster is well again."""
    component = kubernix.components[name]
    with component.paused():
        assert component.state == "paused"
        assert kubernix.status().state is State.NOT_READY
        assert f"{name} is paused" in kubernix.status().detail
    assert component.state == "running"
    with component.killed():
        assert component.state == "dead"
        with pytest.raises(KubernixError, match=f"{name} can't be paused: it is dead"):
            component.pause()
    assert kubernix.status().state is State.READY, kubernix.status().detail


def test_a_slow_restart_holds_up_no_question(kubernix: Cluster) -> None:
    """While one thread restarts the API server, another asks for the status fifty times, and never waits a second."""
    server = kubernix.components["kube-apiserver"]
    with ThreadPoolExecutor(1) as pool:
        before = time.monotonic()
        restarting = pool.submit(server.restart)
        took = []
        for _ in range(50):
            asked = time.monotonic()
            kubernix.status()
            took.append(time.monotonic() - asked)
        assert before < restarting.result(60) < time.monotonic()
    assert max(took) < 1
    assert kubernix.status().state is State.READY


def test_what_is_done_has_a_moment_on_one_clock(kubernix: Cluster) -> None:
    """A control's answer, the timeline and a death agree on when, on the clock that the test has too."""
    etcd = kubernix.components["etcd"]
    before = time.monotonic()
    paused, resumed = etcd.pause(), etcd.resume()
    assert before < paused < resumed < time.monotonic()
    events = {(event.name, event.what): event.at for event in kubernix.diagnostics().timeline}
    assert (events["etcd", "paused"], events["etcd", "resumed"]) == (paused, resumed)
    assert kubernix.handle.run_dir
    pid = next(
        pid
        for pid in descendants(guardian_of(kubernix.handle.run_dir))
        if b"kube-scheduler" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    death = eventually(lambda: next(iter(kubernix.diagnostics().deaths), None), what="the death to be told")
    assert death
    assert death.component == "kube-scheduler"
    assert killed < death.at < time.monotonic()
    kubernix.components["kube-scheduler"].restart()


def test_a_broken_cluster_works_once_it_is_mended(kubernix: Cluster, kubernix_namespace: str) -> None:
    """After everything was restarted, pods still run on both nodes and answer."""
    for name in ("etcd", "kube-apiserver", "node-2"):
        kubernix.components[name].restart()
    for number in (1, 2):
        pod = server_pod(f"web-{number}")
        pod["spec"]["nodeName"] = f"node-{number}"
        kubernix.kubectl.apply(pod, namespace=kubernix_namespace)
    for number in (1, 2):
        kubernix.kubectl.wait(f"pod/web-{number}", "condition=Ready", namespace=kubernix_namespace, timeout=60)


def test_a_paused_api_server_answers_nobody(kubernix: Cluster) -> None:
    """While it is paused, requests get no answer; afterwards they do."""
    with kubernix.components["kube-apiserver"].paused():
        result = kubernix.kubectl("get", "namespaces", "--request-timeout=1s", check=False)
        assert result.returncode != 0
    assert kubernix.kubectl.get("namespaces")["items"]


def test_a_node_that_is_killed_takes_its_pods_along(kubernix: Cluster, kubernix_namespace: str) -> None:
    """Killing a node ends the containers in it, as pulling its plug does, and leaves the other node alone."""
    for number in (1, 2):
        pod = server_pod(f"web-{number}")
        pod["spec"]["nodeName"] = f"node-{number}"
        kubernix.kubectl.apply(pod, namespace=kubernix_namespace)
        kubernix.kubectl.wait(f"pod/web-{number}", "condition=Ready", namespace=kubernix_namespace, timeout=60)
    address = kubernix.kubectl.get("pod", "web-2", namespace=kubernix_namespace)["status"]["podIP"]
    with kubernix.components["node-2"].killed():
        ask = ("/test-server", "get", "-timeout=1s", f"http://{address}:8080/")
        asked = kubernix.kubectl("exec", "web-1", "--", *ask, namespace=kubernix_namespace, check=False)
        assert asked.returncode != 0
        assert kubernix.components["kubelet/node-2"].state == "dead"
        assert kubernix.components["kubelet/node-1"].state == "running"


def test_a_nodes_death_leaves_the_way_to_everything_else(kubernix: Cluster) -> None:
    """The fabric and a node that comes back keep the link addresses by which their neighbours know them."""
    nodes = {node["metadata"]["name"]: node for node in kubernix.kubectl.get("nodes")["items"]}
    addresses = {item["type"]: item["address"] for item in nodes["node-2"]["status"]["addresses"]}
    node = addresses["InternalIP"]
    dns = node.rpartition(".")[0] + ".2"

    def reached() -> dict[str, str]:
        socket.create_connection((dns, 53), timeout=5).close()
        socket.create_connection((node, 10250), timeout=5).close()
        lines = subprocess.run(["ip", "-json", "neigh"], check=True, capture_output=True, text=True).stdout
        known = {entry["dst"]: entry["lladdr"] for entry in json.loads(lines) if entry.get("lladdr")}
        return {address: known[address] for address in (dns, node)}

    before = reached()
    kubernix.components["node-2"].restart()
    assert reached() == before


def test_what_belongs_in_a_dead_node_is_started_nowhere_else(kubernix: Cluster) -> None:
    """With its node dead, a kubelet can't be restarted nor an image be loaded, and both say why."""
    with kubernix.components["node-2"].killed():
        with pytest.raises(KubernixError, match="kubelet/node-2 can't be restarted: node-2 is dead; restart that"):
            kubernix.components["kubelet/node-2"].restart()
        assert kubernix.components["kubelet/node-2"].state == "dead"
        archive = find_executables(kubernix.version, build=False).images[0]
        with pytest.raises(KubernixError, match="node-2"):
            kubernix.load_image(archive)
    kubernix.load_image(archive)


def test_a_guardian_that_is_stopped_is_told(
    kubernix_cluster_factory: ClusterFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions to a guardian that does not get on end in time and name it; later ones are answered."""
    cluster = kubernix_cluster_factory(nodes=0)
    assert cluster.handle.run_dir
    guardian = guardian_of(cluster.handle.run_dir)
    monkeypatch.setattr("pytest_kubernix.guardian.client.ASK_TIMEOUT", 0.3)
    os.kill(guardian, signal.SIGSTOP)
    try:
        with pytest.raises(KubernixError, match=f"guardian of cluster {cluster.handle.cluster_id} did not answer"):
            cluster.status()
        with pytest.raises(KubernixError, match="did not answer"):
            cluster.others()
    finally:
        os.kill(guardian, signal.SIGCONT)
    monkeypatch.undo()
    assert cluster.status().state is State.READY
    assert cluster.others() == ()
    cluster.stop()


def test_a_component_that_is_not_there_is_named(kubernix: Cluster) -> None:
    """A wrong name is an error that lists what there is."""
    with pytest.raises(KubernixError, match=r"no component or node 'kube-api'.*kube-apiserver.*node-1"):
        kubernix.components["kube-api"]
