"""What is said of a cluster that is not well: from stubs, so that every state can be had at once."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix import ClusterGone, ClusterHandle, Kubectl
from pytest_kubernix.diagnostics import sections as module
from pytest_kubernix.diagnostics.sections import sections
from pytest_kubernix.diagnostics.tables import age, events_table, pod_status, pods_table
from pytest_kubernix.drivers.base import Diagnostics
from pytest_kubernix.handle import ComponentState, Death

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
BEGAN = NOW.timestamp() - 60


def pod(name: str, *statuses: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A pod with these container statuses."""
    ready = all(one.get("ready") for one in statuses) and bool(statuses)
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "creationTimestamp": "2026-05-01T11:59:00Z"},
        "spec": {"containers": [{"name": one["name"]} for one in statuses] or [{"name": "main"}], "nodeName": "node-1"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": list(statuses),
            **status,
        },
    }


def container(name: str, *, ready: bool = False, restarts: int = 0, **state: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "restartCount": restarts, "state": state or {"running": {}}}


def event(reason: str, moment: str, kind: str = "Warning") -> dict[str, Any]:
    return {
        "kind": "Event",
        "type": kind,
        "reason": reason,
        "message": f"because\nof {reason}",
        "lastTimestamp": moment,
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "ns"},
        "metadata": {"creationTimestamp": "2026-05-01T11:00:00Z"},
    }


class Stub:
    """A cluster whose kubectl is a script.

    Args:
        folder: Where the script goes.
        script: What it does; "$1" is the verb.
        known: What the driver says.
    """

    def __init__(self, folder: Path, script: str, known: Diagnostics | Exception | None = None) -> None:
        path = folder / "kubectl"
        path.write_text(
            f'#!/bin/sh\nfor word; do case "$word" in -*) ;; *) verb="$word"; break;; esac; done\n{script}\n'
        )
        path.chmod(0o755)
        self.kubectl = Kubectl(path, folder / "kubeconfig")
        self.known = known or Diagnostics()
        self.handle = ClusterHandle(
            cluster_id="abcd",
            driver="stub",
            k8s_version="1.36.3",
            server="https://127.0.0.1:1",
            kubeconfig=folder / "kubeconfig",
            kubectl=path,
            nodes=(),
        )

    def diagnostics(self, *, timeout: float) -> Diagnostics:
        if isinstance(self.known, Exception):
            raise self.known
        return self.known


def having(folder: Path, *items: dict[str, Any], known: Diagnostics | Exception | None = None) -> Stub:
    """A cluster with these objects; the log of each container is its name."""
    (folder / "items.json").write_text(json.dumps({"items": items}))
    return Stub(folder, f'case $verb in get) cat {folder}/items.json;; logs) echo "log of $*";; esac', known)


def test_a_pod_that_is_not_ready_is_told_with_its_log(tmp_path: Path) -> None:
    """The table has every pod of the test's namespace; logs are of those that are not ready, or restarted."""
    stub = having(
        tmp_path,
        pod("fine", container("good", ready=True)),
        pod("slow", container("main")),
        pod("crashing", container("main", restarts=3, waiting={"reason": "CrashLoopBackOff"})),
        event("Later", "2026-05-01T11:59:30Z"),
        event("Earlier", "2026-05-01T11:59:10Z", "Normal"),
    )
    found = dict(sections(stub, namespace="ns", since=BEGAN))
    assert list(found) == [
        "kubernix: pods of namespace ns",
        "kubernix: events of namespace ns",
        "kubernix: log of slow/main (the end)",
        "kubernix: previous log of crashing/main (the end)",
    ]
    rows = found["kubernix: pods of namespace ns"].splitlines()
    assert [row.split()[:4] for row in rows] == [
        ["NAME", "READY", "STATUS", "RESTARTS"],
        ["fine", "1/1", "Running", "0"],
        ["slow", "0/1", "Running", "0"],
        ["crashing", "0/1", "CrashLoopBackOff", "3"],
    ]
    events = found["kubernix: events of namespace ns"]
    assert events.index("Earlier") < events.index("Later")
    assert "because of Later" in events


def test_without_a_namespace_only_what_is_wrong_is_told(tmp_path: Path) -> None:
    """Of all namespaces, pods that are well and events that are old or normal are left out; of none, all."""
    fine = pod("fine", container("good", ready=True))
    events = [event("Old", "2026-05-01T11:58:00Z"), event("Normal", "2026-05-01T11:59:30Z", "Normal")]
    assert sections(having(tmp_path, fine, *events), namespace=None, since=BEGAN) == []
    new = event("New", "2026-05-01T11:59:30Z")
    found = sections(having(tmp_path, fine, *events, new, pod("slow", container("main"))), namespace=None, since=BEGAN)
    assert [title.partition(": ")[2] for title, _ in found] == [
        "pods that are not ready, all namespaces",
        "warnings of all namespaces",
        "log of slow/main (the end)",
    ]
    assert "ns/slow" in found[0][1]
    assert "fine" not in found[0][1]
    assert "Old" not in found[1][1]


