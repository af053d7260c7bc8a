"""The relay: nodes reach the API server, which listens on loopback only, through the host's end of the fabric.
It passes TCP on as it is, so client certificates reach the API server."""

from __future__ import annotations

from ..plan.component import Component
from ..plan.context import ClusterContext
from ..plan.model import FABRIC, ComponentPlan, Phase, Probe


class Relay(Component):
    """The nodes' way to the API server."""

    name = "relay"
    phase = Phase.INFRASTRUCTURE

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        # The same port on both sides, since the API server publishes its own as its endpoint's.
        port = ctx.port("kube-apiserver")
        address = f"{ctx.network.host_ip}:{port}"
        return ComponentPlan(
            name=self.name,
            phase=self.phase,
            argv=(ctx.program("relay"), "-listen", address, "-to", f"127.0.0.1:{port}"),
            env=ctx.environment(),
            requires=(FABRIC,),
            ready=(Probe("socket", address),),
        )
