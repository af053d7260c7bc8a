"""kubelet, one per node: an ordinary one, with the files of an ordinary node, in a node's namespaces.
Its pods are in a cgroup of the node's own; the eviction rules of a full disk are off."""

from __future__ import annotations

import json

from ..plan.component import Component
from ..plan.context import CLUSTER_DOMAIN, ClusterContext, flags
from ..plan.model import ApiObject, ComponentPlan, File, Phase, Probe
from ..plan.network import Network
from ..plan.nodes import node_cgroup
from .containerd import SOCKET

CONFIG = "/var/lib/kubelet/config.json"
KUBECONFIG = "/etc/kubernetes/kubelet.conf"
PORT = 10250
HEALTH = "http://127.0.0.1:10248/healthz"


def node_object(ctx: ClusterContext, number: int) -> ApiObject:
    """A Node, made beforehand so that it has its pod block and addresses from the start; the kubelet adopts it."""
    name, pods = ctx.network.node_name(number), str(ctx.network.pod_block(number))
    addresses = {"InternalIP": ctx.network.node_ip(number), "Hostname": name}
    return ApiObject(
        "/api/v1/nodes",
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": {"podCIDR": pods, "podCIDRs": [pods]},
            "status": {"addresses": [{"type": kind, "address": address} for kind, address in addresses.items()]},
        },
    )


class Kubelet(Component):
    """The agent of one node."""

    phase = Phase.NODE_AGENT

    def __init__(self, node: int) -> None:
        self.node = node
        self.name = f"kubelet/{Network.node_name(node)}"

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        name = ctx.network.node_name(self.node)
        argv = flags(
            {
                "config": CONFIG,
                "kubeconfig": KUBECONFIG,
                "hostname-override": name,
                "node-ip": ctx.network.node_ip(self.node),
                "v": ctx.verbosity,
            }
        )
        return ComponentPlan(
            name=self.name,
            phase=self.phase,
            argv=(ctx.program("kubelet"), *argv),
            env=ctx.environment(HOME="/root"),
            within=name,
            files=(
                File(CONFIG, json.dumps(self._config(ctx), indent=1)),
                File(KUBECONFIG, ctx.kubeconfigs[f"kubelet/{name}"]),
            ),
            objects=(node_object(ctx, self.node),),
            waits_for=("kube-apiserver", f"containerd/{name}"),
            held=ctx.facts.can_hold,
            # The process itself first: after a restart the Node is still Ready from before.
            ready=(
                Probe("http", HEALTH, within=name),
                Probe("object", f"/api/v1/nodes/{name}", expect="Ready"),
            ),
        )

    def _config(self, ctx: ClusterContext) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": ctx.network.node_ip(self.node),
            "port": PORT,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": "/etc/kubernetes/pki/kubelet.crt",
            "tlsPrivateKeyFile": "/etc/kubernetes/pki/kubelet.key",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{node_cgroup(ctx, self.node)}",
            # From 1.35 on the default refuses version 1, which older hosts still have.
            "failCgroupV1": False,
            "clusterDNS": [ctx.network.dns_service_ip],
            "clusterDomain": CLUSTER_DOMAIN,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "resolvConf": "/etc/resolv.conf",
            "failSwapOn": False,
            # The machine is shared with whatever else runs on it: a full disk is not this node's fault.
            "evictionHard": {
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
                "imagefs.inodesFree": "0%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            # Only nftables rules are used in nodes; the kubelet's own iptables chains would serve no one.
            "makeIPTablesUtilChains": False,
            "oomScoreAdj": -999 if ctx.facts.can_lower_oom_score else 0,
            "serializeImagePulls": False,
            # How soon a changed ConfigMap or Secret is seen in running pods; a minute by default.
            "syncFrequency": "10s",
            "registerNode": True,
        }
