"""Clusters that begin with prepared data: what they have, and what their API server does when it is started again."""

from __future__ import annotations

import json

import pytest

from pytest_kubernix import Cluster, ClusterFactory
from pytest_kubernix.store.prepared import PreparedData

from .pods import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240), pytest.mark.kubernix(nodes=0)]

KINDS = (
    "apiservices,clusterroles,clusterrolebindings,roles,rolebindings,priorityclasses,flowschemas,"
    "prioritylevelconfigurations"
)
HOOKS = ("rbac/bootstrap-roles", "scheduling/bootstrap-system-priority-classes")


def hooks(cluster: Cluster) -> list[str]:
    """Those of the two hooks that the API server ran, of which its health tells."""
    health = cluster.kubectl("get", "--raw", "/readyz?verbose").stdout
    return [hook for hook in HOOKS if f"poststarthook/{hook} ok" in health]


def provided(cluster: Cluster) -> dict[str, object]:
    """What the API server itself provides, without what is each object's own: times, UIDs and the like."""
    found: dict[str, object] = {}
    text = cluster.kubectl("get", KINDS, "--all-namespaces", "--output=json").stdout
    for item in json.loads(text)["items"]:
        metadata = item.pop("metadata")
        item.pop("status", None)
        # Put together by a controller, in its time.
        if item.get("aggregationRule"):
            item.pop("rules")
        name = f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        found[name] = (item, metadata.get("labels"), metadata.get("annotations"))
    return found


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, kubernix_cluster_factory: ClusterFactory) -> Cluster:
    """A cluster whose API server wrote everything itself."""
    with monkeypatch.context() as patch:
        patch.setattr(PreparedData, "find", lambda self: "")
        patch.setattr(PreparedData, "make", lambda self, source, etcd: None)
        return kubernix_cluster_factory(nodes=0)


def test_it_has_what_a_fresh_cluster_has(
    kubernix: Cluster, kubernix_cluster_factory: ClusterFactory, fresh: Cluster
) -> None:
    """Roles, bindings, priority classes and levels and APIServices are those of a cluster that made them itself."""
    # The first cluster of a version, which this may be, has left the data to the second.
    second = kubernix_cluster_factory(nodes=0)
    assert (hooks(fresh), hooks(second)) == (list(HOOKS), [])
    wanted = provided(fresh)
    assert len(wanted) > 150
    assert provided(second) == wanted
    second.kubectl("auth", "can-i", "*", "*")


def test_a_second_start_restores_what_is_missing(kubernix: Cluster, kubernix_cluster_factory: ClusterFactory) -> None:
    """An API server that is started again runs every hook, and brings deleted roles back, as everywhere."""
    cluster = kubernix_cluster_factory(nodes=0)
    assert hooks(cluster) == []
    before = provided(cluster)
    cluster.kubectl("delete", "clusterrole", "system:node-proxier")
    cluster.kubectl("delete", "priorityclass", "system-node-critical", check=False)
    cluster.components["kube-apiserver"].restart()
    eventually(lambda: hooks(cluster) == list(HOOKS), what="the hooks")
    eventually(lambda: provided(cluster) == before, what="what was deleted")
