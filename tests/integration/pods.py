"""What tests on running nodes share: pods of the test-server image, HTTP without proxies, waiting for a condition.
A wait has a limit and tells at its end what was seen last."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from pytest_kubernix import Cluster, Kubectl
from pytest_kubernix.fixtures.namespaces import namespace_name

from .conftest import server_pod

PROGRAM = "/test-server"
PORT = 8080
PAUSE = 0.05

T = TypeVar("T")


def eventually(look: Callable[[], T], *, timeout: float = 30.0, what: str = "") -> T:
    """Look again until what is seen is true; an AssertionError, an OSError or a KeyError means "not yet".

    Args:
        look: Returns what it sees.
        timeout: Limit in seconds.
        what: What is waited for, for the report.
    """
    deadline = time.monotonic() + timeout
    while True:
        seen: object
        try:
            seen = found = look()
            if found:
                return found
        except (AssertionError, OSError, LookupError, http.client.HTTPException) as error:
            seen = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or look}; last seen: {seen!r}")
        time.sleep(PAUSE)


def pod(
    name: str,
    *args: str,
    node: str = "",
    labels: dict[str, str] | None = None,
    main: dict[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A pod of the test-server image; without a command, it serves HTTP on port 8080.

    Args:
        name: Its name, and the value of its label "app".
        args: The command.
        node: Name of the node that it must run on.
        labels: Further labels.
        main: Fields of its container.
        spec: Fields of its spec.
    """
    made = server_pod(name, *args)
    made["metadata"]["labels"].update(labels or {})
    made["spec"]["containers"][0].update(main or {})
    if node:
        made["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
    made["spec"].update(spec)
    return made


def template(name: str, *args: str, **changes: Any) -> dict[str, Any]:
    """What a Deployment, a Job and the like want as their pod template."""
    made = pod(name, *args, **changes)
    return {"metadata": {"labels": made["metadata"]["labels"]}, "spec": made["spec"]}


def service(name: str, app: str, *, port: int = 80, target: int = PORT, **spec: Any) -> dict[str, Any]:
    """A Service for the pods labelled `app`."""
    ports = [{"port": port, "targetPort": target, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": ports, **spec},
    }


def address(kubectl: Kubectl, namespace: str, name: str) -> str:
    """The IP of a pod, once it is Ready."""
    kubectl.wait(f"pod/{name}", "condition=Ready", namespace=namespace, timeout=60)
    return str(kubectl.get("pod", name, namespace=namespace)["status"]["podIP"])


def node_address(kubectl: Kubectl, node: str) -> str:
    """The address of a node."""
    found = kubectl.get("node", node)["status"]["addresses"]
    return next(str(item["address"]) for item in found if item["type"] == "InternalIP")


def fetch(host: str, path: str = "/", *, port: int = PORT, timeout: float = 5.0) -> tuple[int, str]:
    """GET from the test process itself, past any proxy of the environment: status and body."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


def fetch_from(pod_ip: str, url: str, *, timeout: float = 5.0) -> tuple[int, str]:
    """GET from a pod, which this process asks by its IP; 502 with the reason when the pod got no answer."""
    query = urllib.parse.urlencode({"u": url, "timeout": f"{timeout:g}s"})
    return fetch(pod_ip, f"/url?{query}", timeout=timeout + 5)


@contextlib.contextmanager
def namespace_of(cluster: Cluster, purpose: str) -> Iterator[str]:
    """A namespace for a whole module; the pods of its tests are made once."""
    kubectl = cluster.kubectl
    name = namespace_name(f"::{purpose}")
    kubectl("create", "namespace", name)
    try:
        kubectl.wait("serviceaccount/default", "create", namespace=name)
        yield name
    finally:
        kubectl.delete("namespace", name, wait=False)


@contextlib.contextmanager
def listening(
    handler: type[BaseHTTPRequestHandler], host: str = "127.0.0.1", port: int = 0
) -> Iterator[ThreadingHTTPServer]:
    """An HTTP server in this process; port 0 is one that the kernel chooses."""
    server = ThreadingHTTPServer((host, port), handler)
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(BaseHTTPRequestHandler):
    """Answers every GET with "here"; writes no log."""

    def do_GET(self) -> None:
        self.answer(b"here\n", "text/plain")

    def answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def exercise(cluster: Cluster) -> None:
    """Let a cluster do what touches the machine most: pods, volumes, mounts in memory, ports, Services."""
    kubectl = cluster.kubectl
    kubectl.wait("serviceaccount/default", "create", namespace="default")
    main = {
        "ports": [{"containerPort": PORT, "hostPort": 8081}],
        "volumeMounts": [{"name": "ram", "mountPath": "/ram"}],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    volumes = [{"name": "ram", "emptyDir": {"medium": "Memory"}}]
    kubectl.apply(
        [pod("busy", main=main, volumes=volumes), service("busy", "busy", type="NodePort")], namespace="default"
    )
    address(kubectl, "default", "busy")
    assert fetch(node_address(kubectl, "node-1"), port=8081) == (200, "busy\n")


def descendants(pid: int) -> list[int]:
    """PIDs of all processes below one, as this PID namespace numbers them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def guardian_of(run_dir: Path) -> int:
    """PID of the guardian of a run directory.

    Raises:
        LookupError: It has none.
    """
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                argv = (entry / "cmdline").read_bytes().split(b"\0")
                if os.fsencode(run_dir) in argv and b"-I" in argv:
                    found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    # A child that is being spawned has its parent's command line until it runs its own program.
    guardians = [pid for pid, parent in found.items() if parent not in found]
    return guardians[0]
