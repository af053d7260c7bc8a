"""What a failed run says: the reason first, the command as one would type it, and nothing of our own code."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pytest_kubernix.kubectl.call import failure

from .test_kubectl import executable

COMMAND = ("/long/path/to/kubectl", "--kubeconfig=/run/admin.conf", "--cache-dir=/run/cache", "--namespace=here")


def test_the_reason_comes_first() -> None:
    """The first line, which is all that a summary shows, has what was done in short and why it failed."""
    text = str(failure((*COMMAND, "wait", "pod/a", "--for=condition=Ready"), 1, "error: timed out on pods/a\n"))
    assert text.splitlines() == [
        "kubectl wait pod/a …: exit code 1: error: timed out on pods/a",
        "command: kubectl --namespace=here wait pod/a --for=condition=Ready",
    ]


def test_warnings_are_no_reason() -> None:
    """The line that kubectl failed with goes ahead of warnings and logs; all of them stay below."""
    stderr = "Warning: deprecated\nE1121 03:00:00 1 memcache.go:265] later\nError from server (NotFound): x\n"
    lines = str(failure((*COMMAND, "get", "x"), 1, stderr)).splitlines()
    assert lines[0] == "kubectl get x …: exit code 1: Error from server (NotFound): x"
    assert lines[1:4] == stderr.splitlines()
    assert str(failure((*COMMAND, "get"), 1, "Warning: old\nno idea")).splitlines()[0].endswith(": no idea")


def test_a_command_of_a_container_stays_what_it_is() -> None:
    """Only our own flags are left out; what stands after -- is the container's."""
    error = failure((*COMMAND, "exec", "a", "--", "kubectl", "--kubeconfig=/mine", "a b"), 7, "")
    assert str(error).splitlines() == [
        "kubectl exec a …: exit code 7",
        "command: kubectl --namespace=here exec a -- kubectl --kubeconfig=/mine 'a b'",
    ]
    assert error.command[:2] == COMMAND[:2]


def test_details_come_last() -> None:
    """What was found out about a failure stands below what kubectl said."""
    error = failure((*COMMAND, "get"), 1, "error: one\ntwo", details="pod/a: phase Pending")
    assert str(error).splitlines()[1:] == ["two", "command: kubectl --namespace=here get", "pod/a: phase Pending"]
    assert error.stderr == "error: one\ntwo"


def test_the_traceback_ends_in_the_test(pytester: pytest.Pytester, tmp_path: Path, clean_environment: None) -> None:
    """No line of ours is between the test's own line and the error, whichever method failed."""
    path = executable(tmp_path / "kubectl", "#!/bin/sh\necho 'error: it broke' >&2; exit 1\n")
    calls = {
        "call": "kubectl('get', 'pods')",
        "get": "kubectl.get('pods')",
        "apply": "kubectl.apply({'kind': 'Pod'})",
        "patch": "kubectl.patch('pod/a', {})",
        "delete": "kubectl.delete('pod/a')",
        "wait": "kubectl.wait('pod/a', 'create', timeout=0)",
        "can_i": "kubectl.can_i('get', 'pods')",
        "logs": "kubectl.logs('a')",
        "exec": "kubectl.exec('a', 'ls')",
        "cp": "kubectl.cp('a', 'b:c')",
        "forward": "kubectl.port_forward('a', 1).__enter__()",
        "slow": "kubectl('get', timeout=0)",
    }
    tests = "".join(f"def test_{name}():\n    {call}\n\n" for name, call in calls.items())
    pytester.makepyfile(
        f"from pathlib import Path\nfrom pytest_kubernix import Kubectl\n"
        f"kubectl = Kubectl(Path({str(path)!r}), Path('k'))\n\n{tests}"
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=len(calls))
    assert not [line for line in result.outlines if "pytest_kubernix/" in line or "contextlib" in line]
    assert sum(line.startswith(">  ") for line in result.outlines) == len(calls)


def test_an_error_travels() -> None:
    """Pickled and back, as a process pool or pytest-xdist sends it, an error says the same and keeps its parts."""
    error = failure(["kubectl", "get", "pods"], 1, "error: one", "out")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.args, again.stderr, again.stdout) == (str(error), error.args, "error: one", "out")
    assert "error: one" in repr(error)


def test_a_report_can_be_printed_whatever_a_container_wrote() -> None:
    """Bytes that are no text stand in it as their numbers."""
    error = failure((*COMMAND, "exec", "a"), 1, b"caf\xe9 ended".decode(errors="surrogateescape"))
    assert "caf\\udce9 ended" in str(error).encode().decode()
