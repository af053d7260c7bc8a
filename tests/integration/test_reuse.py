"""Clusters that stay: kept, found again, listed and removed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kubernix.cli import main
from pytest_kubernix.guardian.client import GuardianClient
from pytest_kubernix.guardian.listing import find, running

from .machine import report, settled, snapshot
from .pods import guardian_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


@pytest.fixture
def root(suite: pytest.Pytester) -> Iterator[Path]:
    """A root of run directories of this test alone, short enough for sockets; all in it is ended afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "r"
        yield root
        main(["down", "--all", f"--root={root}"])
        assert running(root) == []


def run(suite: pytest.Pytester, root: Path, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_subprocess("--kubernix-nodes=0", f"--kubernix-root={root}", *arguments)


WHICH = """
def test_which(kubernix):
    print("cluster", kubernix.kubectl.get("namespace", "kube-system")["metadata"]["uid"])
"""


def uid(result: pytest.RunResult) -> str:
    found = re.search(r"cluster ([0-9a-f-]{36})", result.stdout.str())
    assert found, result.stdout.str()
    return found[1]


def test_a_named_cluster_is_found_again(suite: pytest.Pytester, root: Path) -> None:
    """Two runs with one name run on one cluster, which boots once."""
    suite.makepyfile(WHICH)
    first = run(suite, root, "--kubernix-reuse=dev", "-s")
    second = run(suite, root, "--kubernix-reuse=dev", "-s")
    assert uid(first) == uid(second)
    second.stdout.no_fnmatch_line("*starting 1 component*")
    third = run(suite, root, "-s")
    assert uid(third) != uid(first)


def test_another_configuration_is_refused_with_the_difference(suite: pytest.Pytester, root: Path) -> None:
    """Asking for a running cluster with other settings fails with both values, and leaves it running."""
    suite.makepyfile(WHICH)
    run(suite, root, "--kubernix-reuse=dev").assert_outcomes(passed=1)
    result = run(suite, root, "--kubernix-reuse=dev", "--kubernix-addons=none")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*reuse=dev*", '*addons: ?"coredns"? there, ?? asked for*', "*pytest-kubernix down dev*"]
    )
    assert find("dev", root).state == "ready"


def test_a_sick_cluster_is_replaced_with_the_reason(suite: pytest.Pytester, root: Path) -> None:
    """A named cluster with a dead component is replaced, and the reason is told."""
    suite.makepyfile(
        WHICH
        + """
def test_break(kubernix):
    kubernix.components["kube-scheduler"].kill()
"""
    )
    first = run(suite, root, "--kubernix-reuse=dev", "-s")
    info = find("dev", root)
    assert (info.state, info.trouble) == ("not ready", "kube-scheduler is dead")
    second = run(suite, root, "--kubernix-reuse=dev", "-s", "-k", "which")
    second.assert_outcomes(passed=1, deselected=1)
    second.stdout.fnmatch_lines(["*replacing cluster dev: kube-scheduler is dead*"])
    assert uid(second) != uid(first)


