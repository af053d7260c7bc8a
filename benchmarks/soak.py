"""Clusters one after another: does the machine end where it began? `python benchmarks/soak.py --clusters 50`.
Looks at the whole machine, so it wants one on which nothing else happens; the first cluster only warms it up."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pytest_kubernix.binaries.pins import DEFAULT_VERSION, resolve
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
from pytest_kubernix.drivers.native.driver import NativeDriver

MIB = 1 << 20
# What may differ in the end: caches that the kernel or the interpreter fills in its own time.
TOLERANCE = {"memory in use (MiB)": 150, "kernel's slab (MiB)": 100, "this process (MiB)": 30, "open files": 100}


def meminfo(*names: str) -> int:
    """Sum of some lines of /proc/meminfo, in MiB."""
    found = dict(re.findall(r"(\w+):\s+(\d+)", Path("/proc/meminfo").read_text()))
    return sum(int(found[name]) for name in names) // 1024


def namespaces(kind: str) -> int:
    """How many namespaces of a kind have processes."""
    found = set()
    for link in Path("/proc").glob(f"[0-9]*/ns/{kind}"):
        try:
            found.add(link.readlink())
        except OSError:
            continue
    return len(found)


def entries(directory: str, pattern: str = "*") -> int:
    """How many entries a directory has."""
    return sum(1 for _ in Path(directory).glob(pattern))


def groups() -> int:
    """How many cgroups there are in all hierarchies."""
    return sum(len(folders) for _, folders, _ in os.walk("/sys/fs/cgroup"))


COUNTS: dict[str, Callable[[], int]] = {
    "memory in use (MiB)": lambda: meminfo("MemTotal") - meminfo("MemFree", "Buffers", "Cached", "SReclaimable"),
    "kernel's slab (MiB)": lambda: meminfo("SUnreclaim"),
    "this process (MiB)": lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // MIB,
    "open files": lambda: int(Path("/proc/sys/fs/file-nr").read_text().split()[0]),
    "this process's files": partial(entries, "/proc/self/fd"),
    "processes": partial(entries, "/proc", "[0-9]*"),
    "mounts": lambda: len(Path("/proc/self/mountinfo").read_text().splitlines()),
    **{f"{kind} namespaces": partial(namespaces, kind) for kind in ("net", "mnt", "pid", "ipc", "uts")},
    "cgroups": groups,
    "links": partial(entries, "/sys/class/net"),
    "/dev/shm": partial(entries, "/dev/shm"),
    "temporary files": partial(entries, "/tmp"),
}


def look() -> dict[str, int]:
    """All counts, now."""
    return {name: count() for name, count in COUNTS.items()}


def settled(begin: dict[str, int], timeout: float = 15.0) -> dict[str, int]:
    """All counts, once the kernel has tidied up behind the last process, which it does in its own time."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if not differing(begin, seen) or time.monotonic() > deadline:
            return seen
        time.sleep(0.2)


def differing(begin: dict[str, int], end: dict[str, int]) -> list[str]:
    """What is more in the end than it was in the beginning."""
    return [name for name in begin if end[name] - begin[name] > TOLERANCE.get(name, 0)]


def one(config: ClusterConfig) -> tuple[float, dict[str, int]]:
    """Boot and end a cluster: seconds, and what was there meanwhile."""
    begin = time.monotonic()
    cluster = NativeDriver().start(config, BootOptions())
    try:
        during = look()
    finally:
        cluster.stop()
    return time.monotonic() - begin, during


def main() -> None:
    """Soak and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--k8s-version", default=DEFAULT_VERSION)
    parser.add_argument("--root", type=Path, default=None)
    arguments = parser.parse_args()
    config = ClusterConfig(k8s_version=resolve(arguments.k8s_version), nodes=arguments.nodes, root=arguments.root)
    one(config)
    begin = settled(look(), timeout=2)
    most = dict(begin)
    seconds = []
    middle = begin
    for number in range(arguments.clusters):
        took, during = one(config)
        seconds.append(took)
        most = {name: max(count, during[name]) for name, count in most.items()}
        if number + 1 == arguments.clusters // 2:
            middle = settled(begin)
    end = settled(begin)
    nodes = f"{arguments.nodes} node{'s' if arguments.nodes != 1 else ''}"
    print(f"{arguments.clusters} clusters of {nodes} one after another, Kubernetes {config.k8s_version}")
    print(f"first {seconds[0]:.2f} s, last {seconds[-1]:.2f} s, slowest {max(seconds):.2f} s\n")
    print(f"{'':22}{'before':>9}{'halfway':>9}{'after':>9}{'most':>9}")
    for name in begin:
        print(f"{name:22}{begin[name]:>9}{middle[name]:>9}{end[name]:>9}{most[name]:>9}")
    more = differing(begin, end)
    print(f"\nmore than in the beginning: {', '.join(more) or 'nothing'}")
    raise SystemExit(bool(more))


if __name__ == "__main__":
    main()
