"""How long an end takes: from stop() until no process, link, cgroup or file of the cluster is left.
Also with pods running, since each is a shim, a namespace and mounts more."""

from __future__ import annotations

import time
from pathlib import Path

import measure
import processes
import workload

from pytest_kubernix.linux.cgroups import hierarchies

BOUND = 0.5
PODS = 4
LIMIT = 30.0


def leftovers(cluster_id: str, run_dir: Path, tree: list[processes.Entry]) -> list[str]:
    """What is still there of a cluster, a word each."""
    left = [entry.name for entry in tree if entry.alive()]
    left += [link.name for link in Path("/sys/class/net").glob(f"*{cluster_id}*")]
    left += [str(top) for top in hierarchies() if (top / "kubernix" / cluster_id).exists()]
    left += [str(run_dir)] if run_dir.exists() else []
    return left


def end(nodes: int, version: str, pods: int) -> dict[str, float]:
    """Boot a cluster, end it, and look until nothing is left."""
    with measure.cluster(nodes, version) as cluster:
        if pods:
            workload.roll_out(cluster, "web", pods)
        run_dir = cluster.handle.run_dir
        assert run_dir is not None
        tree = processes.tree(run_dir)
        if not tree:
            raise SystemExit("no processes of the cluster were found: nothing can be said of their end")
        begin = time.monotonic()
        cluster.stop()
        returned = time.monotonic() - begin
        while left := leftovers(cluster.handle.cluster_id, run_dir, tree):
            if time.monotonic() - begin > LIMIT:
                raise SystemExit(f"still there {LIMIT:g} s after stop(): {', '.join(left)}")
            time.sleep(0.001)
    return {"stop() returned": returned, "nothing left": time.monotonic() - begin, "processes": len(tree)}


def main() -> None:
    """Measure and print."""
    parser = measure.parser(__doc__)
    arguments = parser.parse_args()
    version: str = arguments.k8s_version
    cases = {"0 nodes": (0, 0), "1 node": (1, 0), f"1 node, {PODS} pods": (1, PODS), "2 nodes": (2, 0)}
    found = measure.interleave(
        {name: lambda case=case: end(case[0], version, case[1]) for name, case in cases.items()},  # type: ignore[misc]
        arguments.runs,
        warm_up=0,
    )
    figures = ["stop() returned", "nothing left", "processes"]
    rows = [
        (name, [measure.spread(one[figure], 0 if figure == "processes" else 2) for figure in figures])
        for name, one in found.items()
    ]
    measure.table(f"Kubernetes {version}: seconds, median (min to max) of {arguments.runs} rounds", figures, rows)
    for name, one in found.items():
        measure.bound(f"{name}, until nothing is left", one["nothing left"], BOUND, "s")


if __name__ == "__main__":
    main()
