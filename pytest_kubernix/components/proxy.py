"""kube-proxy, one per node, with nftables rules inside the node's network namespace.
It is ready when its rules are in place."""

from __future__ import annotations

import json

from ..plan.component import Component
from ..plan.context import ClusterContext, flags
from ..plan.model import ComponentPlan, File, Phase, Probe
from ..plan.network import Network
from ..plan.nodes import NFT_ONLY
from ..versions import matches
from .kubelet import node_object

CONFIG = "/etc/kubernetes/kube-proxy.json"
KUBECONFIG = "/etc/kubernetes/kube-proxy.conf"
HEALTH = "127.0.0.1:10256"


class Proxy(Component):
    """Services on one node."""

    # With the kubelets, because it waits for the node's address, which its kubelet reports.
    phase = Phase.NODE_AGENT

    def __init__(self, node: int) -> None:
        self.node = node
        self.name = f"kube-proxy/{Network.node_name(node)}"

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        name = ctx.network.node_name(self.node)
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": name,
            "clusterCIDR": str(ctx.network.cidr),
            "clientConnection": {"kubeconfig": KUBECONFIG},
            "healthzBindAddress": HEALTH,
            "metricsBindAddress": "127.0.0.1:10249",
            # Connection tracking limits belong to the whole machine.
            "conntrack": {"maxPerCore": 0, "min": 0},
            # What it may not have it asks for twice, and waits a tenth of a second after each time.
            "oomScoreAdj": -999 if ctx.facts.can_lower_oom_score else 0,
        }
        return ComponentPlan(
            name=self.name,
            phase=self.phase,
            argv=(ctx.program("kube-proxy"), *flags({"config": CONFIG, "v": ctx.verbosity})),
            env=ctx.environment(HOME="/root", **self._path(ctx)),
            within=name,
            files=(
                File(CONFIG, json.dumps(config, indent=1)),
                File(KUBECONFIG, ctx.kubeconfigs["kube-proxy"]),
            ),
            # It looks for the node's address when it begins, and then not again for a second.
            objects=(node_object(ctx, self.node),),
            waits_for=("kube-apiserver",),
            held=ctx.facts.can_hold,
            ready=(Probe("http", f"http://{HEALTH}/healthz", within=name),),
        )

    @staticmethod
    def _path(ctx: ClusterContext) -> dict[str, str]:
        # 1.32 tells of each rule that it could not look for as an error.
        return {"PATH": NFT_ONLY} if matches(ctx.config.k8s_version, ">1.32") else {}
