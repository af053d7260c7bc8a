"""Several clusters in one session."""

from __future__ import annotations

import pytest

from pytest_kubernix import Cluster, ClusterFactory, State

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


def test_several_clusters_side_by_side(kubernix: Cluster, kubernix_cluster_factory: ClusterFactory) -> None:
    """Clusters of one session know nothing of each other, and ending one leaves the other."""
    one = kubernix_cluster_factory(nodes=0)
    two = kubernix_cluster_factory(nodes=0)
    clusters = (kubernix, one, two)
    assert len({cluster.server for cluster in clusters}) == 3
    assert len({cluster.handle.cluster_id for cluster in clusters}) == 3
    one.kubectl("create", "namespace", "only-here")
    for other in (kubernix, two):
        names = [item["metadata"]["name"] for item in other.kubectl.get("namespaces")["items"]]
        assert "only-here" not in names
    # The CA of one is worth nothing to the other.
    stranger = one.user("stranger", groups=("system:masters",))
    text = stranger.read_text().replace(one.server, two.server)
    stranger.write_text(text)
    refused = two.kubectl.using(stranger)("get", "namespaces", "--insecure-skip-tls-verify", check=False)
    assert refused.returncode != 0

    run_dir = one.handle.run_dir
    assert run_dir is not None
    one.stop()
    assert not run_dir.exists()
    for other in (kubernix, two):
        assert other.status().state is State.READY
        assert other.kubectl.get("namespaces")["items"]
    two.stop()


@pytest.mark.kubernix(nodes=0)
def test_a_marked_test_gets_its_cluster(kubernix: Cluster) -> None:
    """The marker's cluster has what the marker says, whatever the suite's own has."""
    assert kubernix.nodes == ()
    assert kubernix.kubectl.get("nodes")["items"] == []
    assert "nodes" not in kubernix.capabilities


@pytest.mark.kubernix(nodes=0)
def test_marked_alike_means_shared(kubernix: Cluster, kubernix_cluster_factory: ClusterFactory) -> None:
    """Two tests with one marker run on one cluster."""
    assert kubernix_cluster_factory.shared(nodes=0) is kubernix
