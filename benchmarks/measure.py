"""What all benchmarks share: interleaved runs, medians with their extremes, ratios, bounds, and clusters to measure.
Ratios are taken within a round, of runs that are neighbours in time, so that noise of the machine hits both sides."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from pytest_kubernix.binaries.pins import DEFAULT_VERSION, resolve
from pytest_kubernix.cluster import Cluster
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
from pytest_kubernix.drivers.native.driver import NativeDriver
from pytest_kubernix.errors import KubernixError

# Clusters of other programs may hold the last of what a user may have; they end sooner or later.
PATIENCE = 120.0


def parser(description: str | None, runs: int = 7) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--runs", type=int, default=runs, help="rounds of the measurement (default: %(default)s)")
    result.add_argument("--k8s-version", type=resolve, default=DEFAULT_VERSION, help="Kubernetes version")
    return result


def config(nodes: int, version: str) -> ClusterConfig:
    """The cluster that a test gets by default, with so many nodes; waits until the machine has room for it."""
    wanted = ClusterConfig(k8s_version=version, nodes=nodes)
    deadline = time.monotonic() + PATIENCE
    while problem := NativeDriver().check(wanted):
        if time.monotonic() > deadline:
            raise problem
        time.sleep(1)
    return wanted


@contextlib.contextmanager
def cluster(nodes: int, version: str) -> Iterator[Cluster]:
    """A running cluster, ended with the block."""
    running = Cluster(NativeDriver().start(config(nodes, version), BootOptions()))
    try:
        yield running
    finally:
        running.stop()


def environment(**more: str) -> dict[str, str]:
    """What a measured Python process gets: it keeps its bytecode, as Python does unless it is told otherwise."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **more}


def interleave(
    subjects: Mapping[str, Callable[[], Mapping[str, float]]], runs: int, *, warm_up: int = 1
) -> dict[str, dict[str, list[float]]]:
    """Measure all subjects once per round.

    Args:
        subjects: Name → what measures it once and gives figures by name.
        runs: How many rounds count.
        warm_up: How many rounds before them don't: the first one reads executables from the disk.

    Returns:
        Subject → figure → its values, round by round.
    """
    rounds: list[dict[str, Mapping[str, float]]] = []
    names = list(subjects)
    for number in range(warm_up + runs):
        # The other way round every second time, so that none always runs in another's wake.
        order = names if number % 2 else names[::-1]
        found = {name: _patiently(subjects[name]) for name in order}
        if number >= warm_up:
            rounds.append(found)
        print(f"\rround {number + 1} of {warm_up + runs}", end="", file=sys.stderr, flush=True)
    print("\r" + " " * 24 + "\r", end="", file=sys.stderr, flush=True)
    return {name: {figure: [one[name][figure] for one in rounds] for figure in rounds[0][name]} for name in names}


def _patiently(measure: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
    """One measurement; a second try for what failed, since it may be for want of room beside others."""
    try:
        return measure()
    except KubernixError as error:
        print(f"\nonce more, after: {error}", file=sys.stderr)
        time.sleep(5)
        return measure()


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the extremes in brackets."""
    median = statistics.median(values)
    return f"{median:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratio(upper: Sequence[float], lower: Sequence[float]) -> list[float]:
    """One divided by the other, round by round."""
    return [one / other for one, other in zip(upper, lower, strict=True)]


def table(title: str, header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Print a table whose first column names the rows."""
    first = max(len(name) for name, _ in rows) + 2
    widths = [max(len(header[n]), *(len(cells[n]) for _, cells in rows)) + 2 for n in range(len(header))]
    print(f"\n{title}\n")
    print(" " * first + "".join(f"{cell:>{width}}" for cell, width in zip(header, widths, strict=True)))
    for name, cells in rows:
        print(f"{name:{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    print()


def bound(what: str, values: Sequence[float], limit: float, unit: str = "", digits: int = 2) -> None:
    """Print whether a figure's median is within its bound."""
    verdict = "met" if statistics.median(values) <= limit else "NOT MET"
    unit = f" {unit}" if unit else ""
    print(f"{what}: {spread(values, digits)}{unit}; bound {limit:g}{unit}: {verdict}")
