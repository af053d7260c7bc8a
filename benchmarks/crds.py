"""Many CRDs in one apply: `cluster.kubectl.apply`, which returns once all are served, against kubectl's own way,
`kubectl apply` and one `kubectl wait --for=condition=Established`, which ends before clients can begin."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import measure

from pytest_kubernix.cluster import Cluster

COUNTS = (10, 50, 200)
BOUND = 1.5
LIMIT = 300.0

_numbers = count()


def bundle(size: int) -> dict[str, Any]:
    """So many CRDs of kinds that the cluster has never seen."""
    group = f"bench{next(_numbers)}.kubernix.test"
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}
    items = [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"kind{n}s.{group}"},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": f"Kind{n}", "plural": f"kind{n}s", "singular": f"kind{n}"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
            },
        }
        for n in range(size)
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def subjects(cluster: Cluster, size: int) -> dict[str, Callable[[], Mapping[str, float]]]:
    """What is compared. What was made is removed again outside of the measured time."""
    start = cluster.kubectl("version").command[:-1]

    def timed(work: Callable[[dict[str, Any]], object]) -> Mapping[str, float]:
        crds = bundle(size)
        begin = time.monotonic()
        work(crds)
        taken = time.monotonic() - begin
        cluster.kubectl.delete(crds, timeout=LIMIT)
        return {"s": taken}

    def bare(crds: dict[str, Any]) -> None:
        text = json.dumps(crds)
        for words in (
            ["apply", "--filename=-"],
            ["wait", "--for=condition=Established", "--timeout=5m", "--filename=-"],
        ):
            subprocess.run([*start, *words], input=text, text=True, check=True, capture_output=True)

    return {
        f"{size}: apply": lambda: timed(lambda crds: cluster.kubectl.apply(crds, timeout=LIMIT)),
        f"{size}: kubectl": lambda: timed(bare),
    }


def main() -> None:
    """Measure and print."""
    parser = measure.parser(__doc__, runs=3)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="how many CRDs (default: %(default)s)")
    arguments = parser.parse_args()
    version: str = arguments.k8s_version
    found: dict[str, dict[str, list[float]]] = {}
    with measure.cluster(0, version) as cluster:
        for size in arguments.counts:
            found |= measure.interleave(subjects(cluster, size), arguments.runs)
    rows = [(name, [measure.spread(one["s"])]) for name, one in found.items()]
    title = f"Kubernetes {version}: CRDs in one apply until they are served, median (min to max) of {arguments.runs}"
    measure.table(title, ["s"], rows)
    for size in arguments.counts:
        both = (found[f"{size}: {name}"]["s"] for name in ("apply", "kubectl"))
        measure.bound(f"apply ÷ kubectl apply and wait, {size} CRDs", measure.ratio(*both), BOUND)


if __name__ == "__main__":
    main()
