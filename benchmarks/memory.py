"""How much memory a cluster takes, all processes of it and the files that its nodes keep in memory.
Counted a few seconds after it was ready, with nothing running on it.

Anonymous memory is each process's own. Executables that several processes map are counted once (a sum of
RSS counts them each time; it is printed as well), and so that other clusters make no difference (as they do
to PSS).
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import measure
import processes

from pytest_kubernix.cluster import Cluster

BOUND = 700
SETTLED = 5.0
MIB = 1024 * 1024


def weigh(nodes: int, version: str) -> dict[str, float]:
    """The memory of one cluster, in MiB by component."""
    with measure.cluster(nodes, version) as cluster:
        time.sleep(SETTLED)
        run_dir = cluster.handle.run_dir
        assert run_dir is not None
        tree = processes.tree(run_dir)
        anonymous, files = processes.memory(tree)
        parts = {name: size / MIB for name, size in anonymous.items()}
        parts["mapped files, once"] = sum(files.values()) / MIB
        parts["nodes' files"] = _node_files(cluster, tree) / MIB
        total = sum(parts.values())
        return {**parts, "total": total, "(sum of RSS)": processes.resident(tree) / MIB}


def _node_files(cluster: Cluster, tree: list[processes.Entry]) -> int:
    """What the nodes' own file systems hold; they are tmpfs, so it is memory."""
    seen: dict[int, int] = {}
    for entry in tree:
        run = Path(f"/proc/{entry.pid}/root/run")
        if entry.name == "containerd" and cluster.nodes:
            status = os.statvfs(run)
            seen[run.stat().st_dev] = (status.f_blocks - status.f_bfree) * status.f_frsize
    return sum(seen.values())


def main() -> None:
    """Measure and print."""
    parser = measure.parser(__doc__, runs=3)
    arguments = parser.parse_args()
    version: str = arguments.k8s_version
    sizes = (0, 1, 2)
    rounds: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for _ in range(arguments.runs):
        for size in sizes:
            rounds[size].append(weigh(size, version))
    names = list(dict.fromkeys(name for size in reversed(sizes) for one in rounds[size] for name in one))
    last = ("mapped files, once", "nodes' files", "total", "(sum of RSS)")
    typical = {name: statistics.median(one.get(name, 0) for one in rounds[2]) for name in names}
    names.sort(key=lambda name: (last.index(name) if name in last else -1, -typical[name]))
    rows = [(name, [measure.spread([one.get(name, 0) for one in rounds[size]], 0) for size in sizes]) for name in names]
    title = f"Kubernetes {version}: MiB, median (min to max) of {arguments.runs} clusters of each size"
    measure.table(title, [f"{size} nodes" for size in sizes], rows)
    measure.bound("one node, all processes", [one["total"] for one in rounds[1]], BOUND, "MiB", 0)
    more = [two["total"] - one["total"] for one, two in zip(rounds[1], rounds[2], strict=True)]
    print(f"the second node: {measure.spread(more, 0)} MiB")


if __name__ == "__main__":
    main()
