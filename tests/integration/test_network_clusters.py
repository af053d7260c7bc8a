from __future__ import annotations

import ipaddress

import pytest

from pytest_kubernix import Cluster, ClusterFactory
from pytest_kubernix.boot.claims import routed_networks

from .pods import address, eventually, fetch, fetch_from, pod, service

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.kubernix(nodes=2)]


def works(cluster: Cluster, namespace: str = "default") -> str:
    """Run a server and ask it by its Service's name; its address."""
    kubectl = cluster.kubectl
    kubectl.wait("serviceaccount/default", "create", namespace=namespace)
    kubectl.apply([pod("beside"), service("front", "beside")], namespace=namespace)
    ip = address(kubectl, namespace, "beside")
    still_works(ip)
    return ip


def still_works(ip: str) -> None:
    assert fetch(ip) == (200, "beside\n")

    def look() -> bool:
        answer = fetch_from(ip, "http://front")
        assert answer == (200, "beside\n")
        return True

    eventually(look, what="an answer by the Service's name")


def test_clusters_with_nodes_side_by_side(
    kubernix: Cluster, kubernix_cluster_factory: ClusterFactory, kubernix_namespace: str
) -> None:
    """Clusters on one machine have networks of their own, and the end of one is not noticed by the others."""
    one = kubernix_cluster_factory(nodes=1)
    two = kubernix_cluster_factory(nodes=1)
    try:
        networks = [
            ipaddress.ip_network(cluster.kubectl.get("node", "node-1")["spec"]["podCIDR"]).supernet(new_prefix=16)
            for cluster in (kubernix, one, two)
        ]
        assert len(set(networks)) == 3
        ips = [works(kubernix, kubernix_namespace), works(one), works(two)]
        assert all(ipaddress.ip_address(ip) in network for ip, network in zip(ips, networks, strict=True))
        # The elder goes first: nothing of the younger hangs on it.
        one.stop()
        still_works(ips[0])
        still_works(ips[2])
        two.stop()
        still_works(ips[0])
        eventually(
            lambda: not any(route.overlaps(network) for _, route in routed_networks() for network in networks[1:]),
            what="no route to the clusters that ended",
        )
    finally:
        one.stop()
        two.stop()
