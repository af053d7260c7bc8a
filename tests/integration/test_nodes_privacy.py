from __future__ import annotations

import contextlib
import http.client
import ipaddress
import re
import ssl
from pathlib import Path

import pytest

from pytest_kubernix import Cluster

from .machine import listening_addresses
from .pods import descendants, guardian_of, node_address

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.kubernix(nodes=2)]

SECRET = re.compile(rb'BEGIN [A-Z ]*PRIVATE KEY|"client-key-data": "|"secretbox"|"token": "')


def holds_a_secret(path: Path) -> bool:
    # Some files come and go while the cluster works.
    with contextlib.suppress(FileNotFoundError):
        return SECRET.search(path.read_bytes()) is not None
    return False


def anonymous(host: str, port: int, path: str) -> int:
    """The status that a stranger without any certificate gets."""
    # Who the server is does not matter here: what counts is that it answers nothing.
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection(host, port, timeout=5, context=context)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status


def test_only_its_owner_reads_the_run_directory(kubernix: Cluster) -> None:
    """The run directory is closed to other users, and every file with a key in it is so by itself."""
    run_dir = kubernix.handle.run_dir
    assert run_dir
    kubernix.user("ann")
    assert run_dir.stat().st_mode & 0o777 == 0o700
    files = [path for path in run_dir.rglob("*") if path.is_file()]
    private = [path for path in files if holds_a_secret(path)]
    names = {path.name for path in private}
    assert {"ca.key", "sa.key", "admin.key", "admin.conf", "encryption.json"} <= names
    assert [str(path) for path in private if path.stat().st_mode & 0o077] == []


def test_only_its_owner_reads_the_keys_of_nodes(kubernix: Cluster) -> None:
    """A node's own keys and kubeconfigs are closed to other users, in its own file system."""
    run_dir = kubernix.handle.run_dir
    assert run_dir
    seen = 0
    for pid in descendants(guardian_of(run_dir)):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() != "kubelet":
                continue
            root = Path(f"/proc/{pid}/root")
            for path in (root / "etc/kubernetes").rglob("*"):
                if path.is_file() and holds_a_secret(path):
                    seen += 1
                    assert path.stat().st_mode & 0o777 == 0o600, path
    assert seen >= 3 * len(kubernix.nodes)


def test_nothing_listens_to_strangers(kubernix: Cluster) -> None:
    """No process of the cluster, but those of pods, listens on anything but loopback and the cluster's network."""
    run_dir = kubernix.handle.run_dir
    assert run_dir
    pod_block = ipaddress.ip_network(kubernix.kubectl.get("node", "node-1")["spec"]["podCIDR"])
    network = pod_block.supernet(new_prefix=16)
    wrong, seen = [], set()
    guardian = guardian_of(run_dir)
    for pid in (guardian, *descendants(guardian)):
        try:
            program = Path(f"/proc/{pid}/comm").read_text().strip()
            in_pod = "kubepods" in Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            continue
        if in_pod:
            continue
        for listens in listening_addresses(pid):
            kind, _, place = listens.partition(" ")
            address = ipaddress.ip_address(place.rpartition(":")[0])
            # Network address translation in user space answers by sockets that only look like listening ones.
            if kind.startswith("udp") and program == "slirp4netns":
                continue
            seen.add(program)
            if not address.is_loopback and address not in network:
                wrong.append(f"{program}: {listens}")
    assert wrong == []
    assert {"kube-apiserver", "kubelet", "relay", "coredns"} <= seen


def test_strangers_get_nothing(kubernix: Cluster) -> None:
    """API server, relay and kubelets refuse every client that shows no certificate, whatever is asked."""
    server = int(kubernix.server.rpartition(":")[2])
    node = node_address(kubernix.kubectl, "node-1")
    host = f"{node.rpartition('.')[0]}.1"
    for place in ("127.0.0.1", host):
        for path in ("/api", "/version", "/readyz", "/metrics", "/api/v1/namespaces/kube-system/secrets"):
            assert anonymous(place, server, path) == 401
    for name in kubernix.nodes:
        place = node_address(kubernix.kubectl, name)
        for path in ("/pods", "/metrics", "/healthz", "/configz", "/logs/", "/run/default/a/b"):
            assert anonymous(place, 10250, path) == 401
        for port in (10255, 10249, 10256, 10248):
            with pytest.raises(ConnectionRefusedError):
                anonymous(place, port, "/")
