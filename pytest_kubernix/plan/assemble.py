"""make_plan: the one way from a configuration and the machine's facts to a Plan.
Everything that several components share (keys, kubeconfigs, addresses) is made here, once."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Callable

from ..access.kubeconfig import render
from ..config import ClusterConfig
from . import nodes as namespaces
from .component import ComponentRegistry
from .context import CLUSTER_DOMAIN, ClusterContext, HostFacts
from .identities import Pki, make_pki
from .model import File, Plan, Probe
from .network import Network

# Identities whose kubeconfigs live on the host; nodes get theirs as files of their components.
HOST_IDENTITIES = ("admin", "kube-controller-manager", "kube-scheduler", "coredns")
NODE_IDENTITIES = ("kube-proxy",)
# Whose first start decides what a fresh cluster has.
STORE = ("etcd", "kube-apiserver")


def make_context(config: ClusterConfig, facts: HostFacts, pki: Pki | None = None) -> ClusterContext:
    """The context that components build their plans from.

    Args:
        config: What was asked for.
        facts: What the machine gave.
        pki: Keys to use; None makes fresh ones.
    """
    network = Network(ipaddress.IPv4Network(facts.cidr), config.nodes)
    pki = pki or make_pki(network, facts.now)
    port = facts.ports["kube-apiserver"]
    near, far = f"https://127.0.0.1:{port}", f"https://{network.host_ip}:{port}"

    def kubeconfig(identity: str, server: str) -> str:
        pair = pki.pairs[identity]
        return render(server=server, ca_pem=pki.ca.cert, user=identity, cert_pem=pair.cert, key_pem=pair.key)

    kubelets = tuple(f"kubelet/{name}" for name in network.node_names)
    kubeconfigs = {
        # CoreDNS lives on the fabric, so it takes the nodes' way to the API server.
        **{name: kubeconfig(name, far if name == "coredns" else near) for name in HOST_IDENTITIES},
        **{name: kubeconfig(name, far) for name in (*NODE_IDENTITIES, *kubelets)},
    }
    return ClusterContext(
        config=config,
        facts=facts,
        network=network,
        pki=pki,
        kubeconfigs=kubeconfigs,
        encryption_config=_encryption_config(facts.encryption_key),
        kubectl=facts.programs.get("kubectl", ""),
    )


def make_plan(
    config: ClusterConfig,
    facts: HostFacts,
    register: Callable[[ComponentRegistry, ClusterConfig, HostFacts], None],
    *,
    pki: Pki | None = None,
    plugins: Callable[[ComponentRegistry, ClusterConfig], None] | None = None,
) -> Plan:
    """Everything about a cluster before it exists.

    Args:
        config: What was asked for.
        facts: What the machine gave.
        register: Registers the cluster's own components; `components.register_all`.
        pki: Keys to use; None makes fresh ones.
        plugins: Called with the registry, so that others can add components.

    Raises:
        KubernixError: Components contradict each other or need what is not there.
    """
    ctx = make_context(config, facts, pki)
    registry = ComponentRegistry()
    register(registry, config, facts)
    if plugins:
        # What they would run is compared, not what they are: a plugin may as well change ours in place.
        usual = [registry[name].build(ctx) for name in STORE]
        plugins(registry, config)
        ctx = dataclasses.replace(ctx, stock=[registry[name].build(ctx) for name in STORE] == usual)
    patches = [patch for name in STORE for patch in registry.patches(name, config)]
    if not all(patch.harmless for patch in patches):
        ctx = dataclasses.replace(ctx, stock=False, facts=dataclasses.replace(facts, etcd_data=""))
    spaces = []
    if config.nodes:
        spaces = [namespaces.fabric(ctx), *(namespaces.node(ctx, number) for number in ctx.network.numbers)]
    return Plan(
        cluster_id=facts.cluster_id,
        run_dir=facts.run_dir,
        files=_host_files(ctx),
        namespaces=tuple(spaces),
        components=registry.build(ctx),
        server=ctx.server,
        admin_kubeconfig=ctx.kubeconfig_path("admin"),
        final=_final_probes(ctx),
        nodes=ctx.network.node_names,
        stock=ctx.stock and not patches,
    )


def _host_files(ctx: ClusterContext) -> tuple[File, ...]:
    pki = ctx.pki
    return (
        File(ctx.pki_path("ca.crt"), pki.ca.cert, 0o644),
        File(ctx.pki_path("ca.key"), pki.ca.key),
        File(ctx.pki_path("front-proxy-ca.crt"), pki.front_proxy_ca.cert, 0o644),
        File(ctx.pki_path("sa.key"), pki.service_account_key),
        File(ctx.pki_path("sa.pub"), pki.service_account_pub, 0o644),
        *(
            file
            for identity, pair in pki.pairs.items()
            if not identity.startswith("kubelet/")
            for file in (
                File(ctx.pki_path(f"{identity}.crt"), pair.cert, 0o644),
                File(ctx.pki_path(f"{identity}.key"), pair.key),
            )
        ),
        *(File(ctx.kubeconfig_path(name), ctx.kubeconfigs[name]) for name in HOST_IDENTITIES),
    )


def _final_probes(ctx: ClusterContext) -> tuple[Probe, ...]:
    # The namespaces of the system come before this one.
    probes = [Probe("object", "/api/v1/namespaces/default/serviceaccounts/default")]
    if ctx.config.nodes and "coredns" in ctx.config.addons:
        # Asked from a node by the Service's address, so it proves proxy and DNS together.
        name = f"kubernetes.default.svc.{CLUSTER_DOMAIN}"
        probes += [
            Probe("dns", f"{ctx.network.dns_service_ip}:53/{name}", within=node) for node in ctx.network.node_names
        ]
    return tuple(probes)


def _encryption_config(key: str) -> str:
    return json.dumps(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [
                {
                    "resources": ["secrets"],
                    "providers": [
                        {"secretbox": {"keys": [{"name": "key1", "secret": key}]}},
                        {"identity": {}},
                    ],
                }
            ],
        },
        indent=1,
    )
