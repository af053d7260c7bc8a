"""Time from `kubectl apply` of a Deployment until it is Available, of one replica and of four, on one node and two.
As a test sees it: kubectl's own time to apply and to wait is part of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import measure
import workload

from pytest_kubernix.cluster import Cluster

REPLICAS = (1, 4)
NAMES = itertools.count(1)


def roll_out(cluster: Cluster, replicas: int) -> dict[str, float]:
    """Roll out one Deployment, and remove it before the next."""
    name = f"web-{next(NAMES)}"
    applied, available = workload.roll_out(cluster, name, replicas)
    cluster.kubectl("delete", f"deployment/{name}", "--cascade=foreground")
    return {"kubectl apply": applied, "Available": available}


def main() -> None:
    """Measure and print."""
    arguments = measure.parser(__doc__).parse_args()
    version: str = arguments.k8s_version
    with measure.cluster(1, version) as one, measure.cluster(2, version) as two:
        subjects: dict[str, Callable[[], Mapping[str, float]]] = {
            f"{replicas} replicas on {len(cluster.nodes)} nodes": (
                lambda cluster=cluster, replicas=replicas: roll_out(cluster, replicas)  # type: ignore[misc]
            )
            for cluster in (one, two)
            for replicas in REPLICAS
        }
        found = measure.interleave(subjects, arguments.runs)
    figures = ["kubectl apply", "Available"]
    rows = [(name, [measure.spread(values[figure]) for figure in figures]) for name, values in found.items()]
    measure.table(f"Kubernetes {version}: seconds, median (min to max) of {arguments.runs} rounds", figures, rows)
    for nodes in (1, 2):
        both = (found[f"{replicas} replicas on {nodes} nodes"]["Available"] for replicas in reversed(REPLICAS))
        print(f"4 replicas ÷ 1 replica, {nodes} nodes: {measure.spread(measure.ratio(*both))}")


if __name__ == "__main__":
    main()
