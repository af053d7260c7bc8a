"""What a cluster claims on the machine: ports and a network. Each claim ends with its holder.
The kernel keeps the claims, so there is no list of them that could be stale."""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
import sys
from pathlib import Path

from ..errors import ConfigError, KubernixError

AUTOMATIC = ipaddress.IPv4Network("10.0.0.0/8")


class Claims:
    """Ports and networks held for one cluster; dropped by `release`, or by the kernel when the holder dies."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def port(self, wanted: int = 0) -> int:
        """Reserve a port on 127.0.0.1.

        The socket stays bound and never listens; who knows of it may bind beside it (SO_REUSEPORT),
        so there is no moment at which another process could take the port.

        Args:
            wanted: The port, or 0 for any free one.

        Raises:
            ConfigError: That port is taken.
        """
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if wanted and _someone_listens(wanted):
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("127.0.0.1", wanted))
        except OSError as error:
            holder.close()
            raise ConfigError(
                "api_port", wanted, f"the port is taken ({error.strerror}); allowed is a free one, or 0 for any"
            ) from error
        self._sockets.append(holder)
        return int(holder.getsockname()[1])

    def network(self, wanted: str | None) -> str:
        """Claim a network for a cluster's nodes, services and pods.

        Args:
            wanted: A CIDR, or None for any free /16 of 10.0.0.0/8.

        Raises:
            ConfigError: That network is in use on this machine.
            KubernixError: None is free.
        """
        used = routed_networks()
        if wanted is not None:
            network = ipaddress.IPv4Network(wanted)
            for device, route in used:
                if network.overlaps(route):
                    raise ConfigError(
                        "cidr", wanted, f"in use: {device} has a route to {route}; allowed is a free network"
                    )
            if not self._claim_networks(network):
                raise ConfigError("cidr", wanted, "in use by another cluster on this machine")
            return str(network)
        candidates = list(AUTOMATIC.subnets(new_prefix=16))
        secrets.SystemRandom().shuffle(candidates)
        for network in candidates:
            if not any(network.overlaps(route) for _, route in used) and self._claim_networks(network):
                return str(network)
        raise KubernixError(
            f"no /16 of {AUTOMATIC} is free on this machine", hint="Name a free network with --kubernix-cidr."
        )

    def _claim_networks(self, network: ipaddress.IPv4Network) -> bool:
        """Claim every /16 that the network touches, or none."""
        whole = [network.supernet(new_prefix=16)] if network.prefixlen > 16 else network.subnets(new_prefix=16)
        taken: list[socket.socket] = []
        for part in whole:
            # An abstract name belongs to the network namespace, as routes do, and dies with its socket.
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            taken.append(claim)
            try:
                claim.bind(f"\0kubernix-network-{part}")
            except OSError:
                for other in taken:
                    other.close()
                return False
        self._sockets += taken
        return True

    def release(self) -> None:
        """Drop all claims."""
        for claim in self._sockets:
            claim.close()
        self._sockets.clear()


def routed_networks(table: Path = Path("/proc/net/route")) -> list[tuple[str, ipaddress.IPv4Network]]:
    """Device and network of every route of this machine but the default ones."""
    routes = []
    for line in table.read_text().splitlines()[1:]:
        device, destination, *rest = line.split()
        # The kernel prints the four bytes of the network order as one native number.
        address, mask = (
            ipaddress.IPv4Address(int(word, 16).to_bytes(4, sys.byteorder)) for word in (destination, rest[5])
        )
        if int(mask):
            routes.append((device, ipaddress.IPv4Network(f"{address}/{mask}")))
    return routes


def _someone_listens(port: int) -> bool:
    # SO_REUSEPORT would let us bind beside another listener of the same user that also allows it.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # What the last owner's connections left behind (TIME_WAIT) is no listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