CRASH = "coredns: killed by SIGKILL on its own\n  the end of its log:\n    last words"


def monotonic(epoch: float) -> float:
    """A moment of the epoch on the clock that deaths have."""
    return time.monotonic() - (time.time() - epoch)


def test_components_that_are_not_well(tmp_path: Path) -> None:
    """A death is told with its log, and whether it was in this test; a component that came back is no matter then."""
    deaths = [
        Death("etcd", monotonic(BEGAN - 5), "etcd: killed by SIGKILL on its own\n  the end of its log:\n    old words"),
        Death("relay", monotonic(BEGAN - 9), "relay: exited with code 3 on its own"),
        Death(
            "coredns",
            monotonic(BEGAN + 1.5),
            "coredns: killed by SIGKILL on its own\n  the end of its log:\n    last words",
        ),
    ]
    dead, runs, paused = ComponentState.DEAD, ComponentState.RUNNING, ComponentState.PAUSED
    states = {"etcd": dead, "relay": runs, "coredns": runs, "kubelet": paused, "proxy": dead}
    found = dict(sections(having(tmp_path, known=Diagnostics(states, deaths)), namespace=None, since=BEGAN))
    text = found["kubernix: components of cluster abcd"]
    assert "1.5 s into the test: coredns: killed by SIGKILL on its own" in text
    assert "last words" in text
    assert "before this test\netcd: killed" in text
    assert "kubelet is paused now\nproxy is dead now" in text
    assert "relay" not in text


def test_a_silent_api_server_takes_its_limit_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says that there was no answer, and nothing waits any longer than the limit."""
    monkeypatch.setattr(module, "API_TIMEOUT", 0.5)
    begin = time.monotonic()
    found = sections(Stub(tmp_path, "exec sleep 60"), namespace="ns", since=BEGAN)
    assert found == [("kubernix: pods of namespace ns", "not known: the API server gave no answer within 0.5 s")]
    assert time.monotonic() - begin < 5


def test_an_api_server_that_refuses(tmp_path: Path) -> None:
    """The last line of what kubectl says is the reason."""
    stub = Stub(tmp_path, "echo try 1 >&2; echo The connection was refused >&2; exit 1")
    found = sections(stub, namespace="ns", since=BEGAN)
    assert found == [("kubernix: pods of namespace ns", "not known: The connection was refused")]


def test_an_api_server_that_is_known_to_be_dead_is_not_asked(tmp_path: Path) -> None:
    """Where the driver knows, no time is spent."""
    stub = Stub(tmp_path, f"touch {tmp_path}/asked", Diagnostics({"kube-apiserver": ComponentState.PAUSED}))
    found = dict(sections(stub, namespace="ns", since=BEGAN))
    assert found["kubernix: pods of namespace ns"] == "not known: kube-apiserver is paused"
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("error", [ClusterGone("cluster abcd is gone"), TimeoutError()])
def test_a_cluster_that_is_gone(tmp_path: Path, error: Exception) -> None:
    """One section says so."""
    (found,) = sections(Stub(tmp_path, "exit 1", error), namespace="ns", since=BEGAN)
    assert found[0] == "kubernix: cluster abcd"
    assert "is gone" in found[1] or "did not answer within 2 s" in found[1]


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ({"containerStatuses": []}, "Running"),
        ({"containerStatuses": [container("a", waiting={"reason": "ImagePullBackOff"})]}, "ImagePullBackOff"),
        ({"containerStatuses": [container("a", terminated={"exitCode": 3})]}, "ExitCode:3"),
        ({"containerStatuses": [container("a", terminated={"exitCode": 0, "reason": "Completed"})]}, "Completed"),
        ({"initContainerStatuses": [container("i", terminated={"exitCode": 1, "reason": "Error"})]}, "Init:Error"),
        ({"initContainerStatuses": [container("i", terminated={"exitCode": 0})]}, "Running"),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "Unschedulable"}]}, "Unschedulable"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
    ],
)
def test_the_word_for_a_pod(states: dict[str, Any], status: str) -> None:
    """It is why a container waits or ended, before anything more general."""
    assert pod_status(pod("web", **states)) == status


def test_tables_are_aligned_and_say_how_old() -> None:
    """Columns start at the same place in each line; events say how often they were seen."""
    table = pods_table([pod("a"), pod("a-long-name")], now=NOW).splitlines()
    assert len({line.index(word) for line, word in zip(table, ("READY", "0/1", "0/1"), strict=True)}) == 1
    again = {
        **event("BackOff", ""),
        "lastTimestamp": None,
        "series": {"count": 7, "lastObservedTime": "2026-05-01T11:55:50Z"},
    }
    assert (
        events_table([again], now=NOW).splitlines()[1]
        == "4m10s   Warning   BackOff   pod/web   because of BackOff (x7)"
    )
    assert [age(moment, NOW) for moment in ("2026-05-01T09:30:00Z", "2026-05-01T12:00:01Z", "")] == ["2h30m", "0s", "-"]
