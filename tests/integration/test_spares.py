"""Spares: clusters that boot while tests run, are taken instead of booted, and end when they are not taken."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kubernix.cli import main
from pytest_kubernix.guardian.listing import RunningInfo, running
from pytest_kubernix.guardian.rundir import CLUSTER_ID
from pytest_kubernix.layout import Layout
from pytest_kubernix.linux.priority import NICE

from .pods import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ID = """
import os
from pathlib import Path
from tests.integration.test_spares import spares_of
from tests.integration.pods import eventually

def uid(cluster):
    return cluster.kubectl.get("namespace", "kube-system")["metadata"]["uid"]
"""


@pytest.fixture
def root(suite: pytest.Pytester) -> Iterator[Path]:
    """A root of run directories of this test alone; all in it is ended afterwards, and leaves nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "r"
        yield root
        # A spare may be on its way.
        eventually(
            lambda: all(info.state in ("ready", "booted") for info in running(root)), timeout=120, what="boots to end"
        )
        main(["down", "--all", f"--root={root}"])
        assert running(root) == []
        assert not root.exists(), list(root.iterdir())


def run(suite: pytest.Pytester, root: Path, *arguments: str, spare: int = 1) -> pytest.RunResult:
    """Run the suite with spares of a cluster without nodes."""
    options = ("--kubernix-nodes=0", f"--kubernix-spare={spare}", f"--kubernix-root={root}")
    return suite.runpytest_subprocess(*options, "-p", "no:cacheprovider", "-s", *arguments)


def spares_of(root: Path) -> list[RunningInfo]:
    """The spares that are up, and were not taken."""
    return [info for info in running(root) if info.spare and Layout(info.run_dir).spare.exists()]


def the_spare(root: Path) -> RunningInfo:
    """The one spare, once it is up."""
    (spare,) = eventually(lambda: spares_of(root), timeout=120, what="the spare to be up")
    return spare


def processes_of(run_dir: Path) -> dict[int, int]:
    """PID → nice value of each component of a cluster."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        pid = int(path.parent.name)
        try:
            if f"{run_dir}/".encode() in path.read_bytes().split(b"\0", 1)[-1]:
                found[pid] = os.getpriority(os.PRIO_PROCESS, pid)
                # Where the kernel weighs sessions against each other, this is what counts.
                weight = path.with_name("autogroup")
                assert not weight.exists() or weight.read_text().split()[-1] == str(found[pid])
        except OSError:
            continue
    return found


def test_the_factory_takes_a_spare_at_full_speed(suite: pytest.Pytester, root: Path) -> None:
    """A further cluster is the spare, which was niced and is no more, and shares nothing with the first."""
    suite.makepyfile(
        ID
        + f"""
from tests.integration.test_spares import processes_of, the_spare
root = Path({str(root)!r})

def test_a(kubernix, kubernix_cluster_factory):
    spare = the_spare(root)
    assert set(processes_of(spare.run_dir).values()) == {{{NICE}}}
    second = kubernix_cluster_factory()
    assert second.handle.cluster_id == spare.cluster_id
    assert set(processes_of(spare.run_dir).values()) == {{0}}
    assert uid(second) != uid(kubernix)
    assert (second.handle.run_dir / "pki/ca.key").read_text() != (kubernix.handle.run_dir / "pki/ca.key").read_text()
    assert second.others() == ()
    second.stop()
    assert not spare.run_dir.exists()
"""
    )
    result = run(suite, root)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*takes spare *"])


@pytest.mark.parametrize("workers", [0, 3])
def test_the_next_run_takes_it(suite: pytest.Pytester, root: Path, workers: int) -> None:
    """A run leaves a spare to the next, also to all workers of it as one cluster, and that ends with the run."""
    suite.makepyfile(
        ID
        + """
import pytest

@pytest.mark.parametrize("number", range(9))
def test_which(kubernix, number, request):
    Path(request.config.rootpath, f"uid-{number}").write_text(uid(kubernix) + " " + kubernix.handle.cluster_id)
"""
    )
    run(suite, root, "-k", "which and 0").assert_outcomes(passed=1, deselected=8)
    spare = the_spare(root)
    result = run(suite, root, *([f"-n{workers}"] if workers else []))
    result.assert_outcomes(passed=9)
    used = {path.read_text() for path in suite.path.glob("uid-*")}
    assert len(used) == 1, used
    assert used.pop().split()[1] == spare.cluster_id
    eventually(lambda: not spare.run_dir.exists(), what="the cluster to end with its run")
    assert the_spare(root).cluster_id != spare.cluster_id
    # The name under which workers met went with the cluster.
    assert [path.name for path in root.iterdir() if CLUSTER_ID.fullmatch(path.name) and path.is_symlink()] == []


def test_workers_of_a_run_wait_for_the_one_that_takes_it(suite: pytest.Pytester, root: Path) -> None:
    """However long one worker takes to take a spare, another one boots no cluster meanwhile."""
    suite.makepyfile(
        ID
        + """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_which(kubernix, number, request):
    Path(request.config.rootpath, f"uid-{number}").write_text(kubernix.handle.cluster_id)
