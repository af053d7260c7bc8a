"""A rollback against the removal of a namespace: `python benchmarks/rollback.py [--runs 7] [--objects 10,50,100,1000]`.
Ways and sizes are interleaved, so that noise of the machine hits all alike; medians are printed, and their ratio."""

from __future__ import annotations

import argparse
import statistics
import time

from pytest_kubernix.binaries.pins import DEFAULT_VERSION, resolve
from pytest_kubernix.cluster import Cluster
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
from pytest_kubernix.drivers.native.driver import NativeDriver

# What the issue tracker promises, in seconds.
BOUNDS = {50: 0.05, 1000: 1.0}


def fill(cluster: Cluster, objects: int) -> None:
    """A namespace with so many objects in it, of kinds that no controller reacts to."""
    kubectl = cluster.kubectl
    kubectl("create", "namespace", "bench")
    kubectl.wait("serviceaccount/default", "create", namespace="bench")
    kubectl.wait("configmap/kube-root-ca.crt", "create", namespace="bench")
    kinds = ("ConfigMap", "Secret")
    # The namespace, its ServiceAccount and its ConfigMap count as well.
    items = [
        {"apiVersion": "v1", "kind": kinds[number % 2], "metadata": {"name": f"object-{number}"}}
        for number in range(objects - 3)
    ]
    kubectl.apply(items, namespace="bench", server_side=True)


def rollback(cluster: Cluster, objects: int) -> float:
    """Seconds that a rollback of so many objects takes."""
    checkpoint = cluster.checkpoint()
    fill(cluster, objects)
    begin = time.monotonic()
    cluster.rollback(checkpoint)
    return time.monotonic() - begin


def delete(cluster: Cluster, objects: int) -> float:
    """Seconds that the removal of a namespace with so many objects takes."""
    fill(cluster, objects)
    begin = time.monotonic()
    cluster.kubectl.delete("namespace", "bench")
    return time.monotonic() - begin


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--objects", default="10,50,100,1000")
    parser.add_argument("--k8s-version", default=DEFAULT_VERSION)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.objects.split(",")]
    config = ClusterConfig(k8s_version=resolve(arguments.k8s_version), nodes=1)
    cluster = Cluster(NativeDriver().start(config, BootOptions()))
    try:
        rollback(cluster, sizes[0])  # the first one learns where things are served
        runs: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
        for _ in range(arguments.runs):
            for size in sizes:
                runs[size].append((rollback(cluster, size), delete(cluster, size)))
    finally:
        cluster.stop()
    print(f"Kubernetes {config.k8s_version}, seconds, medians of {arguments.runs} interleaved runs (fastest)\n")
    print(f"{'objects':>8}{'rollback':>18}{'delete and wait':>18}{'ratio':>8}")
    for size in sizes:
        back, away = zip(*runs[size], strict=True)
        ratio = statistics.median(away) / statistics.median(back)
        cells = [f"{statistics.median(some):.3f} ({min(some):.3f})" for some in (back, away)]
        verdict = ""
        if size in BOUNDS:
            verdict = f"  bound {BOUNDS[size]} s: {'met' if statistics.median(back) <= BOUNDS[size] else 'NOT MET'}"
        print(f"{size:>8}{cells[0]:>18}{cells[1]:>18}{ratio:>7.0f}x{verdict}")


if __name__ == "__main__":
    main()
