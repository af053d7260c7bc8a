"""How long a boot takes, by number of nodes, against envtest's start of etcd and kube-apiserver alone.
Each boot has a Python process of its own, as a test session has, and counts from the request to all ready.

The request is the driver's start(), as envtest's clock begins at its Start(). What a process imports before that
has a column of its own; what it imports during the boot, for keys, is part of the boot.

`--timeline` tells instead when each phase and each component got how far; `--against PATH` measures the
package of another directory in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import measure

from pytest_kubernix.binaries import find_executables
from pytest_kubernix.binaries.cache import Cache
from pytest_kubernix.binaries.toolchain import find_go, go_environment

HERE = Path(__file__).parent
MODULE = HERE / "envtest"
GO = "1.26.0"

# In relation to envtest's start, by number of nodes; and in seconds, of each node after the first.
RATIOS = {0: 0.65, 1: 0.8}
AIM = 0.6
FURTHER_NODE = 0.4

# Says everything in one line of JSON.
CHILD = """
import json, sys, time
imports = time.monotonic()
marks = {}
def mark(name):
    marks.setdefault(name, time.monotonic() - begin)
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
try:
    from pytest_kubernix.drivers.native.driver import NativeDriver
except ImportError:  # the package of --against may be older
    from pytest_kubernix.drivers.native import NativeDriver
begin = time.monotonic()
# A suite without components of its own has no such plugin; it is here to tell when the plan is made.
plugin = {"component_plugins": lambda registry, config: mark("keys made")} if sys.argv[4] == "timeline" else {}
options = BootOptions(progress=lambda line: mark(line), **plugin)
config = ClusterConfig(k8s_version=sys.argv[2], nodes=int(sys.argv[1]))
cluster = NativeDriver().start(config, options)
ready = time.monotonic()
sys.path.append(sys.argv[3])
import processes
cpu = processes.cpu(cluster.handle.run_dir)
timeline = list(cluster.diagnostics(timeout=10).timeline)
stopping = time.monotonic()
(cluster.destroy if hasattr(cluster, "destroy") else cluster.stop)()
stopped = time.monotonic()
print(json.dumps({
    "ready": ready - begin, "imports": begin - imports, "stop": stopped - stopping, "CPU": cpu,
    "marks": marks, "timeline": timeline, "timings": cluster.handle.timings,
}))
"""


def build_envtest() -> Path:
    """The envtest program, built unless it is there already; Go's own cache makes the second time cheap."""
    directory = Cache().root / "benchmarks"
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "envtest"
    go = find_go(GO)
    with tempfile.TemporaryDirectory() as scratch:
        environment = go_environment(arch=_arch(), cgo=False, scratch=Path(scratch))
        print("building envtest (minutes, the first time)", file=sys.stderr)
        subprocess.run([go.path, "build", "-trimpath", "-o", program, "."], cwd=MODULE, env=environment, check=True)
    return program


def _arch() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def envtest(program: Path, assets: Path) -> dict[str, float]:
    """One start and stop of envtest; seconds."""
    environment = {**os.environ, "KUBEBUILDER_ASSETS": str(assets)}
    output = subprocess.run([program], env=environment, stdout=subprocess.PIPE, check=True, timeout=120).stdout
    figures: dict[str, float] = json.loads(output)
    return {"ready": figures["start"], "stop": figures["stop"]}


def boot(nodes: int, version: str, package: Path = HERE.parent, *, what: str = "figures") -> dict[str, Any]:
    """One boot in a process of its own: what CHILD prints."""
    measure.config(nodes, version)
    output = subprocess.run(
        [sys.executable, "-c", CHILD, str(nodes), version, str(HERE), what],
        env=measure.environment(PYTHONPATH=str(package)), stdout=subprocess.PIPE, check=True, timeout=180,
    ).stdout  # fmt: skip
    found: dict[str, Any] = json.loads(output)
    return found


def boot_figures(nodes: int, version: str, package: Path = HERE.parent) -> dict[str, float]:
    """The figures of one boot, in seconds."""
    found = boot(nodes, version, package)
    phases = {name: seconds for name, seconds in found["timings"].items() if name != "total"}
    return {
        "ready": found["ready"],
        "stop": found["stop"],
        "imports": found["imports"],
        "CPU": found["CPU"],
        **phases,
    }


