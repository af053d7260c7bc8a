"""Kubeconfigs as text: one per identity, with everything inline, so that a file can be copied anywhere.
JSON is YAML, and the standard library writes it."""

from __future__ import annotations

import base64
import json
from typing import Any

CLUSTER_NAME = "kubernix"


def render(
    *,
    server: str,
    ca_pem: str,
    user: str,
    cert_pem: str | None = None,
    key_pem: str | None = None,
    token: str | None = None,
    namespace: str | None = None,
) -> str:
    """A kubeconfig with one cluster, one user and one context.

    Args:
        server: URL of the API server.
        ca_pem: Authority that the API server's certificate is checked by, PEM.
        user: Name of the user entry; it is a label only, the credentials decide.
        cert_pem: Client certificate, PEM; with `key_pem`, or not at all.
        key_pem: Its private key, PEM.
        token: Bearer token, instead of a certificate.
        namespace: The context's default namespace.
    """
    credentials: dict[str, Any] = {}
    if cert_pem and key_pem:
        credentials = {"client-certificate-data": _b64(cert_pem), "client-key-data": _b64(key_pem)}
    if token:
        credentials["token"] = token
    context = {"cluster": CLUSTER_NAME, "user": user, **({"namespace": namespace} if namespace else {})}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": CLUSTER_NAME,
                "cluster": {"server": server, "certificate-authority-data": _b64(ca_pem)},
            }
        ],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": CLUSTER_NAME, "context": context}],
        "current-context": CLUSTER_NAME,
    }
    return json.dumps(config, indent=1) + "\n"


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