"""
    )
    run(suite, root, "-k", "which and 0").assert_outcomes(passed=1, deselected=2)
    spare = the_spare(root)
    suite.makeconftest(
        f"""
import os
import time
from pathlib import Path
from pytest_kubernix.guardian.client import GuardianClient
from pytest_kubernix.guardian.boot_ahead import BootAhead
from tests.integration.pods import eventually

take, join = BootAhead.take, GuardianClient.join.__func__

def taking(self):
    Path(f"taking-{{os.environ['PYTEST_XDIST_WORKER']}}").touch()
    return take(self)

def slowly(cls, layout):
    eventually(lambda: len(list(Path().glob("taking-*"))) == 3)
    # A process that boots now has a directory within milliseconds.
    limit = time.monotonic() + 0.5
    while time.monotonic() < limit and len(list(Path({str(root)!r}).glob("????????"))) == 1:
        time.sleep(0.01)
    return join(cls, layout)

BootAhead.take = taking
GuardianClient.join = classmethod(slowly)
"""
    )
    run(suite, root, "-n3").assert_outcomes(passed=3)
    assert {path.read_text() for path in suite.path.glob("uid-*")} == {spare.cluster_id}


def test_a_spare_that_nobody_takes_ends(suite: pytest.Pytester, root: Path) -> None:
    """After its lifetime a spare is gone, with no process there to end it."""
    suite.makeconftest("import pytest_kubernix.guardian.spare as spare\nspare.LIFETIME = 4.0")
    suite.makepyfile("def test_a(kubernix): pass")
    run(suite, root).assert_outcomes(passed=1)
    eventually(lambda: not root.exists(), timeout=30, what="the spare to end")


def test_a_sick_spare_is_not_taken(suite: pytest.Pytester, root: Path) -> None:
    """A spare of which a component died is ended, and a cluster is booted instead."""
    suite.makepyfile(ID + "def test_a(kubernix): uid(kubernix)")
    run(suite, root).assert_outcomes(passed=1)
    spare = the_spare(root)
    scheduler = next(
        pid for pid in processes_of(spare.run_dir) if b"scheduler" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(scheduler, signal.SIGKILL)
    result = run(suite, root)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*takes spare*")
    assert not spare.run_dir.exists()


def test_another_configuration_takes_no_spare(suite: pytest.Pytester, root: Path) -> None:
    """A spare of other settings, or of a suite with other components, is left alone; so it is without the option."""
    suite.makepyfile("def test_a(kubernix): print('id', kubernix.handle.cluster_id)")
    run(suite, root).assert_outcomes(passed=1)
    spare = the_spare(root)
    for arguments in (("--kubernix-log-level=error",), ("-p", "other_components")):
        suite.makepyfile(
            other_components="""
            import dataclasses
            from pytest_kubernix.components.scheduler import Scheduler
            class Mine(Scheduler):
                def build(self, ctx):
                    plan = super().build(ctx)
                    return dataclasses.replace(plan, env={**plan.env, "GODEBUG": "netdns=go"})
            def pytest_kubernix_components(registry, config):
                registry.replace(Mine())
            """
        )
        result = run(suite, root, *arguments, spare=0)
        result.assert_outcomes(passed=1)
        taken = run(suite, root, *arguments)
        taken.assert_outcomes(passed=1)
        found = re.search(r"id (\w+)", taken.stdout.str())
        assert found
        assert found[1] != spare.cluster_id
    assert spare.cluster_id in {info.cluster_id for info in spares_of(root)}


def test_spares_are_listed_and_ended(suite: pytest.Pytester, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`list` tells a spare from other clusters, and `down` ends it."""
    suite.makepyfile("def test_a(kubernix): pass")
    run(suite, root).assert_outcomes(passed=1)
    spare = the_spare(root)
    capsys.readouterr()
    assert main(["list", f"--root={root}"]) == 0
    assert re.search(rf"- +{spare.cluster_id} +booted +\S+ +0 +spare +-", capsys.readouterr().out)
    assert main(["down", spare.cluster_id, f"--root={root}"]) == 0
    assert not spare.run_dir.exists()


@pytest.mark.parametrize("value", ["-1", "9", "two"])
def test_wrong_numbers_are_refused(suite: pytest.Pytester, root: Path, value: str) -> None:
    """A wrong number of spares is a usage error that says what is allowed."""
    suite.makepyfile("def test_a(kubernix): pass")
    result = suite.runpytest_subprocess(f"--kubernix-spare={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--kubernix-spare={value}: allowed is a whole number from 0 to 8*"])
