"""Throughput of kubectl through the wrapper against the bare executable, one after another and several at once.
Both run the same argv, so that the difference is the wrapper's alone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import measure

from pytest_kubernix.cluster import Cluster

CALLS = 10
AT_ONCE = 4
ARGUMENTS = ("get", "namespaces", "--output=name")


def per_second(call: Callable[[], object], threads: int) -> dict[str, float]:
    """Calls per second."""
    begin = time.monotonic()
    if threads == 1:
        for _ in range(CALLS):
            call()
    else:
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(call) for _ in range(CALLS)]:
                done.result()
    return {"calls/s": CALLS / (time.monotonic() - begin)}


def subjects(cluster: Cluster) -> dict[str, Callable[[], Mapping[str, float]]]:
    """What is compared."""
    argv = cluster.kubectl(*ARGUMENTS).command

    def wrapped() -> object:
        return cluster.kubectl(*ARGUMENTS)

    def bare() -> object:
        return subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    return {
        f"{name}, {threads} at once": lambda call=call, threads=threads: per_second(call, threads)  # type: ignore[misc]
        for threads in (1, AT_ONCE)
        for name, call in (("wrapper", wrapped), ("bare", bare))
    }


def main() -> None:
    """Measure and print."""
    arguments = measure.parser(__doc__).parse_args()
    version: str = arguments.k8s_version
    with measure.cluster(0, version) as cluster:
        found = measure.interleave(subjects(cluster), arguments.runs)
    rows = [(name, [measure.spread(one["calls/s"], 1)]) for name, one in found.items()]
    title = f"Kubernetes {version}: {' '.join(ARGUMENTS)}, median (min to max) of {arguments.runs} rounds of {CALLS}"
    measure.table(title, ["calls/s"], rows)
    for threads in (1, AT_ONCE):
        both = (found[f"{name}, {threads} at once"]["calls/s"] for name in ("wrapper", "bare"))
        print(f"wrapper ÷ bare, {threads} at once: {measure.spread(measure.ratio(*both))}")


if __name__ == "__main__":
    main()
