from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pytest_kubernix.boot.claims import Claims, routed_networks
from pytest_kubernix.errors import ConfigError


def test_a_reserved_port_stays_ours() -> None:
    """No other process can take a reserved port, while a component that shares it can."""
    claims = Claims()
    port = claims.port()
    try:
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
        with socket.socket() as component:
            component.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            component.bind(("127.0.0.1", port))
    finally:
        claims.release()


def test_a_taken_port_is_named() -> None:
    """Asking for a port that a server listens on is an error with option, value and what is allowed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"api_port={port}: the port is taken .*allowed is a free one"):
            Claims().port(port)


def test_two_claims_never_get_one_network() -> None:
    """A network is claimed once at a time, whole or in part, and is free again after its release."""
    one, other = Claims(), Claims()
    network = one.network(None)
    try:
        with pytest.raises(ConfigError, match="in use by another cluster"):
            other.network(network)
        part = network.replace("/16", "/24")
        with pytest.raises(ConfigError, match="in use by another cluster"):
            other.network(part)
        assert other.network(None) != network
    finally:
        one.release()
        other.release()
    assert other.network(network) == network
    other.release()


def test_routes_of_the_machine_are_avoided(tmp_path: Path) -> None:
    """The kernel's route table is read: default routes are none, others are networks with their device."""
    table = tmp_path / "route"
    header = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    table.write_text(
        header
        + "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        + "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert [(device, str(network)) for device, network in routed_networks(table)] == [("docker0", "172.17.0.0/16")]
