from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from pytest_kubernix import Cluster, Kubectl, KubectlError

from .pods import (
    PORT,
    PROGRAM,
    Quiet,
    address,
    eventually,
    fetch,
    fetch_from,
    listening,
    namespace_of,
    node_address,
    pod,
    service,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.kubernix(nodes=2)]

NODES = ("node-1", "node-2")


class Net(NamedTuple):
    """A server on each node, and Services in front of both."""

    kubectl: Kubectl
    namespace: str
    addresses: dict[str, str]

    def answers(self, url: str, *, wanted: set[str], ask: str = "on-node-1") -> None:
        """Asked often enough from a pod, a URL is answered by each of `wanted`, and by no other."""
        seen: set[str] = set()

        def look() -> bool:
            status, text = fetch_from(self.addresses[ask], url)
            assert status == 200, text
            seen.add(text.strip())
            return seen >= wanted

        eventually(look, what=f"answers of {wanted} from {url}")
        assert seen == wanted


@pytest.fixture(scope="module")
def net(kubernix: Cluster) -> Iterator[Net]:
    """Pods "on-node-1" and "on-node-2", both behind the Services "both" and "headless"."""
    kubectl = kubernix.kubectl
    with namespace_of(kubernix, "network") as namespace:
        servers = [pod(f"on-{node}", node=node, labels={"group": "both"}) for node in NODES]
        both = service("both", "both")
        headless = service("headless", "both", clusterIP="None")
        for item in (both, headless):
            item["spec"]["selector"] = {"group": "both"}
        kubectl.apply([*servers, both, headless], namespace=namespace)
        addresses = {f"on-{node}": address(kubectl, namespace, f"on-{node}") for node in NODES}
        yield Net(kubectl, namespace, addresses)


def test_pods_talk_across_nodes(net: Net) -> None:
    """A pod reaches a pod of the other node by its address, and sees its own as the caller's."""
    for here, there in (NODES, NODES[::-1]):
        url = f"http://{net.addresses[f'on-{there}']}:{PORT}"
        assert fetch_from(net.addresses[f"on-{here}"], url) == (200, f"on-{there}\n")
        seen = json.loads(fetch_from(net.addresses[f"on-{here}"], f"{url}/echo")[1])
        assert seen["remote"].rpartition(":")[0] == net.addresses[f"on-{here}"]


def test_the_test_reaches_pods(net: Net) -> None:
    """Pod addresses of both nodes are reachable from the test process as they are."""
    for name, ip in net.addresses.items():
        assert fetch(ip) == (200, f"{name}\n")


def test_services_by_address_and_by_every_name(net: Net) -> None:
    """A Service answers from both its pods by ClusterIP, short, namespaced and full name."""
    cluster_ip = net.kubectl.get("service", "both", namespace=net.namespace)["spec"]["clusterIP"]
    names = ("both", f"both.{net.namespace}", f"both.{net.namespace}.svc", f"both.{net.namespace}.svc.cluster.local")
    for host in (cluster_ip, *names):
        net.answers(f"http://{host}", wanted=set(net.addresses))
    net.answers("http://both", wanted=set(net.addresses), ask="on-node-2")


def test_a_pod_reaches_itself_through_its_service(net: Net) -> None:
    """Traffic may leave a pod and come back to it by a Service."""
    net.kubectl.apply(service("me", "on-node-1"), namespace=net.namespace)
    eventually(lambda: fetch_from(net.addresses["on-node-1"], "http://me") == (200, "on-node-1\n"))


def test_names_resolve(net: Net) -> None:
    """DNS has Services, headless Services with each pod, and the API server, over UDP and over TCP."""
    kubectl, namespace = net.kubectl, net.namespace
    made = pod("over-tcp", node="node-2", dnsConfig={"options": [{"name": "use-vc"}]})
    kubectl.apply(made, namespace=namespace)
    address(kubectl, namespace, "over-tcp")

    def resolve(name: str, asker: str) -> set[str]:
        return set(kubectl.exec(asker, PROGRAM, "resolve", name, namespace=namespace).stdout.split())

    cluster_ip = kubectl.get("service", "both", namespace=namespace)["spec"]["clusterIP"]
    api = kubectl.get("service", "kubernetes", namespace="default")["spec"]["clusterIP"]
    for asker in ("on-node-1", "over-tcp"):
        assert resolve("both", asker) == {cluster_ip}
        assert resolve("kubernetes.default", asker) == {api}
        assert resolve("headless", asker) == set(net.addresses.values())
    with pytest.raises(KubectlError, match="no such host"):
        resolve("nobody", "on-node-1")


