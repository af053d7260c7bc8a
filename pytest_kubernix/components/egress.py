"""Egress: the pods' way to whatever the host can reach, through slirp4netns, as rootless containers have it.
It opens ordinary sockets on the host, so neither forwarding nor the firewall of the host is touched."""

from __future__ import annotations

from ..plan.component import Component
from ..plan.context import ClusterContext
from ..plan.model import FABRIC, ComponentPlan, Phase, Probe
from ..plan.nodes import TAP, namespace_path

# Seen only inside the fabric. TEST-NET-2 (RFC 5737), since nothing real is there to be hidden by it.
SLIRP_NETWORK = "198.51.100.0/24"
SLIRP_DNS = "198.51.100.3"


class Egress(Component):
    """Network address translation in user space for the whole cluster."""

    name = "egress"
    phase = Phase.INFRASTRUCTURE

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        return ComponentPlan(
            name=self.name,
            phase=self.phase,
            argv=(
                ctx.facts.egress_program,
                "--configure",
                "--mtu=65520",
                # Pods reach the world, never services on the developer's own loopback.
                "--disable-host-loopback",
                f"--cidr={SLIRP_NETWORK}",
                "--netns-type=path",
                namespace_path(ctx, FABRIC),
                TAP,
            ),
            env=ctx.environment(),
            requires=(FABRIC,),
            ready=(Probe("link", TAP, within=FABRIC),),
        )
