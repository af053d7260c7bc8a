"""CoreDNS: one process on the fabric behind the Service "kube-dns", so that pods find it as they would elsewhere.
Answers come straight from its informers and are never cached, since tests change what they look up."""

from __future__ import annotations

from ..plan.component import Component
from ..plan.context import CLUSTER_DOMAIN, ClusterContext
from ..plan.model import FABRIC, ApiObject, ComponentPlan, File, Phase, Probe
from .egress import SLIRP_DNS

READY = "127.0.0.1:8181"
PORTS = (("dns", "UDP", 53), ("dns-tcp", "TCP", 53))
RBAC = "rbac.authorization.k8s.io"


class CoreDns(Component):
    """The cluster's DNS."""

    name = "coredns"
    phase = Phase.CONTROLLER

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        corefile = ctx.path("coredns", "Corefile")
        return ComponentPlan(
            name=self.name,
            phase=self.phase,
            argv=(ctx.program("coredns"), "-conf", corefile),
            env=ctx.environment(),
            within=FABRIC,
            files=(File(corefile, self._corefile(ctx)),),
            objects=self._objects(ctx),
            waits_for=("kube-apiserver",),
            ready=(Probe("http", f"http://{READY}/ready", within=FABRIC),),
        )

    @staticmethod
    def _corefile(ctx: ClusterContext) -> str:
        # Without a way out a name that is not ours is refused at once instead of timing out.
        forward = f"\n    forward . {SLIRP_DNS}" if ctx.facts.egress_program else ""
        return f""".:53 {{
    bind {ctx.network.fabric_ip}
    errors
    ready {READY}
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {ctx.kubeconfig_path("coredns")}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 0
    }}{forward}
}}
"""

    @staticmethod
    def _objects(ctx: ClusterContext) -> tuple[ApiObject, ...]:
        labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
        rules = [
            {
                "apiGroups": [""],
                "resources": ["endpoints", "services", "pods", "namespaces"],
                "verbs": ["list", "watch"],
            },
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ]
        role = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": "system:coredns"}}
        return (
            ApiObject(f"/apis/{RBAC}/v1/clusterroles", {**role, "kind": "ClusterRole", "rules": rules}),
            ApiObject(
                f"/apis/{RBAC}/v1/clusterrolebindings",
                {
                    **role,
                    "kind": "ClusterRoleBinding",
                    "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "system:coredns"},
                    "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "system:coredns"}],
                },
            ),
            ApiObject(
                "/api/v1/namespaces/kube-system/services",
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": {"name": "kube-dns", "labels": labels},
                    # No selector: the endpoint is the process on the fabric, not a pod.
                    "spec": {
                        "clusterIP": ctx.network.dns_service_ip,
                        "ports": [
                            {"name": name, "protocol": protocol, "port": port, "targetPort": port}
                            for name, protocol, port in PORTS
                        ],
                    },
                },
            ),
            ApiObject(
                "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "name": "kube-dns",
                        "labels": {**labels, "kubernetes.io/service-name": "kube-dns"},
                    },
                    "addressType": "IPv4",
                    "endpoints": [{"addresses": [ctx.network.fabric_ip], "conditions": {"ready": True}}],
                    "ports": [{"name": name, "protocol": protocol, "port": port} for name, protocol, port in PORTS],
                },
            ),
        )
