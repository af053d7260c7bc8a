"""kube-apiserver: on 127.0.0.1 only; nodes come through the relay.
Routes to webhooks and aggregated APIs in pods go by endpoint, since ClusterIPs exist only inside nodes."""

from __future__ import annotations

from ..plan.component import Component
from ..plan.context import CLUSTER_DOMAIN, ClusterContext, flags
from ..plan.model import ComponentPlan, File, Phase, Probe
from .etcd import client_socket

# The same word is in binaries/go/kubernetes/apiserver.go.
PREPARED_VARIABLE = "KUBERNIX_PREPARED"

ISSUER = f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}"


class ApiServer(Component):
    """The API server."""

    name = "kube-apiserver"
    phase = Phase.CONTROL_PLANE

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        port = ctx.port(self.name)
        encryption = ctx.path("apiserver", "encryption.json")
        pki = ctx.pki_path
        argv = flags(
            {
                "allow-privileged": True,
                "anonymous-auth": False,
                "authorization-mode": "Node,RBAC",
                "bind-address": "127.0.0.1",
                "secure-port": port,
                # The guardian keeps the port bound from the moment it was chosen.
                "permit-port-sharing": True,
                "client-ca-file": pki("ca.crt"),
                "tls-cert-file": pki("kube-apiserver.crt"),
                "tls-private-key-file": pki("kube-apiserver.key"),
                "etcd-servers": f"unix://{client_socket(ctx)}",
                "enable-admission-plugins": "NodeRestriction",
                "encryption-provider-config": encryption,
                "service-account-issuer": ISSUER,
                "service-account-key-file": pki("sa.pub"),
                "service-account-signing-key-file": pki("sa.key"),
                "service-cluster-ip-range": str(ctx.network.service_block),
                "requestheader-client-ca-file": pki("front-proxy-ca.crt"),
                "requestheader-allowed-names": "front-proxy-client",
                "requestheader-extra-headers-prefix": "X-Remote-Extra-",
                "requestheader-group-headers": "X-Remote-Group",
                "requestheader-username-headers": "X-Remote-User",
                "proxy-client-cert-file": pki("front-proxy-client.crt"),
                "proxy-client-key-file": pki("front-proxy-client.key"),
                "profiling": False,
                "v": ctx.verbosity,
                **self._nodes(ctx),
            }
        )
        return ComponentPlan(
            name=self.name,
            phase=self.phase,
            argv=(ctx.program(self.name), *argv),
            # It has by far the most memory: collected twice as often it needs 100 MiB less, and boots no slower.
            env=ctx.environment(GOGC="200"),
            # Our executable then leaves out the hooks that write what prepared data has: each sleeps for a second
            # before it looks. Started again, it runs them, as everywhere.
            first_env={PREPARED_VARIABLE: "1"} if ctx.facts.etcd_data and ctx.stock else {},
            files=(File(encryption, ctx.encryption_config),),
            # It loads for longer than etcd takes to listen; should etcd be late, it tries again.
            waits_for=(),
            ready=(Probe("http", f"{ctx.server}/readyz", private=True),),
        )

    @staticmethod
    def _nodes(ctx: ClusterContext) -> dict[str, str | bool]:
        """What only a cluster with nodes needs."""
        if not ctx.config.nodes:
            # The Service "kubernetes" would point at an address that no pod could ever use.
            return {"endpoint-reconciler-type": "none", "advertise-address": "127.0.0.1"}
        return {
            "advertise-address": ctx.network.host_ip,
            "enable-aggregator-routing": True,
            "kubelet-certificate-authority": ctx.pki_path("ca.crt"),
            "kubelet-client-certificate": ctx.pki_path("kube-apiserver-kubelet-client.crt"),
            "kubelet-client-key": ctx.pki_path("kube-apiserver-kubelet-client.key"),
            "kubelet-preferred-address-types": "InternalIP",
        }