def test_a_cluster_that_is_found_is_prepared_once_a_run(suite: pytest.Pytester, root: Path) -> None:
    """What a suite does to its cluster is done by one worker of each run, also to a cluster that was there before."""
    assert main(["up", "dev", "--nodes=0", f"--root={root}"]) == 0
    suite.makeconftest(
        """
        def pytest_kubernix_cluster_ready(cluster):
            cluster.kubectl("create", "namespace", "--output=name", f"by-{len(cluster.kubectl.get('ns')['items'])}")
        """
    )
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_a(kubernix, n):
            names = [item["metadata"]["name"] for item in kubernix.kubectl.get("ns")["items"]]
            print("prepared", [name for name in names if name.startswith("by-")])
        """
    )
    for expected in (["by-4"], ["by-4", "by-5"]):
        result = run(suite, root, "--kubernix-reuse=dev", "-n2", "-rP")
        result.assert_outcomes(passed=4)
        assert result.stdout.str().count(f"prepared {expected}") == 4


def test_a_failure_keeps_the_cluster_and_says_how_to_reach_it(suite: pytest.Pytester, root: Path) -> None:
    """With keep=on-failure a failed run leaves its cluster and the commands for it; a passed run leaves nothing."""
    suite.makepyfile("def test_a(kubernix): pass")
    run(suite, root, "--kubernix-keep=on-failure").assert_outcomes(passed=1)
    assert running(root) == []
    suite.makepyfile(
        """
        def test_a(kubernix, kubernix_namespace):
            kubernix.kubectl("create", "configmap", "evidence", namespace=kubernix_namespace)
            assert False

        def test_b(kubernix_namespace):
            pass
        """
    )
    result = run(suite, root, "--kubernix-keep=on-failure")
    (kept,) = running(root)
    assert kept.handle
    told = re.findall(r"namespace (\S+) is as test_\S+::(\S+) left it", result.stdout.str())
    assert [test for _, test in told] == ["test_a"]
    evidence = ["get", "configmap", "evidence", "--output=name", f"--namespace={told[0][0]}"]
    environment = {"KUBECONFIG": str(kept.handle.kubeconfig)}
    assert subprocess.check_output([kept.handle.kubectl, *evidence], env=environment) == b"configmap/evidence\n"
    result.stdout.fnmatch_lines(
        [
            f"*cluster {kept.cluster_id} * is left running*",
            f"*export KUBECONFIG={root}/{kept.cluster_id}/*",
            f"*pytest-kubernix down {kept.cluster_id}*",
        ]
    )
    assert main(["down", kept.cluster_id, f"--root={root}"]) == 0
    assert running(root) == []
    assert not kept.run_dir.exists()


def test_workers_keep_one_cluster_and_tell_once(suite: pytest.Pytester, root: Path) -> None:
    """Under pytest-xdist the cluster that stays is told once, by the process that the user sees."""
    suite.makepyfile("import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_a(kubernix, n): assert False")
    result = run(suite, root, "--kubernix-keep=always", "-n2")
    (kept,) = running(root)
    assert result.stdout.str().count(f"pytest-kubernix down {kept.cluster_id}") == 1


def test_up_list_and_down(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`up` leaves a cluster that `list` shows, scripts can read, a second `up` finds, and `down` removes."""
    where = f"--root={root}"
    assert main(["up", "dev", "--nodes=0", where]) == 0
    exports = capsys.readouterr().out
    kubeconfig = re.search(r"export KUBECONFIG=(\S+)", exports)
    assert kubeconfig
    assert Path(kubeconfig[1]).is_file()
    assert main(["list", "--json", where]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["state"], shown["nodes"], shown["kept"]) == ("dev", "ready", 0, True)
    assert main(["up", "dev", "--nodes=0", where]) == 0
    assert capsys.readouterr().out == exports
    assert main(["up", "dev", "--nodes=1", where]) == 2
    assert "nodes: 0 there, 1 asked for" in capsys.readouterr().err
    assert main(["down", "dev", where]) == 0
    capsys.readouterr()
    assert main(["down", "dev", where]) == 1
    assert "no running cluster 'dev'; running: none" in capsys.readouterr().err
    assert main(["gc", where]) == 0


@pytest.mark.parametrize("name", ["a b", "../etc", "-x", "x" * 64])
def test_names_are_checked(name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is none is refused by value, before anything starts."""
    assert main(["up", f"--root={root}", "--", name]) == 2
    message = capsys.readouterr().err
    assert f"={name}: allowed are up to 63 letters, digits" in message
    assert not root.exists()


def test_a_cluster_whose_guardian_is_stopped_can_be_ended(
    suite: pytest.Pytester, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guardian that does not get on is named in the list, and `down` ends its cluster all the same."""
    suite.makepyfile(WHICH)
    before = snapshot(root)
    run(suite, root, "--kubernix-keep=always", "--kubernix-nodes=1").assert_outcomes(passed=1)
    (info,) = running(root)
    guardian = guardian_of(info.run_dir)
    monkeypatch.setattr("pytest_kubernix.guardian.listing.ASK_TIMEOUT", 0.3)
    os.kill(guardian, signal.SIGSTOP)
    where = f"--root={root}"
    trouble = f"its guardian (process {guardian}) is stopped; to end it: pytest-kubernix down {info.cluster_id} --root"
    for command in ("list", "gc"):
        assert main([command, where]) == 0
        assert trouble in capsys.readouterr().err
    # The shares of others are not asked for.
    holder = GuardianClient.join(info.layout)
    assert main(["down", info.cluster_id, where]) == 0
    assert f"{info.cluster_id} is gone" in capsys.readouterr().err
    assert not info.run_dir.exists()
    holder.leave()
    changes = settled(before)
    assert not changes, report(changes)


def test_a_killed_cluster_can_be_had_again_at_once(root: Path) -> None:
    """A run that asks for a name whose guardian was killed a moment ago gets a new one, with nothing of the old."""
    assert main(["up", "dev", "--nodes=1", f"--root={root}"]) == 0
    first = find("dev", root)
    assert first.handle
    os.kill(guardian_of(first.run_dir), signal.SIGKILL)
    assert main(["up", "dev", "--nodes=1", f"--root={root}"]) == 0
    second = find("dev", root)
    assert second.handle
    assert second.run_dir == first.run_dir
    assert second.state == "ready"
    assert second.handle.server != first.handle.server
