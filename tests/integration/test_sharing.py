"""One cluster for all workers of a test run: booted once, prepared once, the same for all.
Driven runs count who did what; see `crash_plugin.py`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from .crash_run import Run, running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# How often a test asks differs, so that tests end in another order than they begin.
MANY = """
import random

import pytest

from tests.integration.crash_plugin import note

ORDER = random.Random({seed})
ASKS = [ORDER.randrange(1, 12) for _ in range({count})]

@pytest.mark.parametrize("number", range({count}))
def test_small(number, uid, kubernix, kubernix_client):
    from kubernetes.client import CoreV1Api

    for _ in range(ASKS[number]):
        CoreV1Api(kubernix_client).list_namespace()
    note("finished", number=number)
"""


def many(count: int) -> str:
    return MANY.format(count=count, seed=count)


def end(run: Run, timeout: float = 500) -> None:
    """Let a run end by itself, with all tests passed, and see that nothing is left."""
    run.go()
    run.process.wait(timeout)
    assert run.process.returncode == 0, run.output
    run.clean(0, 20)


def workers_of(run: Run, name: str) -> set[str]:
    return {line["worker"] for line in run.notes(name)}


def uids_of(run: Run) -> set[str]:
    return {line["uid"] for line in run.notes("uids")}


def is_one_cluster(run: Run, workers: int, tests: int) -> None:
    finished = [line["number"] for line in run.notes("finished")]
    assert sorted(finished) == list(range(tests))
    assert finished != sorted(finished), "nothing was shuffled"
    assert len(workers_of(run, "uids")) == workers, run.output
    assert len(uids_of(run)) == 1, run.notes("uids")
    assert len(run.notes("planned")) == len(run.notes("prepared")) == 1, run.output


@pytest.mark.parametrize(("workers", "tests"), [(4, 60), pytest.param(8, 400, marks=pytest.mark.long)], ids=str)
def test_all_workers_share_one_cluster(workers: int, tests: int) -> None:
    """Many workers with many small tests make one boot, and every worker sees the same cluster."""
    with running(f"-n{workers}", suite=many(tests)) as run:
        end(run)
        is_one_cluster(run, workers, tests)


@pytest.mark.parametrize(("workers", "tests"), [(2, 12), pytest.param(8, 400, marks=pytest.mark.long)], ids=str)
def test_runs_side_by_side_never_meet(workers: int, tests: int) -> None:
    """Three test runs at the same time have a cluster each."""
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(running(f"-n{workers}", suite=many(tests))) for _ in range(3)]
        for run in runs:
            run.process.wait(500)
        for run in runs:
            end(run)
            is_one_cluster(run, workers, tests)
        assert len(set().union(*(uids_of(run) for run in runs))) == 3


TWO = """
def test_one(uid):
    pass

def test_two(uid):
    pass
"""


def test_each_worker_its_own() -> None:
    """With --kubernix-scope=worker, each worker has a cluster to itself."""
    with running("-n2", "--kubernix-scope=worker", suite=TWO) as run:
        end(run)
        assert workers_of(run, "uids") == {"gw0", "gw1"}
        assert len(uids_of(run)) == len(run.notes("planned")) == len(run.notes("prepared")) == 2


TWO_CONFIGURATIONS = """
import pytest

@pytest.mark.parametrize("number", range(2))
def test_plain(uid, number):
    pass

@pytest.mark.kubernix(log_level="error")
@pytest.mark.parametrize("number", range(2))
def test_marked(uid, number):
    pass
"""


def test_two_configurations_are_two_clusters() -> None:
    """Tests that are marked with another configuration share one more cluster, among all workers."""
    with running("-n2", "--dist=each", suite=TWO_CONFIGURATIONS) as run:
        end(run)
        clusters: dict[str, set[str]] = {}
        for line in run.notes("uids"):
            clusters.setdefault(line["uid"], set()).add(line["worker"])
        assert list(clusters.values()) == [{"gw0", "gw1"}] * 2
        assert len(run.notes("planned")) == len(run.notes("prepared")) == 2


@pytest.mark.parametrize("moment", [pytest.param("planning", marks=pytest.mark.long), "Controller", "preparing"])
def test_a_failed_boot_is_everybodys(moment: str) -> None:
    """What fails for the worker in charge fails for all, for the same reason, and is tried once."""
    with running("-n3", "--dist=each", moment=moment, suite=TWO) as run:
        run.reached()
        run.until(lambda: all(f"gw{number} (pid" in run.log() for number in range(3)), "all workers")
        run.go("fail")
        run.process.wait(60)
        errors = [line for line in run.notes("reports") if line["outcome"] == "failed"]
        assert {(line["by"], Path(line["test"]).name) for line in errors} == {
            (f"gw{number}", f"test_suite.py::{test}") for number in range(3) for test in ("test_one", "test_two")
        }
        cause = "hold" if moment == "Controller" else "told to fail"
        assert all(cause in line["text"] for line in errors), run.output
        assert len(run.notes("planned")) == 1
        assert len(run.notes("prepared")) == (moment == "preparing")
        run.clean(0, 20)
