from __future__ import annotations

import ipaddress
import itertools

import pytest

from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.errors import ConfigError
from pytest_kubernix.plan.network import Network


@pytest.mark.parametrize("nodes", [0, 1, 2, 5, 14, 15, 62, 64])
@pytest.mark.parametrize("prefix", [8, 16, 18])
def test_blocks_lie_apart_inside_the_cidr(nodes: int, prefix: int) -> None:
    """Node addresses, services and every node's pods have blocks that never overlap and stay inside the CIDR."""
    network = Network(ipaddress.IPv4Network(f"10.0.0.0/{prefix}"), nodes)
    blocks = [network.node_block, network.service_block, *(network.pod_block(node) for node in network.numbers)]
    assert all(block.subnet_of(network.cidr) for block in blocks)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(blocks, 2))


def test_every_node_has_an_address_in_the_smallest_network() -> None:
    """In the smallest network allowed for 64 nodes, each still has an address of its own in the node block."""
    network = Network(ipaddress.IPv4Network("10.0.0.0/18"), 64)
    addresses = {network.node_ip(node) for node in network.numbers} | {network.host_ip, network.fabric_ip}
    assert len(addresses) == 66
    assert all(ipaddress.ip_address(address) in network.node_block for address in addresses)
    assert network.node_ip(64) != str(network.node_block.broadcast_address)


@pytest.mark.parametrize(
    ("cidr", "nodes", "allowed"),
    [("10.0.0.0/25", 1, "/24 or larger"), ("10.0.0.0/19", 64, "/18 or larger"), ("10.0.0.0/27", 0, "/25 or larger")],
)
def test_a_cidr_too_small_says_what_would_do(cidr: str, nodes: int, allowed: str) -> None:
    """A CIDR too small for the nodes is refused with the size that would do, and that size does."""
    with pytest.raises(ConfigError, match=f"cidr={cidr}: too small for {nodes} node.*{allowed}"):
        ClusterConfig(k8s_version="1.36.3", nodes=nodes, cidr=cidr)
    enough = cidr.split("/", maxsplit=1)[0] + allowed.split(maxsplit=1)[0]
    assert ClusterConfig(k8s_version="1.36.3", nodes=nodes, cidr=enough).cidr == enough


@pytest.mark.parametrize("cidr", ["10.0.0.1/16", "fd00::/48", "nonsense", "8.8.0.0/16", "127.0.0.0/8", ""])
def test_only_private_ipv4_networks_are_cidrs(cidr: str) -> None:
    """What is no private IPv4 network is refused by name, with an example of what is."""
    with pytest.raises(ConfigError, match=r"allowed is a(n IPv4| private IPv4) network such as 10.10.0.0/16"):
        ClusterConfig(k8s_version="1.36.3", cidr=cidr)
