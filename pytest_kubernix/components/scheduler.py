"""kube-scheduler: the default profile, alone, so without an election of its own."""

from __future__ import annotations

from ..plan.component import Component
from ..plan.context import ClusterContext, flags
from ..plan.model import ComponentPlan, Phase, Probe


class Scheduler(Component):
    """The scheduler."""

    name = "kube-scheduler"
    phase = Phase.CONTROLLER

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        port = ctx.port(self.name)
        kubeconfig = ctx.kubeconfig_path(self.name)
        argv = flags(
            {
                "kubeconfig": kubeconfig,
                "authentication-kubeconfig": kubeconfig,
                "authorization-kubeconfig": kubeconfig,
                "bind-address": "127.0.0.1",
                "secure-port": port,
                "permit-port-sharing": True,
                "client-ca-file": ctx.pki_path("ca.crt"),
                "requestheader-client-ca-file": ctx.pki_path("front-proxy-ca.crt"),
                "tls-cert-file": ctx.pki_path("kube-scheduler.crt"),
                "tls-private-key-file": ctx.pki_path("kube-scheduler.key"),
                "leader-elect": False,
                "profiling": False,
                "v": ctx.verbosity,
            }
        )
        return ComponentPlan(
            name=self.name,
            phase=self.phase,
            argv=(ctx.program(self.name), *argv),
            env=ctx.environment(),
            waits_for=("kube-apiserver",),
            held=ctx.facts.can_hold,
            ready=(Probe("http", f"https://127.0.0.1:{port}/healthz", private=True),),
        )
