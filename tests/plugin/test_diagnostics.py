"""Sections and bundles in runs of pytest, on a driver that starts nothing: who gets them, and when."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import FAKE_DRIVER

# An API server that refuses, and a component that died in the first test.
SICK = """
import os, time
from pathlib import Path
import pytest
from pytest_kubernix.drivers.base import Diagnostics
from pytest_kubernix.handle import ComponentState, Death

KUBECTL = Path(__file__).with_name("kubectl")
KUBECTL.write_text("#!/bin/sh\\necho The connection was refused >&2; exit 1\\n")
KUBECTL.chmod(0o755)

def diagnostics(self, *, timeout):
    object.__setattr__(self.handle, "kubectl", KUBECTL)
    death = Death("fake", time.monotonic(), "fake: killed by SIGKILL on its own")
    return Diagnostics({"fake": ComponentState.DEAD}, [death])

FakeCluster.diagnostics = diagnostics

@pytest.fixture
def mine(kubernix):
    return kubernix
"""

DYNAMIC = "def test_a(request): request.getfixturevalue('kubernix')"

TOLD = "*kubernix: components of cluster*"


@pytest.fixture
def sick(suite: pytest.Pytester) -> pytest.Pytester:
    """A suite whose cluster is in a bad way."""
    conftest = suite.path / "conftest.py"
    conftest.write_text(conftest.read_text() + SICK)
    return suite


def bundles(folder: Path) -> set[str]:
    """The directories of bundles below one directory."""
    return {path.parent.relative_to(folder).as_posix() for path in folder.rglob("bundle.json")}


def test_a_failed_test_tells_of_its_cluster(sick: pytest.Pytester) -> None:
    """Whether it asked for the cluster itself, by another fixture, or in its body; in its setup as in its call."""
    sick.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken(kubernix):
            assert False

        def test_asks(kubernix): assert False
        def test_asks_by_another(mine): assert False
        def test_asks_in_its_body(request):
            request.getfixturevalue("kubernix")
            assert False
        def test_makes_one(kubernix_cluster_factory):
            kubernix_cluster_factory(nodes=0)
            assert False
        def test_setup(broken): pass
        """
    )
    result = sick.runpytest()
    result.assert_outcomes(failed=4, errors=1)
    assert len([line for line in result.outlines if "kubernix: components of cluster" in line]) == 5
    result.stdout.fnmatch_lines([TOLD, "*s into the test: fake: killed by SIGKILL on its own", "fake is dead now"])


def test_no_other_test_does(sick: pytest.Pytester) -> None:
    """Neither one that passes, is skipped or expected to fail, nor one that used no cluster."""
    sick.makepyfile(
        """
        import pytest

        def test_passes(kubernix): pass
        def test_skips(kubernix): pytest.skip("not here")
        @pytest.mark.xfail
        def test_known(kubernix): assert False
        def test_without(tmp_path): assert False
        def test_looks_only(kubernix_config): assert False
        """
    )
    result = sick.runpytest("-rA")
    result.assert_outcomes(failed=2, passed=1, skipped=1, xfailed=1)
    result.stdout.no_fnmatch_line("*kubernix: components*")


def test_sections_come_from_workers(sick: pytest.Pytester) -> None:
    """Under xdist the report says the same."""
    sick.makepyfile("def test_a(kubernix): assert False")
    result = sick.runpytest("-n1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([TOLD])


def test_diagnostics_that_fail_hide_nothing(sick: pytest.Pytester) -> None:
    """A mistake in ours, or in a driver, is a line in the report, and the test's failure is told as ever."""
    conftest = sick.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "\nFakeCluster.diagnostics = lambda self, *, timeout: 1 / 0\n")
    sick.makepyfile("def test_a(kubernix): assert 'mine' == 'other'")
    result = sick.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AssertionError*", "*kubernix: diagnostics failed*", "ZeroDivisionError*"])


def test_bundles_of_failures_and_of_the_end(sick: pytest.Pytester) -> None:
    """One for the test that failed, one for the end of the session, and one line that says where."""
    sick.makepyfile("def test_good(kubernix): pass\ndef test_bad(kubernix): assert False")
    result = sick.runpytest("--kubernix-artifacts=out")
    out = sick.path / "out"
    (cluster,) = out.iterdir()
    test, end = sorted(bundles(cluster))[::-1]
    assert end == "end"
    assert test.startswith("test_bundles_of_failures_and_of_the_end-test_bad-")
    assert json.loads((cluster / test / "bundle.json").read_text())["test"].endswith("::test_bad")
    assert [line for line in result.outlines if line.startswith("kubernix: artifacts")] == [
        f"kubernix: artifacts are in {out}"
    ]
    result.stdout.fnmatch_lines([f"the whole bundle is in {cluster / test}"])


