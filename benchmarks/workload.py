"""Deployments for benchmarks, of an image that every node has already.
Applied and waited for as a user does it: by kubectl."""

from __future__ import annotations

import time
from typing import Any

from pytest_kubernix.cluster import Cluster

IMAGE = "kubernix.test/server:1"
TIMEOUT = 60.0


def deployment(name: str, replicas: int) -> dict[str, Any]:
    """A Deployment of a server that is Ready as soon as it runs."""
    labels = {"app": name}
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    }


def roll_out(cluster: Cluster, name: str, replicas: int) -> tuple[float, float]:
    """Apply a Deployment and wait until it is Available.

    Returns:
        Seconds until kubectl returned from `apply`, and until the Deployment was Available.
    """
    begin = time.monotonic()
    cluster.kubectl.apply(deployment(name, replicas))
    applied = time.monotonic() - begin
    cluster.kubectl.wait(f"deployment/{name}", "condition=Available", timeout=TIMEOUT)
    return applied, time.monotonic() - begin
