"""The cluster's addresses: one CIDR cut into blocks for nodes, services, and pods node by node.
Nodes, the host and DNS share one flat network; each node owns one pod block."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ..config import block_prefix

FIRST_NODE_OFFSET = 10
DNS_SERVICE_OFFSET = 10


@dataclass(frozen=True)
class Network:
    """Addresses of one cluster.

    Attributes:
        cidr: The whole of it.
        node_count: Number of nodes, at least 0.
    """

    cidr: ipaddress.IPv4Network
    node_count: int

    def _block(self, index: int) -> ipaddress.IPv4Network:
        prefix = block_prefix(self.cidr, self.node_count)
        first = int(self.cidr.network_address) + index * (1 << (32 - prefix))
        return ipaddress.IPv4Network((first, prefix))

    @property
    def node_block(self) -> ipaddress.IPv4Network:
        """Addresses of the host's end, of the fabric, and of nodes."""
        return self._block(0)

    @property
    def service_block(self) -> ipaddress.IPv4Network:
        """ClusterIPs."""
        return self._block(1)

    def pod_block(self, node: int) -> ipaddress.IPv4Network:
        """Pod addresses of a node, counted from 1."""
        return self._block(1 + node)

    @property
    def host_ip(self) -> str:
        """Where nodes and pods find the host, and so the API server."""
        return str(self.node_block[1])

    @property
    def fabric_ip(self) -> str:
        """Where DNS listens, and the nodes' way out."""
        return str(self.node_block[2])

    def node_ip(self, node: int) -> str:
        """Address of a node, counted from 1."""
        return str(self.node_block[FIRST_NODE_OFFSET - 1 + node])

    @property
    def api_service_ip(self) -> str:
        """ClusterIP of the Service "kubernetes": the first of the block, by Kubernetes' own rule."""
        return str(self.service_block[1])

    @property
    def dns_service_ip(self) -> str:
        """ClusterIP of the Service "kube-dns": the tenth, as kubeadm has it."""
        return str(self.service_block[DNS_SERVICE_OFFSET])

    @staticmethod
    def node_name(node: int) -> str:
        """Name of a node, counted from 1."""
        return f"node-{node}"

    @property
    def node_names(self) -> tuple[str, ...]:
        """Names of all nodes, in order."""
        return tuple(self.node_name(node) for node in self.numbers)

    @property
    def numbers(self) -> range:
        """Numbers of all nodes: 1, 2, …"""
        return range(1, self.node_count + 1)
