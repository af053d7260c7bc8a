"""The identities of one cluster: which keys and certificates its components present or check.
How they are made, `access.authority` knows."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from ..access.authority import Authority, KeyPair, signing_keys
from .network import Network


@dataclass(frozen=True)
class Pki:
    """All of a cluster's keys.

    Attributes:
        ca: The cluster's authority; signs clients and servers.
        front_proxy_ca: Authority of the aggregator only, as Kubernetes demands it apart.
        service_account_key: Private key that signs service account tokens, PEM.
        service_account_pub: Its public half, PEM.
        pairs: Identity → its certificate; see `make_pki` for the names.
    """

    ca: KeyPair
    front_proxy_ca: KeyPair
    service_account_key: str
    service_account_pub: str
    pairs: dict[str, KeyPair]


def make_pki(network: Network, now: datetime.datetime) -> Pki:
    """Make every key and certificate that the components present or check.

    Identities: "kube-apiserver" (server), "kube-apiserver-kubelet-client", "front-proxy-client", "admin",
    "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", and "kubelet/<node>" for each node.

    Args:
        network: Where the names and addresses in server certificates come from.
        now: Time of issue, with a time zone.
    """
    ca = Authority.new("kubernix-ca", now)
    proxy_ca = Authority.new("kubernix-front-proxy-ca", now)
    account_key, account_pub = signing_keys()

    def issue(name: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> KeyPair:
        return ca.issue(name, groups, hosts, now=now)

    api_names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    api_hosts = (*api_names, "localhost", "127.0.0.1", network.host_ip, network.api_service_ip)
    pairs = {
        "kube-apiserver": issue("kube-apiserver", hosts=api_hosts),
        "kube-apiserver-kubelet-client": issue("kube-apiserver-kubelet-client", ["system:masters"]),
        "front-proxy-client": proxy_ca.client("front-proxy-client", now=now),
        "admin": issue("kubernetes-admin", ["system:masters"]),
        # In system:masters because its own roles come with --use-service-account-credentials,
        # which holds the controllers back for five seconds at every boot.
        "kube-controller-manager": issue(
            "system:kube-controller-manager", ["system:masters"], ["localhost", "127.0.0.1"]
        ),
        "kube-scheduler": issue("system:kube-scheduler", (), ["localhost", "127.0.0.1"]),
        "kube-proxy": issue("system:kube-proxy", ["system:node-proxier"]),
        "coredns": issue("system:coredns"),
    }
    for node in network.numbers:
        name = network.node_name(node)
        # One pair is client and server: the node authorizer goes by the name, the API server by the address.
        pairs[f"kubelet/{name}"] = issue(f"system:node:{name}", ["system:nodes"], [name, network.node_ip(node)])
    return Pki(
        ca=ca.pair,
        front_proxy_ca=proxy_ca.pair,
        service_account_key=account_key,
        service_account_pub=account_pub,
        pairs=pairs,
    )