def test_a_stateful_pod_has_a_name(net: Net) -> None:
    """A pod with hostname and subdomain is found under the headless Service's name."""
    kubectl, namespace = net.kubectl, net.namespace
    kubectl.apply([pod("named", hostname="first", subdomain="named"), service("named", "named", clusterIP="None")],
                  namespace=namespace)  # fmt: skip
    ip = address(kubectl, namespace, "named")
    url = f"http://first.named.{namespace}.svc.cluster.local:{PORT}"
    eventually(lambda: fetch_from(net.addresses["on-node-2"], url) == (200, "first\n"))
    assert kubectl.exec("on-node-1", PROGRAM, "resolve", "first.named", namespace=namespace).stdout.strip() == ip


def test_only_ready_pods_are_behind_a_service(net: Net) -> None:
    """A pod that isn't ready has no place among the endpoints, gets one when it is, and loses it again."""
    kubectl, namespace = net.kubectl, net.namespace
    probe = {"exec": {"command": [PROGRAM, "test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    kubectl.apply([pod("gate", main={"readinessProbe": probe}), service("gate", "gate")], namespace=namespace)
    kubectl.wait("pod/gate", "jsonpath={.status.containerStatuses[0].started}=true", namespace=namespace, timeout=60)

    def ready() -> list[bool]:
        slices = kubectl.get("endpointslices", namespace=namespace, selector="kubernetes.io/service-name=gate")
        return [end["conditions"]["ready"] for item in slices["items"] for end in item["endpoints"] or ()]

    eventually(lambda: ready() == [False], what="an endpoint that is not ready")
    status, text = fetch_from(net.addresses["on-node-1"], "http://gate", timeout=2)
    assert status == 502
    assert "refused" in text
    kubectl.exec("gate", PROGRAM, "write", "/tmp/ready", "yes", namespace=namespace)
    eventually(lambda: fetch_from(net.addresses["on-node-1"], "http://gate") == (200, "gate\n"))
    assert ready() == [True]
    # There is no rm: a directory in its place would do, but a new pod process starts without the file.
    ip = kubectl.get("pod", "gate", namespace=namespace)["status"]["podIP"]
    fetch(ip, "/exit?code=0")
    eventually(lambda: ready() == [False], what="an endpoint that is not ready again")


def test_node_ports(net: Net) -> None:
    """A NodePort answers on the address of every node, whichever node has the pod."""
    made = service("port", "on-node-2", type="NodePort")
    net.kubectl.apply(made, namespace=net.namespace)
    port = net.kubectl.get("service", "port", namespace=net.namespace)["spec"]["ports"][0]["nodePort"]
    for node in NODES:
        ip = node_address(net.kubectl, node)
        eventually(lambda ip=ip: fetch(ip, port=port) == (200, "on-node-2\n"), what=f"the NodePort of {node}")  # type: ignore[misc]
        assert fetch_from(net.addresses["on-node-1"], f"http://{ip}:{port}") == (200, "on-node-2\n")


def test_host_ports(net: Net) -> None:
    """A hostPort answers on its own node's address, and on no other's."""
    ports = [{"containerPort": PORT, "hostPort": 8081}]
    net.kubectl.apply(pod("outer", node="node-1", main={"ports": ports}), namespace=net.namespace)
    address(net.kubectl, net.namespace, "outer")
    assert fetch(node_address(net.kubectl, "node-1"), port=8081) == (200, "outer\n")
    with pytest.raises(ConnectionRefusedError):
        fetch(node_address(net.kubectl, "node-2"), port=8081)


def test_host_network(net: Net) -> None:
    """A pod on its node's network has the node's name and address."""
    probe = {"httpGet": {"path": "/", "port": 8090}, "periodSeconds": 1}
    main = {"args": ["serve", "-port", "8090"], "readinessProbe": probe}
    net.kubectl.apply(pod("bare", node="node-2", main=main, hostNetwork=True), namespace=net.namespace)
    ip = address(net.kubectl, net.namespace, "bare")
    assert ip == node_address(net.kubectl, "node-2")
    assert fetch(ip, port=8090) == (200, "node-2\n")
    assert fetch_from(net.addresses["on-node-1"], f"http://{ip}:8090") == (200, "node-2\n")


def test_pods_reach_the_api_server(net: Net) -> None:
    """A pod finds the API server by its Service's name, verifies it by the mounted CA, and is told who it is not."""
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    made = pod("client", main={"env": [{"name": "SSL_CERT_FILE", "value": f"{account}/ca.crt"}]})
    net.kubectl.apply(made, namespace=net.namespace)
    ip = address(net.kubectl, net.namespace, "client")
    status, text = fetch_from(ip, "https://kubernetes.default.svc/version")
    assert (status, json.loads(text)["reason"]) == (401, "Unauthorized")


@contextlib.contextmanager
def outside() -> Iterator[str]:
    """The URL of a server in a network that is not the host's; the host is linked to it, as to any LAN.

    The network namespace, and the link with it, ends with the server's process.
    """
    link = f"kxt-{secrets.token_hex(3)}"
    # A network of its own for each run: TEST-NET-3 (RFC 5737) has no owner.
    first = secrets.randbelow(64) * 4
    near, far = f"203.0.113.{first + 1}", f"203.0.113.{first + 2}"
    serve = f"import http.server as h; h.test(h.SimpleHTTPRequestHandler, h.ThreadingHTTPServer, port=80, bind={far!r})"
    script = 'ip link set lo up; read go; cd /proc/sys/kernel/keys; exec "$@"'
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script, "sh", sys.executable, "-c", serve],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            own = os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116 - a Path would hide that this is a link
            eventually(lambda: os.stat(f"/proc/{process.pid}/ns/net").st_ino != own)  # noqa: PTH116
            enter = ["nsenter", f"--net=/proc/{process.pid}/ns/net"]
            for command in (
                ["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid)],
                ["ip", "address", "add", f"{near}/30", "dev", link],
                ["ip", "link", "set", link, "up"],
                [*enter, "ip", "address", "add", f"{far}/30", "dev", "eth0"],
                [*enter, "ip", "link", "set", "eth0", "up"],
            ):
                subprocess.run(command, check=True, env=environment)
            assert process.stdin
            process.stdin.write(b"\n")
            process.stdin.close()
            eventually(lambda: fetch(far, port=80)[0] == 200, timeout=10)
            yield f"http://{far}/"
        finally:
            process.kill()


def test_pods_get_out_through_the_host(net: Net) -> None:
    """What the host reaches, pods of every node reach as well."""
    with outside() as url:
        for ip in net.addresses.values():
            assert fetch_from(ip, url)[0] == 200


def test_pods_do_not_reach_the_hosts_loopback(net: Net) -> None:
    """A service on the host's 127.0.0.1 stays the host's: neither way out of a pod leads there."""
    with listening(Quiet) as server:
        port = server.server_address[1]
        assert fetch("127.0.0.1", port=int(port)) == (200, "here\n")
        host = node_address(net.kubectl, "node-1").rpartition(".")[0] + ".1"
        # slirp4netns' own gateway is the second address of its network.
        for way in (host, "198.51.100.2", "198.51.100.1", "127.0.0.1"):
            status, text = fetch_from(net.addresses["on-node-1"], f"http://{way}:{port}", timeout=1)
            assert status == 502, text


def test_a_name_that_is_nowhere_fails_fast(net: Net) -> None:
    """A name outside the cluster that no server knows is answered, not waited for."""
    result = net.kubectl.exec(
        "on-node-1", PROGRAM, "resolve", "nobody.invalid", namespace=net.namespace, check=False, timeout=20
    )
    assert result.returncode == 1
