"""The cells of the crash matrix: ways to die, moments to die at, and how one cell is played.
Each ends with a look at the whole machine; the seconds until it is as before are the cell's result."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_kubernix.guardian.sweep import sweep
from pytest_kubernix.layout import Layout

from .crash_run import Run, running
from .pods import eventually

PHASES = ("Infrastructure", "ControlPlane", "Controller", "NodeAgent")
STARTING = "guardian"
BOOT = (STARTING, "planning", *PHASES, "preparing")
MOMENTS = (*BOOT, "test", "teardown", "stopping")

WAYS = {
    "SIGKILL pytest": "the process that the user started",
    "SIGKILL worker": "the pytest-xdist worker that boots the cluster, or that is in the test or teardown",
    "SIGKILL guardian": "the parent of the cluster's processes",
    "SIGTERM": "to the process that the user started",
    "Ctrl-C": "once, to all processes of the terminal",
    "Ctrl-C twice": "again when pytest has taken notice of the first",
    "-x": "what comes at that moment fails: the boot, a hook, the test, or its teardown",
    "--maxfail=2": "the same, with a second failure",
    "crash": "abort() in every process that runs tests",
    "normal end": "nothing happens; the run pauses at that moment and goes on",
}
FAILING = {"-x": "-x", "--maxfail=2": "--maxfail=2"}
LIMIT = 40.0


@dataclass(frozen=True)
class Cell:
    """One way to die at one moment."""

    way: str
    moment: str
    xdist: bool
    nodes: int = 0

    def __str__(self) -> str:
        words = (self.way, self.moment, "xdist" if self.xdist else "alone", f"{self.nodes}-nodes")
        return "-".join(words).replace(" ", "-")

    @property
    def possible(self) -> bool:
        """Whether there is such a cell: without workers none dies, and only what waits can be told to fail."""
        if self.way == "SIGKILL worker":
            return self.xdist
        return self.moment != STARTING or self.way not in (*FAILING, "normal end")


@dataclass(frozen=True)
class Result:
    """Seconds from the event until pytest was over, and from then until the machine was as before."""

    pytest: float
    clean: float
    swept: bool

    def __str__(self) -> str:
        return f"{self.pytest:.1f}+{self.clean:.1f}{'s' if self.swept else ''}"


def every_cell() -> Iterator[Cell]:
    """All cells without nodes, and those with a node whose remains could differ."""
    for xdist in (False, True):
        for way in WAYS:
            for moment in MOMENTS:
                yield Cell(way, moment, xdist)
    for way in ("SIGKILL pytest", "SIGKILL guardian", "SIGTERM", "Ctrl-C", "crash", "normal end"):
        for moment in ("Infrastructure", "NodeAgent", "test", "stopping"):
            yield Cell(way, moment, xdist=False, nodes=1)
    for moment in ("NodeAgent", "test"):
        for way in ("SIGKILL pytest", "SIGKILL worker", "SIGKILL guardian"):
            yield Cell(way, moment, xdist=True, nodes=1)


def play(cell: Cell) -> Result:
    """Let one cell happen.

    Raises:
        AssertionError: Something is left on the machine, or pytest does not end.
    """
    args = [f"--kubernix-nodes={cell.nodes}"]
    args += ["-n2"] if cell.xdist else []
    args += [FAILING[cell.way]] if cell.way in FAILING else []
    crashing = (("gw0", "gw1") if cell.xdist else ("main",)) if cell.way == "crash" else ()
    moment = "" if cell.moment == STARTING else cell.moment
    with running(*args, moment=moment, crashing=crashing) as run:
        victim = until_there(run, cell)
        run.look()
        event = time.monotonic()
        _happen(run, cell, victim)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(LIMIT)
        over = time.monotonic()
        # What came after the event is looked at as well.
        run.look()
        swept = False
        if cell.way == "SIGKILL guardian":
            eventually(lambda: not run.trace.holders(), what="the end of the last holder", timeout=LIMIT)
            swept = bool(sweep(run.root))
        clean = run.clean(over, LIMIT)
        _judge(run, cell)
        return Result(over - event, clean, swept)


def until_there(run: Run, cell: Cell) -> int:
    """Wait for the moment; the PID of the process that is concerned."""
    if cell.moment == STARTING:
        run.until(lambda: _starting(run), "the guardian's start")
        starter = next(run.root.glob("*/starter")).read_text()
        return int(starter.rpartition("pid ")[2].rstrip(")"))
    who = run.reached()
    pid = who["pid"] or run.notes("planned")[0]["pid"]
    return int(pid)


def _starting(run: Run) -> bool:
    """Whether a guardian is on its way and does not answer yet."""
    logs = list(run.root.glob("*/guardian.log"))
    return any(not Layout(log.parent).control_socket.exists() for log in logs) and bool(run.trace.guardians())


def _happen(run: Run, cell: Cell, victim: int) -> None:
    match cell.way:
        case "SIGKILL pytest":
            os.kill(run.process.pid, signal.SIGKILL)
        case "SIGKILL worker":
            os.kill(victim, signal.SIGKILL)
            run.go()
        case "SIGKILL guardian":
            for guardian in run.trace.guardians():
                os.kill(guardian, signal.SIGKILL)
            run.go()
        case "SIGTERM":
            os.kill(run.process.pid, signal.SIGTERM)
        case "Ctrl-C":
            run.interrupt()
        case "Ctrl-C twice":
            run.interrupt()
            noticed = run.folder / "interrupted"
            eventually(lambda: noticed.exists() or run.process.poll() is not None, what="notice of the first Ctrl-C")
            run.interrupt()
        case "-x" | "--maxfail=2":
            run.go("fail")
        case "crash":
            run.crash()
            run.go()
        case _:
            run.go()


def _judge(run: Run, cell: Cell) -> None:
    """Whether the run said what it should say."""
    code, output = run.process.returncode, run.output
    if cell.way == "normal end":
        assert code == 0, output
    elif cell.way in FAILING:
        assert code in (1, 2), output
    elif cell.way in ("SIGKILL pytest", "SIGTERM"):
        assert code < 0, output
    elif cell.way == "Ctrl-C":
        assert code == 2, output
    if cell.way == "SIGKILL worker" and cell.moment in BOOT:
        # A process that waited has taken over, or found what was ready.
        assert "passed" in [run.outcomes().get(name) for name in ("test_first", "test_second")], output


def table(results: dict[Cell, str]) -> str:
    """The matrix as a table in Markdown, one part for each kind of run."""
    parts = []
    kinds = dict.fromkeys((cell.xdist, cell.nodes) for cell in results)
    for xdist, nodes in kinds:
        cells = {cell: text for cell, text in results.items() if (cell.xdist, cell.nodes) == (xdist, nodes)}
        moments = [moment for moment in MOMENTS if any(cell.moment == moment for cell in cells)]
        title = f"{'`-n 2`' if xdist else 'without xdist'}, {f'{nodes} node' if nodes else 'no nodes'}"
        lines = [f"| {title} | {' | '.join(moments)} |", f"| --- |{' --- |' * len(moments)}"]
        for way in WAYS:
            row = [cells.get(Cell(way, moment, xdist, nodes), "") for moment in moments]
            if any(row):
                lines.append(f"| {way} | {' | '.join(text or '·' for text in row)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
