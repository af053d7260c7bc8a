from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pytest_kubernix import Cluster

from .pods import Quiet, address, eventually, node_address, pod, service

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180), pytest.mark.kubernix(nodes=2)]


def self_signed(host: str) -> tuple[str, str]:
    """A certificate for one name or address that is its own CA, and its key; both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webhook")])
    now = datetime.datetime.now(datetime.UTC)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


class Https(Quiet):
    """Answers what its server's function `respond` says, as JSON."""

    server: HttpsServer

    def do_GET(self) -> None:
        self.answer(json.dumps(self.server.respond(self, None)).encode(), "application/json")

    def do_POST(self) -> None:  # noqa: N802 - the standard library's name
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(json.dumps(self.server.respond(self, request)).encode(), "application/json")


class HttpsServer(ThreadingHTTPServer):
    """Serves HTTPS in this process.

    Args:
        host: Address to listen on, and the name in its certificate.
        directory: Where its key may be written.
        respond: Gets the handler and the request's JSON, or None for a GET; returns the answer.
        name: Another name for the certificate than the address.
    """

    def __init__(self, host: str, directory: Path, respond: Callable[[Https, Any], Any], *, name: str = "") -> None:
        super().__init__((host, 0), Https)
        self.respond = respond
        cert, key = self_signed(name or host)
        self.ca_bundle = base64.b64encode(cert.encode()).decode()
        (directory / "tls.crt").write_text(cert)
        (directory / "tls.key").write_text(key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        thread = threading.Thread(target=partial(self.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield int(self.server_address[1])
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


def webhook(kind: str, namespace: str, client: dict[str, Any]) -> dict[str, Any]:
    """A webhook configuration for the ConfigMaps of one namespace only."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": f"{namespace}-{kind.lower()}"},
        "webhooks": [
            {
                "name": "configmaps.kubernix.test",
                "clientConfig": client,
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 5,
                "failurePolicy": "Fail",
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["configmaps"],
                    }
                ],
            }
        ],
    }


def config_map(name: str, **annotations: str) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {f"kubernix.test/{key}": text for key, text in annotations.items()}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def judged(cluster: Cluster, namespace: str) -> None:
    """Assert that the webhook in force lets ConfigMaps in, and denies those that ask for it, by their words."""
    kubectl = cluster.kubectl

    def look() -> bool:
        # A new configuration takes a moment to be in force.
        result = kubectl(
            "create", "--dry-run=server", "--filename=-", namespace=namespace, check=False,
            stdin=json.dumps(config_map("denied", deny="no, thank you")),
        )  # fmt: skip
        return result.returncode != 0 and "denied the request: no, thank you" in result.stderr

    eventually(look, what="a denial in the webhook's own words")
    kubectl.apply(config_map("admitted"), namespace=namespace)


def review(request: dict[str, Any], **verdict: Any) -> dict[str, Any]:
    response = {"uid": request["request"]["uid"], "allowed": True, **verdict}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def test_a_webhook_in_the_test_process(kubernix: Cluster, kubernix_namespace: str, tmp_path: Path) -> None:
    """The API server calls an admission webhook that this process serves on 127.0.0.1, and heeds its verdict."""
    asked = []

    def respond(handler: Https, request: Any) -> Any:
        made = request["request"]["object"]["metadata"]
        asked.append(made["name"])
        message = made["annotations"].get("kubernix.test/deny")
        return review(request, allowed=not message, status={"code": 403, "message": message})

    server = HttpsServer("127.0.0.1", tmp_path, respond)
    with server.running() as port:
        client = {"url": f"https://127.0.0.1:{port}/admit", "caBundle": server.ca_bundle}
        made = webhook("Validating", kubernix_namespace, client)
        kubernix.kubectl.apply(made)
        try:
            judged(kubernix, kubernix_namespace)
        finally:
            kubernix.kubectl.delete(made)
    assert {"denied", "admitted"} <= set(asked)


def test_a_mutating_webhook_in_the_test_process(kubernix: Cluster, kubernix_namespace: str, tmp_path: Path) -> None:
    """A webhook of this process changes objects on their way in."""
    patch = json.dumps([{"op": "add", "path": "/data", "value": {"added": "by the webhook"}}])
    encoded = base64.b64encode(patch.encode()).decode()
    server = HttpsServer(
        "127.0.0.1", tmp_path, lambda handler, request: review(request, patchType="JSONPatch", patch=encoded)
    )
    kubectl = kubernix.kubectl
    with server.running() as port:
        client = {"url": f"https://127.0.0.1:{port}/mutate", "caBundle": server.ca_bundle}
        made = webhook("Mutating", kubernix_namespace, client)
        kubectl.apply(made)
        try:

            def look() -> bool:
                text = json.dumps(config_map("changed"))
                created = kubectl(
                    "create", "--dry-run=server", "--output=json", "--filename=-", namespace=kubernix_namespace,
                    stdin=text,
                )  # fmt: skip
                return bool(json.loads(created.stdout).get("data") == {"added": "by the webhook"})

            eventually(look, what="a changed object")
        finally:
            kubectl.delete(made)


@pytest.mark.parametrize("node", ["node-1", "node-2"])
def test_a_webhook_in_a_pod(kubernix: Cluster, kubernix_namespace: str, node: str) -> None:
    """The API server calls a webhook that a pod of any node serves behind a Service, and heeds its verdict."""
    kubectl, namespace = kubernix.kubectl, kubernix_namespace
    cert, key = self_signed(f"judge.{namespace}.svc")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "tls"},
        "stringData": {"tls.crt": cert, "tls.key": key},
    }
    main = {
        "args": ["serve", "-port", "8443", "-tls-cert", "/tls/tls.crt", "-tls-key", "/tls/tls.key"],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8443, "scheme": "HTTPS"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
    }
    judge = pod("judge", node=node, main=main, volumes=[{"name": "tls", "secret": {"secretName": "tls"}}])
    kubectl.apply([secret, judge, service("judge", "judge", port=443, target=8443)], namespace=namespace)
    address(kubectl, namespace, "judge")
    client = {
        "service": {"namespace": namespace, "name": "judge", "path": "/admit"},
        "caBundle": base64.b64encode(cert.encode()).decode(),
    }
    made = webhook("Validating", namespace, client)
    kubectl.apply(made)
    try:
        judged(kubernix, namespace)
    finally:
        kubectl.delete(made)


def test_an_aggregated_api(kubernix: Cluster, kubernix_namespace: str, tmp_path: Path) -> None:
    """The API server passes on what is asked of an aggregated API, and says who asked."""
    group, namespace = "kubernix.example.com", kubernix_namespace
    users: set[str] = set()

    def respond(handler: Https, request: Any) -> Any:
        users.add(handler.headers.get("X-Remote-User", ""))
        base = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/v1"}
        if handler.path.startswith(f"/apis/{group}/v1/answers"):
            return {"kind": "Answer", "apiVersion": f"{group}/v1", "metadata": {"name": "it"}, "value": 42}
        return {**base, "resources": [{"name": "answers", "kind": "Answer", "namespaced": False, "verbs": ["get"]}]}

    kubectl = kubernix.kubectl
    host = node_address(kubectl, "node-1").rpartition(".")[0] + ".1"
    server = HttpsServer(host, tmp_path, respond, name=f"api.{namespace}.svc")
    with server.running() as port:
        objects = [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "api", "namespace": namespace},
                "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": "api",
                    "namespace": namespace,
                    "labels": {"kubernetes.io/service-name": "api"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": f"v1.{group}"},
                "spec": {
                    "group": group,
                    "version": "v1",
                    "groupPriorityMinimum": 1000,
                    "versionPriority": 15,
                    "caBundle": server.ca_bundle,
                    "service": {"namespace": namespace, "name": "api"},
                },
            },
        ]
        kubectl.apply(objects)
        try:
            kubectl.wait(f"apiservice/v1.{group}", "condition=Available", timeout=30)
            text = eventually(
                lambda: kubectl("get", "--raw", f"/apis/{group}/v1/answers/it", check=False).stdout, timeout=10
            )
            assert json.loads(text)["value"] == 42
            assert "kubernetes-admin" in users
        finally:
            # While its server is gone, an API keeps every namespace from being removed.
            kubectl.delete("apiservice", f"v1.{group}")