def compare(sizes: list[int], arguments: argparse.Namespace) -> None:
    """Measure clusters and envtest in turn, and print how they relate."""
    version: str = arguments.k8s_version
    executables = find_executables(version)
    subjects: dict[str, Callable[[], Mapping[str, float]]] = {
        f"{size} nodes": lambda size=size: boot_figures(size, version)  # type: ignore[misc]
        for size in sizes
    }
    if arguments.against:
        subjects |= {
            f"{size} nodes, other": lambda size=size: boot_figures(size, version, arguments.against)  # type: ignore[misc]
            for size in sizes
        }
    with tempfile.TemporaryDirectory() as scratch:
        assets = Path(scratch)
        for name in ("etcd", "kube-apiserver", "kubectl"):
            # Links keep their names: the executable acts by the one that it is called under.
            (assets / name).symlink_to(executables[name])
        if not arguments.no_envtest:
            program = build_envtest()
            subjects["envtest"] = lambda: envtest(program, assets)
        found = measure.interleave(subjects, arguments.runs)
    figures = list(dict.fromkeys(figure for one in found.values() for figure in one))
    rows = [
        (name, [measure.spread(one[figure]) if figure in one else "-" for figure in figures])
        for name, one in found.items()
    ]
    measure.table(f"Kubernetes {version}: seconds, median (min to max) of {arguments.runs} rounds", figures, rows)
    _judge(sizes, {name: one["ready"] for name, one in found.items()})


def _judge(sizes: list[int], ready: Mapping[str, list[float]]) -> None:
    if "envtest" in ready:
        for size in sizes:
            values = measure.ratio(ready[f"{size} nodes"], ready["envtest"])
            name = f"{size} nodes ÷ envtest's start"
            if size in RATIOS:
                measure.bound(name, values, RATIOS[size])
            else:
                print(f"{name}: {measure.spread(values)}")
        print(f"(the aim for one node is {AIM})")
    if 1 in sizes:
        for size in [size for size in sizes if size > 1]:
            both = zip(ready[f"{size} nodes"], ready["1 nodes"], strict=True)
            each = [(more - one) / (size - 1) for more, one in both]
            measure.bound(f"each further node, of {size}", each, FURTHER_NODE, "s")
    for size in sizes:
        if f"{size} nodes, other" in ready:
            values = measure.ratio(ready[f"{size} nodes"], ready[f"{size} nodes, other"])
            print(f"{size} nodes, this ÷ other: {measure.spread(values)}")


def timeline(sizes: list[int], arguments: argparse.Namespace) -> None:
    """Print when each thing happened, counted from the request."""
    for size in sizes:
        seen: dict[tuple[str, str], list[float]] = {}
        boot(size, arguments.k8s_version, what="timeline")
        for _ in range(arguments.runs):
            found = boot(size, arguments.k8s_version, what="timeline")
            marks: dict[str, float] = found["marks"]
            first = next(at for line, at in marks.items() if ": starting" in line)
            # The first event comes when the plan has arrived, and is heard of at once.
            offset = first - next(at for name, what, at in found["timeline"] if what == "begins" and name != "cluster")
            for name, at in (("keys", marks["keys made"]), ("the plan", first)):
                seen.setdefault((name, "done"), []).append(at)
            for name, what, at in found["timeline"]:
                # When its phase began has a line of its own.
                if what != "awaited":
                    seen.setdefault((name, what), []).append(offset + at)
            seen.setdefault(("request", "answered"), []).append(found["ready"])
        ordered = sorted(seen.items(), key=lambda item: statistics.median(item[1]))
        rows = [(f"{name} {what}", [measure.spread(values, 3)]) for (name, what), values in ordered]
        measure.table(f"{size} nodes: seconds after the request, {arguments.runs} boots", ["median (min to max)"], rows)


def main() -> None:
    """Measure and print."""
    parser = measure.parser(__doc__)
    parser.add_argument("--nodes", default="0,1,2,4,8", help="sizes to boot (default: %(default)s)")
    parser.add_argument("--timeline", action="store_true", help="tell when what happened")
    parser.add_argument("--no-envtest", action="store_true", help="leave envtest out")
    parser.add_argument("--against", type=Path, help="directory of another version of the package")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.nodes.split(",")]
    if arguments.timeline:
        timeline(sizes, arguments)
    else:
        compare(sizes, arguments)


if __name__ == "__main__":
    main()
