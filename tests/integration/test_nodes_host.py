"""What nodes share with the host, and what they keep when they come back."""

from __future__ import annotations

import base64
import json
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pytest_kubernix import Cluster
from pytest_kubernix.binaries import find_executables
from pytest_kubernix.fixtures.factory import ClusterFactory

from .conftest import server_pod
from .pods import listening, node_address

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

BELOW_VAR = """
def test_a(kubernix, kubernix_namespace, tmp_path):
    assert str(tmp_path).startswith("/var/tmp/")
    kubectl = kubernix.kubectl.in_namespace(kubernix_namespace)
    kubectl.apply({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "writer"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "host", "hostPath": {"path": str(tmp_path), "type": "Directory"}}],
            "containers": [{
                "name": "main", "image": "kubernix.test/server:1", "args": ["sleep", "60"],
                "volumeMounts": [{"name": "host", "mountPath": "/host"}],
            }],
        },
    })
    kubectl.wait("pod/writer", "condition=Ready", timeout=60)
    (tmp_path / "from-host").write_text("hello")
    assert kubectl.exec("writer", "cat", "/host/from-host").stdout == "hello"
    (tmp_path / "sent").write_text("from the pod")
    kubectl.cp(tmp_path / "sent", "writer:/host/received")
    assert (tmp_path / "received").read_text() == "from the pod"
"""


def test_a_tests_own_directory_is_the_hosts_wherever_it_is(suite: pytest.Pytester) -> None:
    """A hostPath volume of a test's own temporary directory reaches the host also below /var."""
    suite.makepyfile(BELOW_VAR)
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="kx it's-") as base:
        suite.runpytest_subprocess(f"--basetemp={base}/b", "--kubernix-nodes=1").assert_outcomes(passed=1)


def test_pods_may_have_users_of_their_own(kubernix: Cluster, kubernix_namespace: str) -> None:
    """A pod with hostUsers: false runs, and root in it is another user outside."""
    kubectl = kubernix.kubectl.in_namespace(kubernix_namespace)
    pod = server_pod("apart", "sleep", "60")
    pod["spec"]["hostUsers"] = False
    kubectl.apply(pod)
    kubectl.wait("pod/apart", "condition=Ready", timeout=60)
    inside, outside, count = kubectl.exec("apart", "cat", "/proc/self/uid_map").stdout.split()
    assert (inside, count) == ("0", "65536")
    assert int(outside) > 0


def test_loaded_images_are_there_again_after_a_restart(
    kubernix_cluster_factory: ClusterFactory, tmp_path: Path
) -> None:
    """A node that comes back has the images that every node has, and those that were loaded since."""
    cluster = kubernix_cluster_factory(nodes=1)
    archive = next(path for path in find_executables(cluster.version).images if path.name == "server.tar")
    cluster.load_image(archive, name="loaded.test/app:1")
    cluster.components["node-1"].restart()
    for name, image in (("own", "kubernix.test/server:1"), ("loaded", "loaded.test/app:1")):
        cluster.kubectl.apply(server_pod(name, "sleep", "60", image=image), namespace="default")
    for name in ("own", "loaded"):
        cluster.kubectl.wait(f"pod/{name}", "condition=Ready", namespace="default", timeout=60)
    cluster.stop()


LOGIN = "Basic " + base64.b64encode(b"ann:se cret").decode()


class Registry(BaseHTTPRequestHandler):
    """Serves one OCI layout under every name, to those who log in."""

    folder: Path

    def do_GET(self) -> None:
        if self.headers["Authorization"] != LOGIN:
            self.answer(401, b"")
            return
        # /v2/<name>/<kind>/<reference>, and more behind a question mark.
        kind, _, reference = self.path.partition("?")[0].removeprefix("/v2/app/").partition("/")
        if kind == "manifests" and not reference.startswith("sha256:"):
            reference = json.loads((self.folder / "index.json").read_text())["manifests"][0]["digest"]
        blob = self.folder / "blobs" / reference.replace(":", "/") if reference else None
        self.answer(200, blob.read_bytes() if blob else b"{}")

    do_HEAD = do_GET  # noqa: N815 - as http.server calls it

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        media = json.loads(body).get("mediaType", "") if body.startswith(b"{") else ""
        self.send_header("Content-Type", media or "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def registry_cluster(kubernix_cluster_factory: ClusterFactory) -> Iterator[tuple[Cluster, int]]:
    """A cluster that is told where registry.test is, by the host's address; and the port."""
    port = free_port()
    cluster = kubernix_cluster_factory(
        nodes=1, cidr="10.213.0.0/16", registries={"registry.test": f"http://ann:se%20cret@10.213.0.1:{port}"}
    )
    yield cluster, port
    cluster.stop()


def test_images_come_from_a_registry_of_the_suite(registry_cluster: tuple[Cluster, int], tmp_path: Path) -> None:
    """A registry over plain HTTP, with a login, serves pods as any registry does."""
    cluster, port = registry_cluster
    archive = next(path for path in find_executables(cluster.version).images if path.name == "server.tar")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    host = node_address(cluster.kubectl, "node-1").rpartition(".")[0] + ".1"
    handler = type("Serving", (Registry,), {"folder": tmp_path})
    with listening(handler, host, port):
        pod = server_pod("pulled", "sleep", "60", image="registry.test/app:1")
        pod["spec"]["containers"][0]["imagePullPolicy"] = "Always"
        cluster.kubectl.apply(pod, namespace="default")
        cluster.kubectl.wait("pod/pulled", "condition=Ready", namespace="default", timeout=60)
