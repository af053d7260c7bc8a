"""How long it takes to get a cluster that runs already: by `--kubernix-reuse`, or a spare; and to boot one.
Each time by a Python process of its own, from the driver's start(), as the next test session would."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import measure

from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
from pytest_kubernix.drivers.native.driver import NativeDriver
from pytest_kubernix.guardian.listing import running
from pytest_kubernix.share import named

BOUND = 0.3
NAME = "benchmark"
LIMIT = 120.0

# Leaves a reused cluster running and ends any other; says what it got, and in what time.
CHILD = """
import json, sys, time
from pathlib import Path
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
from pytest_kubernix.drivers.native.driver import NativeDriver
from pytest_kubernix.share import Share, named
nodes, version, root, name, spares = sys.argv[1:]
share = named(name, "benchmark") if name else Share(who="benchmark")
config = ClusterConfig(k8s_version=version, nodes=int(nodes), root=Path(root))
begin = time.monotonic()
cluster = NativeDriver().start(config, BootOptions(share=share, spares=int(spares)))
took = time.monotonic() - begin
if not name:
    cluster.destroy()
print(json.dumps({"id": cluster.handle.cluster_id, "took": took}))
"""


def start(config: ClusterConfig, *, name: str = "", spares: int = 0) -> tuple[str, float]:
    """One start in a process of its own: the cluster's id, and the seconds it took."""
    output = subprocess.run(
        [sys.executable, "-c", CHILD, str(config.nodes), config.k8s_version, str(config.root), name, str(spares)],
        env=measure.environment(PYTHONPATH=str(Path(__file__).parent.parent)),
        stdout=subprocess.PIPE, check=True, timeout=LIMIT,
    ).stdout  # fmt: skip
    found = json.loads(output)
    return found["id"], found["took"]


def wait_for_spare(root: Path) -> str:
    """The id of a spare, once it is up."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        for info in running(root):
            # It becomes "ready" for its taker.
            if info.spare and info.state == "booted":
                return info.cluster_id
        time.sleep(0.05)
    raise SystemExit(f"there was no spare within {LIMIT:g} s")


def reused(config: ClusterConfig, expected: str) -> dict[str, float]:
    """Find the cluster again that was left running."""
    found, took = start(config, name=NAME)
    if found != expected:
        raise SystemExit(f"the cluster was replaced: {found} instead of {expected}")
    return {"seconds": took}


def taken(config: ClusterConfig, root: Path) -> dict[str, float]:
    """Take the spare that the process before has left."""
    expected = wait_for_spare(root)
    found, took = start(config, spares=1)
    if found != expected:
        raise SystemExit(f"cluster {found} was not the spare {expected}")
    wait_for_spare(root)
    return {"seconds": took}


def main() -> None:
    """Measure and print."""
    parser = measure.parser(__doc__)
    arguments = parser.parse_args()
    version: str = arguments.k8s_version
    with contextlib.ExitStack() as stack:
        subjects: dict[str, Callable[[], dict[str, float]]] = {}
        for nodes in (0, 1):
            # The way to the sockets must be short.
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kxb-", dir="/tmp"))) / "c"
            config = ClusterConfig(k8s_version=version, nodes=nodes, root=root)
            cluster = NativeDriver().start(config, BootOptions(share=named(NAME, "benchmark")))
            stack.callback(end_all, root)
            start(config, spares=1)
            words = f"{nodes} node{'s' if nodes != 1 else ''}"
            subjects |= {
                f"{words}, booted": lambda config=config: {"seconds": start(config)[1]},  # type: ignore[misc]
                f"{words}, reused": lambda config=config, cluster=cluster: reused(config, cluster.handle.cluster_id),  # type: ignore[misc]
                f"{words}, a spare": lambda config=config, root=root: taken(config, root),  # type: ignore[misc]
            }
        found = measure.interleave(subjects, arguments.runs)
    rows = [(name, [measure.spread(one["seconds"], 3)]) for name, one in found.items()]
    measure.table(f"Kubernetes {version}: median (min to max) of {arguments.runs} rounds", ["seconds"], rows)
    for name, one in found.items():
        if not name.endswith("booted"):
            measure.bound(name, one["seconds"], BOUND, "s", 3)


def end_all(root: Path) -> None:
    """End every cluster below a root directory."""
    argv = [sys.executable, "-m", "pytest_kubernix", "down", "--all", f"--root={root}"]
    subprocess.run(argv, stderr=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
