"""Whatever dies, however, and whenever: afterwards the machine is as it was before.
Every cell runs pytest as a process of its own; `-m long` plays all of them and prints the table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .crash_cells import Cell, every_cell, play, table
from .crash_run import running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

# One of each kind of remains; the rest is `long`.
SAMPLE = {
    Cell("SIGKILL pytest", "planning", xdist=False),
    Cell("SIGKILL pytest", "NodeAgent", xdist=False, nodes=1),
    Cell("SIGKILL pytest", "test", xdist=True),
    Cell("SIGKILL worker", "Controller", xdist=True),
    Cell("SIGKILL guardian", "guardian", xdist=False),
    Cell("SIGKILL guardian", "test", xdist=True),
    Cell("SIGTERM", "ControlPlane", xdist=False),
    Cell("Ctrl-C", "Infrastructure", xdist=True),
    Cell("Ctrl-C twice", "test", xdist=False),
    Cell("-x", "Controller", xdist=False),
    Cell("--maxfail=2", "teardown", xdist=False),
    Cell("crash", "preparing", xdist=False),
    Cell("normal end", "stopping", xdist=True),
}
CELLS = [cell for cell in every_cell() if cell.possible]


def parameters() -> list[object]:
    marks = {cell: [] if cell in SAMPLE else [pytest.mark.long] for cell in CELLS}
    return [pytest.param(cell, id=str(cell), marks=marks[cell]) for cell in CELLS]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Iterator[dict[Cell, str]]:
    """Cell → seconds; printed in the end, and written to the file that CRASH_MATRIX names."""
    found: dict[Cell, str] = {}
    yield found
    text = table(found)
    if path := os.environ.get("CRASH_MATRIX"):
        # Under xdist each worker has a part of it.
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        facts = [[str(cell), text] for cell, text in found.items()]
        Path(f"{path}.{worker}" if worker else path).write_text(json.dumps(facts) if worker else f"{text}\n")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        reporter = request.config.pluginmanager.getplugin("terminalreporter")
        if reporter:
            reporter.write_line(f"\n{text}")


@pytest.mark.parametrize("cell", parameters())
def test_the_machine_is_as_before(cell: Cell, results: dict[Cell, str]) -> None:
    """Processes, namespaces, links, routes, nft tables, mounts, cgroups, run directories and ports are as before."""
    results[cell] = "FAILED"
    results[cell] = str(play(cell))


@pytest.mark.long
def test_a_living_cluster_is_seen() -> None:
    """The look at the machine sees every kind of thing that a cluster could leave behind."""
    with running("--kubernix-nodes=1", moment="test") as run:
        run.reached()
        run.look()
        seen = {line[2:].partition(":")[0] for line in run.trace.changes()}
        expected = {"cgroup", "link", "listening", "network namespace", "process", "route", "run directory"}
        assert seen >= expected
        run.go()
        run.process.wait(30)
        run.clean(0, 20)


def test_the_sample_is_part_of_the_matrix() -> None:
    """A cell that is renamed does not silently leave the sample."""
    assert set(CELLS) >= SAMPLE
