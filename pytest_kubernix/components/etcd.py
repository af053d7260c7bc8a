"""etcd: one member, clients on a Unix socket inside the run directory, nothing on the network.
The data lives as long as the cluster, so it is never synced to a disk."""

from __future__ import annotations

from ..plan.component import Component
from ..plan.context import ClusterContext, flags
from ..plan.model import ComponentPlan, Copy, Phase, Probe

# A single member waits for no other; the defaults (100 and 1000 ms) only delay its own election.
HEARTBEAT_MS = 10
ELECTION_MS = 100

MEMBER = "kubernix"

# Required to be "host:port", never dialled: there is no second member, and clients use the socket.
UNUSED_PEER_URL = "http://localhost:2380"
UNUSED_CLIENT_URL = "http://localhost:2379"


def client_socket(ctx: ClusterContext) -> str:
    """Path of the socket that etcd serves clients on."""
    return ctx.path("etcd.sock")


def data_flags(data: str, client: str, peer: str, level: str = "warn") -> tuple[str, ...]:
    """Flags of an etcd with one member on Unix sockets.

    Args:
        data: Its data directory.
        client: Path of the socket for clients.
        peer: Path of the socket that peers would use.
        level: Its log level.
    """
    return flags(
        {
            "name": MEMBER,
            "data-dir": data,
            "listen-client-urls": f"unix://{client}",
            "advertise-client-urls": UNUSED_CLIENT_URL,
            "listen-peer-urls": f"unix://{peer}",
            "initial-advertise-peer-urls": UNUSED_PEER_URL,
            "initial-cluster": f"{MEMBER}={UNUSED_PEER_URL}",
            "unsafe-no-fsync": True,
            "heartbeat-interval": HEARTBEAT_MS,
            "election-timeout": ELECTION_MS,
            "log-level": level,
            "logger": "zap",
        }
    )


class Etcd(Component):
    """The cluster's store."""

    name = "etcd"
    phase = Phase.INFRASTRUCTURE

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        socket = client_socket(ctx)
        level = {"warning": "warn"}.get(ctx.config.log_level, ctx.config.log_level)
        return ComponentPlan(
            name=self.name,
            phase=self.phase,
            argv=(ctx.program("etcd"), *data_flags(ctx.path("etcd"), socket, ctx.path("etcd-peer.sock"), level)),
            env=ctx.environment(),
            copies=(Copy(ctx.facts.etcd_data, ctx.path("etcd")),) if ctx.facts.etcd_data else (),
            ready=(Probe("http", f"unix://{socket}:/health"),),
        )
