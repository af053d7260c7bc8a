"""kube-controller-manager: every default controller, alone, so without an election of its own.
Its identity is an administrator's: separate credentials per controller cost five seconds at boot."""

from __future__ import annotations

from ..plan.component import Component
from ..plan.context import ClusterContext, flags
from ..plan.model import ComponentPlan, Phase, Probe


class ControllerManager(Component):
    """The built-in controllers."""

    name = "kube-controller-manager"
    phase = Phase.CONTROLLER

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        port = ctx.port(self.name)
        kubeconfig = ctx.kubeconfig_path(self.name)
        pki = ctx.pki_path
        argv = flags(
            {
                "kubeconfig": kubeconfig,
                "authentication-kubeconfig": kubeconfig,
                "authorization-kubeconfig": kubeconfig,
                "bind-address": "127.0.0.1",
                "secure-port": port,
                "permit-port-sharing": True,
                "client-ca-file": pki("ca.crt"),
                "requestheader-client-ca-file": pki("front-proxy-ca.crt"),
                "tls-cert-file": pki("kube-controller-manager.crt"),
                "tls-private-key-file": pki("kube-controller-manager.key"),
                "cluster-signing-cert-file": pki("ca.crt"),
                "cluster-signing-key-file": pki("ca.key"),
                "root-ca-file": pki("ca.crt"),
                "service-account-private-key-file": pki("sa.key"),
                "use-service-account-credentials": False,
                # Each node's pods have their block from the plan; the routes to it exist already.
                "allocate-node-cidrs": False,
                # The default is created at start, outside of the run directory.
                "flex-volume-plugin-dir": ctx.path("controller-manager", "flexvolume"),
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
            # It looks once a second whether the API server is entirely well: begun too early, it is late.
            waits_for=("kube-apiserver",),
            held=ctx.facts.can_hold,
            ready=(Probe("http", f"https://127.0.0.1:{port}/healthz", private=True),),
        )
