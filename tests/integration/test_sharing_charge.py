"""The worker that is in charge of a boot dies, hangs or is stopped: what becomes of the others.
Each is brought to its moment by a condition; see `crash_plugin.py`."""

from __future__ import annotations

import os
import signal
import time

import pytest

from .crash_cells import STARTING, Cell, until_there
from .crash_run import running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

TWO = """
def test_one(uid):
    pass

def test_two(uid):
    pass
"""

HANGING = """
import pytest

from tests.integration.crash_plugin import note, reached

def test_hangs(kubernix):
    reached("test")

@pytest.mark.parametrize("number", range(30))
def test_small(number, uid):
    note("finished", number=number)
"""


LONG = [pytest.param(moment, marks=pytest.mark.long) for moment in ("Infrastructure", "preparing")]


@pytest.mark.parametrize("moment", [STARTING, "planning", "NodeAgent", *LONG])
def test_another_worker_takes_over(moment: str) -> None:
    """When the worker in charge is killed, another finishes what it began, and its test passes."""
    with running("-n2", "--max-worker-restart=0", suite=TWO, moment="" if moment == STARTING else moment) as run:
        victim = until_there(run, Cell("SIGKILL worker", moment, xdist=True))
        worker = next(line["worker"] for line in run.notes("started") if line["pid"] == victim)
        os.kill(victim, signal.SIGKILL)
        run.go()
        run.process.wait(90)
        assert sorted(run.outcomes().values()) == ["failed", "passed"], run.output
        assert {line["worker"] for line in run.notes("uids")} == {"gw0", "gw1"} - {worker}
        # A plan that was handed over is carried out; one that was not is made anew.
        planned = [line["worker"] for line in run.notes("planned")]
        assert len(planned) == (2 if moment == "planning" else 1), planned
        prepared = [line["worker"] for line in run.notes("prepared")]
        assert prepared[-1] != worker
        assert len(prepared) == (2 if moment == "preparing" else 1), prepared
        run.clean(0, 20)


def test_a_worker_that_hangs_is_left_behind() -> None:
    """One worker hangs in a test: the others finish theirs, and the guardian's log says who holds the cluster."""
    with running("-n3", "--dist=worksteal", "--max-worker-restart=0", suite=HANGING, moment="test") as run:
        hanging = run.reached()
        who = f"{hanging['worker']} (pid {hanging['pid']})"

        def others_are_done() -> bool:
            # What waits behind the test that hangs is for its worker alone, after it.
            mine = {line["test"] for line in run.notes("reports") if line["by"] == hanging["worker"]}
            done = len(run.notes("finished")) >= 28 and run.log().count(" holds\n") == 3
            return done and not mine - {"test_suite.py::test_hangs"}

        run.until(others_are_done, "the end of the others' tests")
        holds = [line for line in run.log().splitlines() if line.endswith(" holds")]
        assert any(who in line for line in holds), run.log()
        # The others end, and it alone is left.
        for line in run.notes("started"):
            if line["worker"] not in ("main", hanging["worker"]):
                os.kill(line["pid"], signal.SIGKILL)
        run.until(lambda: f"; {who} left" in run.log(), "a line that says who is left")
        run.look()
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        run.clean(time.monotonic(), 40)


@pytest.mark.parametrize("moment", ["planning", pytest.param("Controller", marks=pytest.mark.long)])
def test_waiting_for_a_stopped_worker_ends(moment: str) -> None:
    """A worker in charge that is stopped is named by those who wait, and they wait as long as they are told to."""
    # The boot itself goes on without the worker that began it, and must get as far as the moment.
    limit = 4.0 if moment == "planning" else 25.0
    with running("-n2", f"--kubernix-boot-timeout={limit:g}", suite=TWO, moment=moment) as run:
        stopped = until_there(run, Cell("stop", moment, xdist=True))
        os.kill(stopped, signal.SIGSTOP)
        begin = time.monotonic()
        try:
            worker = next(line["worker"] for line in run.notes("started") if line["pid"] == stopped)
            run.until(lambda: run.notes("reports"), "the others' reports", timeout=60)
            seconds = time.monotonic() - begin
            failed = next(line for line in run.notes("reports") if line["outcome"] == "failed")
            assert failed["by"] != worker
            if moment == "planning":
                assert f"{worker} (pid {stopped})" in failed["text"], run.output
                assert f"not ready within {limit:g} s" in failed["text"]
            # The limit, a moment for the boot's own report, and a busy machine.
            assert seconds < limit + 15, run.output
        finally:
            os.kill(stopped, signal.SIGCONT)
        run.go()
        run.process.wait(60)
        run.clean(0, 40)


def test_waiting_for_a_stopped_start_ends() -> None:
    """A worker that is stopped while it starts the guardian is named as well, after the same limit."""
    limit = 4.0
    with running("-n2", f"--kubernix-boot-timeout={limit:g}", suite=TWO) as run:
        stopped = until_there(run, Cell("stop", STARTING, xdist=True))
        os.kill(stopped, signal.SIGSTOP)
        begin = time.monotonic()
        try:
            worker = next(line["worker"] for line in run.notes("started") if line["pid"] == stopped)
            run.until(lambda: run.notes("reports"), "the others' reports", timeout=60)
            seconds = time.monotonic() - begin
            failed = next(line for line in run.notes("reports") if line["outcome"] == "failed")
            assert f"{worker} (pid {stopped})" in failed["text"], run.output
            assert seconds < limit + 15, run.output
        finally:
            os.kill(stopped, signal.SIGCONT)
        run.process.wait(60)
        run.clean(0, 40)
