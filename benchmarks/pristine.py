"""What a pristine cluster costs a test: `python benchmarks/pristine.py [--tests 200]`.
Each makes a namespace, a CRD, an instance and a Deployment's pod; then every object of every kind is listed."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from pytest_kubernix.binaries.pins import DEFAULT_VERSION, resolve
from pytest_kubernix.cluster import Cluster
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
from pytest_kubernix.drivers.native.driver import NativeDriver

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.objects import difference, everything
from tests.integration.rollback_work import work

BOUND = 0.15


def main() -> None:
    """Measure, print the figures, and fail on a leak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument("--k8s-version", default=DEFAULT_VERSION)
    arguments = parser.parse_args()
    config = ClusterConfig(k8s_version=resolve(arguments.k8s_version), nodes=1)
    cluster = Cluster(NativeDriver().start(config, BootOptions()))
    try:
        before = everything(cluster)
        overheads, works, leaks = [], [], []
        for number in range(arguments.tests):
            begin = time.monotonic()
            checkpoint = cluster.checkpoint()
            made = time.monotonic()
            work(cluster)
            done = time.monotonic()
            cluster.rollback(checkpoint)
            works.append(done - made)
            overheads.append(made - begin + time.monotonic() - done)
            leaks += [f"test {number}: {line}" for line in difference(before, everything(cluster))]
    finally:
        cluster.stop()
    overheads.sort()
    median = statistics.median(overheads)
    print(f"{arguments.tests} tests on Kubernetes {config.k8s_version}, seconds a test")
    print(f"the test itself   {statistics.median(works):.3f} (median)")
    print(f"pristine          {median:.3f} (median), {statistics.mean(overheads):.3f} (mean), ", end="")
    print(f"{overheads[int(len(overheads) * 0.95)]:.3f} (95 of 100), {overheads[-1]:.3f} (worst)")
    print(f"bound {BOUND} s: {'met' if median <= BOUND else 'NOT MET'}; leaks: {len(leaks)}")
    sys.exit("\n".join(leaks[:10]))


if __name__ == "__main__":
    main()