def test_workers_do_not_overwrite_each_other(sick: pytest.Pytester) -> None:
    """Each failed test has its bundle, the last worker writes the end, nothing unfinished stays, one line says so."""
    sick.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_bad(kubernix, number): assert False
        """
    )
    result = sick.runpytest("-n2", "--kubernix-artifacts=out")
    result.assert_outcomes(failed=6)
    (cluster,) = (sick.path / "out").iterdir()
    assert len(bundles(cluster)) == 7
    assert "end" in bundles(cluster)
    assert [path for path in cluster.iterdir() if path.name.startswith(".")] == []
    assert len([line for line in result.outlines if line.startswith("kubernix: artifacts")]) == 1


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_failed_boots_have_bundles(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    """The error is there although no cluster ever was; several workers that report it write one bundle."""
    monkeypatch.setenv("FAKE_FAILS", "boot")
    suite.makepyfile("def test_a(kubernix): pass\ndef test_b(kubernix): pass")
    result = suite.runpytest(workers, "--kubernix-artifacts=out")
    result.assert_outcomes(errors=2)
    (folder,) = (suite.path / "out").iterdir()
    assert folder.name.startswith("boot-")
    assert "fake-apiserver: exited with code 1" in (folder / "error.txt").read_text()
    assert result.outlines.count(f"kubernix: artifacts are in {suite.path / 'out'}") == 1


@pytest.mark.parametrize("body", ["def test_a(request, kubernix): pass", DYNAMIC], ids=["setup", "call"])
def test_a_boot_that_failed_is_not_looked_up_again(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, body: str, events: Callable[[], list[str]]
) -> None:
    """Where a test can ask for fixtures, the report does not ask for the one that just failed, nor make any other."""
    monkeypatch.setenv("FAKE_FAILS", "boot")
    suite.makepyfile(body)
    result = suite.runpytest("-rA")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the cluster did not boot: phase ControlPlane failed*"])
    result.stdout.no_fnmatch_line("*kubernix: diagnostics failed*")
    assert [event for event in events() if event.startswith("start")] == ["start 1.36.3/1"]


def test_nothing_is_written_unasked(sick: pytest.Pytester) -> None:
    """Without a cluster, the directory is not even made."""
    sick.makepyfile("def test_a(): assert False")
    sick.runpytest("--kubernix-artifacts=out").assert_outcomes(failed=1)
    assert not (sick.path / "out").exists()


def test_a_directory_that_becomes_a_file(sick: pytest.Pytester) -> None:
    """A test's outcome is its own, and a line says why there are no bundles."""
    sick.makepyfile(
        """
        import shutil
        from pathlib import Path
        def test_a(kubernix):
            shutil.rmtree("file")
            Path("file").write_text("")
        """
    )
    result = sick.runpytest("--kubernix-artifacts=file/out")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["kubernix: artifacts in */file/out are not complete: NotADirectoryError: *"])


@pytest.mark.parametrize("where", ["file", "file/out"])
def test_artifacts_that_can_not_be_written_are_told_before_anything_starts(sick: pytest.Pytester, where: str) -> None:
    """CI does not run for an hour to find out that its bundles went nowhere."""
    (sick.path / "file").write_text("")
    sick.makepyfile("def test_a(kubernix): pass")
    result = sick.runpytest(f"--kubernix-artifacts={where}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --kubernix-artifacts={where}: allowed is a directory that can be written: *"])


def test_plugins_add_sections(suite: pytest.Pytester) -> None:
    """A plugin says more of a cluster that a failed test used, and which clusters a test of its own fixtures used."""
    suite.makeconftest(
        f"""{FAKE_DRIVER}
@pytest.fixture
def replicas(kubernix_cluster_factory):
    class Replicas:
        cluster = kubernix_cluster_factory(nodes=0)
    return Replicas()

def pytest_kubernix_used_clusters(item, values):
    return [values["replicas"].cluster] if "replicas" in values else []

def pytest_kubernix_report_sections(cluster, namespace, since):
    return [(f"mine of {{len(cluster.nodes)}}", f"namespace {{namespace}}")]
"""
    )
    suite.makepyfile(
        """
        def test_a(kubernix): assert False
        def test_b(replicas): assert False
        """
    )
    result = suite.runpytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*- mine of 1 -*", "namespace None", "*- mine of 0 -*", "namespace None"])
