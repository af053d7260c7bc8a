"""How long a boot takes, phase by phase, by number of nodes: `python benchmarks/boot.py [--runs 7] [--nodes 0,1,2]`.
Sizes are interleaved, so that noise of the machine hits all alike; medians are printed, with the extremes."""

from __future__ import annotations

import argparse
import statistics
import time

from pytest_kubernix.binaries.versions import DEFAULT_VERSION, resolve
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
from pytest_kubernix.drivers.native import NativeDriver

# What the issue tracker promises for two nodes on a machine with two cores, in seconds.
BOUND = {2: 8.0}


def boot_once(nodes: int, version: str) -> dict[str, float]:
    """Boot and end one cluster; seconds by phase, of the whole call, and of its end."""
    begin = time.monotonic()
    cluster = NativeDriver().start(ClusterConfig(k8s_version=version, nodes=nodes), BootOptions())
    ready = time.monotonic()
    phases = {name: seconds for name, seconds in cluster.handle.timings.items() if name != "total"}
    cluster.stop()
    return {**phases, "request to ready": ready - begin, "teardown": time.monotonic() - ready}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--nodes", default="0,1,2")
    parser.add_argument("--k8s-version", default=DEFAULT_VERSION)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.nodes.split(",")]
    version = resolve(arguments.k8s_version)
    boot_once(sizes[-1], version)  # the first run reads the executables from the disk
    runs: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for _ in range(arguments.runs):
        for size in sizes:
            runs[size].append(boot_once(size, version))
    names = list(dict.fromkeys(name for size in sizes for run in runs[size] for name in run))
    names.sort(key=lambda name: name in ("request to ready", "teardown"))
    print(f"Kubernetes {version}, seconds, median (min to max) of {arguments.runs} interleaved runs\n")
    print(f"{'':18}" + "".join(f"{f'{size} nodes':>22}" for size in sizes))
    for name in names:
        row = f"{name:18}"
        for size in sizes:
            values = [run[name] for run in runs[size] if name in run]
            row += (
                f"{f'{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})' if values else '-':>22}"
            )
        print(row)
    for size, bound in BOUND.items():
        if size in runs:
            median = statistics.median(run["request to ready"] for run in runs[size])
            print(f"\n{size} nodes: {median:.2f} s; bound {bound} s: {'met' if median <= bound else 'NOT MET'}")


if __name__ == "__main__":
    main()
